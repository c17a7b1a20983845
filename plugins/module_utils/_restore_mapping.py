# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a mapping of names one that a set can be restored with, and what does it mean? From the set and from what the servers have. Pure.

No role is made by a mapped restore: with the set's passwords, development's logins would work in production.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._restore_names import Names

LONGEST = 63
RESERVED = ("postgres", "template0", "template1")
PREFIX = "_restore_"
# Values of these types are roles, in rows, where no mapping comes.
_ROLE_TYPES = {"regrole", "regrole[]", "aclitem", "aclitem[]"}
_TEXTS = ("definition", "using", "with check", "default", "generated")
_MOST = 10


@dataclass(frozen=True)
class Source:
    """What a server's part of the set has. needed: roles that its chosen databases name; superusers: of all its roles."""

    server: str
    roles: frozenset[str]
    superusers: frozenset[str]
    needed: frozenset[str]


@dataclass(frozen=True)
class Present:
    """Roles of the server itself."""

    roles: frozenset[str]
    superusers: frozenset[str]


def given(params: Mapping[str, Any], option: str) -> dict[str, str]:
    """An option as it was written: YAML makes numbers of some names, and nothing of others."""
    return {str(name): "" if other is None else str(other) for name, other in (params.get(option) or {}).items()}


def at(server: str, given: Mapping[str, str], name: str) -> str | None:
    """What a name is mapped to; one with its server before it goes before the name alone."""
    return given.get(f"{server}/{name}", given.get(name))


def unknown(given: Mapping[str, str], present: Mapping[str, Iterable[str]], option: str, what: str) -> list[str]:
    """Names of an option that no server of the set has. present: what each has."""
    found = {name for server, names in present.items() for one in names for name in (one, f"{server}/{one}")}
    return [f"{option} names {name}, and the set has no {what} of that name" for name in given if name not in found]


def unfit(option: str, name: str) -> list[str]:
    """Why a database or a role cannot be called so."""
    if not name or "\0" in name:
        return [f"{option} maps to {name!r}, which is no name: give another one"]
    if len(name.encode()) > LONGEST:
        return [f"{option} maps to {name}, which is {len(name.encode())} bytes long and would be cut: a name has at most {LONGEST}"]
    if option == "database_map" and (name in RESERVED or name.startswith(PREFIX)):
        return [f"{option} maps to {name}, which is the server's own: give another name"]
    if option == "role_map" and name.startswith("pg_"):
        return [f"{option} maps to {name}, which is the server's own: give another name"]
    return []


def names(source: Source, given: Mapping[str, str]) -> Names:
    found = {name: at(source.server, given, name) or name for name in source.roles}
    return Names(source.roles, {name: other for name, other in found.items() if other != name})


def problems(source: Source, given: Mapping[str, str], present: Present) -> list[str]:
    """Why the roles of one server cannot be mapped so."""
    mapped = {name: other for name in sorted(source.roles) if (other := at(source.server, given, name)) is not None}
    return [
        *(text for other in sorted(set(mapped.values())) for text in unfit("role_map", other)),
        *_strangers(source, mapped, present),
        *_merged(source, mapped),
        *_powers(source, mapped, present),
    ]


def _strangers(source: Source, mapped: Mapping[str, str], present: Present) -> list[str]:
    texts = [
        f"{source.server} has no role {other}, to which role_map gives what {name} has in the set: make it first (site.yml), or name another"
        for name, other in mapped.items()
        if other not in present.roles and not unfit("role_map", other)
    ]
    missing = sorted(name for name in source.needed - set(mapped) if name not in present.roles)
    if missing:
        texts.append(
            f"{source.server} has no {', '.join(missing)}, and the set gives them something: say in role_map which roles they are there. "
            "A mapped restore makes no roles, because they would have the set's passwords"
        )
    return texts


def _merged(source: Source, mapped: Mapping[str, str]) -> list[str]:
    """Two roles would have become one, with the rights of both."""
    sides: dict[str, list[str]] = {}
    for name in sorted(source.needed | set(mapped)):
        sides.setdefault(mapped.get(name, name), []).append(name)
    return [
        f"{source.server}: {' and '.join(both)} would both be {other}, with the rights of both: map each to a role of its own"
        for other, both in sides.items()
        if len(both) > 1
    ]


def _powers(source: Source, mapped: Mapping[str, str], present: Present) -> list[str]:
    """Functions of a superuser's run with every right; what a superuser has, another role cannot always have."""
    texts = []
    for name in sorted(source.needed | set(mapped)):
        other = mapped.get(name, name)
        if other in present.roles and (name in source.superusers) != (other in present.superusers):
            one, two = ("a superuser", "none") if name in source.superusers else ("no superuser", "one")
            texts.append(f"{source.server}: {name} is {one} in the set, and {other} is {two} on the server: map it to a role of its kind")
    return texts


def rows(source: Source, given: Mapping[str, str], present: Present) -> list[dict[str, str]]:
    """What becomes of every role of the set, for people."""
    found = []
    for name in sorted(source.roles):
        other = at(source.server, given, name)
        if other is not None and other != name:
            what = f"becomes {other}"
        elif name in present.roles:
            what = "is there under the same name and has what it has in the set" if name in source.needed else "is there under the same name"
        else:
            what = "is not mapped and not there" if name in source.needed else "is not needed and not made"
        found.append({"kind": "role", "name": f"{source.server}/{name}", "to": other or name, "what": what})
    return found


def in_rows(label: str, catalog: Sequence[Sequence[Any]]) -> list[str]:
    """Rows of roles, which would name other roles than before, or none."""
    titles = [title for kind, title, properties in catalog if kind == "column" and properties.get("type") in _ROLE_TYPES]
    return [f"{label}: the column {title} holds roles in its rows, which no mapping changes: make it a text, and take another set" for title in titles]


def in_texts(catalog: Sequence[Sequence[Any]], renamed: Iterable[str]) -> list[str]:
    """Objects whose own text has a mapped role's name: it is left as it is. The first few, and how many more."""
    words = {name: re.compile(rf"(?<![\w$.]){re.escape(name)}(?![\w$.(])") for name in renamed}
    found = []
    for kind, title, properties in catalog:
        text = "\n".join(str(properties[key]) for key in _TEXTS if properties.get(key) is not None)
        those = [name for name, word in words.items() if word.search(text)]
        if those:
            found.append(f"{kind} {title} ({', '.join(sorted(those))})")
    more = len(found) - _MOST
    return [*found[:_MOST], *([f"{more} more"] if more > 0 else [])]
