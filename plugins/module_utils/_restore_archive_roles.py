# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles in the table of contents of a dump: which there are, and the same contents with others in their place. Pure.

An owner is a field of its own. Besides, pg_dump writes roles into four kinds of statements alone, whose every form is known here; another one is refused, never
guessed. A bare word with capitals is always a keyword in them: pg_dump quotes a name that has any.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence

from ansible_collections.nexanest.database.plugins.module_utils._restore_archive import ArchiveError, Contents, Entry

# A new name for a role.
Rename = Callable[[bytes], bytes]

_TOKEN = re.compile(rb"""("(?:[^"]|"")*"|'(?:[^']|'')*'|[\w$\x80-\xff]+|\s+|.)""", re.DOTALL)
_BARE = re.compile(rb"[a-z_][a-z0-9_$]*")
_EVERYBODY = (b"PUBLIC", b"public")
_GRANT_OPTION = [b"WITH", b"GRANT", b"OPTION"]


def roles(contents: Contents) -> set[bytes]:
    """All roles that a restore of it would name."""
    found: set[bytes] = set()

    def remember(name: bytes) -> bytes:
        found.add(name)
        return name

    for entry in contents.entries:
        _renamed(entry, remember)
    return found


def renamed(contents: Contents, rename: Rename) -> Contents:
    return dataclasses.replace(contents, entries=tuple(_renamed(entry, rename) for entry in contents.entries))


def _renamed(entry: Entry, rename: Rename) -> Entry:
    owner = rename(entry.owner) if entry.owner else entry.owner
    places = _PLACES.get(entry.kind or b"")
    if places is None or not entry.statement:
        return dataclasses.replace(entry, owner=owner)
    try:
        return dataclasses.replace(entry, owner=owner, statement=_in_statement(entry.statement, places, rename))
    except _Unknown as error:
        words = (entry.tag or b"").decode(errors="replace")
        raise ArchiveError(f"the {(entry.kind or b'').decode()} of {words} has a statement of a form that is not known ({error})") from error


class _Unknown(Exception):
    """A statement is none of those that pg_dump writes."""


# Where a statement names roles: indexes into its words.
_Places = Callable[[Sequence[bytes]], Iterator[int]]


def _in_statement(text: bytes, places: _Places, rename: Rename) -> bytes:
    tokens = _TOKEN.findall(text)
    words = [index for index, token in enumerate(tokens) if not token.isspace()]
    for first, last in _statements([tokens[index] for index in words]):
        part = words[first:last]
        for place in places([tokens[index] for index in part]):
            token = tokens[part[place]]
            if token not in _EVERYBODY:
                before = _name(token)
                after = rename(before)
                tokens[part[place]] = token if after == before else _quoted(after)
    return b"".join(tokens)


def _statements(words: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """First and last word of each, without its semicolon. A policy's expression may hold none: pg_dump writes one statement there."""
    first = 0
    for index, word in enumerate(words):
        if word == b";":
            yield first, index
            first = index + 1
    if first < len(words):
        raise _Unknown("it does not end")


def _name(token: bytes) -> bytes:
    if token.startswith(b'"'):
        return token[1:-1].replace(b'""', b'"')
    if not _BARE.fullmatch(token):
        raise _Unknown(f"{token.decode(errors='replace')} is no name")
    return token


def _quoted(name: bytes) -> bytes:
    return b'"' + name.replace(b'"', b'""') + b'"'


def _of_rights(words: Sequence[bytes]) -> Iterator[int]:
    """GRANT and REVOKE, and the session that a grantor needs."""
    if words[:3] == [b"RESET", b"SESSION", b"AUTHORIZATION"] and len(words) == 3:
        return
    if words[:3] == [b"SET", b"SESSION", b"AUTHORIZATION"] and len(words) == 4:
        yield 3
        return
    end = len(words) - 3 if words[-3:] == _GRANT_OPTION else len(words)
    before = {b"GRANT": b"TO", b"REVOKE": b"FROM"}.get(words[0])
    if before is None or end < 5 or words[end - 2] != before:
        raise _Unknown(b" ".join(words).decode(errors="replace"))
    yield end - 1


def _of_default_rights(words: Sequence[bytes]) -> Iterator[int]:
    if words[:5] != [b"ALTER", b"DEFAULT", b"PRIVILEGES", b"FOR", b"ROLE"]:
        raise _Unknown(b" ".join(words).decode(errors="replace"))
    yield 5
    begin = 9 if words[6:8] == [b"IN", b"SCHEMA"] else 6
    yield from (begin + place for place in _of_rights(words[begin:]))


def _of_policy(words: Sequence[bytes]) -> Iterator[int]:
    """Between TO and what follows: roles, separated by commas."""
    if words[:2] != [b"CREATE", b"POLICY"] or words[3:4] != [b"ON"]:
        raise _Unknown("it is no CREATE POLICY")
    ends = [index for index, word in enumerate(words) if word in (b"USING", b"WITH")] or [len(words)]
    head = words[: ends[0]]
    if b"TO" in head:
        begin = head.index(b"TO") + 1
        if any(word != b"," for word in head[begin + 1 :: 2]):
            raise _Unknown("its roles are no list")
        yield from range(begin, len(head), 2)


def _of_user_mapping(words: Sequence[bytes]) -> Iterator[int]:
    if words[:4] != [b"CREATE", b"USER", b"MAPPING", b"FOR"] or words[5:6] != [b"SERVER"]:
        raise _Unknown("it is no CREATE USER MAPPING")
    yield 4


_PLACES: dict[bytes, _Places] = {b"ACL": _of_rights, b"DEFAULT ACL": _of_default_rights, b"POLICY": _of_policy, b"USER MAPPING": _of_user_mapping}
