# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between two catalogs, object by object: as changes for a diff, and in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._catalog import Catalog
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change

_LONGEST = 120
_ORDER = "order of columns"
_PARTITIONS = "partitions"


def changes(database: str, before: Catalog, after: Catalog) -> list[Change]:
    """One change per object; of one that is on both sides only the properties that differ."""
    found = (_change(database, key, before.get(key), after.get(key)) for key in _keys(before, after))
    return [change for change in found if change is not None]


def words(live: Catalog, wanted: Catalog) -> list[str]:
    """Sentences for people: what the live catalog has otherwise than it should."""
    return [_sentence(change) for change in changes("", wanted, live)]


def _keys(before: Catalog, after: Catalog) -> list[tuple[str, str]]:
    return sorted({*before, *after}, key=lambda key: (key[1], key[0]))


def _change(database: str, key: tuple[str, str], before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Change | None:
    kind, name = key
    title = f"{database}: {name}" if database else name
    if before is None or after is None:
        return Change(kind, title, _shown(before), _shown(after))
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key) and not _follows(key, before, after)]
    if not differing:
        return None
    sides = ({key: side[key] for key in differing if key in side} for side in (before, after))
    return Change(kind, title, *sides)


def _shown(properties: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A new or vanished table's columns are objects of their own."""
    return None if properties is None else {key: value for key, value in properties.items() if key not in (_ORDER, _PARTITIONS)}


def _follows(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Does this say what another object says already, or what a job did?"""
    if key == _ORDER:
        # Other columns are told by themselves; the same ones in another order are not.
        return sorted(str(before.get(key)).split(", ")) != sorted(str(after.get(key)).split(", "))
    # Without any partition there is nothing to compare: the migrations may leave the first one to a job.
    return key == _PARTITIONS and (before.get(key) is None or after.get(key) is None)


def _sentence(change: Change) -> str:
    if change.before is None:
        return f"{change.title} is there, but no migration makes it"
    if change.after is None:
        return f"{change.title} is missing"
    return f"{change.title}: " + "; ".join(_difference(key, change.before.get(key), change.after.get(key)) for key in {**change.before, **change.after})


def _difference(key: str, wanted: Any, live: Any) -> str:
    if isinstance(wanted, Mapping) or isinstance(live, Mapping):
        return "; ".join(_difference(f"{key} of {name}", *sides) for name, sides in _differing(wanted or {}, live or {}))
    if isinstance(wanted, list) and isinstance(live, list):
        return "; ".join([*_strange(key, wanted, live), *(f"none of the {key} has {_text(one)}" for one in wanted if one not in live)])
    if key == "definition":
        return f"definition differs from line {_first_difference(str(wanted), str(live))}"
    return f"{key} is {_text(live)}, the migrations make {_text(wanted)}"


def _differing(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[tuple[str, tuple[Any, Any]]]:
    names = sorted({*wanted, *live})
    return [(name, (wanted.get(name), live.get(name))) for name in names if wanted.get(name) != live.get(name)]


def _strange(key: str, wanted: list[Any], live: list[Any]) -> list[str]:
    """What some of many have that no migration makes, each told by what it has otherwise than the one most like it."""
    found = []
    for one in live:
        if one not in wanted:
            nearest = min((_differing(other, one) for other in [*wanted, {}]), key=len)
            found.append(f"some of the {key}: " + "; ".join(_difference(name, *sides) for name, sides in nearest))
    return found


def _first_difference(wanted: str, live: str) -> str:
    """The first line that differs, as it is and as it should be."""
    ours, theirs = wanted.splitlines(), live.splitlines()
    number = next((n for n, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), min(len(ours), len(theirs)))
    is_now, should = (lines[number].strip() if number < len(lines) else None for lines in (theirs, ours))
    return f"{number + 1}: it is {_text(is_now)}, the migrations make {_text(should)}"


def _text(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    text = " ".join(text.split())
    return f"`{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}`"
