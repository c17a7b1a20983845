#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled jobs of service databases, run by the server itself (pg_cron)."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_jobs
short_description: Converge scheduled jobs inside a PostgreSQL server
version_added: 0.1.0
author: "The nexanest.database authors (@nexanest)"
description:
  - Brings the jobs of pg_cron for all service databases of one server to the desired state in one call. pg_cron's extension is made where there are jobs.
  - A job is called C(<database>/<name>) in the server. What has such a name and is not in O(jobs) is removed; jobs of other names are left alone.
  - Schedules are read in UTC (the server's C(cron.timezone)).
  - Where there are jobs, one more forgets their old runs once a day (C(cron.job_run_details)).
  - Needs pg_cron in C(shared_preload_libraries), with C(cron.use_background_workers), so that a job needs no password.
extends_documentation_fragment:
  - nexanest.database.login
attributes:
  check_mode:
    description: Can run in check mode, also before the databases, pg_cron or the server exist.
    support: full
  diff_mode:
    description: Returns what each job is and what it shall be.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
options:
  jobs:
    description:
      - The jobs of all databases of the server. An entry has the following keys; an unknown one is refused.
      - C(name) (required) is the job's name within its database.
      - C(database) (required) is where it runs.
      - C(schedule) (required) has five fields (minute, hour, day of the month, month, day of the week), or is C(30 seconds), 1 to 59.
      - C(command) (required) is SQL; several statements are one transaction.
      - C(username) (required) is the role that runs it. It must be able to log in. C(<service>_migrator) becomes its owner by its own setting.
      - C(active) is V(true) by default.
    type: list
    elements: dict
    required: true
  keep_runs:
    description: Days for which the results of runs are kept.
    type: int
    default: 14
  assume_empty:
    description: In check mode, plan for a server that does not exist yet, from the desired state alone. It has no effect outside check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Make next year's partitions every night
  nexanest.database.postgres_jobs:
    login_host: 127.0.0.1
    login_port: 5432
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    login_db: postgres
    connect_timeout: 10
    jobs:
      - name: partitions
        database: auth
        schedule: 10 3 * * *
        command: SELECT auth.make_partitions()
        username: auth_migrator
        active: true
    keep_runs: 14
    assume_empty: false
"""

RETURN = r"""
objects:
  description: What was done (in check mode, would be done), by object.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: extension or job.
      type: str
      sample: job
    name:
      description: The job's name in the server.
      type: str
      sample: auth/partitions
    action:
      description: create, update or delete.
      type: str
      sample: create
queries:
  description: The statements in the order in which they ran or would run.
  returned: success
  type: list
  elements: str
  sample:
    - SELECT cron.unschedule(7::bigint)
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._databases_applier import ApplyError, apply, maintenance_session
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_steps import Step
from ansible_collections.nexanest.database.plugins.module_utils._jobs import LIBRARY, Cron, Row, desired, plan

if TYPE_CHECKING:
    import psycopg2.extensions

ARGUMENTS = {
    **LOGIN_ARGUMENTS,
    "jobs": {"type": "list", "elements": "dict", "required": True},
    "keep_runs": {"type": "int", "default": 14},
    "assume_empty": {"type": "bool", "default": False},
}

_SERVER = """
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = %s),
  EXISTS (SELECT FROM regexp_split_to_table(current_setting('shared_preload_libraries'), '\\s*,\\s*') library WHERE trim(both '"' from library) = %s),
  current_setting('cron.database_name', true), EXISTS (SELECT FROM pg_extension WHERE extname = %s)
"""
_ROWS = "SELECT jobid, jobname::text, schedule, command, database, username, active FROM cron.job ORDER BY jobid"


def read(session: psycopg2.extensions.connection) -> Cron:
    """What the server has of pg_cron."""
    with session.cursor() as cursor:
        cursor.execute(_SERVER, [LIBRARY] * 3)
        offered, loaded, database, installed = cursor.fetchall()[0]
        if not installed:
            return Cron(offered, loaded, database)
        cursor.execute(_ROWS)
        return Cron(offered, loaded, database, tuple(Row(*row) for row in cursor.fetchall()))


def converge(params: Mapping[str, Any], *, check_mode: bool) -> list[Step]:
    """Plan and, outside check mode, apply."""
    database = params["login_db"]
    if params["keep_runs"] < 1:
        raise InputError(f"keep_runs is {params['keep_runs']}: keep the results of runs for at least 1 day")
    wanted = desired(params["jobs"], keep_days=params["keep_runs"], database=database, administrator=params["login_user"])
    if params["assume_empty"] and check_mode:
        return plan(wanted, Cron(database=database), database=database, check_mode=True)
    with maintenance_session(params) as session:
        steps = plan(wanted, read(session), database=database, check_mode=check_mode)
        if not check_mode:
            apply(session, params, [work for step in steps for work in step.work])
    return steps


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        steps = converge(module.params, check_mode=module.check_mode)
    except (InputError, ServerUnreachable, ApplyError, STATEMENT_ERROR) as error:
        module.fail_json(msg=f"converging the jobs of {module.params['login_host']}:{module.params['login_port']} failed: {error}")
    changes = [step.change for step in steps]
    queries = [work.statement.text() for step in steps for work in step.work]
    module.exit_json(changed=bool(changes), diff=diff(changes), objects=objects(changes), queries=queries)


if __name__ == "__main__":
    main()
