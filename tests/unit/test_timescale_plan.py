# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._timescale_input import desired
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import (
    ActualAggregate,
    ActualHypertable,
    Database,
    Edition,
    Scheduler,
    State,
    Table,
)
from ansible_collections.nexanest.database.plugins.module_utils._timescale_plan import digest, implementations, plan
from ansible_collections.nexanest.database.plugins.module_utils._timescale_span import span

APACHE, LICENSED = Edition("apache", library=False, version="2.19.3"), Edition("timescale", library=True, version="2.19.3")
HOURLY = {"name": "m.p_1h", "bucket": "1 hour", "group_by": ["symbol"], "columns": {"high": "max(price)"}}
DAILY = {"name": "m.p_1d", "source": "m.p_1h", "bucket": "1 day", "group_by": ["symbol"], "columns": {"high": "max(high)"}}
COLUMNS = {"time": "timestamp with time zone", "symbol": "text", "price": "numeric"}


def database(*aggregates: dict[str, Any], **keys: Any) -> Database:
    hypertable = {"name": "m.p", "chunk_time_interval": "1 day", "continuous_aggregates": list(aggregates), **keys}
    return desired([{"name": "d", "hypertables": [hypertable]}])[0]


def state(edition: Edition = APACHE, **changes: Any) -> State:
    """A table that is no hypertable yet."""
    return replace(State(edition=edition, tables={"m.p": Table(owner="o", columns=COLUMNS)}), **changes)


def converged(wanted: Database, edition: Edition = APACHE) -> State:
    """What a run leaves behind."""
    hypertable = wanted.hypertables[0]
    job = ("* * * * *", "CALL _rollup.run_due()", "d", "o")
    native = edition.native
    return state(
        edition,
        hypertables={
            "m.p": ActualHypertable(
                time_column="time",
                chunk_time_interval=hypertable.chunk_time_interval,
                columnstore=hypertable.columnstore if native else None,
                columnstore_job=1 if native and hypertable.columnstore else None,
                retention=hypertable.retention,
                retention_job=2 if native and hypertable.retention else None,
            )
        },
        aggregates={
            one.name: ActualAggregate(
                native, one.definition, one.start_offset, one.end_offset, one.schedule_interval, one.materialized_only, one.retention, number, 10, 11
            )
            for number, one in enumerate(hypertable.aggregates, 1)
        },
        machinery=digest("public"),
        granted=frozenset({"o"}),
        scheduler=Scheduler(available=True, installed=True, jobs={} if native or not (hypertable.aggregates or hypertable.retention) else {"rollup:d": job}),
    )


def titles(steps: Any) -> list[str]:
    return [step.change.title for step in steps]


def action(step: Any) -> str:
    return "create" if step.change.before is None else "delete" if step.change.after is None else "update"


def refusal(wanted: Database, actual: State, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        plan(wanted, actual, **options)
    return str(error.value)


@pytest.mark.parametrize("edition", [APACHE, LICENSED])
def test_a_new_set_is_made_lower_aggregates_first(edition: Edition) -> None:
    found = titles(plan(database(DAILY, HOURLY), state(edition)))
    assert found[:4] == ["schema d._rollup", "hypertable d.m.p", "continuous aggregate d.m.p_1h", "continuous aggregate d.m.p_1d"]


@pytest.mark.parametrize("edition", [APACHE, LICENSED])
def test_a_converged_set_plans_nothing(edition: Edition) -> None:
    wanted = database({**HOURLY, "start_offset": "80 days"}, DAILY, retention={"drop_after": "90 days"}, columnstore={"segmentby": "symbol", "after": "7 days"})
    assert plan(wanted, converged(wanted, edition)) == []


def test_an_empty_server_is_planned_from_the_declaration_alone() -> None:
    assert "continuous aggregate d.m.p_1h" in titles(plan(database(HOURLY), State(APACHE, unknown=True), check_mode=True))


@pytest.mark.parametrize(
    ("edition", "changed", "needle"),
    [
        (APACHE, {"end_offset": "3 hours"}, "UPDATE _rollup.aggregates"),
        (APACHE, {"schedule_interval": "10 minutes"}, "INSERT INTO _rollup.tasks"),
        (APACHE, {"materialized_only": True}, "CREATE OR REPLACE VIEW"),
        (LICENSED, {"end_offset": "3 hours"}, "alter_job"),
        (LICENSED, {"materialized_only": True}, "ALTER MATERIALIZED VIEW"),
    ],
)
def test_a_changed_setting_makes_nothing_anew(edition: Edition, changed: dict[str, Any], needle: str) -> None:
    steps = plan(database({**HOURLY, **changed}), converged(database(HOURLY), edition))
    statements = [work.statement.text() for step in steps for work in step.work]
    assert titles(steps) == ["continuous aggregate d.m.p_1h"]
    assert any(needle in one for one in statements)
    assert not any(word in one for one in statements for word in ("DROP", "CREATE TABLE", "CREATE MATERIALIZED"))


def test_a_changed_chunk_interval_is_one_statement() -> None:
    steps = plan(database(chunk_time_interval="7 days"), converged(database()))
    assert [work.statement.text() for step in steps for work in step.work] == ["""SELECT "public".set_chunk_time_interval('"m"."p"', INTERVAL '7 days')"""]


def test_what_is_no_longer_declared_stays_unless_it_is_named() -> None:
    actual = converged(database(HOURLY, DAILY))
    assert plan(database(HOURLY), actual) == []
    assert titles(plan(database(HOURLY), actual, confirm_drop=["m.p_1d"])) == ["continuous aggregate d.m.p_1d"]


def test_another_definition_is_refused_unless_the_aggregate_may_be_dropped() -> None:
    changed = database({**HOURLY, "columns": {"high": "max(price)", "low": "min(price)"}})
    assert "another columns means making it anew" in refusal(changed, converged(database(HOURLY)))
    steps = plan(changed, converged(database(HOURLY)), confirm_drop=["m.p_1h"])
    assert "DROP VIEW" in steps[0].work[0].statement.text()
    assert [action(step) for step in steps] == ["delete", "create"]


def test_what_is_made_from_an_aggregate_goes_before_it() -> None:
    changed = database({**HOURLY, "bucket": "30 minutes"}, DAILY)
    actual = converged(database(HOURLY, DAILY))
    assert "m.p_1d: it is made from m.p_1h, which is made anew" in refusal(changed, actual, confirm_drop=["m.p_1h"])
    assert "m.p_1d is made from m.p_1h, which would be dropped" in refusal(database(), actual, confirm_drop=["m.p_1h"])
    steps = plan(changed, actual, confirm_drop=["m.p_1h", "m.p_1d"])
    assert [step.change.name for step in steps] == ["d.m.p_1d", "d.m.p_1h", "d.m.p_1h", "d.m.p_1d"]


def left(actual: State, remains: str) -> State:
    return replace(actual, aggregates={name: replace(found, remains=remains) for name, found in actual.aggregates.items()})


def test_rows_without_a_view_get_it_back_and_a_mere_record_begins_anew() -> None:
    wanted = database(HOURLY)
    for remains, created in (("rows", False), ("record", True)):
        steps = plan(wanted, left(converged(wanted), remains))
        statements = [work.statement.text() for step in steps for work in step.work]
        assert titles(steps) == ["continuous aggregate d.m.p_1h"]
        assert any("CREATE TABLE" in one for one in statements) is created
        assert any("CREATE OR REPLACE VIEW" in one for one in statements)


def test_rows_of_a_table_that_was_dropped_are_dropped_only_by_name() -> None:
    wanted = database(HOURLY)
    actual = left(replace(converged(wanted), hypertables={}), "rows")
    assert "rows of a table m.p that was dropped" in refusal(wanted, actual)
    assert [action(step) for step in plan(wanted, actual, confirm_drop=["m.p_1h"])] == ["delete", "create", "create"]


def test_the_job_of_a_database_that_is_gone_is_removed() -> None:
    wanted = database(HOURLY)
    jobs = {**converged(wanted).scheduler.jobs, "rollup:old": ("* * * * *", "CALL _rollup.run_due()", "old", "o")}
    actual = replace(converged(wanted), scheduler=Scheduler(available=True, installed=True, jobs=jobs, lost=("rollup:old",)))
    assert titles(plan(wanted, actual)) == ["job rollup:old"]


def test_rollups_become_native_with_their_history() -> None:
    wanted = database(HOURLY, DAILY)
    actual = replace(converged(wanted), edition=LICENSED)
    steps = plan(wanted, actual)
    statements = [work.statement.text() for work in next(step for step in steps if step.change.name == "d.m.p_1h").work]
    order = [
        next(i for i, one in enumerate(statements) if needle in one)
        for needle in ("CREATE MATERIALIZED", "refresh_continuous", "take_over", "DROP VIEW", "RENAME")
    ]
    assert order == sorted(order)
    assert "job rollup:d" in titles(steps)


def test_apaches_failing_job_is_stopped_and_comes_back() -> None:
    wanted = database()
    assert titles(plan(wanted, replace(converged(wanted), failing_jobs=(3,)))) == ["built-in job d.3"]
    assert titles(plan(wanted, replace(converged(wanted, LICENSED), idle_jobs=(3,)))) == ["built-in job d.3"]


def test_each_object_says_how_it_is_done() -> None:
    wanted = database(HOURLY, columnstore={"after": "7 days"})
    found = {(one["kind"], one["implementation"]) for one in implementations(wanted, converged(wanted))}
    assert found == {("hypertable", "native"), ("columnstore", "not available"), ("continuous aggregate", "equivalent"), ("refresh", "equivalent")}
    without = replace(converged(wanted), scheduler=Scheduler(available=False))
    assert any("no pg_cron" in one["implementation"] for one in implementations(wanted, without))


DROPPING_TABLE = {"chunk_time_interval": "1 day", "retention": {"drop_after": "9 days"}}
TWO_TABLES = desired([{"name": "d", "hypertables": [{"name": "m.p", **DROPPING_TABLE}, {"name": "m.q", **DROPPING_TABLE}]}])[0]
TWO_OWNERS = {"m.p": Table(owner="o", columns=COLUMNS), "m.q": Table(owner="x", columns=COLUMNS)}
# What would lose or leak data, or cannot be.
DROPPING = {"drop_after": "90 days"}
SECURED = {"m.p": Table(owner="o", columns=COLUMNS, row_security=True)}


@pytest.mark.parametrize(
    ("wanted", "needle"),
    [
        (database(HOURLY, retention=DROPPING), "its refresh window has no beginning"),
        (database({**HOURLY, "start_offset": "91 days"}, retention=DROPPING), "would delete the aggregated history"),
        (database({**HOURLY, "start_offset": "3 months"}, retention=DROPPING), "would delete the aggregated history"),
        (database({**HOURLY, "retention": DROPPING}), "it drops its own rows after 90 days"),
        (database({**HOURLY, "start_offset": "30 days", "retention": DROPPING}, DAILY), "m.p_1h drops rows after 90 days"),
        (database({**HOURLY, "start_offset": "2 hours"}), "two buckets of 1 hour must fit"),
        (database({**HOURLY, "bucket": "7 hours"}, DAILY), "not made of whole buckets"),
        (database({**HOURLY, "timezone": "Europe/Berlin"}, DAILY), "buckets would not nest"),
        (database({**HOURLY, "bucket": "1 day"}, DAILY), "its buckets are those of"),
        (database(HOURLY, {**DAILY, "where": "high > 1"}), "`where` belongs to"),
        (database({**HOURLY, "group_by": ["symbl"]}), "did you mean 'symbol'?"),
        (database(time_column="tiem"), "did you mean 'time'?"),
        (database(columnstore={"segmentby": "exchange"}), "segmentby names the unknown column 'exchange'"),
        (database(columnstore={"orderby": ["at DESC"]}), "orderby names the unknown column 'at'"),
        (database(HOURLY, {**DAILY, "group_by": ["price"]}), "group_by names the unknown column 'price'"),
    ],
)
def test_a_declaration_that_loses_data_or_cannot_be_is_refused(wanted: Database, needle: str) -> None:
    assert needle in refusal(wanted, state())


@pytest.mark.parametrize(
    ("wanted", "actual", "needle"),
    [
        (database(), state(tables=SECURED), "could read everybody's rows through them"),
        (database(columnstore={"after": "7 days"}), state(LICENSED, tables=SECURED), "columnstore and row security exclude each other"),
        (database(HOURLY), state(tables=SECURED), "would show every user's rows"),
        (database(), state(compressed_chunks=3), "reads as if their rows were not there"),
        (database(HOURLY), replace(converged(database(HOURLY), LICENSED), edition=APACHE), "nothing refreshes it"),
        (database(), state(Edition("timescale", library=False, version="2.19.3")), "has no licensed library"),
        (
            TWO_TABLES,
            state(tables={"m.p": Table(owner="o", columns=COLUMNS), "m.q": Table(owner="x", columns=COLUMNS)}),
            "let all of these tables have the same",
        ),
        (database(), state(tables={}), "a migration must make it first"),
        (database(), state(tables={"m.p": Table(owner="o", columns=COLUMNS, kind="v")}), "no plain table"),
        (database(), state(tables={"m.p": Table(owner="o", columns=COLUMNS, rows=5_000_000, size=612 * 2**20)}), "about 5,000,000 rows in 612 MB"),
        (database(migrate_data=True), state(tables={"m.p": Table(owner="o", columns=COLUMNS, unique=(("id",),))}), "lacks the time column"),
        (database(), state(tables={"m.p": Table(owner="o", columns={**COLUMNS, "time": "bigint"})}), "only timestamp with time zone"),
        (database(HOURLY), state(tables={"m.p": Table(owner="o", columns=COLUMNS, owner_logs_in=False)}), "may not log in"),
        (database(HOURLY), state(aggregates={"m.p_1h": ActualAggregate(native=False, definition=None)}), "was not made by this module"),
        (database(time_column="time"), replace(converged(database()), hypertables={"m.p": ActualHypertable("at", span("1 day"))}), "cannot be changed"),
    ],
)
def test_a_server_on_which_it_would_lose_or_leak_is_refused(wanted: Database, actual: State, needle: str) -> None:
    assert needle in refusal(wanted, actual)


def test_the_cost_of_turning_a_table_with_rows_stands_in_the_plan() -> None:
    table = Table(owner="o", columns=COLUMNS, rows=5_000_000, size=612 * 2**20)
    steps = plan(database(migrate_data=True), state(tables={"m.p": table}))
    hypertable = next(step for step in steps if step.change.kind == "hypertable")
    assert "nobody can read or write the table meanwhile" in str(dict(hypertable.change.after or {})["cost"])


@pytest.mark.parametrize(
    ("item", "needle"),
    [
        ({"name": "p"}, "must be schema.name"),
        ({"name": "m.p", "chunk_interval": "1 day"}, "did you mean 'chunk_time_interval'?"),
        ({"name": "m.p", "chunk_time_interval": "daily"}, "write a span of time"),
        ({"name": "m.p", "chunk_time_interval": "1 month"}, "chunks have a fixed length"),
        ({"name": "m.p", "chunk_time_interval": "1 day", "continuous_aggregates": [{**HOURLY, "bucket": "1 month 2 days"}]}, "say whole months"),
        ({"name": "m.p", "chunk_time_interval": "1 day", "continuous_aggregates": [{**HOURLY, "where": "price > 1; DROP TABLE m.p"}]}, "its `;` would end it"),
        ({"name": "m.p", "chunk_time_interval": "1 day", "continuous_aggregates": [{**HOURLY, "columns": {"x": " "}}]}, "it is empty"),
        ({"name": "m.p", "chunk_time_interval": "1 day", "continuous_aggregates": [{**HOURLY, "source": "m.other"}]}, "neither this hypertable"),
        ({"name": "m.p", "chunk_time_interval": "1 day", "continuous_aggregates": [HOURLY, HOURLY]}, "twice"),
        ({"name": "m.p", "chunk_time_interval": "1 day", "continuous_aggregates": [{**HOURLY, "columns": {}}]}, "must map each column's name"),
        (
            {"name": "m.p", "chunk_time_interval": "1 day", "continuous_aggregates": [{**HOURLY, "columns": {"symbol": "max(price)"}}]},
            "has the column 'symbol' twice",
        ),
        ({"name": "m.p", "chunk_time_interval": "1 day", "columnstore": {"orderby": ["time DOWN"]}}, "write a column, or a column and DESC"),
    ],
)
def test_what_is_not_written_as_it_must_be_is_refused(item: dict[str, Any], needle: str) -> None:
    with pytest.raises(InputError) as error:
        desired([{"name": "d", "hypertables": [item]}])
    assert needle in str(error.value)
