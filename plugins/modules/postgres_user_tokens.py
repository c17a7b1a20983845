#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed user tokens: the schema `session` of service databases, with its functions and keys."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_user_tokens
short_description: Let a service say who its user is by a signed token
version_added: 0.1.0
author: "The nexanest.database authors (@nexanest)"
description:
  - Makes the schema C(session) in service databases. C(session.set_user(token)) verifies a token and makes it who the user is for this transaction alone;
    C(session.user_id()) answers who that is, or NULL. Policies of row security use C((SELECT session.user_id())).
  - A token is C(v1.<user>.<expires>.<mac>). C(expires) is in seconds since 1970, at most 900 from now. C(mac) is the HMAC-SHA256 of all before its dot,
    in hexadecimal, with the key's characters as UTF-8. The service mints it with the key of its own database.
  - A token that is forged, expired or valid for too long is refused with SQLSTATE 28000.
  - What C(set_user) leaves in the session is signed too, for this transaction of this backend. Whatever else sets it, from a pooled connection or by SQL
    injection, makes the user nobody.
  - The keys can be read by the role C(<service>_definer) alone, to which the functions belong.
  - Needs the roles of M(nexanest.database.postgres_databases) with C(definer).
extends_documentation_fragment:
  - nexanest.database.login
attributes:
  check_mode:
    description: Can run in check mode, also before the databases or the server exist.
    support: full
  diff_mode:
    description: Returns what each object is and what it shall be, never a key.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
options:
  databases:
    description: The databases.
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
  keys:
    description:
      - Keys by database, as text, or as mappings with C(current) and, while services still mint with the old one, C(previous).
        A key has at least 32 characters.
      - A key that is not given here is removed, and what was minted with it is refused from then on.
    type: dict
    required: true
  user_id_type:
    description: Type of the users' ids in all these databases.
    type: str
    choices: [uuid, bigint, text]
    default: uuid
  assume_empty:
    description: In check mode, plan for a server that does not exist yet, from the desired state alone. It has no effect outside check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Sign the users of two services
  nexanest.database.postgres_user_tokens:
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
    keys:
      auth: {current: "{{ auth_key }}", previous: "{{ old_auth_key }}"}
      portfolio_eu: "{{ portfolio_key }}"
    user_id_type: uuid
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
      description: schema, table, function or user token key.
      type: str
      sample: function
    name:
      description: The object's name, with the database's name in front.
      type: str
      sample: auth.session.user_id()
    action:
      description: create, update or delete.
      type: str
      sample: create
queries:
  description: The statements in the order in which they ran or would run, with keys masked.
  returned: success
  type: list
  elements: str
  sample:
    - CREATE SCHEMA "session"
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _databases_checks as checks
from ansible_collections.nexanest.database.plugins.module_utils._changes import diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._databases_applier import ApplyError, apply, maintenance_session
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_steps import Step
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens import CURRENT, PREVIOUS, TokenDatabase, plan
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_server import missing, read
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import USER_ID_TYPES

SHORTEST_KEY = 32

DATABASE_ARGUMENTS = {"name": {"type": "str", "required": True}, "service": {"type": "str"}}
ARGUMENTS = {
    **LOGIN_ARGUMENTS,
    "databases": {"type": "list", "elements": "dict", "required": True, "options": DATABASE_ARGUMENTS},
    "keys": {"type": "dict", "required": True, "no_log": True},
    "user_id_type": {"type": "str", "choices": list(USER_ID_TYPES), "default": "uuid"},
    "assume_empty": {"type": "bool", "default": False},
}


def desired(params: Mapping[str, Any]) -> list[TokenDatabase]:
    """The databases with their keys. Raises InputError."""
    found = []
    names = [entry["name"] for entry in params["databases"]]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise InputError(f"databases names {twins[0]!r} twice: keep one")
    keys = checks.keys(params["keys"], names, "keys")
    for entry in params["databases"]:
        name = checks.identifier(entry["name"], "a database's name")
        service = checks.identifier(entry["service"] or name, f"database {name!r}: service")
        found.append(TokenDatabase(name, service, params["user_id_type"], _keys(keys.get(name), f"keys of database {name!r}")))
    return found


def _keys(data: Any, where: str) -> dict[int, str]:
    """A key's value is in no message."""
    if data is None:
        raise InputError(f"{where}: there are none; give at least the current one")
    if isinstance(data, str):
        data = {"current": data}
    if not isinstance(data, Mapping):
        raise InputError(f"{where} must be text, or a mapping with current and, where it is still in use, previous")
    given = checks.keys(data, ("current", "previous"), where)
    current, previous = given.get("current"), given.get("previous")
    for word, key in (("current", current), ("previous", previous)):
        if (word == "current" or key) and (not isinstance(key, str) or len(key) < SHORTEST_KEY or "\0" in key):
            raise InputError(f"{where}: {word} must be text of at least {SHORTEST_KEY} characters: make one with openssl rand -hex 32")
    return {CURRENT: str(current), **({PREVIOUS: str(previous)} if previous and previous != current else {})}


def converge(params: Mapping[str, Any], *, check_mode: bool) -> list[Step]:
    """Plan and, outside check mode, apply."""
    wanted = desired(params)
    if params["assume_empty"] and check_mode:
        return [step for database in wanted for step in plan(database, None)]
    with maintenance_session(params) as session:
        absent, absent_roles = missing(session, params, wanted)
        if (absent or absent_roles) and not check_mode:
            raise InputError(
                f"the server lacks {', '.join(sorted(absent | absent_roles))}: converge the databases with `definer: true` first (postgres_databases)"
            )
        # Check mode comes before the databases are made: what is not there will be empty.
        steps = [step for database in wanted for step in plan(database, None if database.name in absent else read(params, database))]
        if not check_mode:
            apply(session, params, [work for step in steps for work in step.work])
    return steps


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        steps = converge(module.params, check_mode=module.check_mode)
    except (InputError, ServerUnreachable, ApplyError, STATEMENT_ERROR) as error:
        module.fail_json(msg=f"converging the user tokens of {module.params['login_host']}:{module.params['login_port']} failed: {error}")
    changes = [step.change for step in steps]
    queries = [work.statement.text() for step in steps for work in step.work]
    module.exit_json(changed=bool(changes), diff=diff(changes), objects=objects(changes), queries=queries)


if __name__ == "__main__":
    main()
