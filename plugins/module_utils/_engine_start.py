# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start Docker's engine: through systemd, or as a process of its own where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._engine import Engine, EngineError

SYSTEMD = Path("/run/systemd/system")
# A file whose process has ended, or whose number another process has by now, keeps the program from starting.
PID_FILES = {Path("/var/run/docker.pid"): "dockerd", Path("/var/run/docker/containerd/containerd.pid"): "containerd"}
INTERVAL = 0.3


class StartError(Exception):
    """The engine did not start; the text says why and what to do."""


def has_systemd() -> bool:
    return SYSTEMD.is_dir()


def start(*, log: Path, timeout: float) -> None:
    """Start the engine and wait until it answers."""
    if os.geteuid() != 0:
        raise StartError("only root can start Docker's engine: run with become (root or passwordless sudo)")
    if has_systemd():
        _start_unit()
        process = None
    else:
        process = _start_process(log)
    wait(process, log=log, timeout=timeout)


def wait(process: subprocess.Popen[bytes] | None, *, log: Path, timeout: float) -> None:
    """Wait until the engine answers; StartError where it ends before, or never does."""
    deadline = time.monotonic() + timeout
    engine = Engine(timeout=5)
    while True:
        try:
            engine.get("/version")
            return
        except EngineError as error:
            if process is not None and process.poll() is not None:
                raise StartError(f"dockerd ended at once with exit code {process.returncode}: {tail(log)}") from error
            if time.monotonic() > deadline:
                place = "journalctl -u docker" if has_systemd() else str(log)
                raise StartError(f"Docker's engine was started but did not answer within {timeout:.0f} s: {error}. Read {place}") from error
        time.sleep(INTERVAL)


def _start_unit() -> None:
    done = subprocess.run(["systemctl", "enable", "--now", "docker"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StartError(f"systemctl could not start docker: {' '.join(done.stderr.split())} Read journalctl -u docker")


def _start_process(log: Path) -> subprocess.Popen[bytes] | None:
    """dockerd in a session of its own, so that it survives the play; None where one is starting already."""
    program = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise StartError("dockerd is not installed: install docker.io or docker-ce")
    remove_dead_pid_files(PID_FILES)
    if next(iter(PID_FILES)).exists():
        return None
    with log.open("ab") as output:
        return subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True)


def remove_dead_pid_files(files: dict[Path, str], *, proc: Path = Path("/proc")) -> None:
    """Remove the files whose process is not the named program."""
    for path, program in files.items():
        if path.exists() and not _runs(path, program, proc):
            path.unlink(missing_ok=True)


def _runs(path: Path, program: str, proc: Path) -> bool:
    number = path.read_text().strip()
    try:
        return number.isdigit() and (proc / number / "comm").read_text().strip() == program
    except OSError:
        return False


def tail(log: Path, lines: int = 5) -> str:
    """The end of a log, in one line."""
    if not log.exists():
        return "it wrote no log"
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])
