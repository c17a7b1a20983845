# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What redis-check-rdb says of a file, as data. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

_VERSION = re.compile(r"^\[offset \d+\] AUX FIELD redis-ver = '([^']+)'$", re.MULTILINE)
_END = re.compile(r"^\[offset (\d+)\] \\o/ RDB looks OK! \\o/$", re.MULTILINE)
_SELECTED = re.compile(r"^\[offset (\d+)\] Selecting DB ID (\d+)$", re.MULTILINE)
_SIZES = b"\xfb"
_COUNT = r"^\[info\] (\d+) {}$"


class RdbError(Exception):
    """The words of redis-check-rdb are not those of a whole file; the text says what is missing."""


@dataclass(frozen=True)
class Rdb:
    """A snapshot file. version: of the server that wrote it; bytes: where the data end, which is the file's size.

    keys: all of them; expires: those with a time to live; expired: those of them whose time was over when the file was checked;
    field_expires: hashes with fields that have a time to live, which vanish with the last of these fields.
    """

    version: str
    bytes: int
    keys: int
    expires: int
    expired: int
    field_expires: int


def parse(said: str, size: int) -> Rdb:
    """Read the output of redis-check-rdb on a file of `size` bytes."""
    version, end = _VERSION.search(said), _END.search(said)
    if version is None or end is None:
        raise RdbError("redis-check-rdb does not say that it is whole, and which version wrote it")
    if int(end[1]) != size:
        raise RdbError(f"its data end after {end[1]} of {size} bytes")
    return Rdb(
        version=version[1],
        bytes=size,
        keys=_count(said, "keys read"),
        expires=_count(said, "expires"),
        expired=_count(said, "already expired"),
        # Redis before 7.4 knows no such fields, and does not count them.
        field_expires=_count(said, "subexpires", missing=0),
    )


def databases(said: str, content: BinaryIO) -> dict[int, tuple[int, int]] | None:
    """Keys, and those with a time to live, of each logical database: they stand where redis-check-rdb says that one begins; None where they do not."""
    found = {}
    for offset, number in _SELECTED.findall(said):
        content.seek(int(offset))
        if content.read(1) != _SIZES:
            return None
        found[int(number)] = (_length(content), _length(content))
    return found


def _length(content: BinaryIO) -> int:
    """A number as Redis writes lengths."""
    first = content.read(1)[0]
    if first >> 6 == 0:
        return first
    if first >> 6 == 1:
        return (first & 0x3F) << 8 | content.read(1)[0]
    return int.from_bytes(content.read(8 if first == 0x81 else 4), "big")


def _count(said: str, what: str, *, missing: int | None = None) -> int:
    found = re.search(_COUNT.format(what), said, re.MULTILINE)
    if found is None and missing is None:
        raise RdbError(f"redis-check-rdb does not say how many there are of: {what}")
    return int(found[1]) if found else int(missing or 0)
