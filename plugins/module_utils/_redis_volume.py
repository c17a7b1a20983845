# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The volume of a Redis container, worked on by throw-away containers of the same image: the server's own user, no network, no rights."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import LABEL
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._redis_sides import Sides, parse

DATA, CONFIGURATION = "/data", "/etc/nexanest"
DUMP = "dump.rdb"
_READ = "cd /data; ls -d .restore-*/ .restore-*/* 2>/dev/null | sed 's:/$::'; echo =; cat .restore-order 2>/dev/null || true"
_COPY = """set -eu; umask 077; cd /data
side=".restore-$1"; new="$side/new.partial"
rm -rf "$new"; mkdir -p "$new"; cat >"$new/dump.rdb"
sync "$new/dump.rdb" "$new" "$side" .
sha256sum "$new/dump.rdb"
"""
_FINISH = """set -eu; cd "/data/.restore-$1"; mv new.partial new; sync ."""
# The folder that takes what is put aside is made first: on a full disk it fails here, while nothing has moved.
# A side that was in place once may hold more than its dump.
_ORDER = """set -eu; umask 077; cd /data
mkdir -p ".restore-$1/$3.partial"
[ "$2" = new ] || : >".restore-$1/undone"
printf '%s %s %s\\n' "$1" "$2" "$3" >.restore-order.partial
sync .restore-order.partial ".restore-$1"
mv .restore-order.partial .restore-order; sync ."""
_AWAY = """set -eu; cd "/data/.restore-$1"
rm -rf removed; if [ -d "$2" ]; then mv "$2" removed; sync .; rm -rf removed; fi"""
_CLEAR = """set -eu; cd /data; for path do rm -rf "$path"; done
for side in .restore-*/; do
    [ -d "$side" ] || continue
    rmdir "$side"*.partial 2>/dev/null || true
    [ -d "$side/new" ] || [ -d "$side/old" ] || rm -f "$side/undone"
    rmdir "$side" 2>/dev/null || true
done"""


class VolumeError(Exception):
    """Something in the volume could not be done; one sentence."""


@dataclass(frozen=True)
class Volume:
    """data, configuration: mounts of the server's container, as docker run takes them; stop_timeout: seconds that its end may take."""

    container: str
    image: str
    user: str
    data: str
    configuration: str
    memory_mb: int
    stop_timeout: int
    mark: str

    def sides(self) -> Sides:
        listing, _mark, order = self._script(_READ, read_only=True).partition("=\n")
        return parse(listing, order)

    def finishes_exchanges(self) -> bool:
        """Whether the server's own start script knows what an ordered exchange is."""
        return self._script(f"grep -c restore-order {CONFIGURATION}/start-redis || true", read_only=True).strip() not in ("", "0")

    def copy(self, name: str, plain: Path) -> str:
        """Put a file there as the beginning of a side; its SHA-256 as it lies there."""
        with plain.open("rb") as file:
            return self._script(_COPY, name, stdin=file.fileno()).split()[0]

    def check(self, name: str) -> str:
        """What redis-check-aof says of it: it must be whole, and end where the base of an append-only file ends."""
        return self._run([*self._options(), "--entrypoint", "redis-check-aof"], [f"{DATA}/.restore-{name}/new.partial/{DUMP}"])

    def finish(self, name: str) -> None:
        self._script(_FINISH, name)

    def order(self, name: str, into: str, out: str) -> None:
        self._script(_ORDER, name, into, out)

    def exchange(self) -> None:
        """Do what is ordered, as the server's start would. The server must be stopped."""
        self._run([*self._options(), "--entrypoint", "sh"], [f"{CONFIGURATION}/start-redis", "exchange"])

    def away(self, name: str, what: str) -> None:
        """Remove a folder of a restore: it loses its name first, so that no half of it is ever taken for a whole."""
        if self.sides().of(name):
            self._script(_AWAY, name, what)
        self.clear([])

    def clear(self, paths: Sequence[str]) -> None:
        self._script(_CLEAR, *paths)

    @contextmanager
    def trial(self, name: str) -> Iterator[Trial]:
        """A throw-away server with the live one's configuration, which has loaded the unfinished side. It can write nothing."""
        container = f"trial-{secrets.token_hex(6)}"
        overrides = {"dir": f"{DATA}/.restore-{name}/new.partial", "appendonly": "no", "save": "", "aclfile": "", "maxmemory-policy": "noeviction"}
        arguments = [part for key, value in {**overrides, "bind": "127.0.0.1", "port": "6379"}.items() for part in (f"--{key}", value)]
        options = ["--detach", "--name", container, *self._options(read_only=True)]
        try:
            self._run([*options, "--entrypoint", "redis-server"], [f"{CONFIGURATION}/redis.conf", *arguments])
            yield Trial(container)
        finally:
            subprocess.run([_client(), "rm", "--force", "--volumes", container], capture_output=True, timeout=120, check=False)

    def _script(self, text: str, *arguments: str, read_only: bool = False, stdin: int = subprocess.DEVNULL) -> str:
        return self._run([*self._options(read_only=read_only), "--entrypoint", "sh"], ["-c", text, "sh", *arguments], stdin=stdin)

    def _options(self, *, read_only: bool = False) -> list[str]:
        return [
            *("--init", "--pull", "never", "--label", f"{LABEL}={self.mark}", "--network", "none", "--read-only", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--pids-limit", "100", "--user", self.user),
            *(("--memory", f"{self.memory_mb}m", "--memory-swap", f"{self.memory_mb}m") if self.memory_mb else ()),
            *("--mount", f"{self.data}{',readonly' if read_only else ''}", "--mount", f"{self.configuration},readonly"),
        ]

    def _run(self, options: Sequence[str], argv: Sequence[str], *, stdin: int = subprocess.DEVNULL) -> str:
        ending = () if "--detach" in options else ("--rm", "--interactive")
        command = [_client(), "run", *ending, *options, self.image, *argv]
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise VolumeError("; ".join(lines[-3:]) or f"a tool ended with {done.returncode} and said nothing")
        return done.stdout


@dataclass(frozen=True)
class Trial:
    """A throw-away server."""

    container: str

    def info(self) -> dict[str, str] | None:
        """What INFO says, or None while the data are being loaded; VolumeError where the server has ended."""
        answer = Docker().execute(self.container, ["redis-cli", "-e", "info", "everything"])
        info = dict(line.split(":", 1) for line in answer.stdout.splitlines() if ":" in line)
        if answer.code == 0 and info.get("loading") == "0":
            return info
        state = Docker().inspect("container", [self.container])
        if not state or not state[0]["State"]["Running"]:
            log = subprocess.run([_client(), "logs", "--tail", "5", self.container], capture_output=True, text=True, timeout=60, check=False)
            raise VolumeError(f"a throw-away server could not load it: {' '.join((log.stdout + log.stderr).split())}")
        return None


def volume_of(container: str, mark: str) -> Volume:
    """Look a server's container up; it may be stopped."""
    found = Docker().inspect("container", [container])
    if not found:
        raise VolumeError(f"there is no container {container}: run site.yml, which makes it")
    document = found[0]
    mounts = {mount["Destination"]: mount for mount in document["Mounts"]}
    missing = [place for place in (DATA, CONFIGURATION) if place not in mounts]
    if missing:
        raise VolumeError(f"the container {container} has nothing mounted at {' and '.join(missing)}, so it is none of this collection's: run site.yml")
    return Volume(
        container=container,
        image=str(document["Image"]),
        user=str(document["Config"]["User"]),
        data=_mount(mounts[DATA]),
        configuration=_mount(mounts[CONFIGURATION]),
        memory_mb=int(document["HostConfig"]["Memory"]) >> 20,
        stop_timeout=int(document["Config"].get("StopTimeout") or 10),
        mark=mark,
    )


def keyspace(info: Mapping[str, str]) -> tuple[int, int]:
    """Keys without a time to live and keys with one, over all logical databases."""
    found = databases(info).values()
    return sum(lasting for lasting, _expiring in found), sum(expiring for _lasting, expiring in found)


def databases(info: Mapping[str, str]) -> dict[int, tuple[int, int]]:
    """The same of each logical database."""
    found = {}
    for name, value in info.items():
        if re.fullmatch(r"db\d+", name):
            counts = dict(part.split("=") for part in value.split(","))
            keys, expires = int(counts["keys"]), int(counts["expires"])
            found[int(name[2:])] = (keys - expires, expires)
    return found


def _mount(mount: dict[str, Any]) -> str:
    source = mount["Name"] if mount["Type"] == "volume" else mount["Source"]
    return f"type={mount['Type']},source={source},target={mount['Destination']}"


def _client() -> str:
    client = shutil.which("docker")
    if client is None:
        raise DockerError("the docker client is not installed on the managed host: run site.yml, which installs it")
    return client
