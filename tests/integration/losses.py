# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is lost with a server and its volume, by the way in which its log is kept."""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from archives import UID, Archived, archived_server
from containers import docker


@dataclass
class Writer:
    """Rows that were acknowledged, with the time of each."""

    server: Archived
    acknowledged: list[float] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with contextlib.suppress(psycopg2.Error), contextlib.closing(self.server.connect()) as connection, connection.cursor() as cursor:
            while not self.ended.is_set():
                cursor.execute("INSERT INTO acknowledged (id) VALUES (%s)", (len(self.acknowledged) + 1,))
                self.acknowledged.append(time.monotonic())


@dataclass(frozen=True)
class Loss:
    """Rows that were acknowledged, those of them that did not come back, and the seconds between the first of these and the last acknowledged one."""

    rows: int
    lost: int
    seconds: float


def loss(way: str) -> Loss:
    """Kill a server under load at a random moment, remove its volume, and recover all that can be. way: archive_command alone, asynchronous or synchronous."""
    with archived_server("loss", archive_timeout="60s") as server:
        server.query("CREATE TABLE acknowledged (id int PRIMARY KEY)")
        if way == "archive_command alone":
            docker("stop", server.companion)
            server.query("SELECT pg_drop_replication_slot('companion')")
            for path in (server.archive / "current" / "received" / "current").iterdir():
                path.unlink()
        if way == "synchronous":
            (server.folder / "timescaledb" / "conf" / "synchronous.conf").write_text("synchronous_standby_names = 'companion'\n", encoding="utf-8")
            server.query("SELECT pg_reload_conf()")
        writer = Writer(server)
        thread = threading.Thread(target=writer.run)
        thread.start()
        time.sleep(random.uniform(4, 12))  # noqa: S311  no secret
        init = docker("inspect", "--format", "{{.State.Pid}}", server.container).strip()
        children = Path(f"/proc/{init}/task/{init}/children").read_text(encoding="ascii").split()
        docker("update", "--restart", "no", server.container)
        subprocess.run(["kill", "-9", *children], check=True)
        writer.ended.set()
        thread.join()
        assert (server.data / "global").is_dir(), "there was something to lose"
        identifier = next(line.split()[-1] for line in control(server).splitlines() if line.startswith("Database system identifier"))
        server.lose()
        # A session of the harness would wait for a companion that does not know the new cluster yet; the collection's own sessions wait for nobody.
        (server.folder / "timescaledb" / "conf" / "synchronous.conf").write_text("", encoding="utf-8")
        server.start()
        server.query(f"CREATE ROLE replicator LOGIN REPLICATION PASSWORD '{server.password}'")
        assert server.converge()["set_aside"] == identifier
        side = server.pitr(cluster=identifier)
        assert side["phase"] == "ready", side
        there = {row[0] for row in server.side("SELECT id FROM acknowledged")} if server.side("SELECT to_regclass('acknowledged')")[0][0] else set()
        acknowledged = writer.acknowledged
        missing = [number for number in range(1, len(acknowledged) + 1) if number not in there]
        since = acknowledged[-1] - acknowledged[missing[0] - 1] if missing else 0.0
        return Loss(len(acknowledged), len(missing), since)


def control(server: Archived) -> str:
    image = docker("inspect", "--format", "{{.Image}}", server.container).strip()
    mount = f"type=bind,source={server.data},target=/data,readonly"
    return docker("run", "--rm", "--network", "none", "--user", str(UID), "--mount", mount, "--entrypoint", "pg_controldata", image, "/data")
