# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads one database: TimescaleDB's information views (its own catalog changes between versions), and our own catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._timescale_equivalent import TRIGGER
from ansible_collections.nexanest.database.plugins.module_utils._timescale_input import ASIDE
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import (
    ActualAggregate,
    ActualHypertable,
    Columnstore,
    Database,
    Edition,
    Order,
    Retention,
    Scheduler,
    State,
    Table,
)
from ansible_collections.nexanest.database.plugins.module_utils._timescale_span import Span, span

EXTENSION = """
SELECT e.extversion, n.nspname, current_setting('timescaledb.license', true) AS licence,
       (pg_stat_file((SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR') || '/timescaledb-tsl-' || e.extversion || '.so', true)).size
           IS NOT NULL AS library
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb'
"""
TABLES = """
SELECT format('%%s.%%s', n.nspname, c.relname) AS name, c.relkind::text AS kind, o.rolname AS owner, o.rolcanlogin AS logs_in, c.relrowsecurity AS row_security,
       (SELECT json_object_agg(a.attname, format_type(a.atttypid, NULL)) FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       c.reltuples::bigint AS rows, pg_relation_size(c.oid) AS size,
       (SELECT coalesce(json_agg(keys.names), '[]') FROM (
            SELECT (SELECT json_agg(a.attname) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey)) AS names
            FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique) AS keys) AS unique_columns,
       EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgname = %s) AS watched
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_roles AS o ON o.oid = c.relowner
WHERE format('%%s.%%s', n.nspname, c.relname) = ANY (%s)
"""
HYPERTABLES = """
SELECT format('%%s.%%s', h.hypertable_schema, h.hypertable_name) AS name, d.column_name, d.time_interval::text AS interval, h.compression_enabled,
       s.segmentby, s.orderby
FROM timescaledb_information.hypertables AS h
JOIN timescaledb_information.dimensions AS d USING (hypertable_schema, hypertable_name)
LEFT JOIN timescaledb_information.hypertable_compression_settings AS s
    ON s.hypertable = to_regclass(format('%%I.%%I', h.hypertable_schema, h.hypertable_name))
WHERE d.dimension_number = 1 AND format('%%s.%%s', h.hypertable_schema, h.hypertable_name) = ANY (%s)
"""
JOBS = """
SELECT j.job_id, j.proc_name, j.schedule_interval::text AS schedule, j.config, j.scheduled,
       format('%s.%s', coalesce(c.view_schema, j.hypertable_schema), coalesce(c.view_name, j.hypertable_name)) AS target
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.continuous_aggregates AS c
    ON (c.materialization_hypertable_schema, c.materialization_hypertable_name) = (j.hypertable_schema, j.hypertable_name)
"""
NATIVE = "SELECT format('%s.%s', view_schema, view_name) AS name, materialized_only FROM timescaledb_information.continuous_aggregates"
OURS = "SELECT to_regclass('_rollup.aggregates') IS NOT NULL AS there, obj_description(to_regnamespace('_rollup'), 'pg_namespace') AS machinery"
GRANTED = """
SELECT r.rolname FROM pg_roles AS r
WHERE NOT r.rolsuper AND to_regnamespace('_rollup') IS NOT NULL AND has_schema_privilege(r.rolname, '_rollup', 'USAGE')
"""
ROLLUPS = """
SELECT a.name, a.id, a.native, a.filled, a.definition, a.start_offset::text, a.end_offset::text, a.drop_after::text, a.materialized_only,
       t.schedule_interval::text AS schedule, r.schedule_interval::text AS retention_schedule,
       to_regclass(format('%I.%I', split_part(a.name, '.', 1), split_part(a.name, '.', 2))) IS NOT NULL AS there,
       to_regclass('_rollup.rows_' || a.id) IS NOT NULL AS rows,
       to_regprocedure(format('_rollup.source_%s(timestamptz, timestamptz)', a.id)) IS NOT NULL AS maker
FROM _rollup.aggregates AS a
LEFT JOIN _rollup.tasks AS t ON t.name = 'refresh ' || a.name
LEFT JOIN _rollup.tasks AS r ON r.name = 'retention ' || a.name
"""
ROLLED = """
SELECT h.name, h.drop_after::text, t.schedule_interval::text AS schedule
FROM _rollup.hypertables AS h LEFT JOIN _rollup.tasks AS t ON t.name = 'retention ' || h.name
"""
COMPRESSED = "SELECT count(*) AS found FROM timescaledb_information.chunks WHERE is_compressed"
# Its schema has changed between versions.
JOB_TABLE = """
SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = 'bgw_job' AND c.relkind = 'r' AND n.nspname LIKE '\\_timescaledb%'
"""
VIEWS = """
SELECT format('%%s.%%s', n.nspname, c.relname) AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE format('%%s.%%s', n.nspname, c.relname) = ANY (%s)
"""
CRON = """
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_cron')
       AND 'pg_cron' = ANY (regexp_split_to_array(current_setting('shared_preload_libraries'), '\\s*,\\s*')) AS available,
       EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') AS installed
"""
CRON_JOBS = """
SELECT jobname, schedule, command, database, username, NOT EXISTS (SELECT FROM pg_database WHERE datname = database) AS lost
FROM cron.job WHERE jobname LIKE 'rollup:%' ORDER BY jobname
"""
# The jobs that TimescaleDB brings: telemetry works everywhere, this one only with the licensed library.
FAILING_ON_APACHE = "policy_job_stat_history_retention"
# In a new database; only a plan without a server relies on it.
FAILING_ON_APACHE_ID = 3


def read(session: Any, maintenance: Any, database: Database) -> State:
    """The database as it is. Raises InputError."""
    found = _rows(session, EXTENSION)
    if not found:
        raise InputError(f"the database {database.name} does not have the extension timescaledb: name it in the database's extensions")
    edition = Edition(found[0]["licence"] or "apache", found[0]["library"], found[0]["extversion"])
    ours = _rows(session, OURS)[0]
    jobs = _rows(session, JOBS)
    rollups = _rows(session, ROLLUPS) if ours["there"] else []
    rolled = {row["name"]: row for row in _rows(session, ROLLED)} if ours["there"] else {}
    names = [hypertable.name for hypertable in database.hypertables]
    tables = {row["name"]: row for row in _rows(session, TABLES, TRIGGER, names)}
    built_in = [job for job in jobs if job["job_id"] < 1000 and job["proc_name"] == FAILING_ON_APACHE]
    return State(
        edition=edition,
        extension_schema=found[0]["nspname"],
        tables={name: _table(row) for name, row in tables.items()},
        hypertables={
            row["name"]: _hypertable(row, jobs, rolled, watched=tables[row["name"]]["watched"], edition=edition) for row in _rows(session, HYPERTABLES, names)
        },
        aggregates=_aggregates(session, database, rollups, jobs),
        compressed_chunks=_rows(session, COMPRESSED)[0]["found"],
        machinery=ours["machinery"],
        granted=frozenset(row["rolname"] for row in _rows(session, GRANTED)),
        failing_jobs=tuple(job["job_id"] for job in built_in if job["scheduled"]),
        job_schema=_rows(session, JOB_TABLE)[0]["nspname"],
        idle_jobs=tuple(job["job_id"] for job in built_in if not job["scheduled"]),
        scheduler=_scheduler(maintenance),
    )


def _rows(session: Any, query: str, *values: Any) -> list[dict[str, Any]]:
    with session.cursor() as cursor:
        cursor.execute(query, list(values) or None)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _table(row: Mapping[str, Any]) -> Table:
    return Table(
        owner=row["owner"],
        owner_logs_in=row["logs_in"],
        columns=row["columns"] or {},
        row_security=row["row_security"],
        kind=row["kind"],
        rows=row["rows"],
        size=row["size"],
        unique=tuple(tuple(columns) for columns in row["unique_columns"]),
    )


def _hypertable(
    row: Mapping[str, Any], jobs: list[dict[str, Any]], rolled: Mapping[str, Mapping[str, Any]], *, watched: bool, edition: Edition
) -> ActualHypertable:
    packing, dropping = _job(jobs, "policy_compression", row["name"]), _job(jobs, "policy_retention", row["name"])
    ours = rolled.get(row["name"])
    our_retention = _retention(ours["drop_after"], ours["schedule"]) if ours else None
    columnstore = None
    if row["compression_enabled"]:
        after = _span(packing["config"]["compress_after"]) if packing else None
        columnstore = Columnstore(_listed(row["segmentby"]), tuple(_order(one) for one in _listed(row["orderby"])), after)
    native_retention = _retention(dropping["config"]["drop_after"], dropping["schedule"]) if dropping else None
    return ActualHypertable(
        time_column=row["column_name"],
        chunk_time_interval=span(row["interval"]).fixed,
        columnstore=columnstore,
        columnstore_job=packing["job_id"] if packing else None,
        retention=native_retention if edition.native else our_retention,
        retention_job=dropping["job_id"] if dropping else None,
        registered=ours is not None,
        watched=watched,
        rolled_retention=our_retention is not None,
    )


def _aggregates(session: Any, database: Database, rollups: list[dict[str, Any]], jobs: list[dict[str, Any]]) -> dict[str, ActualAggregate]:
    native = {row["name"]: row for row in _rows(session, NATIVE)}
    found = {row["name"]: _rollup(row, native, jobs) for row in rollups}
    for name, row in native.items():
        if name not in found and not name.endswith(ASIDE):
            found[name] = ActualAggregate(native=True, definition=None, materialized_only=row["materialized_only"])
    declared = [aggregate.name for aggregate in database.aggregates if aggregate.name not in found]
    for row in _rows(session, VIEWS, declared):
        found[row["name"]] = ActualAggregate(native=False, definition=None)
    return found


def _rollup(row: Mapping[str, Any], native: Mapping[str, Mapping[str, Any]], jobs: list[dict[str, Any]]) -> ActualAggregate:
    name = row["name"]
    refreshing, dropping = _job(jobs, "policy_refresh_continuous_aggregate", name), _job(jobs, "policy_retention", name)
    if name not in native:
        remains = _remains(row)
        return ActualAggregate(
            native=False,
            # A relation of that name which is not ours.
            definition=None if remains == "record" and row["there"] else row["definition"],
            remains=remains,
            start_offset=_span(row["start_offset"]),
            end_offset=_span(row["end_offset"]),
            schedule_interval=_span(row["schedule"]),
            materialized_only=row["materialized_only"],
            retention=_retention(row["drop_after"], row["retention_schedule"]),
            id=row["id"],
            filled=row["filled"],
            aside=name + ASIDE in native,
        )
    config = refreshing["config"] if refreshing else {}
    return ActualAggregate(
        native=True,
        definition=row["definition"],
        start_offset=_span(config.get("start_offset")),
        end_offset=_span(config.get("end_offset")),
        schedule_interval=_span(refreshing["schedule"]) if refreshing else None,
        materialized_only=native[name]["materialized_only"],
        retention=_retention(dropping["config"]["drop_after"], dropping["schedule"]) if dropping else None,
        id=row["id"],
        filled=row["filled"],
        refresh_job=refreshing["job_id"] if refreshing else None,
        retention_job=dropping["job_id"] if dropping else None,
    )


def _remains(row: Mapping[str, Any]) -> str:
    if row["native"] or not row["rows"]:
        return "record"
    return "whole" if row["there"] and row["maker"] else "rows"


def _scheduler(maintenance: Any) -> Scheduler:
    found = _rows(maintenance, CRON)[0]
    jobs = _rows(maintenance, CRON_JOBS) if found["installed"] else []
    return Scheduler(
        available=found["available"],
        installed=found["installed"],
        jobs={row["jobname"]: (row["schedule"], row["command"], row["database"], row["username"]) for row in jobs},
        lost=tuple(row["jobname"] for row in jobs if row["lost"]),
    )


def _job(jobs: list[dict[str, Any]], procedure: str, target: str) -> dict[str, Any] | None:
    return next((job for job in jobs if job["proc_name"] == procedure and job["target"] == target), None)


def _retention(drop_after: str | None, schedule: str | None) -> Retention | None:
    if drop_after is None or schedule is None:
        return None
    return Retention(span(drop_after), span(schedule))


def _span(text: str | None) -> Span | None:
    return None if text is None else span(text)


def _listed(text: str | None) -> tuple[str, ...]:
    """`"time" DESC,symbol` as its columns, without quotes."""
    return tuple(part.strip().replace('"', "") for part in text.split(",")) if text else ()


def _order(text: str) -> Order:
    words = text.split()
    return Order(words[0], "DESC" in words[1:])
