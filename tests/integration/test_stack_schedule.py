# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status warns before a table runs out of partitions, and of jobs that fail or do not run."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from modules import run_module
from servers import Server, postgres_server

CRON = ("shared_preload_libraries=pg_cron", "cron.database_name=postgres", "cron.use_background_workers=on")
MONTHS = """CREATE TABLE shop.{table} (at {kind} NOT NULL) PARTITION BY RANGE (at);
DO $$ BEGIN FOR n IN 0..{ahead} LOOP
  EXECUTE format('CREATE TABLE shop.{table}_%s PARTITION OF shop.{table} FOR VALUES FROM (%L) TO (%L)', n,
    date_trunc('month', now()) + make_interval(months => n), date_trunc('month', now()) + make_interval(months => n + 1));
END LOOP; END $$"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server(prefix="access", settings=CRON) as started:
        started.query("CREATE EXTENSION pg_cron")
        started.query("CREATE DATABASE shop")
        started.query("CREATE SCHEMA shop", database="shop")
        yield started


def problems(server: Server) -> list[tuple[str, str]]:
    """What the status says about a server, with its level."""
    service = {"service": "postgres", "kind": "postgresql", "container": server.container, "port": server.port}
    answer = run_module("stack_info", {"services": [{**service, "login_user": server.user, "login_password": server.password}]})
    assert not answer["failed"], answer
    assert all(problem["remedy"] for problem in answer["status"]["services"][0]["problems"])
    return [(problem["what"], problem["level"]) for problem in answer["status"]["services"][0]["problems"]]


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_two_partitions_must_be_ahead(server: Server, kind: str) -> None:
    server.query(MONTHS.format(table=kind, kind=kind, ahead=3), database="shop")
    assert problems(server) == []
    server.query(f"DROP TABLE shop.{kind}_2, shop.{kind}_3", database="shop")
    [(what, level)] = problems(server)
    assert (kind in what, "one partition ahead" in what, level) == (True, True, "yellow")
    server.query(f"DROP TABLE shop.{kind}_1", database="shop")
    [(what, level)] = problems(server)
    assert ("no partition ahead (the last one ends" in what, level) == (True, "red")
    server.query(f"CREATE TABLE shop.{kind}_default PARTITION OF shop.{kind} DEFAULT", database="shop")
    assert len(problems(server)) == 1, "a default partition is no partition ahead"
    server.query(f"DROP TABLE shop.{kind}", database="shop")


def test_other_partitions_are_no_matter_of_time(server: Server) -> None:
    server.query(
        "CREATE TABLE shop.numbers (n int) PARTITION BY RANGE (n); CREATE TABLE shop.numbers_1 PARTITION OF shop.numbers FOR VALUES FROM (1) TO (9);"
        "CREATE TABLE shop.kinds (at date) PARTITION BY LIST (at); CREATE TABLE shop.hashes (at date) PARTITION BY HASH (at);"
        "CREATE TABLE shop.ever (at date) PARTITION BY RANGE (at);"
        "CREATE TABLE shop.ever_1 PARTITION OF shop.ever FOR VALUES FROM ('2020-01-01') TO (MAXVALUE)",
        database="shop",
    )
    assert problems(server) == []
    server.query("DROP TABLE shop.numbers, shop.kinds, shop.hashes, shop.ever", database="shop")


def schedule(server: Server, name: str, when: str, command: str) -> None:
    server.query("SELECT cron.schedule_in_database(%s, %s, %s, 'shop')", name, when, command)


def wait_for_run(server: Server, name: str) -> None:
    deadline = time.monotonic() + 60
    query = "SELECT 1 FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.jobname = %s AND d.status IN ('failed', 'succeeded')"
    while not server.query(query, name):
        assert time.monotonic() < deadline, f"pg_cron did not run {name} within a minute"
        time.sleep(0.5)


def test_a_job_that_fails_is_told_until_it_runs_again(server: Server) -> None:
    schedule(server, "shop/broken", "1 second", "SELECT 1 / 0")
    wait_for_run(server, "shop/broken")
    server.query("SELECT cron.unschedule('shop/broken')")
    assert problems(server) == [], "a job that is gone is no problem"
    schedule(server, "shop/broken", "1 second", "SELECT 1 / 0")
    wait_for_run(server, "shop/broken")
    told = problems(server)
    assert [(what.partition(" failed at ")[0], "division by zero" in what, level) for what, level in told] == [("the job shop/broken", True, "red")]
    server.query("SELECT cron.unschedule('shop/broken')")


def test_a_job_of_somebody_else_is_not_looked_at(server: Server) -> None:
    schedule(server, "theirs", "1 second", "SELECT 1 / 0")
    wait_for_run(server, "theirs")
    assert problems(server) == []
    server.query("SELECT cron.unschedule('theirs')")


def test_a_job_that_has_not_run_for_long_is_told(server: Server) -> None:
    schedule(server, "shop/daily", "17 3 * * *", "SELECT 1")
    assert problems(server) == [], "a new job had no time to run"
    [(job,)] = server.query("SELECT jobid FROM cron.job WHERE jobname = 'shop/daily'")
    server.query("INSERT INTO cron.job_run_details (jobid, runid, status, start_time) VALUES (%s, 900001, 'succeeded', now() - interval '3 days')", job)
    [(what, level)] = problems(server)
    assert ("the job shop/daily (17 3 * * *) has not run since" in what, level) == (True, "red")
    server.query("UPDATE cron.job_run_details SET start_time = now() - interval '26 hours' WHERE runid = 900001")
    assert problems(server) == []
    server.query("SELECT cron.unschedule('shop/daily')")


def test_a_job_that_never_ran_while_later_ones_did_is_told(server: Server) -> None:
    schedule(server, "shop/hourly", "7 * * * *", "SELECT 1")
    [(job,)] = server.query("SELECT jobid FROM cron.job WHERE jobname = 'shop/hourly'")
    later = "INSERT INTO cron.job_run_details (jobid, runid, status, start_time) VALUES (%s, 900002, 'succeeded', now() - interval '4 hours')"
    server.query(later, job + 1)
    assert [what.partition(" has ")[2][:13] for what, _level in problems(server)] == ["never run, an"]
    server.query("SELECT cron.alter_job(%s, active => false)", job)
    assert problems(server) == [], "a job that is switched off is no problem"
