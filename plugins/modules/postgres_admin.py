#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set the administrator's password through the container's own socket."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgres_admin
short_description: Make the PostgreSQL administrator's password the wanted one
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - Tries to log in over TCP. When that works, nothing is changed.
  - When it does not, the stored verifier is read through the socket inside the container, where the operating system's user is let in without a password.
    If the wanted password does not fit it, a new SCRAM-SHA-256 verifier is set there, and a login over TCP must then work.
  - So a forgotten password can always be replaced. The server never sees the clear password, and neither does its log.
attributes:
  check_mode:
    description: Says whether the password would be set.
    support: full
  diff_mode:
    description: Says that the password changes, never to what.
    support: full
  idempotent:
    description: A password that works is not set again.
    support: full
options:
  container:
    description: Name of the server's container.
    type: str
    required: true
  os_user:
    description: Name or number of the operating system's user in the container that the server's socket lets in as O(login_user).
    type: str
    default: "999"
  login_host:
    description: Host on which the server listens, seen from the managed host.
    type: str
    default: 127.0.0.1
  login_port:
    description: Port on which the server listens.
    type: int
    default: 5432
  login_user:
    description: The administrator.
    type: str
    required: true
  login_password:
    description: The password that the administrator shall have.
    type: str
    required: true
  login_db:
    description: Database to log in to.
    type: str
    default: postgres
  connect_timeout:
    description: Seconds to wait for a connection.
    type: int
    default: 10
  assume_empty:
    description: Plan as for a server that does not exist yet, without a connection. For check mode; outside check mode it is refused.
    type: bool
    default: false
requirements:
  - psycopg2 on the managed host
  - the docker client on the managed host
"""

EXAMPLES = r"""
- name: Set the administrator's password
  nexanest.database.postgres_admin:
    container: nexanest-postgres
    os_user: "999"
    login_host: 127.0.0.1
    login_port: 5432
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    login_db: postgres
    connect_timeout: 10
  no_log: true

- name: Show what a server that does not exist yet would get
  nexanest.database.postgres_admin:
    container: nexanest-postgres
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    assume_empty: true
  check_mode: true
"""

RETURN = r"""
objects:
  description: The change as a list of objects; empty when the password already works.
  returned: always
  type: list
  elements: dict
  sample:
    - kind: administrator
      name: nexanest
      action: update
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _scram
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError

ARGUMENTS: dict[str, Any] = {
    **LOGIN_ARGUMENTS,
    "container": {"type": "str", "required": True},
    "os_user": {"type": "str", "default": "999"},
    "assume_empty": {"type": "bool", "default": False},
}
READ = "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = :'administrator'"
# Neither the log nor pg_stat_statements keeps the verifier: who can read them must not be able to attack it offline.
QUIET = (
    "SET log_statement = 'none'",
    "SET log_min_duration_statement = -1",
    "SET log_min_error_statement = 'panic'",
    "SET pg_stat_statements.track_utility = off",
    "SET pgaudit.log = 'none'",
    "SET synchronous_commit = local",
)


class Refused(Exception):
    """The password could neither be confirmed nor set; the text says why."""


@dataclass(frozen=True)
class State:
    """works: a login over TCP succeeded. refusal: what was said when it did not."""

    works: bool
    refusal: str = ""


def read(params: Mapping[str, Any]) -> State:
    try:
        connect(params).close()
    except ServerUnreachable as error:
        return State(works=False, refusal=str(error))
    return State(works=True)


def plan(params: Mapping[str, Any], state: State) -> list[Change]:
    """No change where the login works; Refused where it fails although the password is right."""
    if state.works:
        return []
    rows = _psql(params, [READ]).splitlines()
    if not rows:
        raise Refused(f"the server in {params['container']} has no role {params['login_user']}: is it another stack's data?")
    if _scram.matches(rows[0], params["login_password"]):
        raise Refused(f"the password of {params['login_user']} is right, but the login fails all the same: {state.refusal}")
    return [_change(params, {"password": "another one" if rows[0] else "none"})]


def apply(params: Mapping[str, Any]) -> None:
    """Set the verifier and prove that the login works."""
    verifier = _scram.verifier(params["login_password"])
    _psql(params, [*QUIET, f"ALTER ROLE :\"administrator\" PASSWORD '{verifier}'"])  # base64, `$` and `:` alone
    state = read(params)
    if not state.works:
        raise Refused(f"the password of {params['login_user']} was set, but the login still fails: {state.refusal}")


def _change(params: Mapping[str, Any], before: dict[str, str] | None) -> Change:
    return Change("administrator", params["login_user"], before, {"password": "as asked"})


def _psql(params: Mapping[str, Any], statements: list[str]) -> str:
    """Run statements over the container's socket; they go through stdin, so nobody's argv shows them."""
    user = params["login_user"]
    argv = ["psql", "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-v", f"administrator={user}", "-U", user, "-d", "postgres"]
    try:
        output = Docker(timeout=30).execute(params["container"], argv, stdin="".join(f"{one};\n" for one in statements), user=params["os_user"])
    except DockerError as error:
        raise Refused(str(error)) from error
    if output.code != 0:
        words = " ".join(output.stderr.split())
        raise Refused(f"no session through the socket of {params['container']} as {user} (user {params['os_user']} in the container): {words}")
    return output.stdout


def _empty(params: Mapping[str, Any], *, check_mode: bool) -> list[Change]:
    if not check_mode:
        raise Refused("assume_empty is for check mode alone")
    return [_change(params, None)]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    try:
        changes = _empty(params, check_mode=module.check_mode) if params["assume_empty"] else plan(params, read(params))
        if changes and not module.check_mode:
            apply(params)
    except Refused as error:
        module.fail_json(msg=f"postgres_admin: {error}")
    module.exit_json(changed=bool(changes), diff=diff(changes), objects=objects(changes))


if __name__ == "__main__":
    main()
