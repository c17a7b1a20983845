# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the role's Redis starts: whatever the volume holds, no data is lost, and the health check tells the truth."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from modules import run_module
from redis_servers import APPEND_ONLY, RedisServer, docker, redis_server

SNAPSHOTS_ONLY = "appendonly no\nsave 3600 1\n"


@pytest.fixture
def volume() -> Iterator[str]:
    name = f"td-volume-{secrets.token_hex(4)}"
    docker("volume", "create", "--label", "nexanest.database.test", name)
    yield name
    docker("volume", "rm", "--force", name)


def fill(server: RedisServer, keys: int = 1000) -> None:
    with server.client("boss").pipeline() as pipeline:
        for number in range(keys):
            pipeline.set(f"key:{number}", "x" * 100)
        pipeline.execute()


def process(container: str) -> int:
    """The redis-server on the host, below the container's init."""
    rows = [line.split(None, 2) for line in docker("top", container, "-eo", "pid,comm").splitlines()[1:]]
    return next(int(row[0]) for row in rows if row[1] == "redis-server")


def test_a_volume_with_a_snapshot_alone_keeps_its_data_with_append_only_on(tmp_path: Path, volume: str) -> None:
    with redis_server(tmp_path / "conf", configuration=SNAPSHOTS_ONLY, volume=volume) as server:
        fill(server)
        docker("stop", "--time", "30", server.container)
    with redis_server(tmp_path / "conf", configuration=APPEND_ONLY, volume=volume) as server:
        assert server.client("boss").dbsize() == 1000
        server.client("boss").set("one more", 1)
        os.kill(process(server.container), signal.SIGKILL)
        time.sleep(1)
        server.wait()
        assert server.client("boss").dbsize() == 1001
    with redis_server(tmp_path / "conf", configuration=APPEND_ONLY, volume=volume) as server:
        assert server.client("boss").dbsize() == 1001


def test_append_only_switched_off_and_on_again_never_loads_an_old_file(tmp_path: Path, volume: str) -> None:
    with redis_server(tmp_path / "conf", configuration=APPEND_ONLY, volume=volume) as server:
        fill(server, 10)
        docker("stop", "--time", "30", server.container)
    with redis_server(tmp_path / "conf", configuration=SNAPSHOTS_ONLY, volume=volume) as server:
        assert server.client("boss").dbsize() == 10
        fill(server, 50)
        docker("stop", "--time", "30", server.container)
    with redis_server(tmp_path / "conf", configuration=APPEND_ONLY, volume=volume) as server:
        assert server.client("boss").dbsize() == 50


def test_append_only_switched_on_at_run_time_holds_all_data(tmp_path: Path) -> None:
    with redis_server(tmp_path / "conf", configuration=SNAPSHOTS_ONLY) as server:
        fill(server)
        server.write(APPEND_ONLY)
        assert run_module("redis_settings", server.arguments(settings={"appendonly": True}))["settings_set"] == ["appendonly"]
        os.kill(process(server.container), signal.SIGKILL)
        time.sleep(1)
        server.wait()
        assert server.client("boss").dbsize() == 1000
        assert not run_module("redis_settings", server.arguments(settings={"appendonly": True}))["changed"]


def test_the_health_check_fails_while_redis_loads(tmp_path: Path) -> None:
    with redis_server(tmp_path / "conf", configuration=SNAPSHOTS_ONLY) as server:
        fill(server)
        # 5 ms a key: five seconds of loading.
        server.write(f"{SNAPSHOTS_ONLY}key-load-delay 5000\nloading-process-events-interval-bytes 1024\n")
        docker("restart", "--time", "30", server.container)
        answers = []
        deadline = time.monotonic() + 30
        while 0 not in answers and time.monotonic() < deadline:
            answers.append(server.health())
            time.sleep(0.2)
        assert answers[-1] == 0
        assert len(answers) > 3
        assert server.client("boss").dbsize() == 1000
