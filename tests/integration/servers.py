# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away PostgreSQL servers for tests: data in memory, no fsync, a free loopback port, gone at the end."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from containers import newest_image

LABEL = "nexanest.database.test"
START_TIMEOUT = 90.0

# initdb and the server directly: the same in the built and in the official image, and faster than their entry points.
START = """
set -eu
printf '%s' "$TEST_PASSWORD" >/tmp/password
initdb -D "$PGDATA" -U "$TEST_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \\
  -E UTF8 --locale-provider=builtin --locale=C.UTF-8 --no-sync >/dev/null
rm /tmp/password
echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
set -- -D "$PGDATA" -k /tmp -c listen_addresses='*' -c fsync=off -c full_page_writes=off -c shared_buffers=32MB "$@"
[ -z "$TEST_RESTARTS" ] || while :; do postgres "$@" || sleep 0.2; done
exec postgres "$@"
"""


@dataclass(frozen=True)
class Server:
    """Where a throw-away server listens and who its superuser is."""

    container: str
    host: str
    port: int
    user: str
    password: str

    @property
    def login(self) -> dict[str, Any]:
        """The login options of the collection's modules."""
        return {"login_host": self.host, "login_port": self.port, "login_user": self.user, "login_password": self.password}

    def connect(self, database: str = "postgres", *, user: str | None = None, password: str | None = None) -> psycopg2.extensions.connection:
        """An autocommit session, as the superuser unless `user` and `password` are given."""
        connection = psycopg2.connect(
            host=self.host, port=self.port, dbname=database, user=user or self.user, password=password or self.password, connect_timeout=10
        )
        connection.autocommit = True
        return connection

    def query(self, statement: str, *values: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of one statement, run as the superuser; [] where it has none."""
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description is not None else []  # a row may have no columns


def postgres_image() -> str:
    return newest_image("postgres")


@contextlib.contextmanager
def postgres_server(
    *,
    image: str | None = None,
    user: str = "nexanest",
    settings: Sequence[str] = (),
    prefix: str = "test",
    disk: str = "1g",
    memory: str = "512m",
    restarts: bool = False,
    uid: int = 999,
) -> Iterator[Server]:
    """Start a server, wait until it answers, and remove it afterwards.

    settings: more of the server's settings, as "name=value"; disk: size of what it can write to, a part of its memory; restarts: start again when it ended;
    uid: the image's user of that server.
    """
    name = f"{prefix}-postgres-{secrets.token_hex(4)}"
    password = secrets.token_urlsafe(16)
    options = [part for setting in settings for part in ("-c", setting)]
    _docker(
        "run", "--detach", "--init", "--name", name, "--label", LABEL, "--user", f"{uid}:{uid}",
        "--tmpfs", f"/data:uid={uid},gid={uid},mode=0700,size={disk}", "--shm-size", "128m", "--memory", memory,
        "--publish", "127.0.0.1::5432", "--env", "PGDATA=/data/pgdata", "--env", f"TEST_USER={user}", "--env", f"TEST_PASSWORD={password}",
        "--env", f"TEST_RESTARTS={'yes' if restarts else ''}",
        "--entrypoint", "/bin/sh", image or postgres_image(), "-c", START, "sh", *options,
    )  # fmt: skip
    try:
        port = int(_docker("port", name, "5432/tcp").split()[0].rpartition(":")[2])
        server = Server(container=name, host="127.0.0.1", port=port, user=user, password=password)
        _wait(server)
        yield server
    finally:
        _docker("rm", "--force", "--volumes", name)


def _wait(server: Server) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            server.connect().close()
            return
        except psycopg2.OperationalError as error:
            running = _docker("inspect", "--format", "{{.State.Running}}", server.container).strip() == "true"
            if not running or time.monotonic() > deadline:
                logs = subprocess.run(["docker", "logs", server.container], capture_output=True, text=True, check=False, timeout=30)
                raise RuntimeError(f"{server.container} did not start: {error}\n{logs.stdout}{logs.stderr}") from error
            time.sleep(0.2)


def _docker(*argv: str) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"docker {argv[0]} failed: {done.stderr.strip()}")
    return done.stdout
