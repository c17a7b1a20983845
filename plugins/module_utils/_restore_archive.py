# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of contents of a dump in pg_dump's directory format (toc.dat): read, and written back byte for byte where nothing was changed. Pure.

Names are bytes as the server has them: what they mean in the database's encoding does not matter here.
"""

from __future__ import annotations

from dataclasses import dataclass

# Minor versions of the format, all of major version 1: of PostgreSQL 12 to 15, 16, and 17 and later.
_OLDEST, _COMPRESSED_BY_NAME, _RELKIND, _NEWEST = 14, 15, 16, 16
_MAGIC = b"PGDMP"
_MOMENT = 7  # numbers of the time at which it was made


class ArchiveError(Exception):
    """The table of contents is of a form that is not known; the text says which."""


@dataclass(frozen=True)
class Entry:
    """One object of a dump, in the order of the fields in the file; with its statement, which names no owner. None where the archive has no text."""

    number: int
    has_data: int
    catalog: bytes | None
    oid: bytes | None
    tag: bytes | None
    kind: bytes | None
    section: int
    statement: bytes | None
    drop: bytes | None
    copy: bytes | None
    namespace: bytes | None
    tablespace: bytes | None
    access_method: bytes | None
    relkind: int | None
    owner: bytes | None
    with_oids: bytes | None
    dependencies: tuple[bytes, ...]
    file: bytes | None


@dataclass(frozen=True)
class Contents:
    """header: everything before the number of entries; width: bytes of a number; minor: version of the format."""

    header: bytes
    width: int
    minor: int
    entries: tuple[Entry, ...]


def read(content: bytes) -> Contents:
    """The contents; ArchiveError where they would not be written back as they are."""
    try:
        reader = _Reader(content)
        header, minor = reader.header()
        found = Contents(header, reader.width, minor, tuple(reader.entry(minor) for _number in range(reader.number())))
    except (IndexError, ValueError) as error:
        raise ArchiveError(f"it cannot be read ({error})") from error
    if write(found) != content:
        raise ArchiveError("it holds more than is known of its format")
    return found


def write(contents: Contents) -> bytes:
    writer = _Writer(contents.width)
    writer.parts.append(contents.header)
    writer.number(len(contents.entries))
    for entry in contents.entries:
        writer.entry(entry)
    return b"".join(writer.parts)


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content, self.at, self.width = content, 0, 4

    def header(self) -> tuple[bytes, int]:
        if self.take(len(_MAGIC)) != _MAGIC:
            raise ArchiveError("it is no table of contents of pg_dump")
        major, minor, _revision, self.width, _offsets, _format = self.take(6)
        if major != 1 or not _OLDEST <= minor <= _NEWEST:
            raise ArchiveError(f"it has version {major}.{minor} of pg_dump's format, and 1.{_OLDEST} to 1.{_NEWEST} are known")
        if minor >= _COMPRESSED_BY_NAME:
            self.take(1)
        else:
            self.number()
        for _part in range(_MOMENT):
            self.number()
        for _text in ("database", "version of the server", "version of pg_dump"):
            self.text()
        return self.content[: self.at], minor

    def entry(self, minor: int) -> Entry:
        return Entry(
            number=self.number(),
            has_data=self.number(),
            catalog=self.text(),
            oid=self.text(),
            tag=self.text(),
            kind=self.text(),
            section=self.number(),
            statement=self.text(),
            drop=self.text(),
            copy=self.text(),
            namespace=self.text(),
            tablespace=self.text(),
            access_method=self.text(),
            relkind=self.number() if minor >= _RELKIND else None,
            owner=self.text(),
            with_oids=self.text(),
            dependencies=self.texts(),
            file=self.text(),
        )

    def take(self, count: int) -> bytes:
        found = self.content[self.at : self.at + count]
        if len(found) != count:
            raise ValueError("it ends too early")
        self.at += count
        return found

    def number(self) -> int:
        negative = self.take(1) != b"\0"
        found = int.from_bytes(self.take(self.width), "little")
        return -found if negative else found

    def text(self) -> bytes | None:
        length = self.number()
        return None if length < 0 else self.take(length)

    def texts(self) -> tuple[bytes, ...]:
        found: list[bytes] = []
        while (text := self.text()) is not None:
            found.append(text)
        return tuple(found)


class _Writer:
    def __init__(self, width: int) -> None:
        self.width = width
        self.parts: list[bytes] = []

    def entry(self, entry: Entry) -> None:
        self.number(entry.number)
        self.number(entry.has_data)
        for text in (entry.catalog, entry.oid, entry.tag, entry.kind):
            self.text(text)
        self.number(entry.section)
        for text in (entry.statement, entry.drop, entry.copy, entry.namespace, entry.tablespace, entry.access_method):
            self.text(text)
        if entry.relkind is not None:
            self.number(entry.relkind)
        for text in (entry.owner, entry.with_oids, *entry.dependencies, None, entry.file):
            self.text(text)

    def number(self, found: int) -> None:
        self.parts.append((b"\1" if found < 0 else b"\0") + abs(found).to_bytes(self.width, "little"))

    def text(self, found: bytes | None) -> None:
        self.number(-1 if found is None else len(found))
        self.parts.append(found or b"")
