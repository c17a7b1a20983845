# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The third door: the official tools of a server's own image, in a throw-away container beside the server, as the user who owns the files.

It has the rights of nobody and sees two folders: the one it works on, and the one with the password file. Never in the server's container: that has
a memory limit and another user.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError

LABEL = "nexanest.database.bulk"
WORK, KEYS = "/work", "/keys"
_SCRATCH = "/tmp"  # noqa: S108  inside the container
# Sessions of these tools: no guard rail of a role ends them, no dead companion makes them wait.
PGOPTIONS = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 -c synchronous_commit=local"


# The exit code of what a SIGKILL ended.
_KILLED = 137


class BulkError(Exception):
    """A tool failed, or could not be started; the text has its own last words."""


@dataclass(frozen=True)
class Neighbour:
    """A running container as its neighbours see it.

    image: the very one it runs; network: the one they share; address: its IP there; memory_mb: its limit, 0 without one.
    socket: of one without a network, the folder on this host that its neighbours see at the address.
    """

    container: str
    image: str
    network: str
    address: str
    memory_mb: int = 0
    socket: Path | None = None


def neighbour(container: str) -> Neighbour:
    """Look a container up. The network without a way out is preferred, and an address needs no name resolution."""
    try:
        found = Docker().inspect("container", [container])
    except DockerError as error:
        raise BulkError(str(error)) from error
    if not found:
        raise BulkError(f"there is no container {container}: start the stack first (make db-start)")
    if not found[0]["State"]["Running"]:
        raise BulkError(f"the container {container} does not run: start it first (make db-start)")
    networks = {name: data["IPAddress"] for name, data in found[0]["NetworkSettings"]["Networks"].items() if data["IPAddress"]}
    if not networks:
        raise BulkError(f"the container {container} has no address on any network: restart it (make db-restart)")
    name = min(networks, key=lambda name: (not name.endswith("-data"), name))
    memory_mb = int(found[0]["HostConfig"]["Memory"]) >> 20
    return Neighbour(container, str(found[0]["Image"]), name, str(ipaddress.ip_address(networks[name])), memory_mb)


@dataclass(frozen=True)
class Bulk:
    """Runs tools beside one server.

    beside: the server; None runs without a network. image: of the tool. folder: what is mounted at `target`, keys: what is mounted (read-only) at /keys.
    mounts: more of them, as docker's option --mount takes them. mark: value of the label by which the containers of a killed run are found.
    """

    image: str
    mark: str
    folder: Path
    beside: Neighbour | None = None
    keys: Path | None = None
    read_only: bool = False
    memory_mb: int = 1024
    environment: dict[str, str] = field(default_factory=dict)
    target: str = WORK
    mounts: tuple[str, ...] = ()

    def run(
        self,
        argv: Sequence[str],
        *,
        then: Sequence[str] = (),
        heard: Callable[[str], None] | None = None,
        watch: Callable[[], None] | None = None,
        stdin: bytes = b"",
        timeout: float | None = None,
    ) -> str:
        """Run a tool to its end and return its output.

        then: a second call in the same container when the first has succeeded, as a container costs more than many a call; its output comes behind.
        heard: gets each line of its errors and remarks as it comes. watch: called every second beside it; a BulkError that it raises ends the tool.
        """
        name = f"bulk-{secrets.token_hex(6)}"
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            process = subprocess.Popen(self._command(name, chained(argv, then)), stdin=given, stdout=output, stderr=subprocess.PIPE)
            try:
                with _watched(name, process, watch):
                    lines = _listen(process, heard)
                    code = process.wait(timeout=timeout)
            finally:
                _end(name, process)
            output.seek(0)
            if code != 0:
                raise BulkError(f"{argv[0]} failed: {_why(code, lines, self.memory_mb)}")
            return output.read().decode(errors="replace")

    def _command(self, name: str, argv: Sequence[str]) -> list[str]:
        client = shutil.which("docker")
        if client is None:
            raise BulkError("the docker client is not installed on the managed host: run site.yml, which installs it")
        owner = self.folder.stat()
        socket = self.beside.socket if self.beside else None
        variables = {"HOME": _SCRATCH, "PGPASSFILE": f"{KEYS}/pgpass", "PGOPTIONS": PGOPTIONS, "PGCONNECT_TIMEOUT": "10", **self.environment}
        return [
            *(client, "run", "--rm", "--interactive", "--init", "--name", name, "--pull", "never", "--log-driver", "none"),
            *("--label", f"{LABEL}={self.mark}", "--network", self.beside.network if self.beside else "none"),
            *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "100", "--memory", f"{self.memory_mb}m"),
            *("--user", f"{owner.st_uid}:{owner.st_gid}", "--tmpfs", f"{_SCRATCH}:mode=1777,size=64m"),
            *("--mount", f"type=bind,source={self.folder},target={self.target}{',readonly' if self.read_only else ''}"),
            *(part for mount in self.mounts for part in ("--mount", mount)),
            *(("--mount", f"type=bind,source={socket},target={self.beside.address}") if self.beside and socket else ()),
            *(("--mount", f"type=bind,source={self.keys},target={KEYS},readonly") if self.keys else ()),
            *(part for key, value in variables.items() for part in ("--env", f"{key}={value}")),
            *("--entrypoint", argv[0], self.image, *argv[1:]),
        ]


def chained(argv: Sequence[str], then: Sequence[str]) -> Sequence[str]:
    """One call for both; the exit code is that of the one that failed."""
    return ["sh", "-c", f"{shlex.join(argv)} && exec {shlex.join(then)}"] if then else argv


def remove_left(mark: str) -> None:
    """End the tools of a run that was killed."""
    docker = Docker()
    try:
        for name in docker.names("container", label=f"{LABEL}={mark}"):
            _force(name)
        left = docker.names("container", label=f"{LABEL}={mark}")
        if left:
            raise BulkError(f"{', '.join(left)} of a run that was killed cannot be removed: see what docker says of it, then run this again")
    except DockerError as error:
        raise BulkError(str(error)) from error


@contextmanager
def password_file(folder: Path, server: Neighbour, login: tuple[str, str], *, port: int = 5432) -> Iterator[Path]:
    """A folder that holds PostgreSQL's password file for one login (user, password), gone at the end."""
    keys = Path(tempfile.mkdtemp(prefix="keys-", dir=folder))
    try:
        fields = [server.address, str(port), "*", *login]
        line = ":".join(fields[:3] + [part.replace("\\", "\\\\").replace(":", "\\:") for part in fields[3:]])
        descriptor = os.open(keys / "pgpass", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{line}\n")
        yield keys
    finally:
        shutil.rmtree(keys, ignore_errors=True)


@contextmanager
def _watched(name: str, process: subprocess.Popen[bytes], watch: Callable[[], None] | None) -> Iterator[None]:
    """Call `watch` while the tool runs; what it raises is raised here, after the tool was ended."""
    ended = threading.Event()
    failures: list[BulkError] = []

    def look() -> None:
        while watch is not None and not ended.wait(1):
            try:
                watch()
            except BulkError as error:
                failures.append(error)
                _force(name)
                process.kill()
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failures:
        raise failures[0]


def _listen(process: subprocess.Popen[bytes], heard: Callable[[str], None] | None) -> list[str]:
    """The last lines that a tool says while it runs."""
    lines: list[str] = []
    stream: IO[bytes] | None = process.stderr
    for raw in stream or ():
        line = raw.decode(errors="replace").strip()
        lines = [*lines[-40:], line]
        if heard is not None:
            heard(line)
    return lines


def _why(code: int, lines: Sequence[str], memory_mb: int) -> str:
    """What a tool that is killed said before is no reason."""
    if code == _KILLED:
        return f"it was killed while it worked, by somebody or because it needed more than its {memory_mb} MB of memory: run this again"
    told = [line for line in lines if "error:" in line or "ERROR" in line or "FATAL" in line or "detail:" in line] or [line for line in lines if line]
    return "; ".join(told[-3:]) or f"it ended with {code} and said nothing"


def _end(name: str, process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _force(name)
        process.kill()
        process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _force(name: str) -> None:
    with suppress(subprocess.TimeoutExpired):
        subprocess.run([shutil.which("docker") or "docker", "rm", "--force", "--volumes", name], capture_output=True, timeout=60, check=False)
