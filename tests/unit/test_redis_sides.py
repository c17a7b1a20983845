# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the names in a volume of Redis mean."""

from __future__ import annotations

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._redis_sides import SidesError, parse

A, B = "0a0a0a0a", "0b0b0b0b"


@pytest.mark.parametrize(
    ("entries", "order", "swapped"),
    [
        ([], "", False),
        (["new"], "", False),
        (["new.partial"], "", False),
        (["old"], "", True),
        (["new", "old.partial"], f"{A} new old\n", True),
        (["new", "old"], f"{A} new old\n", True),
        (["old", "new.partial"], f"{A} old new\n", False),
        (["new", "old"], f"{A} old new\n", False),
        (["old"], f"{B} old new\n", True),
    ],
)
def test_where_a_restore_is_is_read_from_names(entries: list[str], order: str, swapped: bool) -> None:
    listing = "".join(f".restore-{A}\n.restore-{A}/{entry}\n" for entry in entries)
    assert parse(listing, order).swapped(A) is swapped


@pytest.mark.parametrize("order", [A, f"{A} new new", "x new old", f"{A} new old more"])
def test_an_order_that_no_restore_writes_is_refused(order: str) -> None:
    with pytest.raises(SidesError, match="which no restore writes"):
        parse("", order)


def test_data_that_were_live_are_never_litter() -> None:
    listing = f"""
.restore-{A}/new
.restore-{A}/old
.restore-{B}/new
.restore-{B}/removed
.restore-0c0c0c0c/old
.restore-0c0c0c0c/removed
.restore-0d0d0d0d/new
.restore-0d0d0d0d/old.partial
.restore-other/new
"""
    sides = parse(listing, "")
    assert sides.litter({B}) == [".restore-0c0c0c0c/removed"]
    assert sides.litter([]) == [f".restore-{B}/new", f".restore-{B}/removed", ".restore-0c0c0c0c/removed"]
    assert sides.olds() == [A, "0c0c0c0c"]
    assert parse(listing, f"{B} new old").litter([]) == [".restore-0c0c0c0c/removed"]
