# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of the sets: one for two stacks, with a set that was moved away, or on a disk that has no locks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from backup_sets import write_set
from modules import run_module

from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store, now


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "sets")


def backup(store: Store, **options: Any) -> dict[str, Any]:
    """A set of nothing, of the stack `shop`."""
    return run_module("backup_set", {"backup_dir": str(store.folder), "stack": "shop", "encrypt": False, **options})


def test_a_young_set_of_another_stack_is_no_reason_to_take_none(store: Store) -> None:
    write_set(store, started=now())  # of the stack nexanest
    first = backup(store, unless_newer_than="20h")
    assert first["changed"], first
    assert not backup(store, unless_newer_than="20h")["changed"]


def test_a_set_of_another_stack_is_not_the_asked_one(store: Store) -> None:
    name = write_set(store).id
    result = backup(store, id=name)
    assert result["failed"]
    assert f"the set {name} is there and is one of the stack nexanest" in result["msg"]


def test_the_status_of_a_stack_counts_its_own_sets(store: Store) -> None:
    write_set(store, started=now())
    answer = run_module("stack_info", {"stack": "shop", "services": [], "backups": {"dir": str(store.folder)}})
    assert answer["status"]["backups"]["sets"] == 0
    assert answer["status"]["backups"]["problems"][0]["what"].startswith("there is no whole set")


def test_a_set_that_was_moved_away_and_linked_can_be_removed(store: Store, tmp_path: Path) -> None:
    old, _new = write_set(store, 1), write_set(store, 2)
    shutil.move(store.folder / old.id, tmp_path / "elsewhere")
    (store.folder / old.id).symlink_to(tmp_path / "elsewhere")
    store.remove(old.id)
    assert not (store.folder / old.id).is_symlink()
    assert (tmp_path / "elsewhere" / "manifest.json").is_file(), "what the link led to is somebody else's"


def test_whatever_a_killed_run_has_left_stops_no_later_one(store: Store, tmp_path: Path) -> None:
    store.prepare()
    (tmp_path / "elsewhere").mkdir()
    (store.folder / ".removed-20250101_000000").symlink_to(tmp_path / "elsewhere")
    (store.folder / ".partial-20250101_000000").write_text("", encoding="utf-8")
    assert backup(store)["changed"]
    assert (tmp_path / "elsewhere").is_dir()


def test_a_lock_that_cannot_be_taken_is_told_in_a_sentence(store: Store, tmp_path: Path) -> None:
    store.prepare()
    (store.folder / ".lock").symlink_to(tmp_path / "elsewhere")
    result = backup(store)
    assert result["failed"]
    assert result["msg"].startswith(f"no backup was made: {store.folder}/.lock cannot be locked (")
