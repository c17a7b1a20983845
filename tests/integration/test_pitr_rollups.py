# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Aggregates and scheduled jobs after a recovery: the numbers are right again, and nothing runs twice or in the side instance."""

from __future__ import annotations

import itertools
import time
from datetime import datetime

import pytest
from archives import ADMIN, Archived, archived_server
from modules import run_module
from servers import Server
from timescale import OWNER, Market, market

SETTINGS = {"max_worker_processes": "30", "timezone": "UTC", "cron.timezone": "UTC"}
RUNS = "market.runs"
JOBS = "SELECT jobname, schedule, command, database, username, active FROM cron.job ORDER BY jobname"


def asked(server: Archived, port: int = 0) -> Server:
    return Server(server.container, "127.0.0.1", port or server.port, ADMIN, server.password)


def add(ticks: Market, count: int, *, ago: str) -> None:
    """Ticks like the others, a millisecond apart."""
    ticks.query(
        "INSERT INTO market.ticks SELECT now() - %s::interval - n * interval '1.001 milliseconds', 'S' || n %% 20, "
        "round((90 + 30 * random())::numeric, 4), n %% 7 + 1 FROM generate_series(1, %s) AS n",
        ago, count,
    )  # fmt: skip


def runs(ticks: Market) -> list[datetime]:
    return [row[0] for row in ticks.query(f"SELECT at FROM {RUNS} ORDER BY at")]


@pytest.mark.long
def test_rollups_and_jobs_are_right_after_a_recovery() -> None:
    with archived_server("roll", **SETTINGS) as server:
        ticks = market(asked(server), "market")
        ticks.converge()
        ticks.fill(3000)
        ticks.refresh()
        assert ticks.differences() == {}
        ticks.query(f"CREATE TABLE {RUNS} (at timestamptz DEFAULT clock_timestamp())")
        ticks.query(f"ALTER TABLE {RUNS} OWNER TO {OWNER}")
        job = {"name": "tick", "database": "market", "schedule": "2 seconds", "command": f"INSERT INTO {RUNS} DEFAULT VALUES", "username": OWNER}
        made = run_module("postgres_jobs", {**server.login, "jobs": [job]})
        assert not made["failed"], made
        jobs = server.query(JOBS)
        # Nobody has refreshed these; the hours that they change were materialised long ago.
        add(ticks, 500, ago="20 days")
        ticks.query("DELETE FROM market.ticks WHERE time < now() - interval '40 days'")
        while len(runs(ticks)) < 2:
            time.sleep(0.5)
        rows = ticks.query("SELECT count(*), sum(price) FROM market.ticks")
        time.sleep(1.1)
        moment = server.now()
        time.sleep(1.1)
        add(ticks, 700, ago="10 days")
        ticks.refresh()
        assert ticks.differences() == {}

        assert server.pitr(recovery_target_time=moment.isoformat())["phase"] == "ready"
        side = Market(asked(server, server.side_port), "market")
        before = runs(side)
        assert before
        assert before[-1] < moment
        time.sleep(4.5)
        assert runs(side) == before, "no job runs there"
        assert side.query("SELECT count(*) FROM pg_stat_activity WHERE backend_type ILIKE '%cron%' OR application_name ILIKE '%cron%'") == [(0,)]
        assert side.query("SELECT count(*), sum(price) FROM market.ticks") == rows

        assert server.pitr("promoted")["phase"] == "promoted"
        server.wait()
        ticks = Market(asked(server), "market")
        (started,) = ticks.query("SELECT pg_postmaster_start_time()")[0]
        while sum(at > started for at in runs(ticks)) < 4:
            time.sleep(0.5)
        found = runs(ticks)
        assert [at for at in found if at <= started] == before, "neither the side instance nor anybody else ran a job"
        assert server.query(JOBS) == jobs
        again = [at for at in found if at > started]
        assert min((later - earlier).total_seconds() for earlier, later in itertools.pairwise(again)) > 1, "each once"
        assert ticks.query("SELECT count(*), sum(price) FROM market.ticks") == rows
        ticks.refresh()
        assert ticks.differences() == {}
        add(ticks, 300, ago="5 days")
        ticks.refresh()
        assert ticks.differences() == {}
        assert run_module("postgres_jobs", {**server.login, "jobs": [job]})["changed"] is False
