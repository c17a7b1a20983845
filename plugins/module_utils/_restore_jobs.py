# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owners of TimescaleDB's jobs: the only roles that stand in rows of a dump, as what pg_restore writes of that one table. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.nexanest.database.plugins.module_utils._restore_archive import Contents, Entry
from ansible_collections.nexanest.database.plugins.module_utils._restore_names import Names, quoted, unquoted

_TABLE, _OWNER, _NUMBER = b"bgw_job", "owner", "id"
_COPY = re.compile(r"^(COPY \S+ \((.*)\) FROM stdin;)$")
_END = "\\."
# COPY's text format; a name has none of the characters that have other escapes.
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class JobsError(Exception):
    """The table of the jobs is of a form that is not known."""


@dataclass(frozen=True)
class Rows:
    """statement: COPY … FROM stdin; text: what it reads."""

    statement: str
    text: str


def entry(contents: Contents) -> Entry | None:
    """The rows of the jobs in a dump."""
    found = (one for one in contents.entries if one.kind == b"TABLE DATA" and one.tag == _TABLE and (one.namespace or b"").startswith(b"_timescaledb_"))
    return next(found, None)


def owners(script: str) -> set[str]:
    return {unquoted(_plain(fields[place])) for _statement, place, rows in _tables(script) for fields in rows}


def numbers(script: str) -> set[int]:
    """Of all jobs."""
    return {int(fields[columns.index(_NUMBER)]) for statement, _place, rows in _tables(script) for columns in [_columns(statement)] for fields in rows}


def renamed(script: str, names: Names) -> list[Rows]:
    found = []
    for statement, place, rows in _tables(script):
        for fields in rows:
            owner = unquoted(_plain(fields[place]))
            if names.role(owner) != owner:
                fields[place] = _escaped(quoted(names.role(owner)))
        found.append(Rows(statement, "".join("\t".join(fields) + "\n" for fields in rows)))
    return found


def _tables(script: str) -> Iterator[tuple[str, int, list[list[str]]]]:
    """The statement, the place of the owner, and the rows."""
    lines = iter(script.split("\n"))
    for line in lines:
        found = _COPY.match(line)
        if found:
            columns = _columns(line)
            rows = [row.split("\t") for row in iter(lines.__next__, _END)]
            if _OWNER not in columns or any(len(row) != len(columns) for row in rows):
                raise JobsError(f"TimescaleDB's table of jobs is of a form that is not known ({found[2]}): restore it without a mapping")
            yield found[1], columns.index(_OWNER), rows


def _columns(statement: str) -> list[str]:
    found = _COPY.match(statement)
    return [column.strip().strip('"') for column in found[2].split(",")] if found else []


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: _UNESCAPES.get(found[0], found[1]), text)


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


_UNESCAPES: Mapping[str, str] = {escape: character for character, escape in _ESCAPES.items()}
