# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input to the operator's playbook: one sentence with the remedy, and nothing changed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import docker, started
from stack import Ports, Stack, read_until, site_begun, stack_named

OTHER_PORTS = Ports(postgres=18432, timescaledb=18433, redis=18379, sessions=18380, pgadmin=18050)


@pytest.fixture
def fresh(stack: Stack) -> Iterator[Stack]:
    """A stack that was never deployed, beside the one that is."""
    assert stack.healthy()
    other = stack_named("badtest", OTHER_PORTS)
    other.destroy()
    other.write_inventory()
    yield other
    other.destroy()


def _refused(fresh: Stack, *words: str, arguments: tuple[str, ...] = ()) -> str:
    result = fresh.playbook("site", *arguments)
    assert result.rc != 0
    message = " ".join(row["message"] for row in result.failed)
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert started(fresh.name) == {}
    label = f"label=nexanest.database.stack={fresh.name}"
    assert docker("volume", "ls", "--quiet", "--filter", label) == ""
    assert docker("network", "ls", "--quiet", "--filter", label) == ""
    return message


def test_a_port_that_is_taken_is_named_with_its_holder(fresh: Stack) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", fresh.ports.redis))):
        _refused(fresh, str(fresh.ports.redis), str(os.getpid()))


@pytest.mark.long
def test_a_port_of_another_stack_is_named_with_its_container(fresh: Stack, stack: Stack) -> None:
    _refused(fresh, str(stack.ports.postgres), stack.container("postgres"), arguments=("-e", f"postgres_port={stack.ports.postgres}"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "is empty"),
        pytest.param("POSTGRES_PASSWORD=\n", "POSTGRES_PASSWORD", marks=pytest.mark.long),
        pytest.param("this is no setting\n", "line 1", marks=pytest.mark.long),
        ("POSTGRES_PASWORD=x\n", "POSTGRES_PASSWORD"),
    ],
)
def test_a_broken_secrets_file_is_refused_by_name(fresh: Stack, text: str, word: str) -> None:
    fresh.env_file.write_text(text, encoding="utf-8")
    fresh.env_file.chmod(0o600)
    _refused(fresh, ".env.db", word)


def test_an_unknown_variable_is_refused_with_the_nearest_name(fresh: Stack) -> None:
    _refused(fresh, "postgres_prot", "postgres_port", arguments=("-e", "postgres_prot=5432"))


def test_a_volume_of_another_major_version_is_refused(stack: Stack) -> None:
    volume = f"{stack.container('postgres')}-data"
    marker = Path(json.loads(docker("volume", "inspect", volume))[0]["Mountpoint"]) / "pgdata" / "PG_VERSION"
    before = started(stack.name)
    original = marker.read_text()
    try:
        marker.write_text("16\n")
        result = stack.playbook("site")
    finally:
        marker.write_text(original)
    assert result.rc != 0
    message = " ".join(row["message"] for row in result.failed)
    assert "16" in message
    assert "17" in message
    assert started(stack.name) == before


MOMENTS = ("Make the folder for the services", "networks | Create the networks", "container | Create the volumes", "Apply the migrations")


@pytest.mark.long
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_killed_is_completed_by_the_next(fresh: Stack, moment: str) -> None:
    with site_begun(fresh) as run:
        read_until(run, moment)
        time.sleep(0.7)
        os.killpg(run.pid, signal.SIGKILL)
    fresh.playbook("site").checked()
    assert fresh.healthy()
    assert fresh.playbook("site").checked().changed == []
