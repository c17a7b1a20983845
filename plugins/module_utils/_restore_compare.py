# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the copy what the manifest says? In words, and pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _catalog_diff
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Database, LargeObjects, Table
from ansible_collections.nexanest.database.plugins.module_utils._catalog import Catalog
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change

# More than these are counted, not told.
SHOWN = 10
_LONGEST = 100
# The set says itself that it lacks them.
_SUBSCRIPTION = "subscription"
_FACTS = ("owner", "encoding", "locale_provider", "locale", "collate", "ctype", "comment")
# pg_dump writes those of foreign servers and tables in the order of their names.
_OPTIONS = ("options", "options of the server's table")
# The server reads `IN ('a', 'b')` of a varchar back with casts and parentheses elsewhere: a text that went through a dump differs in these alone.
_CAST = re.compile(r'::("[^"]+"|\w+)(\.("[^"]+"|\w+))*( varying| precision| with(out)? time zone)?(\(\d+(,\s*\d+)?\))?(\[\])*')


def facts(wanted: Database, found: Database, settings: tuple[Sequence[Any], Sequence[Any]]) -> list[str]:
    """Differences in what a database is beside its content. settings: as they should be, and as they are. An extension may be newer: that was looked at."""
    texts = [f"{key} is {getattr(found, key)}, it was {getattr(wanted, key)}" for key in _FACTS if getattr(found, key) != getattr(wanted, key)]
    if _rights(wanted) != _rights(found):
        texts.append(f"its rights are {_words(_rights(found))}, they were {_words(_rights(wanted))}")
    if list(settings[0]) != list(settings[1]):
        texts.append(f"its settings are {settings[1]}, they were {settings[0]}")
    for name in sorted({*wanted.extensions, *found.extensions}):
        before, after = wanted.extensions.get(name), found.extensions.get(name)
        if before is None or after is None:
            texts.append(f"the extension {name} is {after or 'missing'}, it was {before or 'not there'}")
    return texts


def rows(wanted: Sequence[Table], found: Sequence[Table]) -> list[str]:
    """Tables whose number of rows differs."""
    before, after = ({(table.schema, table.name): table.rows for table in side} for side in (wanted, found))
    return [
        f"{'.'.join(key)} has {'no table' if after.get(key) is None else f'{after[key]} rows'}, it had {'no table' if before.get(key) is None else before[key]}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def large_objects(wanted: LargeObjects | None, found: LargeObjects) -> list[str]:
    """Sets of before did not count them."""
    if wanted is None or wanted == found:
        return []
    return [f"it has {found.count} large objects of {found.bytes} bytes, it had {wanted.count} of {wanted.bytes}"]


def catalogs(wanted: Catalog, found: Catalog, *, same_version: bool) -> list[str]:
    """Objects that differ. Another major version writes definitions otherwise: then only their presence counts."""
    changes = [change for change in _catalog_diff.changes("", wanted, found) if change.kind != _SUBSCRIPTION]
    told = [change for change in changes if change.before is None or change.after is None or (same_version and _differs(change))]
    return [_sentence(change) for change in told]


def shortened(texts: Sequence[str]) -> str:
    more = len(texts) - SHOWN
    return "; ".join(texts[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _rights(database: Database) -> set[tuple[str, str, bool]] | None:
    return None if database.acl is None else {(grant.grantee, grant.privilege, grant.grantable) for grant in database.acl}


def _words(rights: Iterable[tuple[str, str, bool]] | None) -> str:
    if rights is None:
        return "the default ones"
    return ", ".join(f"{privilege}{' with grant option' if grantable else ''} to {grantee or 'PUBLIC'}" for grantee, privilege, grantable in sorted(rights))


def _differs(change: Change) -> bool:
    return bool(skeleton(change.before) != skeleton(change.after))


def skeleton(value: Any) -> Any:
    """A value without what a dump changes in an expression."""
    if isinstance(value, str):
        return re.sub(r"[()\s]", "", _CAST.sub("", value))
    if isinstance(value, dict):
        return {key: sorted(str(item).split(", ")) if key in _OPTIONS else skeleton(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((skeleton(item) for item in value), key=repr)
    return value


def _sentence(change: Change) -> str:
    if change.before is None:
        return f"{change.title} is there and was not"
    if change.after is None:
        return f"{change.title} is missing"
    keys = [key for key in {**change.before, **change.after} if change.before.get(key) != change.after.get(key)]
    return f"{change.title}: " + ", ".join(f"{key} is {_short(change.after.get(key))}, it was {_short(change.before.get(key))}" for key in keys)


def _short(value: Any) -> str:
    text = " ".join(str(value).split()) if value is not None else "none"
    return f"`{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}`"
