# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TimescaleDB in a copy: the phases that its restore needs, and no job until the copy is in use (retention once ate a copy in 75 seconds).

Everything but the statements of the functions' names is asked from the extension: its schemas differ between versions.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils._restore_jobs import Rows

if TYPE_CHECKING:
    import psycopg2.extensions

try:
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

NAME = "timescaledb"
# Rows of its own tables: they are loaded before all others, one after the other.
OWN_DATA = re.compile(r"^\d+; \d+ \d+ (TABLE DATA|SEQUENCE SET) _timescaledb_(catalog|config|cache) ")
# Of the jobs that it brings, the one that works with the licensed library alone (timescaledb_hypertables turns it off on the Apache edition).
_LICENSED_JOB = "policy_job_stat_history_retention"

_EXTENSION = """
SELECT n.nspname, (SELECT j.nspname FROM pg_class c JOIN pg_namespace j ON j.oid = c.relnamespace
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
  WHERE c.relname = 'bgw_job' AND c.relkind = 'r')
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb'
"""


class TimescaleError(Exception):
    """TimescaleDB is not in the state in which rows can be trusted."""


def begin(session: psycopg2.extensions.connection, version: str, schema: tuple[str, str]) -> None:
    """An empty database becomes one that a dump can be loaded into. schema: of the extension, with its owner."""
    name, owner = schema
    with session.cursor() as cursor:
        if name != "public":
            cursor.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(name), sql.Identifier(owner)))
        cursor.execute(sql.SQL("CREATE EXTENSION timescaledb SCHEMA {} VERSION {}").format(sql.Identifier(name), sql.Literal(version)))
        cursor.execute(sql.SQL("SELECT {}()").format(sql.Identifier(name, "timescaledb_pre_restore")))


def load_jobs(session: psycopg2.extensions.connection, rows: Rows) -> None:
    """Rows of its jobs, whose owners have other names than in the dump."""
    with session.cursor() as cursor:
        cursor.copy_expert(rows.statement, io.StringIO(rows.text))


def end(session: psycopg2.extensions.connection, *, licensed: bool) -> list[int]:
    """Put its jobs to rest, and let the rows be seen. Returns the jobs that were awake."""
    schema, jobs = _where(session)
    table = sql.Identifier(jobs, "bgw_job")
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("UPDATE {} SET scheduled = false WHERE scheduled RETURNING id, proc_name::text, id < 1000").format(table))
        awake = [number for number, name, own in cursor.fetchall() if licensed or not (own and name == _LICENSED_JOB)]
        cursor.execute(sql.SQL("SELECT {}()").format(sql.Identifier(schema, "timescaledb_post_restore")))
    quiet(session)
    return awake


def check(session: psycopg2.extensions.connection) -> None:
    """A forgotten end of the restore hides rows. The session is a new one."""
    with session.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.current_setting('timescaledb.restoring', true)")
        value = cursor.fetchall()[0][0]
    if value not in (None, "off"):
        raise TimescaleError(f"TimescaleDB still says timescaledb.restoring = {value}")


def is_in(session: psycopg2.extensions.connection) -> bool:
    with session.cursor() as cursor:
        cursor.execute(_EXTENSION)
        return bool(cursor.fetchall())


def quiet(session: psycopg2.extensions.connection) -> None:
    """End its scheduler in this database; it stays away until it is woken."""
    _call(session, "stop_background_workers")


def wake(session: psycopg2.extensions.connection, jobs: list[int]) -> None:
    """Let its scheduler work, and these jobs again."""
    if jobs:
        _schema, place = _where(session)
        with session.cursor() as cursor:
            cursor.execute(sql.SQL("UPDATE {} SET scheduled = true WHERE id = ANY (%s)").format(sql.Identifier(place, "bgw_job")), (jobs,))
    _call(session, "restart_background_workers")


def jobs(session: psycopg2.extensions.connection, awake: list[int]) -> list[Any]:
    """Its jobs as they are, or will be when these are awake."""
    _schema, place = _where(session)
    with session.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT pg_catalog.to_jsonb(j) || pg_catalog.jsonb_build_object('scheduled', j.scheduled OR j.id = ANY (%s)) FROM {} j ORDER BY id").format(
                sql.Identifier(place, "bgw_job")
            ),
            (awake,),
        )
        return [row[0] for row in cursor.fetchall()]


def _where(session: psycopg2.extensions.connection) -> tuple[str, str]:
    with session.cursor() as cursor:
        cursor.execute(_EXTENSION)
        schema, place = cursor.fetchall()[0]
        return str(schema), str(place)


def _call(session: psycopg2.extensions.connection, function: str) -> None:
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT {}()").format(sql.Identifier("_timescaledb_functions", function)))
