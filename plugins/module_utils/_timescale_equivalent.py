# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements of the Apache edition: rollups, their view, their bookkeeping."""

from __future__ import annotations

import json

from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Argument, Keyword, Value, name, value
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import BUCKET, Aggregate, Hypertable, Retention
from ansible_collections.nexanest.database.plugins.module_utils._timescale_query import Source, Text, columns, relation, select
from ansible_collections.nexanest.database.plugins.module_utils._timescale_span import Span
from ansible_collections.nexanest.database.plugins.module_utils._timescale_steps import Work, admin, alone, as_role

TRIGGER = "rollup_truncated"


def or_null(found: Span | str | None) -> Argument:
    return Keyword("NULL") if found is None else Value((str(found),))


def register(hypertable: Hypertable) -> list[Work]:
    """The hypertable's row in our own catalog, on both editions. One of that name may have been dropped: what was said of it is over."""
    template = (
        "INSERT INTO _rollup.hypertables (name, time_column) VALUES ({}, {}) "
        "ON CONFLICT (name) DO UPDATE SET time_column = excluded.time_column, drop_after = NULL, truncated = FALSE"
    )
    return [admin(template, value(hypertable.name), value(hypertable.time_column)), no_task("retention", hypertable.name)]


def watch(hypertable: Hypertable) -> Work:
    # TRUNCATE alone fires it: writing rows costs nothing.
    template = "CREATE TRIGGER {} BEFORE TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION _rollup.truncated({})"
    return admin(template, name(TRIGGER), name(*relation(hypertable.name)), value(hypertable.name))


# Where nothing but the record was left. What retention has closed stays closed, but for a table that was made anew.
AGAIN = (
    "ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, native = excluded.native, filled = FALSE, definition = excluded.definition, "
    "bucket = excluded.bucket, timezone = excluded.timezone, start_offset = excluded.start_offset, end_offset = excluded.end_offset, "
    "drop_after = excluded.drop_after, materialized_only = excluded.materialized_only, watermark = DEFAULT, pending = DEFAULT"
)


def remember(aggregate: Aggregate, hypertable: Hypertable, number: int, *, native: bool) -> Work:
    parent = (
        Text().add("NULL")
        if aggregate.source == hypertable.name
        else Text().add("(SELECT id FROM _rollup.aggregates WHERE name = {})", value(aggregate.source))
    )
    text = Text().add(
        "INSERT INTO _rollup.aggregates (id, name, hypertable, parent, native, definition, bucket, timezone, start_offset, end_offset, drop_after, "
        "materialized_only) VALUES ({}, {}, {}, ",
        value(number), value(aggregate.name), value(hypertable.name),
    )  # fmt: skip
    text.append(parent.statement).add(
        ", {}, {}, {}, {}, {}, {}, {}, {}) " + AGAIN,
        boolean(native), value(json.dumps(aggregate.definition)), value(str(aggregate.bucket)), or_null(aggregate.timezone), or_null(aggregate.start_offset),
        value(str(aggregate.end_offset)), or_null(aggregate.retention.drop_after if aggregate.retention else None), boolean(aggregate.materialized_only),
    )  # fmt: skip
    return Work(text.statement)


# Read with the rights of the view's owner; a function would run with those of whoever asks.
WATERMARK = "(SELECT a.watermark FROM _rollup.aggregates a WHERE a.id = @number@)"


def boolean(found: bool) -> Keyword:
    return Keyword("TRUE" if found else "FALSE")


def create(aggregate: Aggregate, number: int, source: Source, owner: str | None) -> list[Work]:
    """Rows and the function that makes them."""
    rows = name("_rollup", f"rows_{number}")
    table = Text().add("CREATE TABLE {} AS ", rows).append(select(aggregate, source)).add(" WITH NO DATA")
    # One row per bucket and group, whatever happens.
    key = Text().add("CREATE UNIQUE INDEX ON {} (", rows)
    for column in aggregate.group_by:
        key.add("{}, ", name(column))
    key.add("{}) NULLS NOT DISTINCT", name(BUCKET))
    return [
        Work(table.statement),
        Work(key.statement),
        *([admin("CREATE INDEX ON {} ({})", rows, name(BUCKET))] if aggregate.group_by else []),
        *([admin("ALTER TABLE {} OWNER TO {}", rows, name(owner))] if owner else []),
        *maker(aggregate, number, source, owner),
    ]


def maker(aggregate: Aggregate, number: int, source: Source, owner: str | None) -> list[Work]:
    """The function that makes the rows of a range. A child reads its parent's rows as they are materialised."""
    function, rows = name("_rollup", f"source_{number}"), name("_rollup", f"rows_{number}")
    text = Text().add("CREATE OR REPLACE FUNCTION {}(timestamptz, timestamptz) RETURNS SETOF {} LANGUAGE sql STABLE BEGIN ATOMIC ", function, rows)
    text.append(select(aggregate, source, ("{} >= $1", "{} < $2"))).add("; END")
    return [
        Work(text.statement),
        admin("REVOKE EXECUTE ON FUNCTION {}(timestamptz, timestamptz) FROM PUBLIC", function),
        *([admin("ALTER FUNCTION {} OWNER TO {}", function, name(owner))] if owner else []),
    ]


def doubt(hypertable: str) -> Work:
    """Whatever still has rows is made anew at the next refresh."""
    return admin("DELETE FROM _rollup.chunks WHERE hypertable = {}", value(hypertable))


def view(aggregate: Aggregate, number: int, live: Source, owner: str | None) -> Work:
    """Materialised buckets, and behind them the rows as they come."""
    text = Text().add("CREATE OR REPLACE VIEW {} AS SELECT ", name(*relation(aggregate.name)))
    for index, column in enumerate(columns(aggregate)):
        text.add(", {}" if index else "{}", name(column))
    text.add(" FROM {}", name("_rollup", f"rows_{number}"))
    if not aggregate.materialized_only:
        watermark = WATERMARK.replace("@number@", str(number))
        text.add("".join((" WHERE {} < ", watermark, " UNION ALL ")), name(BUCKET))
        text.append(select(aggregate, live, ("{} >= " + watermark,)))
    return Work(text.statement, owner)


def fill(aggregate: Aggregate, owner: str | None) -> list[Work]:
    return [alone(owner, "CALL _rollup.refresh({})", value(aggregate.name)), filled(aggregate)]


def filled(aggregate: Aggregate) -> Work:
    return admin("UPDATE _rollup.aggregates SET filled = TRUE WHERE name = {}", value(aggregate.name))


def task(kind: str, target: str, level: int, schedule: Span) -> Work:
    return admin(
        "INSERT INTO _rollup.tasks (name, kind, target, level, schedule_interval) VALUES ({}, {}, {}, {}, {}) "
        "ON CONFLICT (name) DO UPDATE SET schedule_interval = excluded.schedule_interval, level = excluded.level",
        value(f"{kind} {target}"), value(kind), value(target), value(level), value(str(schedule)),
    )  # fmt: skip


def no_task(kind: str, target: str) -> Work:
    return admin("DELETE FROM _rollup.tasks WHERE name = {}", value(f"{kind} {target}"))


def settings(aggregate: Aggregate) -> Work:
    return admin(
        "UPDATE _rollup.aggregates SET start_offset = {}, end_offset = {}, drop_after = {}, materialized_only = {} WHERE name = {}",
        or_null(aggregate.start_offset), value(str(aggregate.end_offset)), or_null(aggregate.retention.drop_after if aggregate.retention else None),
        boolean(aggregate.materialized_only), value(aggregate.name),
    )  # fmt: skip


def retention(target: str, wanted: Retention | None) -> list[Work]:
    """Retention of a hypertable's or an aggregate's rows."""
    after = or_null(wanted.drop_after if wanted else None)
    keep = [
        admin("UPDATE _rollup.hypertables SET drop_after = {} WHERE name = {}", after, value(target)),
        admin("UPDATE _rollup.aggregates SET drop_after = {} WHERE name = {}", after, value(target)),
    ]
    return [*keep, no_task("retention", target) if wanted is None else task("retention", target, 0, wanted.schedule_interval)]


def drop(aggregate: str, number: int) -> list[Work]:
    return [
        admin("DROP VIEW IF EXISTS {}", name(*relation(aggregate))),
        *drop_rows(number),
        *forget(aggregate),
    ]


def drop_rows(number: int) -> list[Work]:
    return [
        admin("DROP FUNCTION IF EXISTS {}(timestamptz, timestamptz)", name("_rollup", f"source_{number}")),
        admin("DROP TABLE {}", name("_rollup", f"rows_{number}")),
    ]


def forget(aggregate: str) -> list[Work]:
    """Its record. What was made from it is gone before it, or a record itself."""
    orphans = "UPDATE _rollup.aggregates SET parent = NULL WHERE parent = (SELECT id FROM _rollup.aggregates WHERE name = {})"
    return [
        no_task("refresh", aggregate),
        no_task("retention", aggregate),
        admin(orphans, value(aggregate)),
        admin("DELETE FROM _rollup.aggregates WHERE name = {}", value(aggregate)),
    ]


def grants(owner: str) -> list[Work]:
    """What the owner's jobs need of our schema."""
    return [
        as_role(None, "GRANT USAGE ON SCHEMA _rollup TO {}", name(owner)),
        as_role(
            None,
            "GRANT SELECT, INSERT, UPDATE, DELETE ON _rollup.hypertables, _rollup.aggregates, _rollup.chunks, _rollup.tasks, _rollup.runs TO {}",
            name(owner),
        ),
        as_role(None, "GRANT SELECT ON _rollup.status TO {}", name(owner)),
        as_role(None, "GRANT EXECUTE ON ALL ROUTINES IN SCHEMA _rollup TO {}", name(owner)),
    ]
