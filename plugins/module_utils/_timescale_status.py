# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the refreshes and retentions of a database have to complain of, on either edition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

IS_THERE = "SELECT to_regclass('_rollup.status') IS NOT NULL, to_regclass('timescaledb_information.job_stats') IS NOT NULL"
# The Apache edition's tasks: failed, or without a success for three times their interval.
TASKS = """
SELECT task, last_failed, left(last_message, 200), since_success::text
FROM _rollup.status WHERE last_failed OR since_success > 3 * schedule_interval + interval '1 hour' ORDER BY task
"""
# The licensed edition's policies.
POLICIES = """
SELECT format('%s [%s]', j.proc_name, j.job_id), true, left(e.err_message, 200), NULL
FROM timescaledb_information.jobs AS j JOIN timescaledb_information.job_stats AS s USING (job_id)
LEFT JOIN LATERAL (SELECT err_message FROM timescaledb_information.job_errors WHERE job_errors.job_id = j.job_id ORDER BY start_time DESC LIMIT 1) AS e ON true
WHERE j.proc_name LIKE 'policy\\_%' AND s.last_run_status = 'Failed' AND j.scheduled AND j.job_id >= 1000 ORDER BY 1
"""
REMEDY = "put right what it says; _rollup.status (or timescaledb_information.job_errors) of that database has the runs"


def complaints(ask: Callable[[str], list[Any]], database: str) -> list[str]:
    """ask: the rows of a query in that database."""
    ours, theirs = ask(IS_THERE)[0]
    rows = [*(ask(TASKS) if ours else []), *(ask(POLICIES) if theirs else [])]
    return [complaint(database, *row) for row in rows]


def complaint(database: str, task: str, failed: bool, message: str | None, since: str | None) -> str:
    if failed:
        return f"{task} in the database {database} failed: {' '.join((message or 'it says nothing').split())}"
    return f"{task} in the database {database} has not succeeded for {since}: is pg_cron loaded?"
