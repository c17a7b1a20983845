#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converge the repository of a server's continuous backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wal_archive
short_description: Converge the pgBackRest repository of a PostgreSQL server that archives its write-ahead log
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - Makes pgBackRest's stanza, proves that a segment of the write-ahead log arrives in the repository, and takes a first full backup, without which the
    archived log is worth nothing.
  - A repository that holds another cluster's backups (the volume was lost, or the stack destroyed and made anew) is kept under that cluster's system
    identifier, and an empty one is begun. Nothing of it is removed.
  - Switched off (O(state=absent)), the companion is stopped, its replication slot is dropped, and what there is stays. Switched on again, the archive lacks
    what was written meanwhile, and a full backup is taken for what comes.
  - pgBackRest runs in a throw-away container of the server's image, which has no network, reads the data folder and asks the server through a socket.
extends_documentation_fragment:
  - nexanest.database.attributes
  - nexanest.database.wal_archive
  - nexanest.database.login
options:
  state:
    description: V(absent) ends the continuous backup of a server that archives no more, and removes nothing of it.
    type: str
    choices: [present, absent]
    default: present
  companion:
    description: Container that receives the write-ahead log. It is stopped before the archive of another cluster is set aside, and where the archive ends.
    type: str
    default: ""
  receivers:
    description:
      - Replication slots of receivers on other hosts, each C(receiver_…). Slots that begin so and are not among them are dropped,
        as the server would keep log for them. Without the option nothing is looked at.
    type: list
    elements: str
  lock_wait:
    description: Seconds to wait for another run that works in O(archive_dir).
    type: int
    default: 60
  assume_empty:
    description: There is no server yet. In check mode plan from the desired state alone, without a connection.
    type: bool
    default: false
  progress_file:
    description: File on the managed host that gets a line per step while the work runs.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Archive the write-ahead log of TimescaleDB
  nexanest.database.wal_archive:
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    companion: nexanest-timescaledb-receiver
    receivers: [receiver_archive_example_com]
    login_host: 127.0.0.1
    login_port: 5433
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    login_db: postgres
    connect_timeout: 10
    lock_wait: 60
    progress_file: ""

- name: End it after the server's archive_mode was switched off
  nexanest.database.wal_archive:
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    companion: nexanest-timescaledb-receiver
    login_port: 5433
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    state: absent

- name: Show what a server that does not exist yet would get
  nexanest.database.wal_archive:
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    assume_empty: true
  check_mode: true
"""

RETURN = r"""
system_id:
  description: System identifier of the cluster that runs; empty where there is none yet.
  returned: success
  type: str
  sample: "7713188848805994522"
set_aside:
  description: System identifier of the cluster whose archive was set aside; empty where none was.
  returned: success
  type: str
  sample: ""
objects:
  description: The changes as a list of objects.
  returned: success
  type: list
  elements: dict
  sample:
    - {kind: stanza, name: timescaledb, action: create}
"""

import contextlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _archive_pause as pauses
from ansible_collections.nexanest.database.plugins.module_utils import _archive_receivers as receivers
from ansible_collections.nexanest.database.plugins.module_utils import _archive_state as states
from ansible_collections.nexanest.database.plugins.module_utils import _base_backup as base
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store, StoreError
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Info, Repository, RepositoryError, remove_left_behind, shares
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ARGUMENTS as CLUSTER_ARGUMENTS
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError, Cluster, cluster_of

ARGUMENTS: dict[str, Any] = {
    **CLUSTER_ARGUMENTS,
    **LOGIN_ARGUMENTS,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "companion": {"type": "str", "default": ""},
    "receivers": {"type": "list", "elements": "str"},
    "lock_wait": {"type": "int", "default": 60},
    "assume_empty": {"type": "bool", "default": False},
    "progress_file": {"type": "path", "default": ""},
}
ERRORS = (ArchiveError, RepositoryError, StoreError, BulkError, ServerUnreachable, OSError)
STANZA = "stanza"
BACKUP = "base backup"


def plan(name: str, state: states.State | None, *, paused: bool = False) -> list[Change]:
    """What is missing. state: None for a server that is not there yet; paused: whether the archive was off meanwhile."""
    changes: list[Change] = []
    if state is not None and state.foreign:
        after = {"kept as": state.info.system_id, "base backups": len(state.info.backups)}
        changes.append(Change("archive", f"{name} of the cluster {state.info.system_id}", {"kept as": "current"}, after))
    if state is None or state.foreign or not state.info.system_id:
        changes.append(Change(STANZA, name, None, {"repository": "of the cluster that runs"}))
    if state is None or state.foreign or not state.info.backups:
        changes.append(Change(BACKUP, f"{name}, the first", None, {"type": "full"}))
    elif paused:
        changes.append(Change(BACKUP, f"{name}, the first after the archive was off", None, {"type": "full"}))
    return changes


def apply(cluster: Cluster, state: states.State, params: dict[str, Any]) -> None:
    """Set aside, make, prove, back up; each step may have been done by a run that was cut off."""
    progress = Progress(params["progress_file"])
    repository = Repository(cluster)
    kinds = {change.kind for change in plan(cluster.name, state, paused=pauses.note(cluster.home).exists())}
    base.refuse_full(cluster, "full", Info())
    if state.foreign:
        states.set_aside(cluster, state.info.system_id, params["companion"])
    if STANZA in kinds:
        repository.create()
    if BACKUP in kinds:
        progress.begin(cluster.name, "waiting for the first segment of the write-ahead log in the archive")
        repository.check()
        progress.begin(cluster.name, "taking the first full backup")
        base.take(cluster, "full", states.read(cluster, params).info, params, shares(progress, cluster.name))
        progress.end(cluster.name, "the first full backup is there")
    after = states.read(cluster, params)
    if after.info.newest is not None:
        pauses.resumed(cluster, after.info.newest.label)
    left = plan(cluster.name, after)
    if left:
        raise ArchiveError(f"after the work {left[0].title} is still missing: run this again, and see the log of {cluster.container}")


def run(params: dict[str, Any], *, check: bool) -> tuple[list[Change], states.State | None]:
    if params["assume_empty"]:
        return ([] if params["state"] == "absent" else plan(params["name"], None)), None
    cluster = cluster_of(params)
    if params["state"] == "absent":
        return end(cluster, params, check=check), None
    if check and not _archives(cluster, params):
        known = cluster.repository.is_dir() and (cluster.config / "pgbackrest" / "pgbackrest.conf").is_file()
        resting = states.read(cluster, params, resting=True) if known else None
        return plan(cluster.name, resting, paused=pauses.note(cluster.home).exists()), None
    with Store(Path(params["archive_dir"])).locked(f"wal_archive of {cluster.name}", wait=params["lock_wait"]):
        remove_left_behind(cluster)
        state = states.read(cluster, params)
        changes = plan(cluster.name, state, paused=pauses.note(cluster.home).exists())
        if changes and not check:
            apply(cluster, state, params)
    slots = receivers.left(params, params["receivers"]) if params["receivers"] is not None else []
    if slots and not check:
        receivers.drop(params, params["receivers"])
    return [*changes, *receivers.changes(slots)], state


def end(cluster: Cluster, params: dict[str, Any], *, check: bool) -> list[Change]:
    """In check mode what switches the server's archiver off was only planned."""
    found = pauses.read(cluster, params)
    if found.archiving and not check:
        raise ArchiveError(f"the server {cluster.container} still archives: switch its archive_mode off first (run the role that makes it)")
    changes, slots = pauses.plan(cluster.name, found), receivers.left(params, [])
    if (changes or slots) and not check:
        with _alone(cluster, params):
            pauses.pause(cluster, params["companion"], params)
            receivers.drop(params, [])
    return [*changes, *receivers.changes(slots)]


def _alone(cluster: Cluster, params: dict[str, Any]) -> contextlib.AbstractContextManager[None]:
    """The folder's lock, where there is a folder."""
    if not cluster.folder.is_dir():
        return contextlib.nullcontext()
    return Store(cluster.folder).locked(f"wal_archive of {cluster.name}", wait=params["lock_wait"])


def _archives(cluster: Cluster, params: dict[str, Any]) -> bool:
    """Whether the server archives by now; in check mode what switches that on was only planned."""
    if not cluster.folder.is_dir():
        return False
    with contextlib.closing(connect(params)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.current_setting('archive_mode') <> 'off'")
        return bool((cursor.fetchone() or (False,))[0])


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if module.params["assume_empty"] and not module.check_mode:
        module.fail_json(msg="assume_empty is for check mode alone")
    try:
        with ended_by_signals():
            changes, state = run(module.params, check=module.check_mode)
    except (*ERRORS, STATEMENT_ERROR) as error:
        module.fail_json(msg=f"the continuous backup of {module.params['name']} is not in order: {' '.join(str(error).split())}")
    aside = state.info.system_id if state is not None and state.foreign else ""
    system_id = state.system_id if state is not None else ""
    module.exit_json(changed=bool(changes), diff=diff(changes), objects=objects(changes), system_id=system_id, set_aside=aside)


if __name__ == "__main__":
    main()
