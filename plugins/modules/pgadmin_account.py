#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pgadmin_account
short_description: Converge the administrator's account of pgAdmin and the servers it lists
version_added: 0.1.0
author: The nexanest.database authors (@nexanest)
description:
  - Gives the account its e-mail address and password, also where the old ones are forgotten or the account is locked after failed logins.
    A changed address renames the account; its saved files move along.
  - Converges the servers that the account lists, without a restart. Entries that a person added in the browser are left alone;
    entries of an earlier run that are no longer asked for are removed.
  - Links the account's password file, so that the servers open without a typed password.
  - Reads inside the container first and then logs in over HTTP, so that it never adds to the failed logins that lock an account.
    Each change is proved by a login.
  - A new password ends the account's open sessions. Passwords of servers that a person saved in pgAdmin are forgotten then,
    because pgAdmin encrypts them with the login password.
attributes:
  check_mode:
    description: Predicts every change and makes none.
    support: full
  diff_mode:
    description: Shows the account and the server entries before and after, without passwords.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
options:
  container:
    description: Name of pgAdmin's container.
    type: str
    required: true
  url:
    description: Where pgAdmin answers, seen from the managed host.
    type: str
    default: http://127.0.0.1:5050
  email:
    description: E-mail address of the account, which is its login.
    type: str
    required: true
  password:
    description: Password of the account, at least six characters.
    type: str
    required: true
  servers:
    description: Servers that the account shall list.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name in the browser's tree; unique.
        type: str
        required: true
      host:
        description: Host, seen from the container.
        type: str
        required: true
      port:
        description: Port, seen from the container.
        type: int
        default: 5432
      username:
        description: Role to log in as.
        type: str
        required: true
      maintenance_db:
        description: Database to open first.
        type: str
        default: postgres
      sslmode:
        description: The client library's C(sslmode).
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
        default: prefer
  server_group:
    description: Group of the browser's tree in which O(servers) stand.
    type: str
    default: Servers
  passfile:
    description: Path, inside the container, of the client library's password file that the servers use. Without it, passwords are asked for.
    type: str
  data_dir:
    description: pgAdmin's data folder inside the container.
    type: str
    default: /var/lib/pgadmin
  assume_empty:
    description: Plan from the options alone, as for a container that does not exist yet. For check mode on an empty host.
    type: bool
    default: false
requirements:
  - the docker client on the managed host
"""

EXAMPLES = r"""
- name: Converge pgAdmin's account and servers
  nexanest.database.pgadmin_account:
    container: nexanest-pgadmin
    url: http://127.0.0.1:5050
    email: admin@nexanest.local
    password: "{{ pgadmin_password }}"
    server_group: nexanest
    servers:
      - name: PostgreSQL
        host: postgres
        port: 5432
        username: nexanest
        maintenance_db: postgres
        sslmode: prefer
    passfile: /run/secrets/nexanest/pgpass
    data_dir: /var/lib/pgadmin

- name: Plan the same for a host that has no pgAdmin yet
  nexanest.database.pgadmin_account:
    container: nexanest-pgadmin
    email: admin@nexanest.local
    password: "{{ pgadmin_password }}"
    assume_empty: true
  check_mode: true
"""

RETURN = r"""
objects:
  description: What was changed, or would be in check mode.
  returned: always
  type: list
  elements: dict
  sample: [{"kind": "account", "name": "admin@nexanest.local", "action": "update"}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._pgadmin import PgAdminError, accepts_login, ask
from ansible_collections.nexanest.database.plugins.module_utils._pgadmin_plan import Observed, Plan, Wanted, plan

# Stands in the comment of each entry that this module made, and only of those.
MARK = "managed by nexanest.database"
SERVER_ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "default": 5432},
    "username": {"type": "str", "required": True},
    "maintenance_db": {"type": "str", "default": "postgres"},
    "sslmode": {"type": "str", "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"], "default": "prefer"},
}


class PgAdmin:
    """The running pgAdmin of one container."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.docker = Docker()
        self.params = params
        self.request = {key: params[key] for key in ("email", "password", "data_dir", "passfile")} | {"mark": MARK}

    def read(self) -> Observed:
        answer = ask(self.docker, self.params["container"], {"action": "observe", **self.request})
        account = answer["account"]
        fit = account is not None and account["email"] == self.params["email"] and account["active"] and not account["locked"]
        # A login that must fail would count towards the lock: it is tried only where nothing speaks against it.
        accepted = bool(fit and account["password_matches"] is not False and self.accepts_login())
        if account is not None and account["password_matches"] is None:
            account = {**account, "password_matches": accepted}
        return Observed(account=account, servers=answer["servers"], passfile=answer["passfile"], accepts_login=accepted)

    def apply(self, todo: Plan) -> None:
        steps = {"set_account": todo.set_account, "set_servers": todo.set_servers, "drop_servers": todo.drop_servers, "set_passfile": todo.set_passfile}
        ask(self.docker, self.params["container"], {"action": "converge", **self.request, **steps})
        if todo.set_account and not self.accepts_login():
            raise PgAdminError(
                f"the password of {self.params['email']} was set, but pgAdmin refuses the login: do its settings restrict logins,"
                " or is the address's domain missing in ALLOW_SPECIAL_EMAIL_DOMAINS? Its log (docker logs) tells more"
            )

    def accepts_login(self) -> bool:
        return accepts_login(self.params["url"].rstrip("/"), self.params["email"], self.params["password"])


def check_input(params: dict[str, Any]) -> None:
    if len(params["password"]) < 6:
        raise PgAdminError("pgAdmin's password is shorter than the six characters that pgAdmin asks for: choose a longer one")
    names = [server["name"] for server in params["servers"]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PgAdminError(f"two servers of pgAdmin have the same name ({', '.join(twice)}): give each its own")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "url": {"type": "str", "default": "http://127.0.0.1:5050"},
            "email": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "servers": {"type": "list", "elements": "dict", "default": [], "options": SERVER_ARGUMENTS},
            "server_group": {"type": "str", "default": "Servers"},
            "passfile": {"type": "str", "no_log": False},
            "data_dir": {"type": "str", "default": "/var/lib/pgadmin"},
            "assume_empty": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    wanted = Wanted(email=params["email"], servers=params["servers"], group=params["server_group"], passfile=params["passfile"])
    pgadmin = PgAdmin(params)
    try:
        check_input(params)
        observed = Observed() if params["assume_empty"] else pgadmin.read()
        todo = plan(observed, wanted)
        if todo.changes and not module.check_mode:
            pgadmin.apply(todo)
    except (PgAdminError, DockerError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(todo.changes), diff=diff(todo.changes), objects=objects(todo.changes))


if __name__ == "__main__":
    main()
