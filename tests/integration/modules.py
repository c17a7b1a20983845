# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one module of this collection as Ansible would: its own process, arguments as JSON on stdin, result as JSON on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from warm_modules import TIMEOUT, Ended, WarmInterpreter

ROOT = Path(__file__).resolve().parents[2]


def run_module(name: str, args: Mapping[str, Any], check: bool = False, *, path: Sequence[str] = ()) -> dict[str, Any]:
    """The result of module `name` with diff on; `failed` and `changed` are always there.

    path: searched for Python modules before all others.
    """
    run = None if path or "LD_PRELOAD" in os.environ else WARM.run(name, _arguments(args, check))
    if run is None:
        cold = start_module(name, args, check=check, path=path)
        stdout, stderr = cold.communicate(timeout=TIMEOUT)
        run = Ended(cold.returncode, stdout, stderr)
    try:
        result = dict(json.loads(run.stdout))
    except ValueError as error:
        raise AssertionError(f"{name} ended with code {run.code} and no result\n{run.stdout}\n{run.stderr}") from error
    return {"failed": False, "changed": False, **result}


def start_module(name: str, args: Mapping[str, Any], *, check: bool = False, path: Sequence[str] = ()) -> subprocess.Popen[str]:
    """A run of module `name` that goes on by itself; its arguments are written already."""
    run = subprocess.Popen(
        [sys.executable, "-m", f"ansible_collections.nexanest.database.plugins.modules.{name}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*path, str(_collections()), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if run.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            run.stdin.write(_arguments(args, check))
        run.stdin.close()
        run.stdin = None  # communicate() would write to it
    return run


def _arguments(args: Mapping[str, Any], check: bool) -> str:
    common = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": "/tmp", "_ansible_keep_remote_files": False}
    return json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **common}})


def _collections() -> Path:
    """The folder above `ansible_collections`: an installed copy, or the checkout's link to itself."""
    parents = [parent for parent in ROOT.parents if parent.name == "ansible_collections"]
    if parents:
        return parents[0].parent
    link = ROOT / ".ansible_dev" / "ansible_collections" / "nexanest" / "database"
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("../../.."))
    return ROOT / ".ansible_dev"


WARM = WarmInterpreter([str(_collections()), *sys.path])
