# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server must do in time: make partitions ahead, and run its jobs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _timescale_status as timescale
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, ServerUnreachable, connect

AHEAD = 2  # partitions that must remain
CRON_DATABASE = "postgres"
# Old runs are forgotten: of a rarer job there may be none to be seen.
LONGEST_SEEN = timedelta(days=7)
GRACE = timedelta(hours=1)
REMEDY = "the runs of the job that makes them stand in cron.job_run_details of the database postgres; call its function by hand meanwhile"

DATABASES = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY datname"

# Tables in partitions by ranges of time: how many begin later than now, and where the last one ends. One without an end needs no others.
PARTITIONS = """
SELECT t.title, count(*) FILTER (WHERE t.first > now())::int, max(t.last)
FROM (
  SELECT format('%I.%I', n.nspname, p.relname) AS title,
    substring(pg_get_expr(c.relpartbound, c.oid) FROM $$FROM \\('([^']+)'$$)::timestamptz AS first,
    CASE WHEN pg_get_expr(c.relpartbound, c.oid) LIKE '%TO (MAXVALUE)' THEN 'infinity'::timestamptz
      ELSE substring(pg_get_expr(c.relpartbound, c.oid) FROM $$TO \\('([^']+)'$$)::timestamptz END AS last
  FROM pg_partitioned_table r
  JOIN pg_class p ON p.oid = r.partrelid AND NOT p.relispartition JOIN pg_namespace n ON n.oid = p.relnamespace
  JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum = r.partattrs[0]
  LEFT JOIN pg_inherits i ON i.inhparent = p.oid LEFT JOIN pg_class c ON c.oid = i.inhrelid
  WHERE r.partstrat = 'r' AND r.partnatts = 1 AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
) t
GROUP BY t.title HAVING coalesce(max(t.last), '-infinity') <> 'infinity' ORDER BY t.title
"""

HAS_CRON = "SELECT to_regclass('cron.job') IS NOT NULL"
# Our jobs, by their names. `known`: since when a job that never ran is there at least, as a later one ran already.
JOBS = """
SELECT j.jobname, j.schedule, r.status, r.return_message, r.start_time,
  coalesce((SELECT min(d.start_time) FROM cron.job_run_details d WHERE d.jobid > j.jobid),
    CASE WHEN NOT EXISTS (SELECT FROM cron.job_run_details) THEN pg_postmaster_start_time() END) AS known,
  now() AS clock
FROM cron.job j
LEFT JOIN LATERAL (
  SELECT d.status, d.return_message, d.start_time FROM cron.job_run_details d
  WHERE d.jobid = j.jobid AND d.start_time IS NOT NULL ORDER BY d.runid DESC LIMIT 1) r ON true
WHERE j.active AND j.jobname LIKE j.database || '/%' ORDER BY j.jobname
"""


@dataclass(frozen=True)
class Notice:
    """urgent: it is broken now, not soon."""

    what: str
    remedy: str
    urgent: bool = False


@dataclass(frozen=True)
class Run:
    """A job and its latest run. known: since when the job is there at least; clock: the server's time."""

    job: str
    schedule: str
    status: str | None
    message: str | None
    started: datetime | None
    known: datetime | None
    clock: datetime


def notices(params: Mapping[str, Any]) -> list[Notice]:
    """What is wrong on one server, asked as the administrator. A database that cannot be asked is a notice itself."""
    with contextlib.closing(connect(params)) as session:
        names = [row[0] for row in _rows(session, DATABASES)]
    return [notice for name in names for notice in _notices(params, name)]


def _notices(params: Mapping[str, Any], database: str) -> list[Notice]:
    try:
        with contextlib.closing(connect(params, database)) as session:
            found = [partition_notice(database, *row) for row in _rows(session, PARTITIONS)]
            if database == CRON_DATABASE and _rows(session, HAS_CRON)[0][0]:
                found += [job_notice(Run(*row)) for row in _rows(session, JOBS)]
            found += [Notice(one, timescale.REMEDY, urgent=True) for one in timescale.complaints(lambda query: _rows(session, query), database)]
    except (ServerUnreachable, STATEMENT_ERROR) as error:
        what = f"the partitions of {database} could not be looked at: {' '.join(str(error).split())}"
        return [Notice(what, "ask the database by hand; the log of the server has more")]
    return [notice for notice in found if notice is not None]


def _rows(session: Any, query: str) -> list[Any]:
    with session.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def partition_notice(database: str, table: str, ahead: int, end: datetime | None) -> Notice | None:
    """A table that runs out of partitions."""
    if ahead >= AHEAD:
        return None
    until = "it has none at all" if end is None else f"the last one ends {end:%Y-%m-%d}"
    count = "no partition" if ahead == 0 else "one partition"
    return Notice(f"the table {table} in the database {database} has {count} ahead ({until})", REMEDY, urgent=ahead == 0)


def job_notice(run: Run) -> Notice | None:
    """A job whose latest run failed, or that should have run long ago."""
    table = "cron.job_run_details of the database postgres has its runs"
    if run.status == "failed":
        message = " ".join((run.message or "it says nothing").split())[:200]
        return Notice(f"the job {run.job} failed at {run.started:%Y-%m-%d %H:%M}: {message}", f"put right what it says; {table}", urgent=True)
    longest = period(run.schedule)
    since = run.started or (run.known if longest <= LONGEST_SEEN else None)
    if since is None or run.clock - since <= 2 * longest + GRACE:
        return None
    words = f"has not run since {since:%Y-%m-%d %H:%M}" if run.started else f"has never run, and the server knows it since {since:%Y-%m-%d %H:%M} at least"
    return Notice(f"the job {run.job} ({run.schedule}) {words}", f"is pg_cron loaded, and does the server's clock go right? {table}", urgent=True)


def period(schedule: str) -> timedelta:
    """The longest time between two runs that a schedule can mean, roughly: never too short."""
    fields = schedule.split()
    if len(fields) == 2 and fields[1].startswith("second"):
        return timedelta(seconds=int(fields[0]))
    words = {"@hourly": 1, "@daily": 24, "@midnight": 24, "@weekly": 7 * 24, "@monthly": 31 * 24}
    if len(fields) != 5:
        return timedelta(hours=words.get(schedule, 366 * 24))
    _minute, hour, day, month, weekday = fields
    days = 366 if month != "*" else 31 if day != "*" else 7 if weekday != "*" else 1
    return timedelta(hours=1) if hour == "*" and days == 1 else timedelta(days=days)
