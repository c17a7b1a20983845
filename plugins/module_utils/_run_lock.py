# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a run: a flock held by a small process that dies with the run, so that a killed run never blocks the next.

This file is that process, too: `python _run_lock.py LOCKFILE PID` takes the lock, says so, and waits for the end of PID.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import re
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# A run that has just ended needs a moment until its holder has noticed.
PATIENCE = 3.0
ANSWER_TIMEOUT = 20.0
EXTRA_VARIABLES = ("-e", "--extra-vars")


class LockError(Exception):
    """The lock cannot be taken for a technical reason; the text says which and what to do."""


@dataclass(frozen=True)
class Holder:
    """The run that has the lock; text fields are empty where the system does not show them."""

    pid: int
    user: str = ""
    since: str = ""
    command: str = ""

    def __str__(self) -> str:
        parts = [f"process {self.pid}" if self.pid else "another process"]
        parts += [f"of {self.user}"] if self.user else []
        parts += [f"since {self.since}"] if self.since else []
        parts += [f"({self.command})"] if self.command else []
        return " ".join(parts)


def lock_file(name: str, common: Path = Path("/run/lock")) -> Path:
    """Where the lock of `name` lies: a folder that is empty after a boot, the same for all users where there is one."""
    folders = [Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent"), Path(tempfile.gettempdir())]
    # A machine without an init may lack the folder until somebody makes it; a run that looked elsewhere before would not be seen after.
    if os.access(common if common.exists() else common.parent, os.W_OK):
        folders.insert(0, common)
    folder = next(path for path in folders if path == common or (path.is_dir() and os.access(path, os.W_OK)))
    return folder / f"nexanest.database-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.lock"


def take(path: Path, run: int) -> Holder | None:
    """Take the lock for the process `run`; the other run where one has it, None when it is ours (now, or already before)."""
    deadline = time.monotonic() + PATIENCE
    while True:
        if _start_holder(path, run):
            return None
        holder = find_holder(path)
        if holder.pid == run:
            return None
        if _is_running(holder.pid) or time.monotonic() > deadline:
            return holder
        time.sleep(0.1)


def _start_holder(path: Path, run: int) -> bool:
    command = [sys.executable, str(Path(__file__).resolve()), str(path), str(run)]
    # Not a `with` block: it would wait for the end of a process that stays as long as the run.
    started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True)
    answer = _first_line(started)
    if "error" in answer:
        raise LockError(f"could not take the lock {path} ({answer['error']}): check the rights on {path.parent}, and delete the file if it is not yours")
    if not answer["held"]:
        started.wait(ANSWER_TIMEOUT)
    return bool(answer["held"])


def _first_line(started: subprocess.Popen[bytes]) -> dict[str, object]:
    if started.stdout is None:
        return {"error": "its holder has no output"}
    with started.stdout as output:
        readable, _writable, _special = select.select([output], [], [], ANSWER_TIMEOUT)
        line = output.readline() if readable else b""
    return dict(json.loads(line)) if line else {"error": "its holder did not start"}


def find_holder(path: Path) -> Holder:
    """Who holds the lock, read from the holder's command line: a text in the lock file could be stale or another user's."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
        except OSError:
            continue
        if len(words) == 4 and Path(words[1]).name == Path(__file__).name and words[2] == str(path):
            return _describe(int(words[3]))
    return Holder(0)


def _describe(pid: int) -> Holder:
    folder = Path(f"/proc/{pid}")
    try:
        words = folder.joinpath("cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
        started = _boot_time() + int(_status(pid)[19]) / os.sysconf("SC_CLK_TCK")
        owner = folder.stat().st_uid
    except (OSError, IndexError):
        return Holder(pid)
    try:
        user = pwd.getpwuid(owner).pw_name
    except KeyError:
        user = str(owner)
    return Holder(pid, user, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started)), command_line(words))


def _status(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; the second, the command's name, may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _boot_time() -> int:
    lines = Path("/proc/stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("btime "))


def command_line(words: list[str]) -> str:
    """A command line to show: without the interpreter's path, and without extra variables, which may be secrets."""
    shown: list[str] = []
    for position, word in enumerate(words):
        if position and words[position - 1] in EXTRA_VARIABLES:
            shown.append("…")
        elif word.startswith("--extra-vars="):
            shown.append("--extra-vars=…")
        elif word.startswith("-e") and word not in EXTRA_VARIABLES:
            shown.append("-e…")
        else:
            shown.append(Path(word).name if position < 2 else word)
    return " ".join(shown)


def _is_running(pid: int) -> bool:
    try:
        return pid > 0 and _status(pid)[0] != "Z"
    except OSError:
        return False


def hold(path: Path, run: int) -> None:
    """Take the lock, report it on stdout, and keep it until `run` has ended."""
    try:
        descriptor = _open(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ended = os.pidfd_open(run)
    except BlockingIOError:
        _answer({"held": False})
        return
    except OSError as error:
        _answer({"error": error.strerror or str(error)})
        return
    _answer({"held": True})
    select.select([ended], [], [])


def _open(path: Path) -> int:
    """Reading is enough for a flock, so another user's lock file serves as well; a link is never followed."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        _make_folder(path.parent)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        except FileExistsError:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        os.fchmod(descriptor, 0o644)
        return descriptor


def _make_folder(folder: Path) -> None:
    """As Debian makes /run/lock: every user may add a file, and remove their own only."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(0o1777)


def _answer(document: dict[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(document)}\n")
    sys.stdout.flush()
    # Whoever started this reads one line; an open pipe would keep readers of the run's own output waiting.
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    hold(Path(sys.argv[1]), int(sys.argv[2]))
