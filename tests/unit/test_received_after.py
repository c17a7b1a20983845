# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the log that receivers have an archive may lack."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from ansible_collections.nexanest.database.plugins.filter.received import received_after

UNTIL = 100_000.0
LAST = "000000010000000000000050"


def names(*files: tuple[str, float], last: str = LAST) -> list[str]:
    found = received_after([{"path": f"/var/lib/r/7713/1/{name}", "mtime": moment} for name, moment in files], last, UNTIL)
    return [PurePosixPath(file["path"]).name for file in found]


def test_the_log_goes_on_where_the_archive_ends() -> None:
    files = [(f"00000001000000000000004{digit}.gz", UNTIL - 5000) for digit in "DEF"]
    wanted = [("000000010000000000000050.gz", UNTIL - 1000), ("000000010000000000000051", UNTIL), ("000000010000000000000052.partial", UNTIL + 5)]
    assert names(*files, *wanted) == [name for name, _moment in wanted]


def test_a_timeline_that_began_at_an_earlier_place_is_wanted() -> None:
    """The bucket's copy is of before the recovery: what was acknowledged since is on the other timeline alone."""
    wanted = [("00000002.history", UNTIL), ("000000020000000000000040.gz", UNTIL + 3000), ("000000020000000000000041.partial", UNTIL + 3010)]
    assert names(("000000010000000000000040.gz", UNTIL - 5000), *wanted) == [name for name, _moment in wanted]


def test_the_timeline_to_which_a_recovery_was_undone_is_wanted() -> None:
    wanted = [("000000010000000000000042.partial", UNTIL + 60)]
    old = [("000000010000000000000041.gz", UNTIL - 5000)]
    assert names(*old, *wanted, last="000000020000000000000060") == ["000000010000000000000042.partial"]


def test_clocks_may_differ() -> None:
    assert names(("000000020000000000000040", UNTIL - 300)) == ["000000020000000000000040"]


@pytest.mark.parametrize("last", ["", "nonsense"])
def test_without_an_end_all_is_wanted(last: str) -> None:
    assert names(("000000010000000000000001.gz", 0), last=last) == ["000000010000000000000001.gz"]


def test_what_is_no_log_is_never_wanted() -> None:
    assert names(("postgresql.conf", UNTIL + 1), ("000000010000000000000051.tmp", UNTIL + 1), (f"x{LAST}", UNTIL + 1)) == []
