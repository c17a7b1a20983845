#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recover a server to a moment, look at it beside the live one, put it into use, take that back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pitr
short_description: Recover a PostgreSQL server from its continuous backup to any moment
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - With O(state=recovered) a base backup and the write-ahead log after it become a side instance, a server on another port that stands at the target. It can be
    read, and single tables can be taken out of it. It archives nothing, runs no jobs, and has no way to its neighbours. The live server goes on.
  - O(state=promoted) ends the recovery, shuts the side instance down, and only then stops the live server. Their data folders change names at once, so that at
    no instant there is none. What was replaced is kept.
  - O(state=undone) puts back what was replaced. O(state=cleaned) removes the side instance and what was kept.
  - The log comes out of the repository, else as the companion received it, whole or in part. A damaged segment ends the recovery with an error.
  - A run that was cut off is repeated. A recovery begins anew, and an exchange is finished.
extends_documentation_fragment:
  - nexanest.database.wal_archive
  - nexanest.database.login
attributes:
  check_mode:
    description: Says from which backup the recovery would begin and what it needs, or refuses.
    support: full
  diff_mode:
    description: The phase, the target and the backup.
    support: full
  idempotent:
    description:
      - A side instance that stands at the target already is left alone, except for the latest moment, which is another one each time.
      - What an earlier recovery replaced is not removed by repeating O(state=cleaned).
    support: full
options:
  state:
    description: What shall be.
    type: str
    choices: [recovered, promoted, undone, cleaned]
    default: recovered
  recovery_target_time:
    description: The moment, with its time zone, such as V(2025-05-31 12:34:56+00). What was committed later is not there.
    type: str
    default: ""
  recovery_target_lsn:
    description: A position in the write-ahead log.
    type: str
    default: ""
  recovery_target_xid:
    description: A transaction, which is the last one that is there.
    type: str
    default: ""
  recovery_target_name:
    description: A restore point that M(nexanest.database.postgres_restore_point) made.
    type: str
    default: ""
  recovery_target_timeline:
    description: The timeline to follow, where it is not the live data's own.
    type: str
    default: ""
  backup:
    description: Label of the base backup to begin with. The newest that ended before the target without it.
    type: str
    default: ""
  port:
    description: Loopback port of the side instance.
    type: int
    default: 5443
  network:
    description: Docker network that the side instance is published from.
    type: str
    required: true
  label:
    description: Label of the side instance, C(key=value), by which C(db-destroy) finds it.
    type: str
    required: true
  cluster:
    description:
      - System identifier of a cluster that ran here before, whose archive is kept aside, to recover that one.
      - The cluster that runs without it.
    type: str
    default: ""
  received:
    description:
      - In check mode, received log by name that M(nexanest.database.wal_received) is going to put into the archive of O(cluster), each with the time at which
        it was last written, in seconds since the epoch. It is planned with.
    type: dict
    default: {}
  companion:
    description: Container that receives the write-ahead log.
    type: str
    default: ""
  recovery:
    description:
      - With O(state=cleaned), the recovery whose replaced data are to be removed, as it says itself.
      - It is asked for where a later recovery was cleaned up before, so that the same command once more takes nothing that can still be put back.
    type: str
    default: ""
  timeout:
    description: Seconds that the recovery may take.
    type: int
    default: 7200
  lock_wait:
    description: Seconds to wait for another run that works in O(archive_dir).
    type: int
    default: 10
  progress_file:
    description: File on the managed host that gets a line per step while the work runs.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Look at the latest moment
  nexanest.database.pitr: &server
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    companion: nexanest-timescaledb-receiver
    network: nexanest-edge
    label: nexanest.database.stack=nexanest
    cluster: ""
    login_host: 127.0.0.1
    login_port: 5433
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    login_db: postgres
    connect_timeout: 10
    port: 5443
    timeout: 7200
    lock_wait: 10
    progress_file: ""
    recovery_target_timeline: ""
    backup: ""
    received: {}

- name: Look at the moment before a mistake
  nexanest.database.pitr:
    <<: *server
    state: recovered
    recovery_target_time: "2025-05-31 12:34:55+00"

- name: Put it into use
  nexanest.database.pitr:
    <<: *server
    state: promoted

- name: Recover to other targets
  nexanest.database.pitr:
    <<: *server
    recovery_target_lsn: "{{ lsn | default('') }}"
    recovery_target_xid: "{{ xid | default('') }}"
    recovery_target_name: "{{ restore_point | default('') }}"
"""

RETURN = r"""
phase:
  description: Where the recovery stands, V(recovering), V(ready), V(promoting), V(promoted), V(undoing), V(undone), or empty for none.
  returned: success
  type: str
  sample: ready
target:
  description: The target in words.
  returned: success
  type: str
  sample: time 2025-05-31 12:34:55.000000+00
reached:
  description: Time of the last transaction that is there; empty where the log has none.
  returned: success
  type: str
  sample: "2025-05-31 12:34:54.912+00"
container:
  description: The side instance.
  returned: success
  type: str
  sample: nexanest-timescaledb-pitr
plan:
  description: The backup, the sizes in bytes, and what can be reached, of a recovery that was or would be made.
  returned: success
  type: dict
  sample:
    backup: 20250531-020000F
    backup_bytes: 31024472
    log_bytes: 33554432
    free_bytes: 81604378624
    oldest: "2025-05-24T02:00:05+00:00"
    newest: "2025-05-31T12:40:00+00:00"
    timeline: "1"
removed:
  description: Data folders that were removed, or would be.
  returned: success
  type: list
  elements: str
  sample: [pgdata.pitr-1f2e3d4c]
steps:
  description: What somebody should know.
  returned: success
  type: list
  elements: str
  sample: []
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store, StoreError
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import RepositoryError, remove_left_behind
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._recovery_journal import JournalError
from ansible_collections.nexanest.database.plugins.module_utils._recovery_run import Recovery, Report, described
from ansible_collections.nexanest.database.plugins.module_utils._recovery_side import SideFailed
from ansible_collections.nexanest.database.plugins.module_utils._recovery_takeover import Takeover
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import TargetError, target_of
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ARGUMENTS as CLUSTER_ARGUMENTS
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import CURRENT, ArchiveError, Cluster, cluster_of

ARGUMENTS: dict[str, Any] = {
    **CLUSTER_ARGUMENTS,
    **LOGIN_ARGUMENTS,
    "state": {"type": "str", "choices": ["recovered", "promoted", "undone", "cleaned"], "default": "recovered"},
    "recovery_target_time": {"type": "str", "default": ""},
    "recovery_target_lsn": {"type": "str", "default": ""},
    "recovery_target_xid": {"type": "str", "default": ""},
    "recovery_target_name": {"type": "str", "default": ""},
    "recovery_target_timeline": {"type": "str", "default": ""},
    "backup": {"type": "str", "default": ""},
    "received": {"type": "dict", "default": {}},
    "port": {"type": "int", "default": 5443},
    "network": {"type": "str", "required": True},
    "label": {"type": "str", "required": True},
    "cluster": {"type": "str", "default": ""},
    "companion": {"type": "str", "default": ""},
    "recovery": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 7200},
    "lock_wait": {"type": "int", "default": 10},
    "progress_file": {"type": "path", "default": ""},
}
ERRORS = (TargetError, ArchiveError, RepositoryError, SideFailed, JournalError, StoreError, BulkError, ServerUnreachable, OSError)


def work(recovery: Recovery, params: dict[str, Any], report: Report, *, check: bool) -> None:
    """What state asks for."""
    if params["state"] == "recovered":
        recovery.recover(target_of(params), report, check=check)
    elif params["state"] == "promoted":
        Takeover(recovery).promote(report, check=check)
    elif params["state"] == "undone":
        Takeover(recovery).undo(report, check=check)
    else:
        recovery.clean(report, check=check)


def run(params: dict[str, Any], report: Report, *, check: bool) -> None:
    cluster = cluster_of(params, params["cluster"] or CURRENT)
    # A run that was cut off while the archives changed their names left none that is current: what finishes it needs none.
    if params["state"] == "recovered":
        _refuse_unknown(cluster)
    progress = Progress(params["progress_file"])
    recovery = Recovery(cluster, params, lambda words: progress.begin(cluster.name, words))
    with Store(Path(params["archive_dir"])).locked(f"pitr of {cluster.name}", wait=params["lock_wait"]):
        remove_left_behind(cluster)
        work(recovery, params, report, check=check)


def _refuse_unknown(cluster: Cluster) -> None:
    if not cluster.home.is_dir():
        known = ", ".join(cluster.others) or "none"
        raise ArchiveError(f"{cluster.folder} has no archive of a cluster {cluster.which}; kept aside are: {known}")


def result(report: Report, params: dict[str, Any]) -> dict[str, Any]:
    entry = report.entry
    target = entry.target if entry else str(target_of(params)) if params["state"] == "recovered" else ""
    after = {"state": params["state"], "target": target, "backup": report.plan.backup.label if report.plan else entry.backup if entry else ""}
    changes = [Change("recovery", params["name"], {"state": "another"}, after)] if report.changed else []
    changes += [Change("data folder", name, {"kept": "yes"}, None) for name in report.kept]
    return {
        "changed": report.changed,
        "diff": diff(changes),
        "phase": entry.phase if entry else "",
        "target": target,
        "reached": entry.reached if entry else "",
        "container": f"{params['container']}-pitr",
        "plan": described(report.plan) if report.plan else {},
        "removed": report.kept,
        "steps": report.steps,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    report = Report()
    try:
        with ended_by_signals():
            run(module.params, report, check=module.check_mode)
    except (*ERRORS, STATEMENT_ERROR) as error:
        module.fail_json(msg=f"{module.params['state']} did not come about: {' '.join(str(error).split())}")
    module.exit_json(**result(report, module.params))


if __name__ == "__main__":
    main()
