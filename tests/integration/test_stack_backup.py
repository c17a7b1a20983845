# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's verbs on a whole stack: a set is taken and verified, something is lost, the set brings it back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import query, redis_client
from stack import ROOT, Run, Stack

FLAG = "INSERT INTO nexanest.feature_flags (flag_name, description) VALUES ('{}', 'a flag of a test') ON CONFLICT DO NOTHING"
FLAGS = "SELECT flag_name FROM nexanest.feature_flags WHERE description = 'a flag of a test' ORDER BY 1"


def sets(stack: Stack) -> list[str]:
    folder = stack.folder / "backups"
    return sorted(path.name for path in folder.iterdir() if path.name[0].isdigit()) if folder.is_dir() else []


def backup(stack: Stack, *arguments: str) -> Run:
    return stack.playbook("backup", *arguments).checked()


@pytest.fixture(scope="module")
def named(stack: Stack) -> Iterator[None]:
    """The stack under its name in inventory/, where the operator's verbs look."""
    link = ROOT / "inventory" / stack.name
    link.unlink(missing_ok=True)
    link.symlink_to(stack.inventory.parent, target_is_directory=True)
    yield
    link.unlink()


@pytest.fixture(scope="module")
def taken(stack: Stack, named: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A set with a flag and a key in it, taken as by the clock: the installed line in an empty environment."""
    query(stack, "postgres", "nexanest", FLAG.format("kept_flag"))
    redis_client(stack).set("auth:kept", "yes")
    before, folder = sets(stack), tmp_path_factory.mktemp("schedule")
    (folder / "settings").write_text(f"stack={stack.name}\nlog={folder}/backup.log\n", encoding="utf-8")
    by_the_clock(folder)
    assert (folder / "last-success").exists()
    (new,) = set(sets(stack)) - set(before)
    return new


def by_the_clock(folder: Path) -> None:
    """As cron runs the line that the role backup_schedule installs."""
    line = ["env", "-i", "/bin/sh", "-c", f"{ROOT}/scripts/scheduled-backup {folder}"]
    done = subprocess.run(line, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr


def test_check_mode_says_what_a_backup_would_do_and_makes_none(stack: Stack, taken: str) -> None:
    planned = stack.playbook("backup", check=True).checked()
    assert planned.changed_tasks == ["nexanest.database.backup : take | Take a backup set"]
    assert sets(stack)[-1] == taken


@pytest.mark.long
def test_a_set_that_is_young_enough_is_no_change(stack: Stack, taken: str) -> None:
    assert backup(stack, "-e", "backup_unless_newer_than=1h").changed_tasks == []
    assert backup(stack, "-e", f"backup_id={taken}").changed_tasks == []


def test_every_byte_of_a_set_can_be_read_again(stack: Stack, taken: str) -> None:
    done = stack.playbook("backups", "-e", "backup_verify=true").checked()
    assert taken in done.stdout
    # How far it is stands beside the report.
    assert f"{taken}: reading" in done.stderr
    assert f"{taken}: reading" not in done.stdout


def test_a_restore_brings_back_what_was_lost_and_no_more(stack: Stack, taken: str) -> None:
    query(stack, "postgres", "nexanest", "DELETE FROM nexanest.feature_flags WHERE flag_name = 'kept_flag'")
    query(stack, "postgres", "nexanest", FLAG.format("later_flag"))
    redis_client(stack).delete("auth:kept")
    arguments = ["-e", f"backup={taken}", "-e", "databases=nexanest,redis/redis", "-e", "disconnect=true"]
    assert query(stack, "postgres", "nexanest", FLAGS) == [("later_flag",)]
    assert stack.playbook("restore", *arguments, check=True).checked().changed_tasks == ["nexanest.database.backup : restore | Restore, undo or clean up"]
    assert query(stack, "postgres", "nexanest", FLAGS) == [("later_flag",)]
    stack.playbook("restore", *arguments).checked()
    assert query(stack, "postgres", "nexanest", FLAGS) == [("kept_flag",)]
    assert redis_client(stack).get("auth:kept") == "yes"


def test_services_log_in_after_a_restore_and_nothing_is_left_to_converge(stack: Stack, taken: str) -> None:
    assert query(stack, "postgres", "nexanest", "SELECT current_user", user="nexanest_app") == [("nexanest_app",)]
    assert stack.playbook("site", "--tags", "redis,data_model").checked().changed_tasks == []


def test_a_restore_is_undone_and_cleaned_up(stack: Stack, taken: str) -> None:
    stack.playbook("restore", "-e", "state=undone", "-e", "disconnect=true").checked()
    assert query(stack, "postgres", "nexanest", FLAGS) == [("later_flag",)]
    assert redis_client(stack).get("auth:kept") is None
    stack.playbook("restore", "-e", "state=cleaned").checked()
    assert query(stack, "postgres", "postgres", "SELECT datname FROM pg_database WHERE starts_with(datname, '_restore_')") == []
    query(stack, "postgres", "nexanest", "DELETE FROM nexanest.feature_flags WHERE description = 'a flag of a test'")
