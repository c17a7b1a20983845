# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the status says about real sets, notes and journals on the disk."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from backup_sets import write_set
from modules import run_module
from stack import ROOT, Run, ansible_playbook

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Copy, Store, now


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "sets")


def status(store: Store, **options: Any) -> tuple[dict[str, Any], str]:
    """The backups and the text."""
    answer = run_module("stack_info", {"services": [], "backups": {"dir": str(store.folder), **options}})
    assert not answer["failed"], answer
    return dict(answer["status"]["backups"]), str(answer["report"])


def told(store: Store, **options: Any) -> list[str]:
    return [f"{problem['level']}: {problem['what']}" for problem in status(store, **options)[0]["problems"]]


def schedule(folder: Path, failure: str = "", since: float = 0.0) -> dict[str, Any]:
    """The notes in a folder, as the other module reads them."""
    folder.mkdir(exist_ok=True)
    (folder / "settings").touch()
    os.utime(folder / "settings", (time.time() - since, time.time() - since))
    if failure:
        (folder / "last-failure").write_text(failure)
    return dict(run_module("backup_schedule_info", {"dir": str(folder)})["schedule"])


def test_the_newest_set_by_its_serial_counts(store: Store) -> None:
    write_set(store, 1, started=now() + timedelta(days=700))
    write_set(store, 2, started=now() - timedelta(hours=2))
    found, text = status(store)
    assert (found["sets"], found["problems"]) == (2, [])
    assert abs(found["age"] - 7200) < 60
    assert "backups: the last one 2h 0m ago" in text
    assert told(store, max_age="1h")[0].startswith("yellow: the newest set")


def test_no_set_an_old_one_and_a_broken_one(store: Store, tmp_path: Path) -> None:
    assert told(store) == ["yellow: there is no whole set: none was taken, or none can be read"]
    old = write_set(store, 1, started=now() - timedelta(hours=30))
    assert told(store)[0].startswith("yellow: the newest set")
    assert told(store, schedule=schedule(tmp_path / "notes"))[0].startswith("red: the newest set")
    write_set(store, 2, started=now())
    (store.folder / old.id / manifests.NAME).write_text("{}")
    assert told(store)[0].startswith(f"yellow: the set {old.id} cannot be used")


def test_a_schedule_that_never_took_a_set_is_red_when_it_is_old_enough(store: Store, tmp_path: Path) -> None:
    assert told(store, schedule=schedule(tmp_path / "notes"))[0].startswith("yellow")
    assert told(store, schedule=schedule(tmp_path / "notes", since=27 * 3600))[0].startswith("red: there is no whole set")


@pytest.mark.parametrize(("note", "at"), [("2025-05-31T03:15:00+00:00\n7\nthe disk is full\n", "2025-05-31 03:15 UTC"), ("", ""), ("nonsense", "not known")])
def test_a_failed_run_is_red(store: Store, tmp_path: Path, note: str, at: str) -> None:
    write_set(store, started=now())
    found = told(store, schedule=schedule(tmp_path / "notes", note))
    assert bool(found) == bool(note)
    assert all(line.startswith("red: the last scheduled backup failed") and at in line for line in found)


def test_the_newest_set_that_was_noted_as_copied_to_this_bucket_counts(store: Store) -> None:
    bucket = {"bucket": "b", "prefix": "p", "endpoint_url": "https://s3.example.org"}
    old = write_set(store, 1, started=now() - timedelta(hours=30))
    store.copied(old, Copy("2025-05-31", "s3://b/p at https://s3.example.org"))
    assert (told(store, max_age="40h", offsite=bucket), status(store, offsite=bucket)[0]["copied"]) == ([], old.id)
    new = write_set(store, 2, started=now())
    assert told(store, offsite=bucket)[0].endswith(f"{old.id}, is 1d 6h older than {new.id}")
    assert "no set of this machine" in told(store, offsite={**bucket, "bucket": "other"})[0]
    store.copied(new, Copy("2025-05-31", "s3://b/p at https://s3.example.org"))
    assert told(store, offsite=bucket) == []
    store.remove(new.id)
    assert [entry.copied is not None for entry in store.entries()] == [True]
    assert status(store)[0]["copied"] is None


@pytest.mark.parametrize(
    ("text", "words"), [('{"set": "1", "targets": ["postgres", "redis"], "started": "now"}', "the set 1 on postgres, redis"), ("{", "cannot be read")]
)
def test_a_restore_that_has_not_ended_is_red(store: Store, tmp_path: Path, text: str, words: str) -> None:
    write_set(store, started=now())
    assert told(store, state_dir=str(tmp_path)) == []
    (tmp_path / "restore.json").write_text(text)
    (line,) = told(store, state_dir=str(tmp_path))
    assert line.startswith("red: a restore has begun and not ended")
    assert words in line


def test_an_age_that_is_none_is_refused(store: Store) -> None:
    answer = run_module("stack_info", {"services": [], "backups": {"dir": str(store.folder), "max_age": "soon"}})
    assert "max_age is 'soon'" in answer["msg"]


def play(tmp_path: Path, **variables: Any) -> Run:
    """playbooks/status.yml of a stack without services."""
    inventory = tmp_path / "inventory" / "statustest" / "hosts.yml"
    inventory.parent.mkdir(parents=True, exist_ok=True)
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    values = {"stack_name": "statustest", "stack_services": [], **variables}
    inventory.write_text(json.dumps({"database": {"hosts": {"localhost": local}, "vars": values}}))
    return ansible_playbook(ROOT / "playbooks" / "status.yml", "--inventory", str(inventory))


@pytest.mark.long
def test_the_verb_finds_sets_and_notes_where_the_roles_put_them(tmp_path: Path) -> None:
    assert "backups: none, by hand alone" in play(tmp_path).checked().stdout
    write_set(Store(tmp_path / "backups.statustest"), started=now(), stack="statustest")
    (tmp_path / ".schedule").mkdir()
    schedule(tmp_path / ".schedule" / "statustest", "2025-05-31T03:15:00+00:00\n7\nthe disk is full\n")
    run = play(tmp_path)
    assert run.rc != 0
    assert "the disk is full" in run.stdout
    assert "one set, by the clock" in run.stdout
    assert "restore drill: none yet, by hand alone" in run.stdout
