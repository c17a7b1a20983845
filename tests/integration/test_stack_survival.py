# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is killed comes back, with its data."""

from __future__ import annotations

import subprocess
import time

import pytest
from clients import query, redis_client
from containers import docker, inspect, kill_server, wait_healthy
from stack import Stack

from ansible_collections.nexanest.database.plugins.module_utils._pgadmin import accepts_login


def _marked_rows(stack: Stack, server: str, *, write: bool) -> int:
    query(stack, server, "postgres", "CREATE TABLE IF NOT EXISTS public.survival (id int PRIMARY KEY)")
    if write:
        query(stack, server, "postgres", "INSERT INTO public.survival SELECT generate_series(1, 500) ON CONFLICT DO NOTHING")
    return int(query(stack, server, "postgres", "SELECT count(*) FROM public.survival")[0][0])


@pytest.mark.parametrize("service", ["postgres", "timescaledb"])
def test_a_killed_server_comes_back_with_its_rows(stack: Stack, service: str) -> None:
    name = f"{stack.name}-{service}"
    assert _marked_rows(stack, service, write=True) == 500
    before = inspect(name)["State"]["StartedAt"]
    kill_server(name)
    wait_healthy(name, after=before)
    assert _marked_rows(stack, service, write=False) == 500


def test_a_killed_redis_comes_back_with_its_keys(stack: Stack) -> None:
    name = f"{stack.name}-redis"
    client = redis_client(stack, database=2)
    client.set("session:survival", "kept")
    time.sleep(1.5)  # appendfsync everysec: what is older than a second is on disk
    before = inspect(name)["State"]["StartedAt"]
    kill_server(name)
    wait_healthy(name, after=before)
    assert client.get("session:survival") == "kept"


def test_a_killed_pgadmin_comes_back_with_its_account(stack: Stack) -> None:
    name = f"{stack.name}-pgadmin"
    before = inspect(name)["State"]["StartedAt"]
    kill_server(name)
    wait_healthy(name, after=before)
    assert accepts_login(f"http://127.0.0.1:{stack.ports.pgadmin}", stack.pgadmin_email, stack.secret("PGADMIN_PASSWORD"))


def test_an_orphan_that_exits_with_2_does_not_restart_postgresql(stack: Stack) -> None:
    name = f"{stack.name}-postgres"
    before = inspect(name)["State"]["StartedAt"]
    since = subprocess.run(["date", "-u", "+%Y-%m-%dT%H:%M:%SZ"], capture_output=True, text=True, check=True).stdout.strip()
    # The shell ends at once; its child, now an orphan, is adopted by the container's init and exits with 2.
    docker("exec", name, "sh", "-c", "(sleep 1; exit 2) & exit 0")
    time.sleep(3)
    logs = subprocess.run(["docker", "logs", "--since", since, name], capture_output=True, text=True, check=True)
    assert "terminating any other active server processes" not in logs.stdout + logs.stderr
    assert inspect(name)["State"]["StartedAt"] == before
    assert _marked_rows(stack, "postgres", write=True) == 500
