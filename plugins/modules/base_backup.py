#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a base backup of a server into its continuous backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: base_backup
short_description: Take a full, differential or incremental base backup with pgBackRest
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - A recovery begins with a base backup and goes on with the write-ahead log after it. The younger the backup, the shorter the recovery.
  - pgBackRest runs in a throw-away container of the server's image, without a network. It removes backups and log that its retention does not want.
  - It is refused where the disk of the archive is full, or where segments of the write-ahead log do not arrive. What is left of one that failed or was killed
    is removed, and never used.
  - Log that the companion had received of a cluster or timeline that a recovery replaced is removed when no base backup is as old as that.
extends_documentation_fragment:
  - nexanest.database.attributes
  - nexanest.database.wal_archive
  - nexanest.database.login
attributes:
  idempotent:
    description: With O(unless_newer_than) a backup that is young enough is enough; without it every run takes one.
    support: full
options:
  type:
    description:
      - V(full) needs no other backup, V(diff) holds what changed since the last full one, V(incr) what changed since the last one.
      - Where there is no full one yet, a full one is taken.
    type: str
    choices: [full, diff, incr]
    default: incr
  unless_newer_than:
    description: Take none where the newest one of this type, or of one that holds more, is younger, such as V(20h). A number with s, m, h or d.
    type: str
    default: ""
  lock_wait:
    description: Seconds to wait for another run that works in O(archive_dir).
    type: int
    default: 60
  progress_file:
    description: File on the managed host that gets a line per step while the work runs.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: A full base backup each week, and what changed each day
  nexanest.database.base_backup:
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    login_host: 127.0.0.1
    login_port: 5433
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    login_db: postgres
    connect_timeout: 10
    type: "{{ 'full' if weekly | default(false) else 'incr' }}"
    unless_newer_than: 20h
    lock_wait: 60
    progress_file: ""
"""

RETURN = r"""
backup:
  description: The one that was taken, or that makes another needless; in check mode the newest there is, empty where there is none yet.
  returned: success
  type: dict
  sample: {label: 20250531-020000F, type: full, bytes: 31024472, stored: 3757160, stop: 1748657105}
removed:
  description: Backups that the retention removed, and received log that no backup needs.
  returned: success
  type: list
  elements: str
  sample: [20250517-020000F]
"""

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _archive_state as states
from ansible_collections.nexanest.database.plugins.module_utils import _base_backup as base
from ansible_collections.nexanest.database.plugins.module_utils._backup_plan import PlanError, age_limit
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store, StoreError
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import (
    BaseBackup,
    Info,
    RepositoryError,
    remove_left_behind,
    shares,
)
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._recovery_journal import Journal, JournalError
from ansible_collections.nexanest.database.plugins.module_utils._recovery_look import usable
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ARGUMENTS as CLUSTER_ARGUMENTS
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import CURRENT, ArchiveError, Cluster, cluster_of

ARGUMENTS: dict[str, Any] = {
    **CLUSTER_ARGUMENTS,
    **LOGIN_ARGUMENTS,
    "type": {"type": "str", "choices": ["full", "diff", "incr"], "default": "incr"},
    "unless_newer_than": {"type": "str", "default": ""},
    "lock_wait": {"type": "int", "default": 60},
    "progress_file": {"type": "path", "default": ""},
}
ERRORS = (ArchiveError, JournalError, RepositoryError, StoreError, BulkError, PlanError, ServerUnreachable, OSError)
# What holds at least as much as a backup of this type.
ENOUGH = {"full": ("full",), "diff": ("full", "diff"), "incr": ("full", "diff", "incr")}


def young(backups: tuple[BaseBackup, ...], kind: str, limit: str, now: float) -> BaseBackup | None:
    """A backup that makes another one needless. One from the future says that a clock was wrong, not that it is young."""
    if not limit:
        return None
    seconds = age_limit(limit).total_seconds()
    fitting = [backup for backup in backups if backup.type in ENOUGH[kind] and not backup.damaged and 0 <= now - backup.stop < seconds]
    return fitting[-1] if fitting else None


def ready(cluster: Cluster, params: dict[str, Any]) -> states.State:
    """Server and repository, where a backup can be taken at all."""
    state = states.read(cluster, params)
    if state.foreign:
        raise ArchiveError(f"the repository is the one of another cluster ({state.info.system_id}): run site.yml, which keeps it aside and begins a new one")
    if not state.info.system_id:
        raise ArchiveError("there is no repository yet: run site.yml, which makes it")
    return state


def take(cluster: Cluster, params: dict[str, Any], before: Info) -> tuple[Info, list[str]]:
    """Take it, and see it there."""
    progress = Progress(params["progress_file"])
    progress.begin(cluster.name, f"taking a base backup ({params['type']})")
    after = base.take(cluster, params["type"], before, params, shares(progress, cluster.name))
    known = {backup.label for backup in before.backups}
    if after.newest is None or after.newest.label in known or after.newest.damaged:
        raise ArchiveError("pgBackRest reported success, but its repository has no new backup: look at it with pgbackrest info")
    progress.end(cluster.name, f"the base backup {after.newest.label} is there, {after.newest.stored >> 20} MB")
    left = {backup.label for backup in after.backups}
    return after, [*sorted(known - left), *forget(cluster, after)]


def forget(cluster: Cluster, info: Info) -> list[str]:
    """Remove received log that is older than the oldest backup: no recovery can begin before it. An undo takes that of its recovery up again."""
    removed = []
    entry = Journal(cluster.config).read()
    needed = {CURRENT, *([entry.id, str(entry.previous.get("id", ""))] if entry is not None else [])}
    oldest = min((backup.start for backup in info.backups), default=0)
    for folder in sorted(cluster.received.parent.iterdir()):
        newest = max((path.stat().st_mtime for path in folder.iterdir()), default=folder.stat().st_mtime) if folder.is_dir() else oldest
        if folder.is_dir() and folder.name not in needed and newest < oldest:
            shutil.rmtree(folder)
            removed.append(f"received/{folder.name}")
    return removed


def run(params: dict[str, Any], *, check: bool) -> tuple[list[Change], BaseBackup | None, list[str]]:
    cluster = cluster_of(params)
    with Store(Path(params["archive_dir"])).locked(f"base_backup of {cluster.name}", wait=params["lock_wait"]):
        remove_left_behind(cluster)
        state = ready(cluster, params)
        info = state.info
        enough = young(usable(cluster, info.backups, state.segment), params["type"], params["unless_newer_than"], time.time())
        if enough:
            return [], enough, []
        changes = [Change("base backup", cluster.name, None, {"type": params["type"] if info.backups else "full"})]
        if check:
            base.refuse_full(cluster, params["type"], info)
            return changes, info.newest, []
        after, removed = take(cluster, params, info)
    return changes, after.newest, removed


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        with ended_by_signals():
            changes, backup, removed = run(module.params, check=module.check_mode)
    except (*ERRORS, STATEMENT_ERROR) as error:
        module.fail_json(msg=f"no base backup of {module.params['name']} was taken: {' '.join(str(error).split())}")
    module.exit_json(changed=bool(changes), diff=diff(changes), backup=dataclasses.asdict(backup) if backup else {}, removed=removed)


if __name__ == "__main__":
    main()
