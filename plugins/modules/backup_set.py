#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take one backup set over a whole stack."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_set
short_description: Take one backup set over a whole stack
version_added: 0.1.0
description:
  - Dumps every database of the given servers with C(pg_dump) of the server's own image, at one moment each, with its rows counted at that moment, the roles
    and all settings; and every given Redis instance. Each file is encrypted with C(age) and hashed on both sides in the same pass.
  - The set is made aside and gets its name when its last byte is on the disk. A set of that name is whole; what fails or is killed leaves none.
  - Every database is tried, also when another one fails; the module then fails, and names all that failed.
  - Afterwards old sets are removed as O(retention) says. The newest set, the newest verified one, and folders that are no sets are never removed.
extends_documentation_fragment:
  - nexanest.database.retention
options:
  backup_dir:
    description: Folder of the sets on the managed host. It is made where it is missing, for the user who runs the module alone.
    type: path
    required: true
  id:
    description:
      - Name of the set, C(YYYYMMDD_HHMMSS). One that is there and whole is left alone; a damaged one is an error.
      - Without it, the set is called after the time in UTC.
    type: str
  unless_newer_than:
    description: Do nothing where a set of this stack is younger than this, such as V(20h) (s, m, h, d).
    type: str
  stack:
    description: Name of the stack, for the manifest.
    type: str
    required: true
  servers:
    description: The PostgreSQL and TimescaleDB servers.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the server's folder in the set.
        type: str
        required: true
      kind:
        description: What it is.
        type: str
        choices: [postgresql, timescaledb]
        required: true
      container:
        description: Name of its container.
        type: str
        required: true
      login_host:
        description: Where it listens for the module.
        type: str
        default: 127.0.0.1
      login_port:
        description: Its published port.
        type: int
        default: 5432
      login_user:
        description: The role that may read everything.
        type: str
        required: true
      login_password:
        description: Password of O(servers[].login_user).
        type: str
        required: true
      login_db:
        description: Database to log in to first.
        type: str
        default: postgres
      connect_timeout:
        description: Seconds to wait for a session.
        type: int
        default: 10
      databases:
        description: Databases that must be there. Others that are there are dumped as well.
        type: list
        elements: str
        default: []
  redis:
    description: The Redis instances.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the instance's file in the set.
        type: str
        required: true
      container:
        description: Name of its container.
        type: str
        required: true
      login_user:
        description: The user that may replicate.
        type: str
        required: true
      login_password:
        description: Password of O(redis[].login_user).
        type: str
        required: true
  encrypt:
    description: Whether the set is encrypted.
    type: bool
    default: true
  recipients:
    description: Public keys of C(age). The private key of any of them opens the set.
    type: list
    elements: str
    default: []
  jobs:
    description: Tables of one database that are dumped at the same time.
    type: int
    default: 2
  retention:
    description:
      - Which earlier sets are kept. The newest set of each of the last so many hours, days, weeks and months that have one.
      - With all zero, nothing is removed.
  state_dir:
    description:
      - Folder of the stack's state, as of M(nexanest.database.restore). While a restore in it is neither finished nor undone, some databases are new and
        some old, and no set is made.
    type: path
  lock_wait:
    description: Seconds to wait for another run that works in O(backup_dir).
    type: int
    default: 0
  collection_version:
    description: Recorded in the manifest.
    type: str
    default: unknown
  progress_file:
    description: File that gets lines about the progress.
    type: str
    default: ""
requirements:
  - the docker client, age and psycopg2 on the managed host
attributes:
  check_mode:
    description: Says what would be dumped, about how large the set would be, and which sets would be removed.
    support: full
  diff_mode:
    description: The set and its databases, and the sets that are removed.
    support: full
  idempotent:
    description: With O(id), or with O(unless_newer_than), a set that is there is left alone. Without them every run makes a set.
    support: partial
    details: A backup without a name is a new one each time.
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Take a set, unless there is one of this day
  nexanest.database.backup_set:
    backup_dir: /srv/project/backups
    unless_newer_than: 20h
    stack: nexanest
    servers:
      - name: postgres
        kind: postgresql
        container: nexanest-postgres
        login_host: 127.0.0.1
        login_port: 5432
        login_user: nexanest_backup
        login_password: "{{ backup_password }}"
        login_db: postgres
        connect_timeout: 10
        databases: [auth, portfolio]
    redis:
      - name: redis
        container: nexanest-redis
        login_user: nexanest_backup
        login_password: "{{ redis_backup_password }}"
    encrypt: true
    recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
    jobs: 2
    retention: {hourly: 0, daily: 7, weekly: 4, monthly: 12, minimum: 3}
    state_dir: /etc/nexanest-database/nexanest/restore
    lock_wait: 0
    collection_version: 0.1.0

- name: Take a set of a given name
  nexanest.database.backup_set:
    backup_dir: /srv/project/backups
    id: "20250531_123456"
    stack: nexanest
    encrypt: false
"""

RETURN = r"""
set:
  description: The set that was made, or that is there; in check mode what is known of it.
  returned: success
  type: dict
  sample:
    id: "20250531_123456"
    path: /srv/project/backups/20250531_123456
    bytes: 73400320
    databases: 6
    rows: 1204411
objects:
  description: What was made and removed, in check mode what would be.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Always V(backup set).
      type: str
      sample: backup set
    name:
      description: Its id; in check mode V(new) for one that nobody named.
      type: str
      sample: "20250531_123456"
    action:
      description: V(create) or V(delete).
      type: str
      sample: create
notices:
  description: Databases that may hold data and are in no set, that no restore can bring back, or that need tablespaces, with the reason.
  returned: always
  type: list
  elements: str
  sample: []
problems:
  description: Why no set was made.
  returned: on failure
  type: list
  elements: str
  sample: ["postgres/portfolio: pg_dump failed: the connection was closed"]
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _backup_plan as plans
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import ID, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_prune import PruneError, doomed, judge, prune
from ansible_collections.nexanest.database.plugins.module_utils._backup_retention import OPTION
from ansible_collections.nexanest.database.plugins.module_utils._backup_run import Failed, Refused, look, make
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Entry, Store, StoreError, now
from ansible_collections.nexanest.database.plugins.module_utils._backup_verify import verify
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import Journal, JournalError
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals

NEW = "new"
LOGIN: dict[str, Any] = {"login_user": {"type": "str", "required": True}, "login_password": {"type": "str", "required": True, "no_log": True}}
NAMED: dict[str, Any] = {"name": {"type": "str", "required": True}, "container": {"type": "str", "required": True}}
SERVER: dict[str, Any] = {
    **NAMED,
    **LOGIN,
    "kind": {"type": "str", "choices": ["postgresql", "timescaledb"], "required": True},
    "login_host": {"type": "str", "default": "127.0.0.1"},
    "login_port": {"type": "int", "default": 5432},
    "login_db": {"type": "str", "default": "postgres"},
    "connect_timeout": {"type": "int", "default": 10},
    "databases": {"type": "list", "elements": "str", "default": []},
}
ARGUMENTS: dict[str, Any] = {
    "backup_dir": {"type": "path", "required": True},
    "id": {"type": "str"},
    "unless_newer_than": {"type": "str"},
    "stack": {"type": "str", "required": True},
    "servers": {"type": "list", "elements": "dict", "default": [], "options": SERVER},
    "redis": {"type": "list", "elements": "dict", "default": [], "options": {**NAMED, **LOGIN}},
    "encrypt": {"type": "bool", "default": True},
    "recipients": {"type": "list", "elements": "str", "default": []},
    "jobs": {"type": "int", "default": 2},
    "retention": OPTION,
    "state_dir": {"type": "path"},
    "lock_wait": {"type": "int", "default": 0},
    "collection_version": {"type": "str", "default": "unknown"},
    "progress_file": {"type": "str", "default": ""},
}


def present(params: Mapping[str, Any], entries: Sequence[Entry]) -> Manifest | None:
    """The set that makes a new one needless. Refused where the asked one is there and damaged."""
    if params["id"] is not None:
        return _asked(params["id"], params["stack"], entries)
    if params["unless_newer_than"] is None:
        return None
    limit = plans.age_limit(params["unless_newer_than"])
    return plans.new_enough([entry.manifest for entry in entries if entry.manifest and entry.manifest.stack == params["stack"]], now(), limit)


def _asked(name: str, stack: str, entries: Sequence[Entry]) -> Manifest | None:
    if not ID.fullmatch(name):
        raise Refused([f"id is '{name}': a set is called like 20250531_123456"])
    entry = next((entry for entry in entries if entry.id == name), None)
    if entry is None:
        return None
    problems = verify(entry, ()).problems
    if problems:
        raise Refused([f"the set {name} is there and damaged: {'; '.join(problems)}. Ask for another id, or remove it"])
    if entry.manifest is not None and entry.manifest.stack != stack:
        raise Refused([f"the set {name} is there and is one of the stack {entry.manifest.stack}: ask for another id"])
    return entry.manifest


def run(params: Mapping[str, Any], store: Store, *, check_mode: bool) -> dict[str, Any]:
    """Look, and make the set where one is needed."""
    problems = judge(params["retention"])
    if problems:
        raise Refused(problems)
    found = present(params, store.entries())
    if found is not None:
        return _result(found.id, [], store, _described(found))
    if check_mode:
        return _planned(params, store)
    store.prepare()
    with store.locked(f"a backup of {params['stack']}", wait=params["lock_wait"]):
        found = present(params, store.entries())  # another run may have made it meanwhile
        if found is not None:
            return _result(found.id, [], store, _described(found))
        refuse_half_restored(params)
        survey = look(params, store, _last(store, params["stack"]))
        made = make(params, store, survey, params["id"] or _free_id(store))
        removed = prune(store, params["retention"], params["stack"])
    notices = [*survey.warnings, *plans.unrestorable(made), *plans.moved(made)]
    return _result(made.id, _changes(made.id, _described(made), removed), store, _described(made), notices)


def refuse_half_restored(params: Mapping[str, Any]) -> None:
    """While a restore is open, some databases are new and some old. The caller holds the lock of the folder, so that none is at work."""
    entry = Journal(Path(params["state_dir"])).open() if params["state_dir"] else None
    if entry is not None:
        what = f"the restore {entry.restore} of the set {entry.set} is half done, so that a set would be half old and half new"
        raise Refused([f"{what}: finish it (make db-restore SET={entry.set}) or undo it (make db-restore STATE=undone), then run this again"])


def _planned(params: Mapping[str, Any], store: Store) -> dict[str, Any]:
    refuse_half_restored(params)
    survey = look(params, store, _last(store, params["stack"]))
    name = params["id"] or NEW
    described = {"databases": len(survey.sizes), "about_bytes": sum(survey.expected.values())}
    return _result(name, _changes(name, described, doomed(store, params["retention"], params["stack"], coming=now())), store, described, survey.warnings)


def _last(store: Store, stack: str) -> Manifest | None:
    return next((entry.manifest for entry in reversed(store.entries()) if entry.manifest and entry.manifest.stack == stack), None)


def _free_id(store: Store) -> str:
    """Named after this moment, or after one of the next where another set was begun in the same second."""
    for _attempt in range(30):
        name = plans.new_id(now())
        if not (store.folder / name).exists():
            return name
        time.sleep(0.1)
    raise Refused([f"there is a set {name} already, and others of the seconds before: was the clock set back? Run this again later"])


def _described(manifest: Manifest) -> dict[str, Any]:
    databases = [database for server in manifest.servers.values() for database in server.databases]
    return {"databases": len(databases), "rows": sum(database.rows for database in databases), "redis": len(manifest.redis), "bytes": manifest.bytes}


def _changes(name: str, described: Mapping[str, Any], removed: Mapping[str, str]) -> list[Change]:
    gone = [Change("backup set", old, {"removed": reason}, None) for old, reason in removed.items()]
    return [Change("backup set", name, None, described), *gone]


def _result(name: str, changes: Sequence[Change], store: Store, described: Mapping[str, Any], notices: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "changed": bool(changes),
        "diff": diff(changes),
        "objects": objects(changes),
        "set": {"id": name, "path": str(store.folder / name), **described},
        "notices": list(notices),
        "invocation": {"module_args": {}},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, mutually_exclusive=[("id", "unless_newer_than")])
    nothing: dict[str, Any] = {"objects": [], "diff": diff([]), "notices": []}
    try:
        with ended_by_signals():
            result = run(module.params, Store(Path(module.params["backup_dir"])), check_mode=module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal), problems=refusal.problems, **nothing)
    except Failed as failure:
        module.fail_json(msg=str(failure), problems=failure.failures, **nothing)
    except PruneError as error:
        module.fail_json(msg=f"the new set is there and whole, but {error}", problems=[str(error)], **nothing)
    except (StoreError, BulkError, JournalError, plans.PlanError) as error:
        module.fail_json(msg=f"no backup was made: {error}", problems=[str(error)], **nothing)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
