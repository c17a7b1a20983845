# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in the background that somebody kills is told as killed, and not followed for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stack import ROOT, environment

from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store
from ansible_collections.nexanest.database.plugins.plugin_utils import background


def workers(folder: Path) -> list[int]:
    """Processes of an Ansible whose folder for what it sends is this one, its supervisor too."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in text and b"AnsiballZ_restore" in text:
            found.append(int(path.parent.name))
    return found


def wait(done: Callable[[], object], what: str, limit: float = 120) -> None:
    deadline = time.monotonic() + limit
    while not done():
        assert time.monotonic() < deadline, f"{what}: not within {limit:.0f} s"
        time.sleep(0.3)


@pytest.mark.long
def test_work_that_was_killed_is_told(tmp_path: Path) -> None:
    remote, store = tmp_path / "remote", Store(tmp_path / "sets")
    store.prepare()
    inventory, play = tmp_path / "hosts.yml", tmp_path / "play.yml"
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}", "ansible_remote_tmp": str(remote)}
    inventory.write_text(json.dumps({"all": {"hosts": {"localhost": local}}}))
    given = {"backup_dir": str(store.folder), "state_dir": str(tmp_path / "state"), "state": "undone", "lock_wait": 600}
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [{"nexanest.database.restore": given}]}]))
    argv = [str(ROOT / ".venv" / "bin" / "ansible-playbook"), "--inventory", str(inventory), str(play)]
    with store.locked("the test", wait=0):
        run = subprocess.Popen(argv, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
        try:
            wait(lambda: len(workers(remote)) >= 2, "the work began")
            time.sleep(background.POLL_SECONDS * (background.LOOKS + 1))
            assert run.poll() is None, "work that goes on is followed"
            while found := workers(remote):
                for pid in found:
                    os.kill(pid, signal.SIGKILL)
            output, _none = run.communicate(timeout=300)
        finally:
            run.kill()
            run.wait()
    assert run.returncode != 0
    assert "was killed on the managed host" in output, output
