# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interpreter that has the modules' imports already and forks one process for each run: an import costs more than most runs.

Run as a program it answers requests on its standard input; `WarmInterpreter` is its other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

TIMEOUT = 300.0
PACKAGE = "ansible_collections.nexanest.database.plugins.modules"


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str


class WarmInterpreter:
    """Its program, begun with the first run. One run at a time; `free` says whether none is going on."""

    def __init__(self, search: list[str]) -> None:
        self._search = search
        self._program: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def run(self, name: str, stdin: str) -> Ended | None:
        """The end of a module's run in this environment; None where another run is going on."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            with tempfile.TemporaryDirectory() as folder:
                files = {stream: str(Path(folder) / stream) for stream in ("stdin", "stdout", "stderr")}
                Path(files["stdin"]).write_text(stdin, encoding="utf-8")
                code = self._ask({"name": name, "environment": dict(os.environ), "folder": str(Path.cwd()), **files})
                return Ended(code, *(Path(files[stream]).read_text(encoding="utf-8") for stream in ("stdout", "stderr")))
        finally:
            self._lock.release()

    def _ask(self, request: dict[str, Any]) -> int:
        program = self._program = self._begun()
        asked, answered = _ends(program)
        asked.write(json.dumps(request) + "\n")
        asked.flush()
        limit = threading.Timer(TIMEOUT, os.killpg, (program.pid, signal.SIGKILL))
        limit.start()
        line = answered.readline()
        limit.cancel()
        if not line:
            raise RuntimeError(f"{request['name']} did not end, or its interpreter did: {program.wait(timeout=30)}")
        return int(line)

    def _begun(self) -> subprocess.Popen[str]:
        if self._program is not None and self._program.poll() is None:
            return self._program
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(self._search)}
        return subprocess.Popen([sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _ends(program: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert program.stdin is not None
    assert program.stdout is not None
    return program.stdin, program.stdout


def serve() -> None:
    """One fork for each line, until there are no more."""
    for line in sys.stdin:
        request = json.loads(line)
        # Its imports stay here; a module that cannot be imported says so in its own run.
        with contextlib.suppress(Exception):
            import_module(f"{PACKAGE}.{request['name']}")
        pid = os.fork()
        if pid == 0:
            sys.exit(_run(request))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def _run(request: dict[str, Any]) -> int:
    """The exit code of the module, run as a program of its own in this process."""
    for number, (stream, flags) in enumerate((("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY | os.O_CREAT), ("stderr", os.O_WRONLY | os.O_CREAT))):
        opened = os.open(request[stream], flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    code = 0
    try:
        runpy.run_module(f"{PACKAGE}.{request['name']}", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  (what a program of its own would print)
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve()
