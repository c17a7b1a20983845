# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From facts about services to problems with remedies, and to a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._stack_info import (
    GREEN,
    RED,
    REFUSED,
    UNASKED,
    UNREACHABLE,
    YELLOW,
    Facts,
    Judge,
    Problem,
    overall,
    status,
)
from ansible_collections.nexanest.database.plugins.module_utils._stack_probe import memory_in, pgadmin_version
from ansible_collections.nexanest.database.plugins.module_utils._status_report import duration, report, size

JUDGE = Judge("nexanest", datetime(2026, 1, 2, 12, 0, tzinfo=UTC))
POSTGRES = {"service": "postgres", "kind": "postgresql", "container": "nexanest-postgres", "host": "127.0.0.1", "port": 5432, "login_user": "nexanest"}
REDIS = {"service": "redis", "kind": "redis", "container": "nexanest-redis", "host": "127.0.0.1", "port": 6379, "login_user": "nexanest", "sessions": True}


def container(status_word: str = "running", check: str = "healthy", restarts: int = 0, **state: Any) -> dict[str, Any]:
    health = {"Health": {"Status": check, "Log": [{"Output": "no  answer"}]}} if check else {}
    return {
        "State": {"Status": status_word, "ExitCode": 137, "StartedAt": "2026-01-02T11:00:00.123456789Z", **health, **state},
        "RestartCount": restarts,
        "HostConfig": {"Memory": 256 * 1024**2},
    }


def problems(facts: Facts, service: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    return [(problem.what, problem.level) for problem in JUDGE.problems(service or POSTGRES, facts)]


def test_a_healthy_service_has_no_problems() -> None:
    found = JUDGE.service(POSTGRES, Facts(document=container(), version="17.1", size=5, details={"connections": 80, "max_connections": 100}))
    assert (found["health"], found["uptime"], found["memory_limit"], found["problems"]) == ("healthy", 3600, 256 * 1024**2, [])


@pytest.mark.parametrize(
    ("facts", "words", "level"),
    [
        (Facts(), "is not there", RED),
        (Facts(document=container("exited", "")), "has stopped (exited, exit code 137)", RED),
        (Facts(document=container("exited", "", OOMKilled=True)), "has stopped for lack of memory", RED),
        (Facts(document=container("restarting", "")), "fails at every start", RED),
        (Facts(document=container(check="unhealthy")), "fails: no answer", RED),
        (Facts(document=container(check="starting")), "still starting", YELLOW),
        (Facts(document=container(restarts=3, StartedAt="2026-01-02T11:59:00Z")), "restarted 3 times", YELLOW),
        (Facts(document=container(), trouble=UNREACHABLE, reason="Connection refused"), "127.0.0.1:5432 does not answer (Connection refused)", RED),
        (Facts(document=container(), trouble=REFUSED), "refuses the login of nexanest", RED),
        (Facts(document=container(), trouble=UNASKED, reason="no psycopg2"), "could not be asked", YELLOW),
        (Facts(document=container(), details={"connections": 81, "max_connections": 100}), "81 of 100 connections", YELLOW),
        (Facts(document=container(), details={"pending_restart": ["shared_buffers"]}), "wait for a restart: shared_buffers", YELLOW),
        (Facts(document=container(), details={"extension_missing": True, "database": "timescale"}), "timescaledb is missing in the database timescale", RED),
    ],
)
def test_each_fault_is_one_problem(facts: Facts, words: str, level: str) -> None:
    found = problems(facts)
    assert len(found) == 1
    assert words in found[0][0]
    assert found[0][1] == level


def test_restarts_of_long_ago_are_no_problem() -> None:
    assert problems(Facts(document=container(restarts=3))) == []


@pytest.mark.parametrize(
    ("info", "count"),
    [
        ({"evicted_keys": 0, "aof_last_write_status": "ok"}, 0),
        ({"evicted_keys": 3}, 1),
        ({"aof_last_write_status": "err", "rdb_last_bgsave_status": "err"}, 2),
    ],
)
def test_redis_is_judged_by_its_info(info: dict[str, Any], count: int) -> None:
    assert len(JUDGE.problems(REDIS, Facts(document=container(), details=info))) == count


def test_evictions_from_a_cache_are_its_work() -> None:
    assert JUDGE.problems({**REDIS, "sessions": False}, Facts(document=container(), details={"evicted_keys": 3})) == []


def test_evicted_sessions_name_the_variable() -> None:
    assert "redis_sessions_separate: true" in JUDGE.problems(REDIS, Facts(document=container(), details={"evicted_keys": 3}))[0].remedy


@pytest.mark.parametrize(("used", "level"), [(80, None), (90, YELLOW), (96, RED)])
def test_a_full_disk_is_told_in_time(used: int, level: str | None) -> None:
    assert [problem.level for problem in JUDGE.disk("/var/lib/docker", used, 100)] == ([level] if level else [])


def test_remedies_name_another_stack() -> None:
    assert Judge("shop", JUDGE.now).verb("db-start") == "make db-start STACK=shop"


def test_the_worst_problem_decides() -> None:
    fine = JUDGE.service(POSTGRES, Facts(document=container()))
    broken = JUDGE.service(POSTGRES, Facts())
    assert [overall([fine], []), overall([fine], [Problem("host", "x", "y", YELLOW)]), overall([fine, broken], [])] == [GREEN, YELLOW, RED]


def test_the_table_has_a_line_for_each_service_and_two_for_each_problem() -> None:
    fine = JUDGE.service(POSTGRES, Facts(document=container(), version="17.1", size=3 * 1024**2, memory_used=64 * 1024**2))
    text = report(status([fine, JUDGE.service(REDIS, Facts())], []))
    assert text.splitlines() == [
        "SERVICE   HEALTH   VERSION  PORT            UPTIME  SIZE    MEMORY",
        "postgres  healthy  17.1     127.0.0.1:5432  1h 0m   3.0 MB  64 MB of 256 MB",
        "redis     absent   -        127.0.0.1:6379  -       -       -",
        "",
        "red: redis: the container nexanest-redis is not there",
        "    -> make db-start",
    ]


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (12, "12 B"), (2048, "2.0 kB"), (50 * 1024**2, "50 MB"), (3 * 1024**3, "3.0 GB")])
def test_sizes_are_for_people(value: int | None, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (5, "5s"), (65, "1m 5s"), (3700, "1h 1m"), (90000, "1d 1h")])
def test_durations_are_for_people(value: int | None, text: str) -> None:
    assert duration(value) == text


@pytest.mark.parametrize(
    ("stats", "used"),
    [({}, None), ({"usage": 10, "stats": {"inactive_file": 4}}, 6), ({"usage": 10, "stats": {"total_inactive_file": 3, "inactive_file": 1}}, 7)],
)
def test_memory_is_counted_without_the_cache_of_files(stats: dict[str, Any], used: int | None) -> None:
    assert memory_in(stats) == used


@pytest.mark.parametrize(("page", "version"), [('src="/static/x.js?ver=91800"', "9.18"), ("nothing", ""), ('x?ver=91001"', "9.10")])
def test_pgadmin_tells_its_version_in_its_pages(page: str, version: str) -> None:
    assert pgadmin_version(page) == version
