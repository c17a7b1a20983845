# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a restore, and what several targets become by it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _restore_swap_all as swap_all
from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import FORWARD, UNDO, Entry, Journal, JournalError

ENTRY = Entry("00aa11bb", "20250531_123456", ["a", "b"], FORWARD, "2026-01-01T00:00:00")


class Trouble(Exception):
    pass


class Side:
    """A target in memory."""

    def __init__(self, name: str, *, stuck: bool = False) -> None:
        self.name, self.stuck = name, stuck
        self.state = "side"

    def swap(self) -> None:
        if self.stuck:
            raise Trouble(f"{self.name} is stuck")
        self.state = "live"

    def unswap(self) -> None:
        if self.state == "live":
            self.state = "undone"

    def discard(self) -> None:
        if self.state == "side":
            self.state = "gone"

    def swapped(self) -> bool:
        return self.state == "live"

    def undone_copies(self) -> bool:
        return self.state == "undone"


def test_a_journal_is_private_and_is_gone_when_the_restore_has_ended(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state")
    journal.write(ENTRY)
    assert journal.open() == ENTRY
    assert journal.file.stat().st_mode & 0o077 == 0
    journal.close(ENTRY, keep=True)
    assert journal.open() is None
    assert journal.kept() == [ENTRY]
    journal.forget(ENTRY)
    assert journal.kept() == []


@pytest.mark.parametrize("text", ["", "{}", '{"restore": "x"}', "[]"])
def test_a_journal_that_cannot_be_read_stops_everything(tmp_path: Path, text: str) -> None:
    journal = Journal(tmp_path)
    journal.file.write_text(text, encoding="utf-8")
    with pytest.raises(JournalError, match="cannot be read"):
        journal.open()


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(JournalError, match="cannot be written"):
        Journal(tmp_path / "file" / "state").write(ENTRY)


def test_one_target_that_cannot_be_swapped_takes_the_others_back(tmp_path: Path) -> None:
    journal, targets = Journal(tmp_path), [Side("a"), Side("b", stuck=True)]
    with pytest.raises(swap_all.TakenBack, match="b is stuck"):
        swap_all.forward_or_back(journal, ENTRY, targets, (Trouble,))  # type: ignore[arg-type]
    assert [target.state for target in targets] == ["undone", "gone"]
    assert journal.open() is None
    assert [entry.direction for entry in journal.kept()] == [UNDO]


def test_a_restore_that_was_cut_off_is_finished_or_undone(tmp_path: Path) -> None:
    journal, targets = Journal(tmp_path), {"a": Side("a"), "b": Side("b")}
    journal.write(ENTRY)
    targets["a"].swap()
    said = swap_all.recover(journal, ENTRY, targets.__getitem__, (Trouble,), undo=False)  # type: ignore[arg-type]
    assert "was finished" in said
    assert all(target.swapped() for target in targets.values())
    said = swap_all.recover(journal, ENTRY, targets.__getitem__, (Trouble,), undo=True)  # type: ignore[arg-type]
    assert "was undone" in said
    assert not any(target.swapped() for target in targets.values())


def test_a_restore_that_cannot_be_finished_leaves_its_journal_open(tmp_path: Path) -> None:
    journal, targets = Journal(tmp_path), {"a": Side("a"), "b": Side("b", stuck=True)}
    journal.write(ENTRY)
    with pytest.raises(swap_all.Unfinished, match="half done"):
        swap_all.recover(journal, ENTRY, targets.__getitem__, (Trouble,), undo=False)  # type: ignore[arg-type]
    assert journal.open() == ENTRY


def test_without_a_journal_nothing_is_swapped_and_nothing_is_called_half_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    targets = [Side("a"), Side("b")]
    with pytest.raises(JournalError, match="cannot be written"):
        swap_all.forward_or_back(Journal(tmp_path / "file" / "state"), ENTRY, targets, (Trouble, JournalError))  # type: ignore[arg-type]
    assert [target.state for target in targets] == ["side", "side"]


def test_the_latest_restore_is_the_latest_whatever_the_clock_says(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for name, started in (("00000001", "2026-01-02T00:00:00"), ("00000002", "2026-01-01T00:00:00")):
        journal.keep(dataclasses.replace(ENTRY, restore=name, started=started, number=journal.following()))
    assert [entry.restore for entry in journal.kept()] == ["00000001", "00000002"]
