#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypertables with their aggregates, columnstore and retention, declared once for both editions of TimescaleDB."""

from __future__ import annotations

DOCUMENTATION = r"""
module: timescaledb_hypertables
short_description: Converge hypertables, continuous aggregates, columnstore and retention
version_added: 0.1.0
author: "The nexanest.database authors (@nexanest)"
description:
  - Turns tables into hypertables and brings their chunk interval, columnstore, retention and continuous aggregates to the declared state,
    for all databases of a server in one call. The smallest thing is changed, an interval or a schedule, and nothing is made anew for it.
  - On the Timescale-licensed edition these are TimescaleDB's own objects. On the Apache edition an aggregate is a table of rows that is refreshed
    incrementally, below a view of the aggregate's name that adds the live rows; retention closes its buckets before it drops chunks; both run
    on a schedule inside the server (pg_cron). Names, columns and numbers are the same.
  - On the licensed edition, what was made on the Apache edition becomes native, with its history.
  - The tables themselves are made by migrations. The owner of a table that has a schedule must be allowed to log in.
  - What is no longer declared stays as it is, unless O(confirm_drop) names it. Nothing that loses or leaks data is done silently, it is refused while planning.
extends_documentation_fragment:
  - nexanest.database.login
attributes:
  check_mode:
    description: Can run in check mode, also when the server does not exist yet (O(assume_empty)) or its tables come with pending migrations.
    support: full
  diff_mode:
    description: Returns what each object is and what it shall be.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
options:
  databases:
    description:
      - The databases. An entry has the following keys; an unknown one is refused. Spans of time are written as V(90 days), V(1 hour), V(2 years).
      - C(name) (required) is the name of the database, C(hypertables) its hypertables, C(readers) are roles that may read the record of runs
        (C(_rollup.status)).
      - 'A hypertable has C(name) (V(schema.table)), C(time_column) (V(time)), C(chunk_time_interval), C(migrate_data), C(columnstore), C(retention),
        C(continuous_aggregates). A table with rows is turned only with C(migrate_data: true), and the plan says what it costs.'
      - C(columnstore) has C(segmentby) and C(orderby) (lists of columns, the latter also with DESC) and C(after). The Apache edition does not have it.
      - C(retention) has C(drop_after) and C(schedule_interval) (V(1 day)).
      - C(continuous_aggregates) are lists of C(name) (V(schema.view)), C(bucket) (a span), C(timezone), C(where), C(group_by) (a list of columns),
        C(columns) (a mapping of names to expressions), C(source) (by default the hypertable, or another of its aggregates), C(start_offset), C(end_offset) and
        C(schedule_interval) (by default the bucket), C(materialized_only) (by default V(false), live rows are included), C(retention).
        The first column of an aggregate is C(bucket).
    type: list
    elements: dict
    required: true
  confirm_drop:
    description: Aggregates (V(schema.view)) that may be dropped because they are no longer declared, or made anew because their definition changed.
    type: list
    elements: str
    default: []
  assume_empty:
    description: In check mode, plan for a server that does not exist yet, from the desired state alone. It has no effect outside check mode.
    type: bool
    default: false
  assume_edition:
    description: With O(assume_empty), the edition that the server will have.
    type: str
    choices: [apache, timescale]
    default: apache
"""

EXAMPLES = r"""
- name: Converge the hypertables
  nexanest.database.timescaledb_hypertables:
    login_host: 127.0.0.1
    login_port: 5433
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    login_db: postgres
    connect_timeout: 10
    databases:
      - name: timescale
        readers: [timescale_readonly]
        hypertables:
          - name: market_data.stock_prices
            time_column: time
            chunk_time_interval: 1 day
            columnstore: {segmentby: [symbol], orderby: [time DESC], after: 7 days}
            retention: {drop_after: 90 days}
            continuous_aggregates:
              - name: market_data.stock_prices_1h
                bucket: 1 hour
                group_by: [symbol]
                columns: {open: "first(price, time)", high: max(price), low: min(price), close: "last(price, time)", volume: sum(volume)}
                start_offset: 85 days
                retention: {drop_after: 2 years}
    confirm_drop: []
    assume_empty: false
    assume_edition: apache
"""

RETURN = r"""
objects:
  description: What was done (in check mode, would be done), by object.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: hypertable, columnstore, retention, continuous aggregate, schema, built-in job or job.
      type: str
      sample: continuous aggregate
    name:
      description: The object's name with the database's in front.
      type: str
      sample: timescale.market_data.stock_prices_1h
    action:
      description: create, update or delete.
      type: str
      sample: create
editions:
  description: What each database's server is.
  returned: success
  type: dict
  sample: {timescale: {name: apache, licence: apache, library: false, version: 2.19.3}}
implementations:
  description: How each declared object is done, V(native), V(equivalent), or V(not available) and why.
  returned: success
  type: list
  elements: dict
  sample:
    - {database: timescale, kind: continuous aggregate, name: market_data.stock_prices_1h, implementation: equivalent}
undeclared:
  description: Aggregates that were declared once and are left as they are. Name them in O(confirm_drop) to drop them.
  returned: success
  type: list
  elements: str
  sample: [timescale.market_data.stock_prices_5m]
queries:
  description: The statements in the order in which they ran or would run.
  returned: success
  type: list
  elements: str
"""

from dataclasses import asdict, replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._timescale_applier import ApplyError, apply, sessions
from ansible_collections.nexanest.database.plugins.module_utils._timescale_checks import undeclared
from ansible_collections.nexanest.database.plugins.module_utils._timescale_input import desired
from ansible_collections.nexanest.database.plugins.module_utils._timescale_judge import judge
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import Database, Edition, State
from ansible_collections.nexanest.database.plugins.module_utils._timescale_plan import implementations, plan
from ansible_collections.nexanest.database.plugins.module_utils._timescale_reader import FAILING_ON_APACHE_ID, read
from ansible_collections.nexanest.database.plugins.module_utils._timescale_steps import Step

ARGUMENTS = {
    **LOGIN_ARGUMENTS,
    "databases": {"type": "list", "elements": "dict", "required": True},
    "confirm_drop": {"type": "list", "elements": "str", "default": []},
    "assume_empty": {"type": "bool", "default": False},
    "assume_edition": {"type": "str", "choices": ["apache", "timescale"], "default": "apache"},
}


def converge(params: dict[str, Any], database: Database, *, first: bool, check_mode: bool) -> tuple[list[Step], State]:
    """Plan and, outside check mode, apply for one database; the first one also removes jobs of databases that are gone."""
    if params["assume_empty"] and check_mode:
        edition = params["assume_edition"]
        native = edition == "timescale"
        state = State(Edition(edition, native, "unknown"), unknown=True, failing_jobs=() if native else (FAILING_ON_APACHE_ID,))
        return plan(database, state, check_mode=True), state
    with sessions(params, database) as (session, maintenance):
        state = read(session, maintenance, database)
        state = state if first else replace(state, scheduler=replace(state.scheduler, lost=()))
        steps = plan(database, state, confirm_drop=params["confirm_drop"], check_mode=check_mode)
        judge(session, database, state, check_mode=check_mode)
        if not check_mode:
            apply(session, maintenance, steps, state)
    return steps, state


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    try:
        databases = desired(params["databases"])
        done = [converge(params, database, first=database is databases[0], check_mode=module.check_mode) for database in databases]
    except (InputError, ServerUnreachable, ApplyError) as error:
        module.fail_json(msg=f"converging the hypertables of {params['login_host']}:{params['login_port']} failed: {error}")
    changes = [step.change for steps, _state in done for step in steps]
    states = [(database, state) for database, (_steps, state) in zip(databases, done, strict=True)]
    module.exit_json(
        changed=bool(changes),
        diff=diff(changes),
        objects=objects(changes),
        editions={database.name: {"name": state.edition.name, **asdict(state.edition)} for database, state in states},
        implementations=[{"database": database.name, **one} for database, state in states for one in implementations(database, state)],
        undeclared=[f"{database.name}.{one}" for database, state in states for one in undeclared(database, state) if one not in params["confirm_drop"]],
        queries=[work.statement.text() for steps, _state in done for step in steps for work in step.work],
    )


if __name__ == "__main__":
    main()
