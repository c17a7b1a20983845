# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away Redis servers for tests, started as the role redis starts them: its start script, a folder of configuration, a volume."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from containers import newest_image

OWN_USERS = ("boss", "converge", "backup")
LABEL = "nexanest.database.test"
START_SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "redis" / "files" / "start-redis"
START_TIMEOUT = 60.0
HEALTH = ("redis-cli", "--user", "health", "--pass", "health", "--no-auth-warning", "-e", "ping")
APPEND_ONLY = "appendonly yes\nsave 3600 1\n"
CONFIGURATION = """bind 0.0.0.0
port 6379
protected-mode yes
aclfile /etc/nexanest/users.acl
dir /data
dbfilename dump.rdb
appenddirname appendonlydir
appendfilename appendonly.aof
notify-keyspace-events KEA
"""


def redis_image() -> str:
    return newest_image("redis")


def acl_lines(passwords: dict[str, str]) -> list[str]:
    """default off, health, an administrator `boss`, the module's `converge`, the backups' `backup`, and services named like their prefix."""
    digests = {name: hashlib.sha256(password.encode()).hexdigest() for name, password in passwords.items()}
    services = [
        f"user {name} on #{digests[name]} ~{name}:* resetchannels &{name}:* &__keyspace@0__:{name}:* "
        "-@all +@read +@write +@connection +@pubsub -@dangerous -scan"
        for name in passwords
        if name not in OWN_USERS
    ]
    return [
        "user default off resetpass resetchannels -@all",
        "user health on nopass resetchannels -@all +ping",
        f"user boss on #{digests['boss']} ~* &* +@all",
        f"user converge on #{digests['converge']} resetchannels -@all +ping +client|setinfo +config|get +config|set +acl|list +acl|load +info",
        f"user backup on #{digests['backup']} resetchannels -@all +sync +replconf",
        *services,
    ]


@dataclass
class RedisServer:
    """A container, its folder of configuration, and the passwords of its users."""

    container: str
    folder: Path
    passwords: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(docker("port", self.container, "6379/tcp").split()[0].rpartition(":")[2])

    @property
    def acl(self) -> list[str]:
        return acl_lines(self.passwords)

    def arguments(self, **more: Any) -> dict[str, Any]:
        """Arguments of redis_settings."""
        login = {"login_port": self.port, "login_user": "converge", "login_password": self.passwords["converge"]}
        return {**login, "acl": self.acl, "connect_timeout": 5, **more}

    def client(self, user: str | None, password: str | None = None, db: int = 0) -> Any:
        """A client without retries; None is an unauthenticated one."""
        known = None if user is None else password or self.passwords[user]
        return redis.Redis(port=self.port, db=db, username=user, password=known, decode_responses=True, socket_timeout=10, retry=None)

    def write(self, configuration: str = APPEND_ONLY) -> None:
        """Write the files, as the role does: a new file renamed over the old one."""
        files = {"redis.conf": CONFIGURATION + configuration, "users.acl": "\n".join(self.acl) + "\n", "start-redis": START_SCRIPT.read_text()}
        for name, content in files.items():
            new = self.folder / f"{name}.new"
            new.write_text(content)
            new.chmod(0o444)
            new.rename(self.folder / name)

    def health(self) -> int:
        """Exit code of the health check."""
        return subprocess.run(["docker", "exec", self.container, *HEALTH], capture_output=True, check=False, timeout=30).returncode

    def wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while self.health() != 0:
            if time.monotonic() > deadline:
                logs = subprocess.run(["docker", "logs", self.container], capture_output=True, text=True, check=False, timeout=30)
                raise RuntimeError(f"{self.container} did not start: {logs.stdout}{logs.stderr}")
            time.sleep(0.2)

    def restart(self) -> None:
        docker("restart", "--time", "30", self.container)
        self.wait()


@contextlib.contextmanager
def redis_server(
    folder: Path, *, configuration: str = "appendonly yes\nsave 3600 1\n", volume: str | None = None, users: Sequence[str] = ()
) -> Iterator[RedisServer]:
    """Start a server, wait until it answers, and remove it afterwards.

    volume: one that stays; otherwise it goes with the container.
    """
    name = f"td-redis-{secrets.token_hex(4)}"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    server = RedisServer(name, folder, {user: f"{user} {secrets.token_urlsafe(8)} ü'\"$ #" for user in (*OWN_USERS, *users)})
    server.write(configuration)
    docker(
        "run", "--detach", "--init", "--name", name, "--label", LABEL, "--user", "999:999", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--restart", "unless-stopped", "--memory", "256m", "--publish", f"127.0.0.1:{free_port()}:6379",
        "--mount", f"type=bind,source={folder},target=/etc/nexanest,readonly", *(["--volume", f"{volume}:/data"] if volume else []),
        redis_image(), "sh", "/etc/nexanest/start-redis",
    )  # fmt: skip
    try:
        server.wait()
        yield server
    finally:
        docker("rm", "--force", "--volumes", name)
        shutil.rmtree(folder)


def free_port() -> int:
    """One that stays the same when the container starts again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def docker(*argv: str) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"docker {argv[0]} failed: {done.stderr.strip()}")
    return done.stdout
