# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a run, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._run_lock import LockError, command_line, find_holder, lock_file, take


@pytest.fixture
def runs() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes that stand for runs."""
    started = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)", "site.yml", "-e", "password=hunter2"]) for _number in range(2)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_the_second_run_is_refused_with_who_has_the_lock(tmp_path: Path, runs: list[subprocess.Popen[bytes]]) -> None:
    lock = tmp_path / "lock"
    assert take(lock, runs[0].pid) is None
    began = time.monotonic()
    holder = take(lock, runs[1].pid)
    assert time.monotonic() - began < 2
    assert holder is not None
    assert holder.pid == runs[0].pid
    assert holder.user
    assert "site.yml -e …" in str(holder)
    assert "hunter2" not in str(holder)


def test_the_same_run_takes_it_again(tmp_path: Path, runs: list[subprocess.Popen[bytes]]) -> None:
    assert [take(tmp_path / "lock", runs[0].pid) for _time in range(3)] == [None, None, None]


def test_a_killed_run_leaves_no_lock(tmp_path: Path, runs: list[subprocess.Popen[bytes]]) -> None:
    lock = tmp_path / "lock"
    assert take(lock, runs[0].pid) is None
    runs[0].send_signal(signal.SIGKILL)
    assert take(lock, runs[1].pid) is None
    assert find_holder(lock).pid == runs[1].pid


def test_stacks_do_not_block_each_other(tmp_path: Path, runs: list[subprocess.Popen[bytes]]) -> None:
    assert take(tmp_path / "one", runs[0].pid) is None
    assert take(tmp_path / "two", runs[1].pid) is None


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LockError, match="could not take the lock"):
        take(tmp_path / "lock", os.getpid())
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_file_is_named_after_the_stack_and_stays_in_its_folder() -> None:
    assert lock_file("shop-db/../1").name == "nexanest.database-shop-db_.._1.lock"


def test_a_missing_common_folder_is_made_and_not_evaded(tmp_path: Path, runs: list[subprocess.Popen[bytes]]) -> None:
    common = tmp_path / "lock"
    first = lock_file("shop-localhost", common)
    assert first.parent == common
    assert not common.exists()
    assert take(first, runs[0].pid) is None
    assert common.stat().st_mode & 0o7777 == 0o1777
    holder = take(lock_file("shop-localhost", common), runs[1].pid)
    assert holder is not None
    assert holder.pid == runs[0].pid


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/venv/bin/python3", "/venv/bin/ansible-playbook", "site.yml"], "python3 ansible-playbook site.yml"),
        (["a", "b", "-e", "x=secret", "-v"], "a b -e … -v"),
        (["a", "b", "--extra-vars", "x=secret"], "a b --extra-vars …"),
        (["a", "b", "--extra-vars=x=secret"], "a b --extra-vars=…"),
        (["a", "b", "-ex=secret"], "a b -e…"),
    ],
)
def test_extra_variables_are_not_shown(words: list[str], shown: str) -> None:
    assert command_line(words) == shown
