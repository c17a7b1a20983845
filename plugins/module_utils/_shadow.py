# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away server of the same image: SQL is tried there, because a role that it makes would stay in the real cluster.

No network, no rights, memory only. Its one door is a socket in a private folder of this host. It ends when its standard input does, so it
also goes when whoever started it was killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ansible_collections.nexanest.database.plugins.module_utils._connection import PSYCOPG2_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals

START_TIMEOUT = 120.0
FOLDER = "/shadow"  # of its data, as it sees it
_PREFIX = "nexanest-shadow-"

# A background job of sh has no standard input of its own, hence the descriptor 3; and it ignores QUIT until the server listens to it, hence again and again.
_SCRIPT = """
set -eu
admin=$1 segment=$2
shift 2
initdb -D /shadow/data -U "$admin" -A trust -E UTF8 --locale=C --wal-segsize="$segment" --no-sync --no-instructions >/shadow/initdb 2>&1 ||
  { cat /shadow/initdb >&2; exit 3; }
exec 3<&0
postgres -D /shadow/data -k /socket "$@" &
server=$!
{ cat <&3 >/dev/null; while kill -QUIT "$server"; do sleep 0.2; done; } &
wait "$server"
"""

# Nothing in it is kept, so nothing is synchronised; no job of an extension runs.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "64MB",
    "min_wal_size": "2MB",
    "shared_buffers": "32MB",
    "max_connections": "30",
    "max_locks_per_transaction": "256",
    "autovacuum": "off",
    "cron.launch_active_jobs": "off",
    "timescaledb.telemetry_level": "off",
}


class ShadowUnavailable(Exception):
    """There is no engine or no image here yet (or no right to use them); the text says which."""


class ShadowFailed(Exception):
    """The throw-away server did not start or broke; the text has its own words."""


@dataclass(frozen=True)
class Options:
    """image: of the real server; uid, gid: of its user; admin: the superuser's name, as on the real one; label: the stack's.

    data: a folder for its data, where these may be more than fits into memory; settings: others than a small server in memory has; labels: more of them.
    """

    image: str
    uid: int
    gid: int
    admin: str
    label: str
    preload_libraries: tuple[str, ...]
    memory_mb: int
    data: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()


@contextlib.contextmanager
def server(options: Options) -> Iterator[dict[str, Any]]:
    """Start it and give the login options of the administrator; it is gone at the end, whatever happens."""
    if PSYCOPG2_ERROR is not None:
        raise ShadowUnavailable(f"Python's psycopg2 is missing on the managed host: {PSYCOPG2_ERROR}")
    _require_image(options.image)
    with ended_by_signals(), _folder(options) as folder, tempfile.TemporaryFile() as log:
        name = f"shadow-{secrets.token_hex(6)}"
        process = _start(name, options, folder, log)
        try:
            login = {"login_host": str(folder), "login_port": 5432, "login_user": options.admin, "login_password": "", "login_db": "postgres"}
            params = {**login, "connect_timeout": 10}
            _wait(process, params, options, log)
            yield params
        finally:
            _end(name, process)


def image_of(container: str) -> tuple[str, tuple[int, int] | None]:
    """A container's image, and the numbers of its user and group where it has them. Raises ShadowUnavailable."""
    try:
        found = Docker().inspect("container", [container])
    except DockerError as error:
        raise ShadowUnavailable(str(error)) from error
    if not found:
        raise ShadowUnavailable(f"there is no container {container} on this host")
    uid, _colon, gid = str(found[0]["Config"]["User"]).partition(":")
    return str(found[0]["Config"]["Image"]), (int(uid), int(gid or uid)) if uid.isdigit() and (gid or uid).isdigit() else None


def _require_image(image: str) -> None:
    try:
        found = Docker().inspect("image", [image])
    except DockerError as error:
        raise ShadowUnavailable(str(error)) from error
    if not found:
        raise ShadowUnavailable(f"the image {image} is not on this host yet")


@contextlib.contextmanager
def _folder(options: Options) -> Iterator[Path]:
    """A folder that the server's user can write to, below one that nobody but us can enter."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as outer:
        inner = Path(outer) / "s"
        inner.mkdir()
        inner.chmod(0o711)  # a tool's container has another user
        try:
            os.chown(inner, options.uid, options.gid)
        except PermissionError as error:
            raise ShadowUnavailable(f"a folder cannot be given to the server's user {options.uid}: run with become") from error
        yield inner


def _sweep() -> None:
    """Folders of those that were killed and could not tidy up."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            if path.lstat().st_uid == os.geteuid() and not Path("/proc", pid).exists():
                shutil.rmtree(path, ignore_errors=True)


def _start(name: str, options: Options, folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    settings = {**_SETTINGS, "shared_preload_libraries": ",".join(options.preload_libraries), **options.settings}
    client = shutil.which("docker") or "docker"
    argv = [
        *(client, "run", "--rm", "--interactive", "--init", "--name", name, "--pull", "never", "--log-driver", "none"),
        *("--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "200"),
        *("--memory", f"{options.memory_mb}m", "--shm-size", "64m", "--user", f"{options.uid}:{options.gid}"),
        *_data(options),
        *("--tmpfs", "/tmp:mode=1777,size=64m"),  # noqa: S108  inside the container
        *("--mount", f"type=bind,source={folder},target=/socket"),
        *(part for label in (options.label, *options.labels) if label for part in ("--label", label)),
        *(
            "--env",
            "PGDATA=/shadow/data",
            "--env",
            "TZ=UTC",
            "--entrypoint",
            "sh",
            options.image,
            "-c",
            _SCRIPT,
            "sh",
            options.admin,
            "16" if options.data else "1",
        ),
        *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
    ]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)


def _data(options: Options) -> list[str]:
    """Where its data are: in memory, or in a folder."""
    if options.data is not None:
        return ["--mount", f"type=bind,source={options.data},target=/shadow"]
    return ["--tmpfs", f"/shadow:uid={options.uid},gid={options.gid},mode=0700,size={options.memory_mb * 3 // 4}m"]


def _wait(process: subprocess.Popen[bytes], params: Mapping[str, Any], options: Options, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            connect(params).close()
            return
        except ServerUnreachable as error:
            if process.poll() is not None:
                raise ShadowFailed(f"a throw-away server of {options.image} did not start: {_last_words(log)}") from error
            if time.monotonic() > deadline:
                raise ShadowFailed(f"a throw-away server of {options.image} did not answer within {START_TIMEOUT:.0f} s: {error}") from error
        time.sleep(0.05)


def _last_words(log: IO[bytes]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if "FATAL" in line or "rror" in line] or lines
    return "; ".join(told[-3:]) or "it said nothing"


def _end(name: str, process: subprocess.Popen[bytes]) -> None:
    """The end of its input is enough; by force where it does not hear."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        subprocess.run([shutil.which("docker") or "docker", "rm", "--force", "--volumes", name], capture_output=True, timeout=60, check=False)
        process.kill()
        process.wait(timeout=10)
