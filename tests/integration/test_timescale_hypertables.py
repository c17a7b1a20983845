# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""timescaledb_hypertables on a server: converging, changing the smallest thing, refusing, keeping history. On both editions."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from modules import run_module
from sampling import one_in
from servers import Server
from timescale import AGGREGATES, DIRECT, OWNER, TABLE, Market, market, timescale_server

from ansible_collections.nexanest.database.plugins.module_utils._stack_schedule import notices

HOURLY = AGGREGATES[0]
HYPERTABLES = "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_name = 'ticks'"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with timescale_server(memory="1g") as started:
        yield started


@pytest.fixture
def ticks(server: Server, request: pytest.FixtureRequest) -> Market:
    return market(server, f"t{abs(hash(request.node.name)) % 10**8}")


def test_check_mode_predicts_and_a_second_run_changes_nothing(ticks: Market) -> None:
    options = {"retention": {"drop_after": "200 days"}, "columnstore": {"segmentby": ["symbol"], "orderby": ["time DESC"], "after": "7 days"}}
    options["continuous_aggregates"] = [{**one, "start_offset": "190 days"} for one in AGGREGATES]
    predicted = ticks.converge(check=True, **options)
    assert ticks.query(HYPERTABLES) == [(0,)]
    done = ticks.converge(**options)
    assert (predicted["objects"], predicted["diff"], predicted["queries"]) == (done["objects"], done["diff"], done["queries"])
    assert ticks.query(HYPERTABLES) == [(1,)]
    assert ticks.converge(**options)["changed"] is False
    assert ticks.converge(check=True, **options)["changed"] is False
    implementations = {(one["kind"], one["implementation"]) for one in done["implementations"]}
    assert ("continuous aggregate", "native" if ticks.native else "equivalent") in implementations
    assert ("columnstore", "native" if ticks.native else "not available") in implementations
    assert done["editions"][ticks.database]["name"] == ("timescale" if ticks.native else "apache")


def test_a_table_with_rows_is_turned_when_that_is_said(ticks: Market) -> None:
    ticks.fill(5_000)
    assert "all of them are written anew" in ticks.refused()
    before = ticks.query("SELECT count(*), sum(price) FROM market.ticks")
    assert ticks.converge(migrate_data=True)["changed"]
    assert ticks.query("SELECT count(*), sum(price) FROM market.ticks") == before
    assert ticks.differences() == {}
    assert ticks.query("SELECT count(*) > 5 FROM show_chunks('market.ticks')") == [(True,)]


def test_the_smallest_thing_is_changed(ticks: Market) -> None:
    ticks.converge(continuous_aggregates=[HOURLY])
    ticks.fill(5_000)
    ticks.refresh_these("market.ticks_1h")
    rows = ticks.query("SELECT count(*) FROM market.ticks_1h")
    changed = {
        **HOURLY,
        "schedule_interval": "10 minutes",
        "end_offset": "2 hours",
        "materialized_only": True,
        "retention": {"drop_after": "2 years"},
        "start_offset": "1 year",
    }
    result = ticks.converge(continuous_aggregates=[changed], chunk_time_interval="12 hours")
    assert [one["kind"] for one in result["objects"]] == ["hypertable", "continuous aggregate"]
    assert not any(word in query for query in result["queries"] for word in ("DROP VIEW", "DROP MATERIALIZED", "CREATE TABLE"))
    assert ticks.converge(continuous_aggregates=[changed], chunk_time_interval="12 hours")["changed"] is False
    assert ticks.query("SELECT count(*) FROM market.ticks_1h")[0][0] >= rows[0][0] - 60
    assert ticks.converge(continuous_aggregates=[HOURLY], chunk_time_interval="12 hours")["changed"]
    assert ticks.differences_of("market.ticks_1h") == 0


def test_what_is_no_longer_declared_is_dropped_only_by_name(ticks: Market) -> None:
    ticks.converge()
    result = ticks.converge(continuous_aggregates=[HOURLY])
    assert not result["changed"]
    assert f"{ticks.database}.market.ticks_1d" in result["undeclared"]
    arguments = {**ticks.arguments(continuous_aggregates=[HOURLY]), "confirm_drop": ["market.ticks_1d", "market.ticks_1w", "market.ticks_1mon"]}
    done = run_module("timescaledb_hypertables", arguments)
    assert [one["action"] for one in done["objects"]] == ["delete"] * 3
    assert ticks.query("SELECT to_regclass('market.ticks_1d'), to_regclass('market.ticks_1h') IS NULL") == [(None, False)]


def test_another_definition_needs_the_word(ticks: Market) -> None:
    ticks.converge(continuous_aggregates=[HOURLY])
    ticks.fill(1_000)
    changed = {**HOURLY, "columns": {**HOURLY["columns"], "n": "count(*)"}}
    assert "means making it anew" in ticks.refused(continuous_aggregates=[changed])
    done = run_module("timescaledb_hypertables", {**ticks.arguments(continuous_aggregates=[changed]), "confirm_drop": ["market.ticks_1h"]})
    assert done["changed"], done
    assert ticks.query("SELECT sum(n) FROM market.ticks_1h") == [(1000,)]


@pytest.mark.long
def test_what_is_made_from_an_aggregate_is_made_anew_with_it(ticks: Market) -> None:
    ticks.converge(continuous_aggregates=AGGREGATES[:2])
    ticks.fill(1_000)
    changed = [{**HOURLY, "columns": {**HOURLY["columns"], "n": "count(*)"}}, AGGREGATES[1]]
    confirmed = {**ticks.arguments(continuous_aggregates=changed), "confirm_drop": ["market.ticks_1h"]}
    assert "which is made anew" in run_module("timescaledb_hypertables", confirmed)["msg"]
    alone = {**ticks.arguments(continuous_aggregates=changed[:1]), "confirm_drop": ["market.ticks_1h"]}
    assert "market.ticks_1d is made from market.ticks_1h, which would be dropped" in run_module("timescaledb_hypertables", alone)["msg"]
    confirmed["confirm_drop"] = ["market.ticks_1h", "market.ticks_1d"]
    done = run_module("timescaledb_hypertables", confirmed)
    assert [one["action"] for one in done["objects"]] == ["delete", "delete", "create", "create"], done
    assert ticks.query("SELECT sum(n) FROM market.ticks_1h") == [(1000,)]
    assert ticks.differences_of("market.ticks_1d") == 0
    assert ticks.converge(continuous_aggregates=changed)["changed"] is False


REFUSED: dict[str, dict[str, Any]] = {
    "unknown column": {"columns": {"high": "max(prize)"}},
    "open parenthesis": {"columns": {"high": "max(price"}},
    "unknown function": {"columns": {"high": "nothing(price)"}},
    "another statement": {"columns": {"high": "max(price) FROM market.ticks; DROP TABLE market.ticks; SELECT (1)"}},
    "a comment": {"columns": {"high": "max(price) FROM market.ticks --"}},
    "an end of its condition": {"where": "true) OR (true"},
    "a subquery": {"where": "symbol IN (SELECT 'S1')"},
    "a window function": {"columns": {"high": "rank() OVER ()"}},
    "the time": {"where": "time < now()"},
    "chance": {"columns": {"high": "max(price * random()::numeric)"}},
    "the session's time zone": {"columns": {"days": "max(date_trunc('day', time))"}},
    "an unknown time zone": {"bucket": "1 day", "timezone": "Mars/Olympus"},
    "an hour that comes twice": {"bucket": "1 hour", "timezone": "Europe/Berlin"},
    "a day that begins twice": {"bucket": "1 day", "timezone": "America/Havana"},
    "months and days": {"bucket": "1 month 1 day"},
}


@pytest.mark.parametrize("what", one_in(4, REFUSED))
def test_what_no_bucket_can_hold_is_refused_while_planning(ticks: Market, what: str) -> None:
    for check in (True, False):
        assert "aggregate market.ticks_1h" in ticks.refused(check=check, continuous_aggregates=[{**HOURLY, **REFUSED[what]}])
    assert ticks.query(HYPERTABLES) == [(0,)]


def test_what_is_made_from_an_aggregate_is_judged_before_it_is_there(ticks: Market) -> None:
    daily = {**AGGREGATES[1], "columns": {"high": "max(higher)"}}
    assert "aggregate market.ticks_1d" in ticks.refused(continuous_aggregates=[HOURLY, daily])
    assert ticks.query(HYPERTABLES) == [(0,)]


def test_a_schema_that_is_not_there_or_closed_is_noticed_before_any_change(ticks: Market) -> None:
    elsewhere = [{**HOURLY, "name": "elsewhere.ticks_1h"}]
    assert "the schema elsewhere is not there" in ticks.refused(continuous_aggregates=elsewhere)
    assert ticks.converge(check=True, continuous_aggregates=elsewhere)["changed"]  # a migration may be pending
    ticks.query("CREATE SCHEMA elsewhere")
    assert "may not create in the schema elsewhere" in ticks.refused(continuous_aggregates=elsewhere)
    assert ticks.query(HYPERTABLES) == [(0,)]


@pytest.mark.parametrize("interval", one_in(4, ["24 hours", "36 hours", "90 minutes", "1 week"]))
def test_a_chunk_interval_is_the_same_however_it_is_written(ticks: Market, interval: str) -> None:
    options = {"chunk_time_interval": interval, "continuous_aggregates": []}
    assert ticks.converge(**options)["changed"]
    assert ticks.converge(**options)["changed"] is False


@pytest.mark.long
def test_a_view_that_was_dropped_is_made_again_over_its_rows(ticks: Market) -> None:
    ticks.fill(5_000)
    ticks.converge(migrate_data=True)
    ticks.query("SELECT drop_chunks('market.ticks', older_than => interval '30 days')")
    before = ticks.query("SELECT * FROM market.ticks_1d ORDER BY bucket, symbol")
    ticks.query(f"DROP {'MATERIALIZED VIEW' if ticks.native else 'VIEW'} market.ticks_1h CASCADE")
    predicted, done = ticks.converge(check=True), ticks.converge()
    assert predicted["objects"] == done["objects"]
    assert [one["name"].removeprefix(f"{ticks.database}.market.") for one in done["objects"]] == ["ticks_1h", "ticks_1d"]
    if not ticks.native:  # the licensed edition has lost them
        assert ticks.query("SELECT * FROM market.ticks_1d ORDER BY bucket, symbol") == before
    assert ticks.converge()["changed"] is False
    ticks.query("INSERT INTO market.ticks VALUES (now() - interval '9 days 2 seconds', 'S5', 9500, 9)")
    ticks.refresh()
    assert ticks.query("SELECT max(high) FROM market.ticks_1d") == [(9500,)]


def test_a_column_that_was_dropped_and_added_again_is_aggregated_again(ticks: Market) -> None:
    ticks.fill(5_000)
    ticks.converge(migrate_data=True)
    ticks.query("ALTER TABLE market.ticks DROP COLUMN volume CASCADE")
    assert 'column "volume" does not exist' in ticks.refused()
    ticks.query("ALTER TABLE market.ticks ADD COLUMN volume numeric NOT NULL DEFAULT 2")
    assert ticks.converge()["changed"]
    assert ticks.differences() == {}
    assert ticks.converge()["changed"] is False


@pytest.mark.long
def test_a_table_that_was_dropped_and_made_anew_begins_anew(ticks: Market) -> None:
    ticks.fill(5_000)
    keep = {"continuous_aggregates": [{**one, "start_offset": "180 days"} for one in AGGREGATES]}
    ticks.converge(migrate_data=True, retention={"drop_after": "200 days"}, **keep)
    ticks.query("DROP TABLE market.ticks CASCADE")
    for statement in TABLE:
        ticks.query(statement)
    confirmed = {**ticks.arguments(**keep), "confirm_drop": list(DIRECT)}
    if not ticks.native:
        assert "it holds rows of a table market.ticks that was dropped" in ticks.refused(**keep)
    done = run_module("timescaledb_hypertables", confirmed)
    assert not done["failed"], done
    assert ticks.converge(**keep)["changed"] is False
    ticks.fill(1_000, days=150)
    ticks.refresh()
    assert ticks.differences() == {}
    if not ticks.native:  # the old table's retention is over with it
        assert ticks.query("SELECT drop_after FROM _rollup.hypertables") == [(None,)]
        assert ticks.query("SELECT FROM _rollup.tasks WHERE kind = 'retention'") == []


@pytest.mark.equivalent
def test_tables_of_two_owners_are_refused_where_one_job_serves_both(ticks: Market) -> None:
    ticks.query("CREATE TABLE market.others (LIKE market.ticks)")
    arguments = ticks.arguments()
    other = {"name": "market.others", "chunk_time_interval": "1 day", "continuous_aggregates": [{**HOURLY, "name": "market.others_1h"}]}
    arguments["databases"][0]["hypertables"].append(other)
    assert "let all of these tables have the same owner" in run_module("timescaledb_hypertables", arguments)["msg"]
    assert ticks.query(HYPERTABLES) == [(0,)]


def test_row_security_and_what_would_leak_it_are_refused(ticks: Market) -> None:
    ticks.query("ALTER TABLE market.ticks ENABLE ROW LEVEL SECURITY")
    assert "could read everybody's rows" in ticks.refused(continuous_aggregates=[])
    assert "would show every user's rows" in ticks.refused()
    assert ticks.query(HYPERTABLES) == [(0,)]


def test_a_database_without_the_extension_is_refused(server: Server) -> None:
    server.query("CREATE DATABASE plain")
    assert "does not have the extension" in Market(server, "plain").refused(continuous_aggregates=[])


@pytest.mark.long
def test_who_may_read_the_view_needs_nothing_else(ticks: Market) -> None:
    reader = f"reader_{ticks.database}"
    ticks.query(f"CREATE ROLE {reader} LOGIN PASSWORD 'reader'")
    ticks.query(f"GRANT USAGE ON SCHEMA market TO {reader}")
    ticks.query(f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA market GRANT SELECT ON TABLES TO {reader}")
    ticks.fill(2_000)
    ticks.converge(migrate_data=True)
    with contextlib.closing(ticks.server.connect(ticks.database, user=reader, password="reader")) as session, session.cursor() as cursor:
        cursor.execute("SELECT sum(volume) FROM market.ticks_1d")
        assert cursor.fetchall() == ticks.query("SELECT sum(volume) FROM market.ticks")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("SELECT FROM market.ticks")


def test_history_stays_when_retention_drops_its_rows(ticks: Market) -> None:
    ticks.fill(20_000)
    keep = {"retention": {"drop_after": "20 days"}, "continuous_aggregates": [{**one, "start_offset": "18 days"} for one in (AGGREGATES[0], AGGREGATES[1])]}
    ticks.converge(migrate_data=True, **keep)
    before = ticks.query("SELECT sum(volume), count(*) FROM market.ticks_1d")
    if ticks.native:
        ticks.query("SELECT drop_chunks('market.ticks', older_than => interval '20 days')")
        ticks.query("CALL refresh_continuous_aggregate('market.ticks_1h', now() - interval '18 days', NULL)")
    else:
        ticks.query("CALL _rollup.retain('market.ticks')")
        ticks.query("CALL _rollup.refresh_all()")
    assert ticks.query("SELECT min(time) > now() - interval '22 days' FROM market.ticks") == [(True,)]
    assert ticks.query("SELECT sum(volume), count(*) FROM market.ticks_1d") == before


@pytest.mark.equivalent
def test_retention_completes_a_bucket_before_it_closes_it(ticks: Market) -> None:
    ticks.fill(20_000)
    ticks.converge(migrate_data=True, retention={"drop_after": "20 days"}, continuous_aggregates=[{**one, "start_offset": "18 days"} for one in AGGREGATES[:2]])
    # Older than the window of a refresh, and never refreshed.
    ticks.query("INSERT INTO market.ticks VALUES (now() - interval '30 days', 'S1', 5000, 1000)")
    ticks.query("CALL _rollup.retain('market.ticks')")
    ticks.query("CALL _rollup.refresh_all()")
    assert ticks.query("SELECT max(high), max(volume) >= 1000 FROM market.ticks_1d WHERE symbol = 'S1'") == [(5000, True)]
    # Closed for good: what comes now would replace what is gone.
    ticks.query("INSERT INTO market.ticks VALUES (now() - interval '30 days', 'S1', 1, 1)")
    ticks.refresh()
    assert ticks.query("SELECT max(high) FROM market.ticks_1d WHERE symbol = 'S1'") == [(5000,)]
    ticks.query("CALL _rollup.retain('market.ticks')")
    assert ticks.query("SELECT min(time) > now() - interval '22 days' FROM market.ticks") == [(True,)]


@pytest.mark.equivalent
def test_retention_of_an_aggregate_leaves_what_is_made_from_it(ticks: Market) -> None:
    ticks.fill(20_000)
    hourly = {**HOURLY, "start_offset": "18 days", "retention": {"drop_after": "20 days"}}
    ticks.converge(migrate_data=True, continuous_aggregates=[hourly, {**AGGREGATES[1], "start_offset": "15 days"}])
    before = ticks.query("SELECT sum(volume), count(*) FROM market.ticks_1d")
    ticks.query("CALL _rollup.retain('market.ticks_1h')")
    ticks.query("CALL _rollup.refresh_all()")
    assert ticks.query("SELECT min(bucket) > now() - interval '22 days' FROM market.ticks_1h") == [(True,)]
    assert ticks.query("SELECT sum(volume), count(*) FROM market.ticks_1d") == before


@pytest.mark.equivalent
@pytest.mark.long
def test_the_server_refreshes_by_itself_and_keeps_a_record(ticks: Market) -> None:
    ticks.converge(continuous_aggregates=[{**HOURLY, "schedule_interval": "1 minute"}])
    ticks.query("UPDATE _rollup.tasks SET last_started = NULL")
    deadline = time.monotonic() + 150
    while not ticks.query("SELECT FROM _rollup.runs WHERE failed IS FALSE"):
        assert time.monotonic() < deadline, ticks.server.query("SELECT status, return_message FROM cron.job_run_details")
        time.sleep(1)
    assert ticks.query("SELECT task, last_failed FROM _rollup.status") == [("refresh market.ticks_1h", False)]


@pytest.mark.equivalent
def test_a_failing_task_is_recorded_and_stops_no_other(ticks: Market) -> None:
    ticks.converge()
    ticks.server.query("SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname = %s", f"rollup:{ticks.database}")
    ticks.query("UPDATE _rollup.tasks SET last_started = NULL")
    number = ticks.query("SELECT id FROM _rollup.aggregates WHERE name = 'market.ticks_1w'")[0][0]
    ticks.query(f"ALTER TABLE _rollup.rows_{number} ADD CONSTRAINT broken CHECK (n < 0)")
    ticks.fill(500)
    ticks.query("CALL _rollup.run_due()")
    states = dict(ticks.query("SELECT task, last_failed FROM _rollup.status"))
    assert states == {
        "refresh market.ticks_1h": False,
        "refresh market.ticks_1d": False,
        "refresh market.ticks_1w": True,
        "refresh market.ticks_1mon": False,
    }
    assert "broken" in ticks.query("SELECT last_message FROM _rollup.status WHERE last_failed")[0][0]
    complaints = [notice.what for notice in notices({**ticks.server.login, "login_db": "postgres", "connect_timeout": 10}) if ticks.database in notice.what]
    assert len(complaints) == 1
    assert complaints[0].startswith(f"refresh market.ticks_1w in the database {ticks.database} failed: ")


@pytest.mark.native
@pytest.mark.parametrize(
    "columnstore",
    [
        {"after": "7 days"},
        {"segmentby": ["symbol"], "after": "7 days"},
        {"orderby": ["price", "time DESC"], "after": "7 days"},
        {"segmentby": ["symbol"], "orderby": ["time"]},
    ],
)
def test_a_columnstore_is_the_same_on_a_second_run(ticks: Market, columnstore: dict[str, Any]) -> None:
    options = {"columnstore": columnstore, "continuous_aggregates": []}
    ticks.fill(2_000)
    ticks.converge(migrate_data=True, **options)
    assert ticks.converge(**options)["changed"] is False
    # Its policy may be at it as well.
    ticks.query("SELECT compress_chunk(chunk, if_not_compressed => true) FROM show_chunks('market.ticks', older_than => interval '10 days') AS chunk")
    assert ticks.converge(**options)["changed"] is False
    changed = {"columnstore": {**columnstore, "segmentby": [] if columnstore.get("segmentby") else ["symbol"]}, "continuous_aggregates": []}
    assert [one["kind"] for one in ticks.converge(**changed)["objects"]] == ["columnstore"]
    assert ticks.converge(**changed)["changed"] is False


@pytest.mark.native
def test_the_licensed_edition_gets_its_own_objects(ticks: Market) -> None:
    ticks.converge(retention={"drop_after": "90 days"}, columnstore={"after": "7 days"}, continuous_aggregates=[{**HOURLY, "start_offset": "80 days"}])
    assert ticks.query("SELECT view_name FROM timescaledb_information.continuous_aggregates") == [("ticks_1h",)]
    jobs = ticks.query("SELECT proc_name FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY 1")
    assert jobs == [("policy_compression",), ("policy_refresh_continuous_aggregate",), ("policy_retention",)]


@pytest.mark.equivalent
def test_retention_and_refreshes_at_the_same_time_do_not_block_each_other(ticks: Market) -> None:
    ticks.fill(20_000)
    ticks.converge(migrate_data=True, retention={"drop_after": "20 days"}, continuous_aggregates=[{**one, "start_offset": "18 days"} for one in AGGREGATES[:2]])
    before = ticks.query("SELECT sum(volume), count(*) FROM market.ticks_1d")
    stop, failures = threading.Event(), []

    def refresh() -> None:
        while not stop.is_set():
            try:
                ticks.query("CALL _rollup.refresh_all()")
            except psycopg2.Error as error:
                failures.append(str(error))

    others = [threading.Thread(target=refresh) for _number in range(3)]
    for other in others:
        other.start()
    try:
        ticks.query("CALL _rollup.retain('market.ticks')")
    finally:
        stop.set()
        for other in others:
            other.join(60)
    assert failures == []
    assert ticks.query("SELECT min(time) > now() - interval '22 days' FROM market.ticks") == [(True,)]
    assert ticks.query("SELECT sum(volume), count(*) FROM market.ticks_1d") == before
