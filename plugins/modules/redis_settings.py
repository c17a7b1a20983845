#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converge the settings and the users of a running Redis."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_settings
short_description: Converge the settings and the ACL users of a running Redis
version_added: 0.1.0
description:
  - Makes the running configuration and the ACL users equal to what is asked, with C(CONFIG SET) and C(ACL LOAD), without a restart.
  - What only a restart brings about is named in RV(restart_required); the module itself restarts nothing.
  - Configuration file and ACL file must hold the same already, as they rule after a restart. The role P(nexanest.database.redis#role) writes them.
  - Values are compared as Redis reads them. V(256mb) equals V(268435456), and V(Ex) equals V(xE) in C(notify-keyspace-events).
options:
  login_host:
    description: Host on which Redis listens, seen from the managed host.
    type: str
    default: 127.0.0.1
  login_port:
    description: Port on which Redis listens.
    type: int
    default: 6379
  login_user:
    description:
      - ACL user to log in as.
      - It needs C(+config|get +config|set +acl|list +acl|load +info +client|setinfo).
    type: str
    required: true
  login_password:
    description:
      - Password of O(login_user).
      - Where the server refuses it, RV(restart_required) holds V(acl), as a restart reads the ACL file with the new one.
    type: str
    required: true
  connect_timeout:
    description: Seconds to wait for a connection.
    type: int
    default: 10
  settings:
    description:
      - Settings by Redis' own names, as in C(CONFIG GET *). Settings that are not named stay as they are.
      - A boolean is V(yes) or V(no), a list is its items with spaces between.
      - A name that the server does not know is refused before anything is changed.
    type: dict
    default: {}
  acl:
    description:
      - The lines of the server's ACL file, all of them. Passwords should be hashes (C(#) and 64 hexadecimal digits).
      - Where the users of the server differ, C(ACL LOAD) is sent. Rights change at once, and connections of removed users are closed.
      - Connections of a user whose password changed stay open, as PostgreSQL's do. C(CLIENT KILL USER <name>) closes them.
      - Without this option the users are left alone.
    type: list
    elements: str
  append_only_timeout:
    description: Seconds to wait until the append-only file holds all data, where C(appendonly) is switched on.
    type: int
    default: 600
  assume_empty:
    description: There is no server yet. In check mode plan from the desired state alone, without a connection.
    type: bool
    default: false
extends_documentation_fragment:
  - nexanest.database.attributes
attributes:
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode. Passwords and hashes are masked.
    support: full
requirements:
  - redis (Python client, 4.3 or later) on the managed host
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Converge the settings and the users of the cache
  nexanest.database.redis_settings:
    login_host: 127.0.0.1
    login_port: 6379
    login_user: nexanest_converge
    login_password: "{{ redis_converge_password }}"
    connect_timeout: 5
    settings:
      maxmemory: 256mb
      maxmemory-policy: allkeys-lru
      appendonly: true
      save: "3600 1 300 100"
    acl:
      - user default off resetpass resetchannels -@all
      - "user auth on #{{ auth_password | hash('sha256') }} ~auth:* resetchannels -@all +@read +@write -@dangerous"
    append_only_timeout: 1200
    assume_empty: "{{ ansible_check_mode and cache_is_missing }}"
  register: cache

- name: Say what waits for a restart
  ansible.builtin.debug:
    var: cache.restart_required
"""

RETURN = r"""
restart_required:
  description: Settings that only a restart brings about, and V(acl) where the login was refused. Empty when the server has everything.
  returned: success
  type: list
  elements: str
  sample: [databases]
settings_set:
  description: Names of the settings that were set (in check mode, that would be).
  returned: success
  type: list
  elements: str
  sample: [maxmemory, maxmemory-policy]
acl_loaded:
  description: Whether the ACL file was read again (in check mode, whether it would be).
  returned: success
  type: bool
  sample: true
objects:
  description: The plan as data.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: redis setting
      name: maxmemory
      action: update
"""

from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._redis import (
    REDIS_LOGIN_ARGUMENTS,
    RedisFailed,
    RedisLoginRefused,
    RedisNeedsRestart,
    RedisServer,
)
from ansible_collections.nexanest.database.plugins.module_utils._redis_acl import AclError, parse
from ansible_collections.nexanest.database.plugins.module_utils._redis_plan import (
    Plan,
    PlanError,
    Running,
    Wanted,
    plan,
    plan_from_nothing,
    plan_without_login,
)
from ansible_collections.nexanest.database.plugins.module_utils._redis_values import SECRET_SETTINGS, text

ARGUMENTS: dict[str, dict[str, Any]] = {
    **REDIS_LOGIN_ARGUMENTS,
    "settings": {"type": "dict", "default": {}},
    "acl": {"type": "list", "elements": "str", "no_log": True},
    "append_only_timeout": {"type": "int", "default": 600},
    "assume_empty": {"type": "bool", "default": False},
}


def wanted(params: dict[str, Any]) -> Wanted:
    settings = {str(name).lower(): text(value) for name, value in params["settings"].items()}
    return Wanted(settings=settings, users=None if params["acl"] is None else parse(params["acl"]))


def read(server: RedisServer, want: Wanted) -> Running:
    databases = server.databases() if "databases" in want.settings else frozenset()
    users = {} if want.users is None else parse(server.acl(), selectors=True)
    return Running(settings=server.settings(), users=users, databases=databases)


def apply(server: RedisServer, todo: Plan, want: Wanted, timeout: float) -> Plan:
    """Do it; the plan comes back with what the server put off until a restart."""
    if todo.load_acl:
        server.load_acl()
        if parse(server.acl(), selectors=True) != want.users:
            raise RedisFailed("Redis read its ACL file, but its users are not the asked ones: is the file that it reads the one that was written?")
    while todo.set:
        try:
            server.set(todo.set)
            break
        except RedisNeedsRestart as refused:
            rest = {name: value for name, value in todo.set.items() if name != refused.setting}
            todo = replace(todo, set=rest, restart=(*todo.restart, refused.setting))
    if todo.set.get("appendonly") == "yes":
        server.wait_for_append_only_file(timeout)
    return todo


def converge(module: AnsibleModule) -> Plan:
    want = wanted(module.params)
    if module.params["assume_empty"] and module.check_mode:
        return plan_from_nothing(want)
    server = RedisServer(module.params)
    try:
        todo = plan(want, read(server, want))
    except RedisLoginRefused:
        return plan_without_login(module.params["login_user"])
    if module.check_mode or not (todo.set or todo.load_acl):
        return todo
    return apply(server, todo, want, module.params["append_only_timeout"])


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.no_log_values.update(text(value) for name, value in module.params["settings"].items() if name in SECRET_SETTINGS and value)
    try:
        done = converge(module)
    except (AclError, PlanError, RedisFailed) as error:
        module.fail_json(msg=str(error))
    except RedisLoginRefused as error:
        module.fail_json(
            msg=f"Redis took the new users, but {module.params['login_user']} cannot go on: {error}; does the ACL give it what redis_settings needs?"
        )
    module.exit_json(
        changed=bool(done.changes),
        diff=diff(done.changes),
        objects=objects(done.changes),
        restart_required=sorted(done.restart),
        settings_set=sorted(done.set),
        acl_loaded=done.load_acl,
    )


if __name__ == "__main__":
    main()
