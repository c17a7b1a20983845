# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a recovery."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._recovery_journal import PROMOTING, READY, Entry, Journal, JournalError

ENTRY = Entry("00aa11bb", READY, "time 2025-05-31 12:34:55+00", "20250531-020000F", "2025-05-31T12:40:00+00:00", inode=7)


def test_what_is_written_is_read_and_replaces_what_was_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.read() is None
    assert journal.write(ENTRY) == ENTRY
    later = dataclasses.replace(ENTRY, phase=PROMOTING, replaced=9, displaced="7713")
    journal.write(later)
    assert journal.read() == later
    assert [path.name for path in tmp_path.iterdir()] == ["pitr.json"]
    journal.remove()
    journal.remove()
    assert journal.read() is None


def test_a_write_that_was_cut_off_leaves_the_old_entry(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(ENTRY)
    (tmp_path / ".pitr.json.new").write_text('{"id": "half', encoding="utf-8")
    assert journal.read() == ENTRY
    journal.write(dataclasses.replace(ENTRY, inode=8))
    assert journal.read() == dataclasses.replace(ENTRY, inode=8)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"id": "x"}', '{"phase": "ready", "unknown": 1}', "\x00"])
def test_a_journal_that_cannot_be_read_stops_everything(tmp_path: Path, text: str) -> None:
    journal = Journal(tmp_path)
    journal.file.write_text(text, encoding="utf-8")
    with pytest.raises(JournalError, match=r"pitr\.json cannot be read"):
        journal.read()


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be written"):
        Journal(tmp_path / "missing").write(ENTRY)
    (tmp_path / "pitr.json").mkdir()
    with pytest.raises(JournalError, match="cannot be written"):
        Journal(tmp_path).write(ENTRY)
