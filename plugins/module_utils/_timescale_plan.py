# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: what differs between what is declared and what is, as steps with their statements. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _timescale_equivalent as equivalent
from ansible_collections.nexanest.database.plugins.module_utils import _timescale_native as native
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Statement, name, value
from ansible_collections.nexanest.database.plugins.module_utils._timescale_checks import cost, refuse_declaration, refuse_state
from ansible_collections.nexanest.database.plugins.module_utils._timescale_context import Context
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import Database, Hypertable, State
from ansible_collections.nexanest.database.plugins.module_utils._timescale_move import move
from ansible_collections.nexanest.database.plugins.module_utils._timescale_plan_aggregates import aggregates, removed
from ansible_collections.nexanest.database.plugins.module_utils._timescale_query import literal
from ansible_collections.nexanest.database.plugins.module_utils._timescale_rollup_functions import functions
from ansible_collections.nexanest.database.plugins.module_utils._timescale_rollup_tables import TABLES
from ansible_collections.nexanest.database.plugins.module_utils._timescale_steps import Step, Work, admin, as_role, step

JOB_SCHEDULE = "* * * * *"
JOB_COMMAND = "CALL _rollup.run_due()"


def plan(database: Database, state: State, *, confirm_drop: Collection[str] = (), check_mode: bool = False) -> list[Step]:
    """What to do, in order. Raises InputError."""
    refuse_declaration(database)
    refuse_state(database, state, check_mode=check_mode)
    context = Context(database, state, confirm_drop)
    steps = [*_machinery(context), *_built_in_jobs(context), *removed(context)]
    for hypertable in database.hypertables:
        steps += [*_hypertable(context, hypertable), *_columnstore(context, hypertable), *move(context, hypertable), *aggregates(context, hypertable)]
        steps += _retention(context, hypertable)
    return [*steps, *_job(context)]


def digest(extension: str) -> str:
    """What our machinery is: written as the schema's comment, so that another version is noticed."""
    return "nexanest.database " + hashlib.sha256((TABLES + functions(extension)).encode()).hexdigest()[:16]


def _machinery(context: Context) -> list[Step]:
    state, wanted = context.state, digest(context.state.extension_schema)
    owners = sorted({owner for hypertable in context.database.hypertables if (owner := context.owner(hypertable))})
    readers = [reader for reader in context.database.readers if reader not in state.granted]
    if not context.database.hypertables:
        return []
    work: list[Work] = []
    if state.machinery != wanted:
        texts = [TABLES, functions(state.extension_schema)]
        work += [Work(Statement(text.replace("{", "{{").replace("}", "}}"))) for text in texts]
        work.append(admin("REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA _rollup FROM PUBLIC"))
        work.append(admin("COMMENT ON SCHEMA _rollup IS {}", value(wanted)))
    fresh = [owner for owner in owners if state.machinery != wanted or owner not in state.granted]
    work += [one for owner in fresh for one in equivalent.grants(owner)]
    for reader in readers:
        work += [admin("GRANT USAGE ON SCHEMA _rollup TO {}", name(reader)), admin("GRANT SELECT ON _rollup.status TO {}", name(reader))]
    before = None if state.machinery is None else {"version": state.machinery, "readers": sorted(set(context.database.readers) & state.granted)}
    return step("schema", f"{context.database.name}._rollup", before=before, after={"version": wanted, "readers": sorted(context.database.readers)}, work=work)


def _built_in_jobs(context: Context) -> list[Step]:
    """TimescaleDB's own jobs that the Apache edition starts and cannot run; the licensed one gets them back."""
    wrong, wanted = (context.state.idle_jobs, True) if context.native else (context.state.failing_jobs, False)
    steps: list[Step] = []
    for job in wrong:
        # alter_job() is not in the Apache edition.
        table = name(context.state.job_schema, "bgw_job")
        work = [admin("UPDATE {} SET scheduled = {} WHERE id = {}", table, equivalent.boolean(wanted), value(job))]
        steps += step("built-in job", f"{context.database.name}.{job}", before={"scheduled": not wanted}, after={"scheduled": wanted}, work=work)
    return steps


def _hypertable(context: Context, hypertable: Hypertable) -> list[Step]:
    actual, owner, extension = context.state.hypertables.get(hypertable.name), context.owner(hypertable), context.state.extension_schema
    table = context.state.tables.get(hypertable.name)
    work: list[Work] = []
    if actual is None:
        template = "SELECT {}.create_hypertable({}, {}.by_range({}, INTERVAL {}), create_default_indexes => FALSE, migrate_data => {})"
        arguments = (
            name(extension),
            value(literal(hypertable.name)),
            name(extension),
            value(hypertable.time_column),
            value(str(hypertable.chunk_time_interval)),
        )
        work.append(as_role(owner, template, *arguments, equivalent.boolean(bool(table and table.size))))
    elif actual.chunk_time_interval != hypertable.chunk_time_interval:
        template = "SELECT {}.set_chunk_time_interval({}, INTERVAL {})"
        work.append(as_role(owner, template, name(extension), value(literal(hypertable.name)), value(str(hypertable.chunk_time_interval))))
    if actual is None or not actual.registered:
        work += equivalent.register(hypertable)
    if not context.native and (actual is None or not actual.watched):
        work.append(equivalent.watch(hypertable))
    after: dict[str, Any] = {"time_column": hypertable.time_column, "chunk_time_interval": str(hypertable.chunk_time_interval), "registered": True}
    if not context.native:
        after["watched"] = True
    if actual is None and table is not None and table.size:
        after["cost"] = cost(table)
    before = None
    if actual is not None:
        before = {"time_column": actual.time_column, "chunk_time_interval": str(actual.chunk_time_interval), "registered": actual.registered}
        before |= {} if context.native else {"watched": actual.watched}
    return step("hypertable", context.title(hypertable.name), before=before, after=after, work=work)


def _columnstore(context: Context, hypertable: Hypertable) -> list[Step]:
    if not context.native:
        return []
    actual = context.state.hypertables.get(hypertable.name)
    found, job = (actual.columnstore, actual.columnstore_job) if actual else (None, None)
    wanted = hypertable.columnstore
    work = native.columnstore(hypertable.name, wanted, found, job, extension=context.state.extension_schema, owner=context.owner(hypertable))
    after = wanted.shown if wanted else {"after": None}
    return step("columnstore", context.title(hypertable.name), before=found.shown if found else None, after=after, work=work)


def _retention(context: Context, hypertable: Hypertable) -> list[Step]:
    actual = context.state.hypertables.get(hypertable.name)
    found, job = (actual.retention, actual.retention_job) if actual else (None, None)
    wanted = hypertable.retention
    if wanted == found and not (context.native and actual is not None and actual.rolled_retention):
        return []
    if context.native:
        work = native.retention(hypertable.name, wanted, found, job, extension=context.state.extension_schema, owner=context.owner(hypertable))
        if actual is not None and actual.rolled_retention:
            work += equivalent.retention(hypertable.name, None)
    else:
        work = equivalent.retention(hypertable.name, wanted)
    before = found.shown if found else None
    return step("retention", context.title(hypertable.name), before=before, after=wanted.shown if wanted else None, work=work)


def _job(context: Context) -> list[Step]:
    """One job per database: it runs whatever is due, so that a changed schedule is a changed row."""
    scheduler, title = context.state.scheduler, f"rollup:{context.database.name}"
    declared = any(hypertable.aggregates or hypertable.retention for hypertable in context.database.hypertables)
    owner = next((found for hypertable in context.database.hypertables if (found := context.owner(hypertable))), None)
    wanted = (JOB_SCHEDULE, JOB_COMMAND, context.database.name, owner or "") if declared and not context.native and scheduler.available else None
    lost = [one for name in scheduler.lost if name != title for one in _job_step(name, scheduler.jobs[name], None, new=False)]
    return [*lost, *_job_step(title, scheduler.jobs.get(title), wanted, new=not scheduler.installed)]


def _job_step(title: str, actual: tuple[str, str, str, str] | None, wanted: tuple[str, str, str, str] | None, *, new: bool) -> list[Step]:
    keys = ("schedule", "command", "database", "username")
    work: list[Work] = []
    if wanted is not None and wanted != actual:
        if new:
            work.append(Work(Statement("CREATE EXTENSION IF NOT EXISTS pg_cron"), maintenance=True))
        arguments = (value(title), *(value(one) for one in wanted))
        if actual is not None:
            work.append(_unschedule(title))
        work.append(Work(Statement("SELECT cron.schedule_in_database({}, {}, {}, {}, {})", arguments), maintenance=True))
    elif wanted is None and actual is not None:
        work.append(_unschedule(title))
    before = dict(zip(keys, actual, strict=True)) if actual else None
    return step("job", title, before=before, after=dict(zip(keys, wanted, strict=True)) if wanted else None, work=work)


def _unschedule(title: str) -> Work:
    # By its number: by name, pg_cron finds only the jobs of whoever asks.
    return Work(Statement("SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname = {}", (value(title),)), maintenance=True)


def implementations(database: Database, state: State) -> Iterator[dict[str, str]]:
    """How each declared object is done on this edition."""
    done = "native" if state.edition.native else "equivalent"
    by_schedule = done if state.edition.native or state.scheduler.available else "not available: the server has no pg_cron, nothing runs on a schedule"
    for hypertable in database.hypertables:
        yield {"kind": "hypertable", "name": hypertable.name, "implementation": "native"}
        if hypertable.columnstore:
            yield {"kind": "columnstore", "name": hypertable.name, "implementation": "native" if state.edition.native else "not available"}
        if hypertable.retention:
            yield {"kind": "retention", "name": hypertable.name, "implementation": by_schedule}
        for aggregate in hypertable.aggregates:
            yield {"kind": "continuous aggregate", "name": aggregate.name, "implementation": done}
            yield {"kind": "refresh", "name": aggregate.name, "implementation": by_schedule}
            if aggregate.retention:
                yield {"kind": "retention", "name": aggregate.name, "implementation": by_schedule}
