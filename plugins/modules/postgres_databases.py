#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service databases with their roles, passwords, extensions and privileges: the whole set of one server in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_databases
short_description: Converge the service databases of a PostgreSQL server
version_added: 0.1.0
author: "The nexanest.database authors (@nexanest)"
description:
  - Brings all service databases of one server, with their roles, passwords, schemas, extensions, privileges and settings,
    to the desired state in one call. What differs is repaired; what is equal is not touched.
  - Every service has four roles, named after it. C(<service>_owner) owns the database and its schemas and is nobody's login;
    C(<service>_migrator) logs in for migrations, and all that it makes belongs to the owner;
    C(<service>_app) reads and writes rows and calls functions; C(<service>_readonly) reads.
  - A database with C(definer) has a fifth, C(<service>_definer), for functions that act before the user is known. It is nobody's login, row security
    does not hold for it, and the owner may give functions to it. What such a function reads, a migration grants to it.
  - Only a service's own roles (and O(backup_role)) can connect to its databases. C(PUBLIC) can connect to none, the server's own included,
    and can call no function that an owner makes from then on.
  - Rights on single tables belong to migrations. The module sets the default privileges that new objects get.
  - Roles outside the desired set lose their rights on the managed databases and their memberships in the managed roles.
extends_documentation_fragment:
  - nexanest.database.login
attributes:
  check_mode:
    description: Can run in check mode, also when the server does not exist yet (O(assume_empty)).
    support: full
  diff_mode:
    description: Returns what each object is and what it shall be, never a password or its verifier.
    support: full
  idempotent:
    description: A second run with the same options changes nothing; an equal password is not set again.
    support: full
options:
  databases:
    description:
      - The service databases. An entry has the following keys; an unknown one is refused.
      - C(name) (required) is the name of the database. C(postgres), C(template0) and C(template1) are refused.
      - C(service) is the prefix of the role names, by default the database's name. Databases of one service share its roles.
      - C(state) is V(present) (default) or V(absent). A database that is there is dropped, with its roles, only if O(confirm_drop) names it.
      - C(comment) is the comment on the database; without it a comment is left as it is.
      - C(encoding), C(locale), C(locale_provider) (V(builtin), V(libc), V(icu)) are V(UTF8), V(C.UTF-8) and V(builtin)
        (V(libc) before PostgreSQL 17) for a new database. Given for a database that has others, they are refused.
      - C(conn_limit) is the number of connections, V(-1) (default) for any.
      - C(settings) are settings of the database. C(search_path) is by default the schemas, then C(public).
        The module resets others. A list is allowed for settings that are lists of names.
      - C(extensions) are names, or mappings with C(name), C(schema) (one of C(schemas) or C(public)) and C(version).
        Extensions that are not named are left alone.
      - C(schemas) are the schemas of the owner, by default one with the database's name.
      - C(roles) has options by kind of role. C(app), C(migrator), C(readonly) take C(conn_limit) and C(settings), which are laid over guard rails
        (timeouts for statements, locks and idle transactions; V(null) removes one); C(owner) takes C(login), for what demands an owner
        that may log in (it still has no password).
      - C(definer) (V(false) by default) gives the service the role C(<service>_definer).
      - C(migrations), C(baseline), C(user_tokens) and C(jobs) are left to the modules that read them, but C(user_tokens) needs C(definer).
    type: list
    elements: dict
    required: true
  passwords:
    description:
      - Passwords by role, one for each C(_app), C(_migrator) and C(_readonly) role. Any character but NUL is allowed.
      - The server gets a SCRAM-SHA-256 verifier, never the password.
    type: dict
    default: {}
  backup_role:
    description:
      - A role that can connect to all managed databases and read everything in them, past row security, large objects included.
      - It can read the verifiers of all passwords, so guard it like the administrator.
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
    description:
      - A role that streams the write-ahead log and can connect to no database.
      - The log holds everything that is written, so guard it like the administrator.
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
  confirm_drop:
    description: Names of databases that may be dropped.
    type: list
    elements: str
    default: []
  assume_empty:
    description: In check mode, plan for a server that does not exist yet, from the desired state alone. It has no effect outside check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Converge two services
  nexanest.database.postgres_databases:
    login_host: 127.0.0.1
    login_port: 5432
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    login_db: postgres
    connect_timeout: 10
    databases:
      - name: auth
        comment: Accounts and sessions
        encoding: UTF8
        locale: C.UTF-8
        locale_provider: builtin
        conn_limit: 60
        settings:
          timezone: UTC
        extensions: [pg_stat_statements]
        roles:
          app: {conn_limit: 40, settings: {statement_timeout: 10s}}
      - name: portfolio
        service: portfolio
        schemas: [portfolio, reference]
        extensions:
          - {name: pg_trgm, schema: reference, version: "1.6"}
    passwords:
      auth_app: "{{ auth_app_password }}"
      auth_migrator: "{{ auth_migrator_password }}"
      auth_readonly: "{{ auth_readonly_password }}"
      portfolio_app: "{{ portfolio_app_password }}"
      portfolio_migrator: "{{ portfolio_migrator_password }}"
      portfolio_readonly: "{{ portfolio_readonly_password }}"
    backup_role:
      name: nexanest_backup
      password: "{{ backup_password }}"
    assume_empty: false

- name: Drop a service's database with its roles
  nexanest.database.postgres_databases:
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    databases:
      - name: reports
        state: absent
    confirm_drop: [reports]
"""

RETURN = r"""
objects:
  description: What was done (in check mode, would be done), by object.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: role, database, schema, extension, default privileges or role settings.
      type: str
      sample: schema
    name:
      description: The object's name; what lives in a database has the database's name in front.
      type: str
      sample: auth.auth
    action:
      description: create, update or delete.
      type: str
      sample: create
queries:
  description: The statements in the order in which they ran or would run, with secrets masked.
  returned: success
  type: list
  elements: str
  sample:
    - ALTER ROLE "auth_app" PASSWORD '********'
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, LOGIN_ROLE_ARGUMENTS, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._databases_applier import (
    ApplyError,
    ConcurrentChange,
    apply,
    check_settings,
    maintenance_session,
)
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_input import desired
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import empty_server
from ansible_collections.nexanest.database.plugins.module_utils._databases_plan import Plan, plan
from ansible_collections.nexanest.database.plugins.module_utils._databases_reader import read

ATTEMPTS = 10  # reading and planning again copes with what someone else changes meanwhile, object by object

ARGUMENTS = {
    **LOGIN_ARGUMENTS,
    "databases": {"type": "list", "elements": "dict", "required": True},
    "passwords": {"type": "dict", "default": {}, "no_log": True},
    "backup_role": {"type": "dict", "options": LOGIN_ROLE_ARGUMENTS},
    "replication_role": {"type": "dict", "options": LOGIN_ROLE_ARGUMENTS},
    "confirm_drop": {"type": "list", "elements": "str", "default": []},
    "assume_empty": {"type": "bool", "default": False},
}


def converge(params: dict[str, Any], *, check_mode: bool) -> Plan:
    """Plan and, outside check mode, apply. Returns the plan from before the first statement."""
    wanted = desired(params)
    if params["assume_empty"] and check_mode:
        return plan(wanted, empty_server(params["login_user"]))
    plans: list[Plan] = []
    with maintenance_session(params) as session:
        while True:
            plans.append(plan(wanted, read(session, params, wanted)))
            check_settings(session, plans[-1].work)
            if check_mode:
                return plans[0]
            try:
                apply(session, params, plans[-1].work)
                return plans[0]
            except ConcurrentChange:
                if len(plans) == ATTEMPTS:
                    raise


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        done = converge(module.params, check_mode=module.check_mode)
    except (InputError, ServerUnreachable, ApplyError) as error:
        module.fail_json(msg=f"converging the databases of {module.params['login_host']}:{module.params['login_port']} failed: {error}")
    changes = done.changes
    module.exit_json(changed=bool(changes), diff=diff(changes), objects=objects(changes), queries=done.queries)


if __name__ == "__main__":
    main()
