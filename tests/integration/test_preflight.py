# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module preflight on this machine: real sockets, containers and volumes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import docker, newest_image
from modules import run_module

IMAGE = newest_image("redis")
HOLDER = "tfdock-holder"
VOLUME = "tfdock-cluster"


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def holder() -> Iterator[int]:
    assert IMAGE, "no image nexanest-database/redis is here: the role images makes it"
    docker("run", "--detach", "--name", HOLDER, "--publish", "127.0.0.1:26030:6379", IMAGE)
    yield 26030
    docker("rm", "--force", "--volumes", HOLDER)


@pytest.fixture
def volume() -> Iterator[Path]:
    docker("volume", "create", VOLUME)
    yield Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", VOLUME).strip())
    docker("volume", "rm", VOLUME)


def test_a_good_host_passes_and_is_described() -> None:
    result = run_module("preflight", {"ports": [{"port": 26031, "container": "a"}], "paths": ["/etc/not/there"], "minimum_free_mb": 1})
    assert not result["failed"], result
    assert not result["changed"]
    assert result["memory_mb"] > 0
    assert set(result["free_mb"]) >= {"/etc/not/there"}


def test_a_port_held_by_a_process_names_it(listening: int) -> None:
    result = run_module("preflight", {"ports": [{"port": listening, "container": "a"}]})
    assert result["failed"]
    assert f"(pid {os.getpid()}) holds it" in result["msg"]


def test_a_port_held_by_a_container_names_it_and_our_own_is_fine(holder: int) -> None:
    other = run_module("preflight", {"ports": [{"port": holder, "container": "a"}]})
    assert f"the container {HOLDER} holds it" in other["msg"]
    assert not run_module("preflight", {"ports": [{"port": holder, "container": HOLDER}]})["failed"]


def test_a_volume_of_another_major_version_names_both(volume: Path) -> None:
    (volume / "pgdata").mkdir()
    (volume / "pgdata" / "PG_VERSION").write_text("16\n")
    asked = {"volumes": [{"name": VOLUME, "postgresql_major": "17"}]}
    result = run_module("preflight", asked)
    assert f"{VOLUME} holds a cluster of PostgreSQL 16, and PostgreSQL 17 is asked for" in result["msg"]
    (volume / "pgdata" / "PG_VERSION").write_text("17\n")
    assert not run_module("preflight", asked)["failed"]


def test_all_problems_come_in_one_message(listening: int) -> None:
    result = run_module(
        "preflight", {"ports": [{"port": listening, "container": "a"}], "minimum_free_mb": 10**9, "minimum_memory_mb": 10**9, "minimum_api": "99.0"}
    )
    assert len(result["problems"]) == 4
    assert all(words in result["msg"] for words in ("holds it", "MB are free for", "MB of memory", "is too old"))


def test_an_address_of_another_host_is_named() -> None:
    found = run_module("preflight", {"ports": [{"port": 5433, "host": "203.0.113.7", "container": "shop-timescaledb"}]})
    assert found["failed"]
    assert "shop-timescaledb cannot have port 5433 on 203.0.113.7: that is no address of this host" in found["msg"]
    assert "stack_receivers_endpoint" in found["msg"]
