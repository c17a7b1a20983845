# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is believed of redis-check-rdb's words."""

from __future__ import annotations

import io

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._redis_rdb import Rdb, RdbError, databases, parse

WHOLE = """[offset 0] Checking RDB file /x/redis.rdb
[offset 26] AUX FIELD redis-ver = '8.0.2'
[offset 40] AUX FIELD redis-bits = '64'
[offset 164] Selecting DB ID 0
[offset 215] Checksum OK
[offset 215] \\o/ RDB looks OK! \\o/
[info] 12 keys read
[info] 7 expires
[info] 2 already expired
[info] 1 subexpires
"""


def test_the_counts_are_read() -> None:
    assert parse(WHOLE, 215) == Rdb(version="8.0.2", bytes=215, keys=12, expires=7, expired=2, field_expires=1)


def test_an_older_checker_counts_no_fields() -> None:
    assert parse(WHOLE.replace("[info] 1 subexpires\n", ""), 215).field_expires == 0


@pytest.mark.parametrize("line", ["AUX FIELD redis-ver", "RDB looks OK", "keys read", "7 expires", "already expired"])
def test_a_missing_line_is_no_whole_file(line: str) -> None:
    with pytest.raises(RdbError):
        parse("".join(text for text in WHOLE.splitlines(keepends=True) if line not in text), 215)


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(RdbError, match="its data end after 215 of 255 bytes"):
        parse(WHOLE, 255)


@pytest.mark.parametrize(
    ("lengths", "found"),
    [
        (b"\x0c\x07", (12, 7)),
        (b"\x41\x00\x07", (256, 7)),
        (b"\x80\x00\x01\x00\x00\x40\x50", (65536, 80)),
        (b"\x81\x00\x00\x00\x01\x00\x00\x00\x00\x00", (2**32, 0)),
    ],
)
def test_the_counts_of_a_logical_database_stand_where_it_begins(lengths: bytes, found: tuple[int, int]) -> None:
    assert databases(WHOLE, io.BytesIO(b"." * 164 + b"\xfb" + lengths)) == {0: found}
    assert databases(WHOLE, io.BytesIO(b"." * 164 + b"\xfa" + lengths)) is None
    assert databases("", io.BytesIO(b"")) == {}
