# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory budgets that add up."""

from __future__ import annotations

import itertools
import re

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._sizing import (
    SERVICES,
    BudgetTooSmall,
    connections_for,
    postgres_settings,
    stack_limits,
    stack_memory,
    worst_case_mb,
)

DEFAULT = ["postgres", "timescaledb", "redis", "pgadmin"]
UNITS = {"kB": 1 / 1024, "MB": 1, "GB": 1024}


def megabytes(value: str) -> float:
    found = re.fullmatch(r"(\d+)(kB|MB|GB)", value)
    assert found, value
    return int(found[1]) * UNITS[found[2]]


def summed(settings: dict[str, str]) -> float:
    """The worst case, counted from the settings alone."""
    processes = sum(int(settings[name]) for name in ("max_connections", "max_worker_processes", "autovacuum_max_workers"))
    hashes = (int(settings["max_connections"]) + int(settings["max_parallel_workers"])) * int(settings["hash_mem_multiplier"])
    return (
        megabytes(settings["shared_buffers"])
        + megabytes(settings["wal_buffers"])
        + 32
        + 4 * processes
        + megabytes(settings["maintenance_work_mem"])
        + megabytes(settings["autovacuum_work_mem"]) * int(settings["autovacuum_max_workers"])
        + megabytes(settings["work_mem"]) * hashes
    )


@pytest.mark.parametrize(
    ("memory", "cpus", "timescaledb"), list(itertools.product([350, 400, 512, 800, 1024, 2048, 4096, 16384, 65536, 262144], [1, 2, 8], [False, True]))
)
def test_the_worst_case_stays_in_the_budget_at_every_size(memory: int, cpus: int, timescaledb: bool) -> None:
    settings = postgres_settings(memory, cpus=cpus, timescaledb=timescaledb)
    assert summed(settings) <= memory
    assert summed(settings) == pytest.approx(worst_case_mb(memory, cpus=cpus, timescaledb=timescaledb))
    assert megabytes(settings["work_mem"]) >= 1


def test_a_two_gigabyte_server_gets_these_settings() -> None:
    assert postgres_settings(2048, cpus=2, connections=100) == {
        "max_connections": "100",
        "shared_buffers": "512MB",
        "effective_cache_size": "1536MB",
        "work_mem": "3840kB",
        "hash_mem_multiplier": "2",
        "maintenance_work_mem": "128MB",
        "autovacuum_work_mem": "42MB",
        "autovacuum_max_workers": "3",
        "autovacuum_naptime": "1min",
        "wal_buffers": "16MB",
        "min_wal_size": "512MB",
        "max_wal_size": "1GB",
        "max_worker_processes": "8",
        "max_parallel_workers": "2",
        "max_parallel_workers_per_gather": "1",
        "max_parallel_maintenance_workers": "1",
        "max_locks_per_transaction": "64",
    }


def test_timescaledb_gets_background_workers_and_locks_for_its_chunks() -> None:
    settings = postgres_settings(4096, cpus=4, timescaledb=True)
    assert (settings["timescaledb.max_background_workers"], settings["max_worker_processes"]) == ("16", "26")
    assert [postgres_settings(gb * 1024, cpus=4, timescaledb=True)["max_locks_per_transaction"] for gb in (4, 8, 16, 32)] == ["128", "256", "512", "1024"]


def test_connections_that_do_not_fit_are_refused_with_what_they_would_need() -> None:
    with pytest.raises(BudgetTooSmall, match=r"250 connections do not fit into 2048 MB: .* worst case is \d+ MB; lower max_connections"):
        postgres_settings(2048, cpus=2, connections=250)


@pytest.mark.parametrize(("memory", "connections"), [(350, 20), (736, 30), (1024, 50), (2048, 100), (65536, 200)])
def test_the_number_of_connections_follows_the_memory(memory: int, connections: int) -> None:
    assert connections_for(memory) == connections


@pytest.mark.parametrize("total", [1300, 1536, 2048, 3072, 4096, 16000, 64000])
@pytest.mark.parametrize("services", [DEFAULT, list(SERVICES), ["postgres"], ["postgres", "redis"]])
def test_a_stack_is_divided_without_exceeding_its_budget_and_every_server_can_be_sized(total: int, services: list[str]) -> None:
    shares = stack_memory(total, services)
    assert set(shares) == set(services)
    assert total - len(services) <= sum(shares.values()) <= total
    limits = stack_limits(total, services, cpus=2)
    assert {name: limit["memory_mb"] for name, limit in limits.items()} == shares
    assert all(limit["shm_mb"] <= limit["memory_mb"] for limit in limits.values())


def test_limits_leave_room_for_every_process_that_the_settings_allow() -> None:
    limits = stack_limits(4096, DEFAULT, cpus=2, connections={"postgres": 100})["postgres"]
    assert limits["pids_limit"] == 200
    assert limits["shm_mb"] == limits["memory_mb"] // 4


@pytest.mark.parametrize(
    ("total", "services", "said"), [(1199, DEFAULT, "1199 MB of memory but needs at least 1200"), (4096, ["mysql"], "unknown service mysql")]
)
def test_a_budget_that_is_too_small_and_an_unknown_service_are_refused(total: int, services: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stack_memory(total, services)


def test_zero_connections_mean_the_computed_number() -> None:
    assert postgres_settings(2048, cpus=2, connections=0) == postgres_settings(2048, cpus=2)
    assert stack_limits(4096, DEFAULT, cpus=2, connections={"postgres": 0}) == stack_limits(4096, DEFAULT, cpus=2)
