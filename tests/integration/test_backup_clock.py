# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets that are taken while the host's clock is wrong, and after it was put right again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from backups import Shop, shop

KEEP = {"hourly": 0, "daily": 2, "weekly": 0, "monthly": 0, "minimum": 1}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("clock")) as found:
        yield found


def taken(shop_: Shop, patch: pytest.MonkeyPatch, days: int, **options: object) -> str:
    """Id of the set that a run makes on a host whose clock is so many days off; empty when it made none."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    patch.setenv("LD_PRELOAD", str(library))
    patch.setenv("FAKETIME", f"{days:+d}d")
    result = shop_.backup(retention=KEEP, **options)
    patch.undo()
    assert not result["failed"], result
    return str(result["set"]["id"]) if result["changed"] else ""


def sets(shop_: Shop) -> set[str]:
    return {path.name for path in shop_.folder.iterdir() if path.name[0].isdigit()}


@pytest.mark.long
def test_a_clock_that_was_wrong_neither_stops_backups_nor_removes_the_newest(filled: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before = taken(filled, monkeypatch, -3)
    ahead = taken(filled, monkeypatch, 40)
    assert sets(filled) == {before, ahead}
    # Put right: what the future left is no reason to take none, and what is taken now is the newest.
    now = taken(filled, monkeypatch, 0, unless_newer_than="20h")
    assert before < now < ahead
    assert sets(filled) == {ahead, now}
    # Set back: the same, and another two days have their set.
    back = taken(filled, monkeypatch, -40, unless_newer_than="20h")
    assert sets(filled) == {back, now}
    assert filled.manifest(back)["serial"] > filled.manifest(now)["serial"]
    assert not taken(filled, monkeypatch, -40, unless_newer_than="20h")
