#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log in as every role of the services and try every door of a PostgreSQL server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_access_info
short_description: Try what the roles of a PostgreSQL server can and cannot do
version_added: 0.1.0
author: "The nexanest.database authors (@nexanest)"
description:
  - Logs in over TCP as every role of the services, with its real password, and tries every door - other databases, other users' rows,
    definitions, files, programs, the server's settings, other roles, secrets. Each attempt is compared with what it should end with.
  - Users' rows are tried through every table, view, materialised view, partition, chunk and set-returning function that has the user column,
    as nobody, as a user without rows, and as an existing user whom the administrator takes out of the data.
  - Where a table is empty an attempt proves nothing and says so; the protections that the catalog shows are judged for every table.
  - Every transaction is rolled back or read-only. What would be harmful if it succeeded names what is not there, or is only explained.
  - The server's log gets a line for every refusal, with the application name C(nexanest.access).
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
  - nexanest.database.login
options:
  databases:
    description: The services' databases, as M(nexanest.database.postgres_databases) made them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the database.
        type: str
        required: true
      service:
        description: Prefix of its roles' names; by default the database's name.
        type: str
  passwords:
    description: Passwords by role, one for each C(_app), C(_migrator) and C(_readonly) role.
    type: dict
    required: true
  user_token_keys:
    description: Keys of M(nexanest.database.postgres_user_tokens) by database, as text or as a mapping with C(current).
    type: dict
    default: {}
  user_column:
    description: Name of the column that says whose a row is.
    type: str
    default: user_id
  backup_role:
    description: The role that may read everything, as M(nexanest.database.postgres_databases) made it.
    type: dict
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
  replication_role:
    description: The role that receives the write-ahead log, as M(nexanest.database.postgres_databases) made it. It must open nothing else.
    type: dict
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
  statement_timeout:
    description: Seconds that one attempt may take. One that takes longer counts as not tried.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Try every door
  nexanest.database.postgres_access_info:
    login_host: 127.0.0.1
    login_port: 5432
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    login_db: postgres
    connect_timeout: 10
    databases:
      - name: auth
      - name: portfolio_eu
        service: portfolio
    passwords:
      auth_app: "{{ auth_app_password }}"
      auth_migrator: "{{ auth_migrator_password }}"
      auth_readonly: "{{ auth_readonly_password }}"
      portfolio_app: "{{ portfolio_app_password }}"
      portfolio_migrator: "{{ portfolio_migrator_password }}"
      portfolio_readonly: "{{ portfolio_readonly_password }}"
    user_token_keys:
      auth: {current: "{{ auth_key }}"}
    user_column: user_id
    backup_role:
      name: nexanest_backup
      password: "{{ backup_password }}"
    replication_role:
      name: nexanest_replication
      password: "{{ replication_password }}"
    statement_timeout: 20
"""

RETURN = r"""
attempts:
  description: Every attempt. An attempt that could not be tried has C(tried) false, and C(ok) false.
  returned: success
  type: list
  elements: dict
  contains:
    group:
      description: What kind of door it is.
      type: str
      sample: rows
    role:
      description: Who tried.
      type: str
      sample: auth_app
    place:
      description: The database; C(server) for what belongs to none.
      type: str
      sample: auth
    what:
      description: What was tried.
      type: str
      sample: "read the table auth.users as nobody"
    expected:
      description: refused, allowed, nothing (refused, or answered without a row) or holds.
      type: str
      sample: nothing
    seen:
      description: What came back, in the server's words, without data.
      type: str
      sample: "refused: permission denied for table users (42501)"
    ok:
      description: Whether it ended as it should.
      type: bool
      sample: true
    tried:
      description: Whether there was an answer at all.
      type: bool
      sample: true
    proves:
      description: False where there was nothing to hide, so that the attempt proves nothing.
      type: bool
      sample: true
    remedy:
      description: What to do about it; only where it did not end as it should.
      type: str
      sample: a run of site.yml takes it away
summary:
  description: Counts, and how long it took.
  returned: success
  type: dict
  sample: {attempts: 1204, failed: 0, not_tried: 0, nothing_to_hide: 96, groups: {logins: 243}, seconds: 12.4}
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._access_facts import Facts
from ansible_collections.nexanest.database.plugins.module_utils._access_model import Outcome, summary
from ansible_collections.nexanest.database.plugins.module_utils._access_plan_logins import logins
from ansible_collections.nexanest.database.plugins.module_utils._access_plan_rights import rights
from ansible_collections.nexanest.database.plugins.module_utils._access_plan_rows import rows
from ansible_collections.nexanest.database.plugins.module_utils._access_plan_tokens import tokens
from ansible_collections.nexanest.database.plugins.module_utils._access_probe import Probe
from ansible_collections.nexanest.database.plugins.module_utils._access_reader import read
from ansible_collections.nexanest.database.plugins.module_utils._access_structure import structure
from ansible_collections.nexanest.database.plugins.module_utils._access_try import Trial
from ansible_collections.nexanest.database.plugins.module_utils._access_wanted import Wanted, wanted
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, LOGIN_ROLE_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError

ARGUMENTS: dict[str, dict[str, Any]] = {
    **LOGIN_ARGUMENTS,
    "databases": {
        "type": "list", "elements": "dict", "required": True, "options": {"name": {"type": "str", "required": True}, "service": {"type": "str"}},
    },
    "passwords": {"type": "dict", "required": True, "no_log": True},
    "user_token_keys": {"type": "dict", "default": {}, "no_log": True},
    "user_column": {"type": "str", "default": "user_id"},
    "backup_role": {"type": "dict", "options": LOGIN_ROLE_ARGUMENTS},
    "replication_role": {"type": "dict", "options": LOGIN_ROLE_ARGUMENTS},
    "statement_timeout": {"type": "int", "default": 20},
}  # fmt: skip


def planned(want: Wanted, facts: Facts) -> list[Probe]:
    """Everything that is tried in a session."""
    probes = list(rights(want, facts))
    for database in want.databases:
        inside = facts.inside.get(database.name)
        if inside is not None:
            user_type = next((relation.user_type for relation in inside.owned), "uuid")
            probes += [*tokens(want, database, user_type), *rows(want, inside, database)]
    return probes


def prove(params: dict[str, Any]) -> list[Outcome]:
    """Read, plan, try."""
    want = wanted(params)
    facts = read(params, {database.name: list(database.logins) for database in want.databases}, want.column)
    absent = [database.name for database in want.databases if database.name not in facts.inside]
    if absent:
        raise InputError(f"the server has no database {', '.join(absent)}: converge it first (site.yml)")
    trial = Trial(params, want, timeout=params["statement_timeout"])
    return [*trial.run(list(logins(want, facts)), planned(want, facts)), *structure(want, facts)]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    began = time.monotonic()
    try:
        outcomes = prove(module.params)
    except (InputError, ServerUnreachable, STATEMENT_ERROR) as error:
        module.fail_json(msg=f"trying the doors of {module.params['login_host']}:{module.params['login_port']} failed: {error}")
    module.exit_json(changed=False, attempts=[outcome.as_dict() for outcome in outcomes], summary=summary(outcomes, time.monotonic() - began))


if __name__ == "__main__":
    main()
