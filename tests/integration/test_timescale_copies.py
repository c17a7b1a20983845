# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database that is restored to the side and renamed in keeps its numbers: counters of the old one say nothing in the new one. On both editions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from containers import docker
from modules import run_module
from servers import Server
from timescale import AGGREGATES, Market, market, timescale_server

ROWS = 10_000
# Retention has taken the first 25 of 45 days.
KEPT: dict[str, Any] = {
    "retention": {"drop_after": "20 days"},
    "continuous_aggregates": [{**one, "start_offset": "18 days"} for one in AGGREGATES[:2]],
}
VIEWS = ("market.ticks_1h", "market.ticks_1d")
LATE = "INSERT INTO market.ticks SELECT now() - n * interval '7 hours 1 second', 'S3', 500, 3 FROM generate_series(1, 100) AS n"
CHANGED = "UPDATE market.ticks SET price = price + 1 WHERE time BETWEEN now() - interval '10 days' AND now() - interval '9 days'"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with timescale_server(memory="1g", disk="2g") as started:
        yield started


def restored(source: Market, name: str) -> Market:
    """A copy by pg_dump and pg_restore, as TimescaleDB wants it: the extension first, its triggers off meanwhile."""
    server = source.server
    server.query(f"CREATE DATABASE {name} OWNER market_owner")
    side = Market(server, name)
    side.query("CREATE EXTENSION timescaledb")
    side.query("SELECT timescaledb_pre_restore()")
    for command in (
        f"pg_dump -h /tmp -U {server.user} -Fc -f /tmp/{name}.dump {source.database}",
        f"pg_restore -h /tmp -U {server.user} -d {name} --exit-on-error /tmp/{name}.dump",
    ):
        docker("exec", server.container, "sh", "-c", command)
    side.query("SELECT timescaledb_post_restore()")
    return side


def swap(live: Market, side: Market) -> None:
    """As a restore does it: nobody is connected, TimescaleDB's scheduler included."""
    server = live.server
    if live.native:
        for one in (live, side):
            one.query("SELECT _timescaledb_functions.stop_background_workers()")
    for one in (live, side):
        server.query(f"ALTER DATABASE {one.database} ALLOW_CONNECTIONS false")
        server.query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", one.database)
    server.query(f"ALTER DATABASE {live.database} RENAME TO {live.database}_old")
    server.query(f"ALTER DATABASE {side.database} RENAME TO {live.database}")
    server.query(f"ALTER DATABASE {live.database} ALLOW_CONNECTIONS true")


@pytest.mark.long
def test_what_the_old_counters_knew_is_not_believed_in_the_copy(server: Server) -> None:
    live = market(server, "counted")
    live.converge()
    live.fill(ROWS)
    live.refresh()
    # Not refreshed when the dump is taken.
    live.query(LATE)
    live.query(CHANGED)
    side = restored(live, "counted_side")
    side.refresh()
    assert side.differences() == {}
    # As many rows of a chunk as the old counters had seen.
    side.query("DELETE FROM market.ticks WHERE symbol = 'S3' AND price = 500")
    side.query(LATE)
    side.query(CHANGED)
    side.refresh()
    assert side.differences() == {}
    live.refresh()
    assert live.differences() == {}


def test_history_whose_rows_are_gone_is_in_the_copy(server: Server) -> None:
    live = market(server, "kept")
    live.fill(ROWS)
    live.converge(migrate_data=True, **KEPT)
    _retain(live)
    before = {view: live.query(f"SELECT * FROM {view} ORDER BY bucket, symbol") for view in VIEWS}
    assert live.query("SELECT min(time) > now() - interval '22 days' FROM market.ticks") == [(True,)]
    side = restored(live, "kept_side")
    _retain(side)
    assert {view: side.query(f"SELECT * FROM {view} ORDER BY bucket, symbol") for view in VIEWS} == before
    result = side.converge(**KEPT)
    # pg_dump leaves TimescaleDB's own jobs out, so the one that Apache cannot run is there again; pg_cron's job is of the server. Nothing else differs.
    assert [one["kind"] for one in result["objects"]] == ([] if side.native else ["built-in job", "job"])
    assert side.converge(**KEPT)["changed"] is False


@pytest.mark.long
def test_a_copy_that_was_renamed_in_is_refreshed_as_the_old_one_was(server: Server) -> None:
    live = market(server, "swapped")
    live.converge()
    live.fill(ROWS)
    live.refresh()
    side = restored(live, "swapped_side")
    swap(live, side)
    assert [one["kind"] for one in live.converge()["objects"]] == ([] if live.native else ["built-in job"])
    live.query(LATE)
    live.query(CHANGED)
    if live.native:
        live.refresh()
    else:
        _wait_for_run(live)
    assert live.differences() == {}


@pytest.mark.equivalent
def test_the_job_of_a_database_that_was_renamed_away_goes_with_the_next_run(server: Server) -> None:
    live = market(server, "before")
    live.converge()
    server.query("ALTER DATABASE before RENAME TO afterwards")
    renamed = Market(server, "afterwards")
    predicted, done = renamed.converge(check=True), renamed.converge()
    assert predicted["objects"] == done["objects"]
    assert {(one["name"], one["action"]) for one in done["objects"]} == {("rollup:before", "delete"), ("rollup:afterwards", "create")}
    jobs = "SELECT jobname, database FROM cron.job WHERE jobname IN ('rollup:before', 'rollup:afterwards')"
    assert server.query(jobs) == [("rollup:afterwards", "afterwards")]
    assert renamed.converge()["changed"] is False


@pytest.mark.equivalent
def test_jobs_of_lost_databases_are_removed_once_however_many_databases_there_are(server: Server) -> None:
    names = [market(server, name).database for name in ("one", "two", "third")]
    hypertable = {"name": "market.ticks", "chunk_time_interval": "1 day", "continuous_aggregates": AGGREGATES[:1]}
    arguments = {**server.login, "databases": [{"name": name, "hypertables": [hypertable]} for name in names]}
    assert not run_module("timescaledb_hypertables", arguments)["failed"]
    server.query("ALTER DATABASE third RENAME TO fourth")
    arguments["databases"] = arguments["databases"][:2]
    predicted, done = (run_module("timescaledb_hypertables", arguments, check) for check in (True, False))
    assert predicted["objects"] == done["objects"] == [{"kind": "job", "name": "rollup:third", "action": "delete"}]


def _retain(ticks: Market) -> None:
    if ticks.native:
        ticks.query("SELECT drop_chunks('market.ticks', older_than => interval '20 days')")
        ticks.query("CALL refresh_continuous_aggregate('market.ticks_1h', now() - interval '18 days', NULL)")
        ticks.query("CALL refresh_continuous_aggregate('market.ticks_1d', now() - interval '18 days', NULL)")
    else:
        ticks.query("CALL _rollup.retain('market.ticks')")
        ticks.query("CALL _rollup.refresh_all()")


def _wait_for_run(ticks: Market) -> None:
    """Until pg_cron has refreshed it all by itself, after now."""
    begin = ticks.query("SELECT now()")[0][0]
    deadline = time.monotonic() + 150
    while ticks.query("SELECT count(DISTINCT task) FROM _rollup.runs WHERE failed IS FALSE AND started >= %s", begin)[0][0] < len(AGGREGATES):
        assert time.monotonic() < deadline, ticks.server.query("SELECT status, return_message FROM cron.job_run_details ORDER BY runid DESC LIMIT 5")
        # Each time: a run that had begun before notes its own beginning when it ends, and the task would not be due for an hour.
        ticks.query("UPDATE _rollup.tasks SET last_started = NULL WHERE last_started < %s", begin)
        time.sleep(1)
