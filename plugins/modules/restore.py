#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a backup set, undo that, or remove what it replaced."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Restore a backup set beside the live databases and swap it in
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - Everything is checked before anything is touched. The manifest, every file's checksum as stored and in plain, the key, the versions of PostgreSQL and
    of its extensions, TimescaleDB's edition, free space and the state of the servers. All that is wrong stands in one message.
  - Each database is restored beside the live one, under a name of its own, where it is inert (no job of TimescaleDB runs in it) and nobody but a superuser
    gets in. It is compared with the manifest and with the catalog of the set. Only then it is swapped in by renaming, all databases of a server in one
    transaction. A difference refuses the swap.
  - The database that it replaces is kept under another name, takes no connections and can be put back (O(state=undone)) until it is removed
    (O(state=cleaned)). The table C(_restore.databases) in the server's database C(postgres) says which is which.
  - Clients that are connected to a database refuse the swap, unless O(disconnect) is true. The server's own workers are no clients, and the swap ends them.
  - Several servers cannot be swapped in one transaction. A journal in O(state_dir) is written before the first swap. After a crash the next call of this
    module finishes the restore, or undoes it with O(state=undone), before it does anything else.
  - Roles that exist are never touched. Those that are missing are made as they were, with all their rights.
  - With O(database_map) or O(role_map) a set of one stack is restored into another with other names and passwords. What a role of the set owns and may do
    in the databases, the role that it is mapped to owns and may do afterwards. No role is made then, and none is changed; a role that the databases need,
    that is not mapped and is not there refuses the restore. Keys of user tokens stay what they are here. Texts that hold a name (the body of a function)
    stay as they are, and are named in a warning.
attributes:
  check_mode:
    description:
      Says what would be replaced, which roles would be made, and who is connected. Every file of the set is read for it. Clients that would refuse the
      swap are a warning, because they may be gone by then.
    support: full
  diff_mode:
    description: The databases and roles, with set, rows and bytes.
    support: full
  idempotent:
    description: A database that is this restore already and was not written to since is left alone.
    support: full
options:
  backup_dir:
    description: Folder of the sets on the managed host. The lock and the opened files are there.
    type: path
    required: true
  set:
    description: The set to restore, as its id or as the absolute path of its folder. Needed for O(state=restored).
    type: str
  state:
    description:
      - V(restored) restores O(set).
      - V(undone) puts back what a restore replaced. What had been restored is kept until it is removed.
      - V(cleaned) removes what restores replaced, and what was undone.
    type: str
    choices: [restored, undone, cleaned]
    default: restored
  restore:
    description: Id of the restore to undo or to clean up. The latest is undone and all are cleaned up without it.
    type: str
  databases:
    description:
      - Restore these databases alone, each as its name or as C(server/name). A Redis instance is C(redis/name).
      - The whole set without it.
    type: list
    elements: str
    default: []
  as:
    description: Another name for the one chosen database, which is restored beside the live one and replaces nothing.
    type: str
  database_map:
    description:
      - What databases of the set are called here, by their name in the set. Each is restored in the place of the one that has the name here.
      - A name in the set may be written as C(server/name). A database that is not in it keeps its name.
    type: dict
    default: {}
  role_map:
    description:
      - What roles of the set are called here, by their name in the set. The role must be there, and be a superuser or none as the other is in the set.
      - A name in the set may be written as C(server/name). A role that is not in it keeps its name.
    type: dict
    default: {}
  identities:
    description: Private keys of age, one of which opens the set.
    type: list
    elements: str
    default: []
  servers:
    description: The PostgreSQL servers.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the server in the set.
        type: str
        required: true
      container:
        description: Name of its container on the managed host.
        type: str
        required: true
      login_host:
        description: Host on which the server listens, seen from the managed host.
        type: str
        default: 127.0.0.1
      login_port:
        description: Port on which the server listens.
        type: int
        default: 5432
      login_user:
        description: The administrator. It must be a superuser.
        type: str
        required: true
      login_password:
        description: Password of the administrator.
        type: str
        required: true
      login_db:
        description: Database to log in to first.
        type: str
        default: postgres
      connect_timeout:
        description: Seconds to wait for a connection.
        type: int
        default: 10
  redis:
    description: The Redis instances.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the instance in the set.
        type: str
        required: true
      container:
        description: Name of its container on the managed host.
        type: str
        required: true
      login_host:
        description: Host on which it listens, seen from the managed host.
        type: str
        default: 127.0.0.1
      login_port:
        description: Port on which it listens.
        type: int
        default: 6379
      login_user:
        description: The administrator.
        type: str
        required: true
      login_password:
        description: Password of the administrator.
        type: str
        required: true
      connect_timeout:
        description: Seconds to wait for a connection.
        type: int
        default: 10
  disconnect:
    description: Disconnect clients that are in the way of the swap.
    type: bool
    default: false
  jobs:
    description: Tables and indexes that are restored at a time.
    type: int
    default: 2
  stack:
    description: Name of the stack that is restored into. A set of another one is restored too, with a warning.
    type: str
    default: ""
  state_dir:
    description: Folder on the managed host for the journal and for what is known of restores that can be undone.
    type: path
    required: true
  lock_wait:
    description: Seconds to wait for another run that works in the folder of the sets or on a server.
    type: int
    default: 60
  progress_file:
    description: File on the managed host that gets a line per step while the work runs.
    type: path
    default: ""
requirements:
  - psycopg2 and redis on the managed host
  - docker client and age on the managed host
"""

EXAMPLES = r"""
- name: Restore a whole set
  nexanest.database.restore:
    backup_dir: /srv/nexanest/backups
    set: "20250531_123456"
    identities: ["{{ backup_key }}"]
    servers:
      - name: postgres
        container: nexanest-postgres
        login_host: 127.0.0.1
        login_port: 5432
        login_user: nexanest
        login_password: "{{ postgres_password }}"
        login_db: postgres
        connect_timeout: 10
    redis:
      - name: main
        container: nexanest-redis
        login_host: 127.0.0.1
        login_port: 6379
        login_user: nexanest
        login_password: "{{ redis_password }}"
        connect_timeout: 10
    state_dir: /srv/nexanest/state
    state: restored
    disconnect: true
    jobs: 4
    lock_wait: 60
    progress_file: ""

- name: Look at one database of a set beside the live one
  nexanest.database.restore:
    backup_dir: /srv/nexanest/backups
    set: /mnt/offsite/20250531_123456
    databases: [auth]
    as: auth_copy
    identities: ["{{ backup_key }}"]
    servers: "{{ servers }}"
    state_dir: /srv/nexanest/state

- name: Restore a set of development into production, where names and passwords are others
  nexanest.database.restore:
    backup_dir: /srv/prod/backups
    set: /mnt/transfer/20250531_123456
    database_map:
      auth: prod_auth
    role_map:
      auth_owner: prod_auth_owner
      auth_migrator: prod_auth_migrator
      auth_app: prod_auth_app
      auth_readonly: prod_auth_readonly
      nexanest: prod
      postgres/nexanest_backup: prod_backup
    databases: [auth]
    identities: ["{{ development_backup_key }}"]
    servers: "{{ servers }}"
    state_dir: /srv/prod/state

- name: Put back what a restore replaced
  nexanest.database.restore:
    backup_dir: /srv/nexanest/backups
    servers: "{{ servers }}"
    state_dir: /srv/nexanest/state
    state: undone
    restore: 1f2e3d4c

- name: Remove what all restores replaced
  nexanest.database.restore:
    backup_dir: /srv/nexanest/backups
    servers: "{{ servers }}"
    state_dir: /srv/nexanest/state
    state: cleaned
"""

RETURN = r"""
restore:
  description: Id of the restore, for O(restore). Empty where nothing was done.
  returned: always
  type: str
  sample: 1f2e3d4c
set:
  description: Id of the set.
  returned: always
  type: str
  sample: "20250531_123456"
databases:
  description: The databases and Redis instances of this restore.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Server and name of the database.
      type: str
      sample: postgres/auth
    action:
      description: One of V(replace), V(create), V(unchanged), V(undo).
      type: str
      sample: replace
    rows:
      description: Rows of all its tables in the set, of a database that is restored.
      type: int
      sample: 120000
    bytes:
      description: Its size on the server when the set was made.
      type: int
      sample: 52428800
roles:
  description: Roles that were missing, by server.
  returned: always
  type: dict
  sample: {postgres: [auth_owner]}
mapping:
  description: What becomes of each database and role of the set, and of keys of user tokens, where O(database_map) or O(role_map) is given.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: V(database), V(role) or V(user token keys).
      type: str
      sample: role
    name:
      description: Its server and its name in the set.
      type: str
      sample: postgres/auth_owner
    to:
      description: Its name here.
      type: str
      sample: prod_auth_owner
    what:
      description: What becomes of it, in words.
      type: str
      sample: becomes prod_auth_owner
connected:
  description: Clients that were connected to the databases, in words.
  returned: always
  type: list
  elements: str
  sample: ["postgres/auth: auth_app from 172.18.0.9 (auth-service, pid 4711)"]
kept:
  description: Databases that can be put back, or removed with O(state=cleaned).
  returned: always
  type: list
  elements: str
  sample: [postgres/_restore_1f2e3d4c_1_old]
removed:
  description: Databases that were removed.
  returned: always
  type: list
  elements: str
  sample: [postgres/_restore_1f2e3d4c_1_old]
notes:
  description: What somebody should know, also shown as warnings.
  returned: always
  type: list
  elements: str
  sample: ["the restore 1f2e3d4c of the set 20250531_123456, which had been cut off, was finished"]
problems:
  description: Why nothing was touched.
  returned: when it was refused
  type: list
  elements: str
  sample: ["postgres/auth.dump is damaged"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff
from ansible_collections.nexanest.database.plugins.module_utils._redis import REDIS_LOGIN_ARGUMENTS
from ansible_collections.nexanest.database.plugins.module_utils._restore_look import Refused
from ansible_collections.nexanest.database.plugins.module_utils._restore_parties import ERRORS, one_line
from ansible_collections.nexanest.database.plugins.module_utils._restore_run import Failed, Report, Restore, opened
from ansible_collections.nexanest.database.plugins.module_utils._restore_swap_all import TakenBack, Unfinished
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals

SERVER_ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "container": {"type": "str", "required": True},
    "login_host": {"type": "str", "default": "127.0.0.1"},
    "login_port": {"type": "int", "default": 5432},
    "login_user": {"type": "str", "required": True},
    "login_password": {"type": "str", "required": True, "no_log": True},
    "login_db": {"type": "str", "default": "postgres"},
    "connect_timeout": {"type": "int", "default": 10},
}
REDIS_ARGUMENTS: dict[str, Any] = {"name": {"type": "str", "required": True}, "container": {"type": "str", "required": True}, **REDIS_LOGIN_ARGUMENTS}
ARGUMENTS: dict[str, Any] = {
    "backup_dir": {"type": "path", "required": True},
    "set": {"type": "str"},
    "state": {"type": "str", "choices": ["restored", "undone", "cleaned"], "default": "restored"},
    "restore": {"type": "str"},
    "databases": {"type": "list", "elements": "str", "default": []},
    "as": {"type": "str"},
    "database_map": {"type": "dict", "default": {}},
    "role_map": {"type": "dict", "default": {}},
    "identities": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "servers": {"type": "list", "elements": "dict", "default": [], "options": SERVER_ARGUMENTS},
    "redis": {"type": "list", "elements": "dict", "default": [], "options": REDIS_ARGUMENTS},
    "disconnect": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 2},
    "stack": {"type": "str", "default": ""},
    "state_dir": {"type": "path", "required": True},
    "lock_wait": {"type": "int", "default": 60},
    "progress_file": {"type": "path", "default": ""},
}
_FAILED = (Failed,)
FAILURES: tuple[type[Exception], ...] = _FAILED + ERRORS


def work(run: Restore, report: Report, *, check: bool) -> None:
    """What state asks for, after what an earlier run left."""
    undo = run.params["state"] == "undone"
    cut_off = run.journal.open() is not None
    run.recover(report, undo=undo, check=check)
    if run.params["state"] == "restored":
        run.restore(report, check=check)
    elif run.params["state"] == "cleaned":
        run.clean(report, check=check)
    elif not cut_off:
        run.undo(report, check=check)


def result(report: Report) -> dict[str, Any]:
    changes = [
        Change("database", item.label, {"restored from": "something else"} if item.label in report.replaced else None, _after(report, item))
        for item in report.restored
    ]
    changes += [Change("redis", name, {"restored from": "something else"}, {"restored from": report.set}) for name in report.redis]
    changes += [Change("role", f"{server}/{name}", None, {"restored from": report.set}) for server, names in report.roles.items() for name in names]
    changes += [Change(f"{row['kind']} of the set", row["name"], None, {"here": row["what"]}) for row in report.mapping if report.restored]
    changes += [Change("database", name, {"restored from": report.set}, {"restored from": "what it was before"}) for name in report.names]
    changes += [Change("database", name, {"kept": "yes"}, None) for name in report.removed]
    return {
        "changed": report.changed,
        "diff": diff(changes),
        "restore": report.restore,
        "set": report.set,
        "databases": _databases(report),
        "roles": report.roles,
        "connected": report.connected,
        "mapping": report.mapping,
        "kept": report.kept,
        "removed": report.removed,
        "notes": report.notes,
    }


def _after(report: Report, item: Any) -> dict[str, Any]:
    return {"restored from": f"{report.set} {item.database.name}", "rows": item.database.rows, "bytes": item.database.bytes}


def _databases(report: Report) -> list[dict[str, Any]]:
    found = [(item, "replace" if item.label in report.replaced else "create") for item in report.restored]
    found += [(item, "unchanged") for item in report.unchanged]
    rows: list[dict[str, Any]] = [{"name": item.label, "action": action, "rows": item.database.rows, "bytes": item.database.bytes} for item, action in found]
    rows += [{"name": f"redis/{name}", "action": "replace"} for name in report.redis]
    rows += [{"name": f"redis/{name}", "action": "unchanged"} for name in report.same_redis]
    return rows + [{"name": name, "action": "undo"} for name in report.names]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, required_if=[("state", "restored", ("set",))])
    report = Report()
    try:
        with ended_by_signals(), opened(module.params, check=module.check_mode) as run:
            work(run, report, check=module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=f"nothing was touched: {refusal}", problems=refusal.problems, **result(report))
    except TakenBack as error:
        module.fail_json(msg=f"the swap was refused, and what is in use is what it was before: {error}", **result(report))
    except Unfinished as error:
        module.fail_json(msg=str(error), **result(report))
    except FAILURES as error:
        module.fail_json(msg=f"the restore failed, and what is in use is what it was before: {one_line(error)}", **result(report))
    for note in report.notes:
        module.warn(note)
    module.exit_json(**result(report))


if __name__ == "__main__":
    main()
