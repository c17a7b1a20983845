# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements of the Timescale-licensed edition: continuous aggregates, columnstore and policies of its own."""

from __future__ import annotations

import json

from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Keyword, Value, name, value
from ansible_collections.nexanest.database.plugins.module_utils._timescale_equivalent import boolean
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import ActualAggregate, Aggregate, Columnstore, Retention
from ansible_collections.nexanest.database.plugins.module_utils._timescale_query import Source, Text, literal, relation, select
from ansible_collections.nexanest.database.plugins.module_utils._timescale_span import Span
from ansible_collections.nexanest.database.plugins.module_utils._timescale_steps import Work, admin, alone, as_role


def create(aggregate: Aggregate, view: str, source: Source, owner: str | None) -> Work:
    """The aggregate without rows, under the name `view`."""
    text = Text().add(
        "CREATE MATERIALIZED VIEW {} WITH (timescaledb.continuous, timescaledb.materialized_only = {}) AS ",
        name(*relation(view)), boolean(aggregate.materialized_only),
    )  # fmt: skip
    return Work(text.append(select(aggregate, source)).add(" WITH NO DATA").statement, owner)


def fill(aggregate: Aggregate, view: str, extension: str, owner: str | None) -> Work:
    """All buckets that have ended, as far back as there are rows."""
    template = "CALL {}.refresh_continuous_aggregate({}, NULL, {}.time_bucket(INTERVAL {}, now() - INTERVAL {}))"
    arguments = (name(extension), value(literal(view)), name(extension), value(str(aggregate.bucket)), value(str(aggregate.end_offset)))
    return alone(owner, template, *arguments)


def schedule(aggregate: Aggregate, extension: str, owner: str | None) -> Work:
    template = "SELECT {}.add_continuous_aggregate_policy({}, start_offset => {}::interval, end_offset => INTERVAL {}, schedule_interval => INTERVAL {})"
    return as_role(
        owner, template,
        name(extension), value(literal(aggregate.name)), _or_null(aggregate.start_offset), value(str(aggregate.end_offset)),
        value(str(aggregate.schedule_interval)),
    )  # fmt: skip


def reschedule(aggregate: Aggregate, actual: ActualAggregate, extension: str) -> Work:
    config = {"start_offset": str(aggregate.start_offset) if aggregate.start_offset else None, "end_offset": str(aggregate.end_offset)}
    return alter_job(int(actual.refresh_job or 0), aggregate.schedule_interval, config, extension)


def alter_job(job: int, interval: Span, config: dict[str, str | None], extension: str) -> Work:
    template = (
        "SELECT {}.alter_job(job_id, schedule_interval => INTERVAL {}, config => config || {}::jsonb) FROM timescaledb_information.jobs WHERE job_id = {}"
    )
    return admin(template, name(extension), value(str(interval)), value(json.dumps(config)), value(job))


def real_time(aggregate: Aggregate, owner: str | None) -> Work:
    template = "ALTER MATERIALIZED VIEW {} SET (timescaledb.materialized_only = {})"
    return as_role(owner, template, name(*relation(aggregate.name)), boolean(aggregate.materialized_only))


def retention(target: str, wanted: Retention | None, actual: Retention | None, job: int | None, *, extension: str, owner: str | None) -> list[Work]:
    if wanted is None:
        return [as_role(owner, "SELECT {}.remove_retention_policy({})", name(extension), value(literal(target)))] if actual else []
    if actual is None or job is None:
        template = "SELECT {}.add_retention_policy({}, drop_after => INTERVAL {}, schedule_interval => INTERVAL {})"
        arguments = (name(extension), value(literal(target)), value(str(wanted.drop_after)), value(str(wanted.schedule_interval)))
        return [as_role(owner, template, *arguments)]
    return [alter_job(job, wanted.schedule_interval, {"drop_after": str(wanted.drop_after)}, extension)]


def columnstore(target: str, wanted: Columnstore | None, actual: Columnstore | None, job: int | None, *, extension: str, owner: str | None) -> list[Work]:
    """Settings and schedule. Without one declared, the schedule goes and what is packed stays so."""
    work: list[Work] = []
    if wanted is not None and (actual is None or (wanted.segmentby, wanted.orderby) != (actual.segmentby, actual.orderby)):
        work.append(_packing(target, wanted, owner))
    after = wanted.after if wanted else None
    if job is not None and after is None:
        work.append(as_role(owner, "CALL {}.remove_columnstore_policy({})", name(extension), value(literal(target))))
    elif job is None and after is not None:
        work.append(as_role(owner, "CALL {}.add_columnstore_policy({}, after => INTERVAL {})", name(extension), value(literal(target)), value(str(after))))
    elif job is not None and actual is not None and after != actual.after:
        template = "SELECT {}.alter_job(job_id, config => config || {}::jsonb) FROM timescaledb_information.jobs WHERE job_id = {}"
        work.append(admin(template, name(extension), value(json.dumps({"compress_after": str(after)})), value(job)))
    return work


def _packing(target: str, wanted: Columnstore, owner: str | None) -> Work:
    options, arguments = ["timescaledb.enable_columnstore = true"], []
    # Also where no column is named: else the server would choose some, and others later.
    for key, found in (("segmentby", wanted.segmentby), ("orderby", wanted.orderby)):
        options.append(f"timescaledb.{key} = {{}}")
        arguments.append(value(", ".join(_column(one) for one in found)))
    return as_role(owner, f"ALTER TABLE {{}} SET ({', '.join(options)})", name(*relation(target)), *arguments)


def _column(found: object) -> str:
    """A column, or one with DESC behind it."""
    column, _blank, direction = str(found).partition(" ")
    return '"{}"'.format(column.replace('"', '""')) + (f" {direction}" if direction else "")


def drop(view: str, owner: str | None) -> Work:
    return as_role(owner, "DROP MATERIALIZED VIEW {}", name(*relation(view)))


def take_over(aside: str, number: int, owner: str | None) -> Work:
    """What only the rollup still knows goes into the native aggregate: buckets that retention has closed, and those without any raw row."""
    return as_role(owner, "SELECT _rollup.take_over({}, {}, {})", value(number), value(relation(aside)[0]), value(relation(aside)[1]))


def rename(view: str, new: str, owner: str | None) -> Work:
    return as_role(owner, "ALTER MATERIALIZED VIEW {} RENAME TO {}", name(*relation(view)), name(relation(new)[1]))


def _or_null(found: Span | None) -> Keyword | Value:
    return Keyword("NULL") if found is None else value(str(found))
