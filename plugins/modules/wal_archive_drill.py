#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove the continuous backup of a server: recover any moment of it elsewhere."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wal_archive_drill
short_description: Recover a random moment of a continuous backup into a throw-away server, and check it
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - A random moment between the oldest base backup and now is recovered into a server of the same image, without a network. Its tables and indexes are checked
    with C(pg_amcheck), each row being looked up in its indexes. It is measured, noted in the history of drills, and removed, whatever happens.
  - It is refused before anything is begun where the disk has no room for a second copy, or the machine no memory for a second server.
  - The live server goes on. It writes one empty transaction, because a recovery to a time ends at a later commit alone.
  - A drill that fails fails the module, and the next C(make db-status) is red.
  - With O(bucket) it is the copy there of the archive of the cluster that runs, made by M(nexanest.database.wal_archive_copy). It is fetched aside, every byte
    compared with its lists, and recovered to its newest moment, which is what the loss of the host would need. It has folders, a container and a lock of its
    own, so that base backups and recoveries go on meanwhile. The history has a mark that it was off-site.
  - Room for the copy, and a tenth more for what the live server archives meanwhile, is looked for before it is fetched. The copy's marker alone, a few
    kilobytes, is read before that, also in check mode, into a folder that goes at once. A fetch that takes the live server's room is refused on its way, and
    room and memory are looked at again after it.
  - A drill of this machine's archive also removes what a drill out of a bucket has left that was killed.
extends_documentation_fragment:
  - nexanest.database.wal_archive
  - nexanest.database.offsite.optional
  - nexanest.database.offsite
  - nexanest.database.login
attributes:
  check_mode:
    description: Says what would be drilled, or refuses.
    support: full
  diff_mode:
    description: The moment and the base backup that would be taken now.
    support: full
  idempotent:
    description: With O(unless_newer_than) a drill that passed lately is enough; without it every run is one.
    support: full
options:
  stack:
    description: Name of the stack, for the history.
    type: str
    required: true
  history_dir:
    description: Folder of the backup sets, which has the history of drills.
    type: path
    required: true
  label:
    description: Label of the throw-away server, C(key=value), by which C(db-destroy) finds it.
    type: str
    required: true
  recovery_target_time:
    description: The moment to recover, with its time zone, such as that of a drill that failed. Without it a random one, with O(bucket) the newest one.
    type: str
    default: ""
  unless_newer_than:
    description: Drill nothing where the last drill passed and is younger, such as V(20h).
    type: str
    default: ""
  timeout:
    description: Seconds that the recovery, and the checks, may take.
    type: int
    default: 7200
  lock_wait:
    description: Seconds to wait for another run that works in O(archive_dir), with O(bucket) for another drill of such a copy.
    type: int
    default: 60
  progress_file:
    description: File on the managed host that gets a line per step while the work runs.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Prove the continuous backup
  nexanest.database.wal_archive_drill:
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    stack: nexanest
    history_dir: /srv/nexanest/backups
    label: nexanest.database.stack=nexanest
    login_host: 127.0.0.1
    login_port: 5433
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    login_db: postgres
    connect_timeout: 10
    recovery_target_time: ""
    unless_newer_than: 20h
    timeout: 7200
    lock_wait: 60
    progress_file: ""

- name: Prove its copy in the bucket
  nexanest.database.wal_archive_drill:
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    stack: nexanest
    history_dir: /srv/nexanest/backups
    label: nexanest.database.stack=nexanest
    login_port: 5433
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    endpoint_url: https://s3.example.org
    region: eu-central-1
    bucket: nexanest-backups
    prefix: production
    access_key: "{{ backup_offsite_access_key }}"
    secret_key: "{{ backup_offsite_secret_key }}"
    ca_bundle: /etc/ssl/certs/ca-certificates.crt
    addressing: auto
    checksums: true
"""

RETURN = r"""
target:
  description: The moment; in check mode one that could be. Empty where a random one is not drilled because of O(unless_newer_than).
  returned: always
  type: str
  sample: time 2025-05-31 03:12:40.123456+00
backup:
  description: Label of the base backup that the recovery began with.
  returned: always
  type: str
  sample: 20250531-020000F
reached:
  description: Time of the last transaction that was there.
  returned: always
  type: str
  sample: "2025-05-31 03:12:39.9+00"
offsite:
  description: The bucket that the archive is fetched out of; empty for the one of O(archive_dir).
  returned: always
  type: str
  sample: ""
fetched:
  description: Bytes that are fetched.
  returned: always
  type: int
  sample: 0
needs:
  description: Bytes of disk and MB of memory that the drill needs, with what is fetched.
  returned: always
  type: dict
  sample: {disk: 1734003200, memory_mb: 1024}
databases:
  description: Databases that were checked.
  returned: always
  type: list
  elements: str
  sample: [postgres, template1, timescale]
checks:
  description: Tables and indexes that were checked.
  returned: always
  type: int
  sample: 512
rto:
  description: Seconds from the start until all of it was proven; null where it was not.
  returned: always
  type: float
  sample: 21.4
rpo:
  description:
    - Seconds between the newest moment that would have survived the loss of the server, with O(bucket) the loss of the host, and the start, rounded up; null
      where nobody knows.
  returned: always
  type: int
  sample: 1
last:
  description: When the drill was that made this one needless; null without one.
  returned: always
  type: dict
  sample: {at: "2025-05-24T05:45:00+00:00"}
problems:
  description: Why it failed, or was refused.
  returned: always
  type: list
  elements: str
  sample: []
"""

import contextlib
import dataclasses
import secrets
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._archive_drill import EXPECTED, ArchiveDrill, Report
from ansible_collections.nexanest.database.plugins.module_utils._archive_drill_bucket import drill_of, sweep
from ansible_collections.nexanest.database.plugins.module_utils._backup_plan import PlanError, age_limit
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import DRILL_LOCK, Busy, Store, StoreError
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, OF_ARCHIVES, PASSED, History, Record
from ansible_collections.nexanest.database.plugins.module_utils._offsite_options import OPTIONAL
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import remove_left_behind
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, megabytes
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import target_of
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ARGUMENTS as CLUSTER_ARGUMENTS
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import Cluster, cluster_of

ARGUMENTS: dict[str, Any] = {
    **CLUSTER_ARGUMENTS,
    **LOGIN_ARGUMENTS,
    **OPTIONAL,
    "stack": {"type": "str", "required": True},
    "history_dir": {"type": "path", "required": True},
    "label": {"type": "str", "required": True},
    "recovery_target_time": {"type": "str", "default": ""},
    "unless_newer_than": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 7200},
    "lock_wait": {"type": "int", "default": 60},
    "progress_file": {"type": "path", "default": ""},
}
# What must be free for the history.
NOTE_BYTES = 1 << 20
ERRORS = (*EXPECTED, StoreError, BulkError, PlanError, ServerUnreachable, OSError)


def lately(params: dict[str, Any], limit: timedelta | None, where: str) -> Record | None:
    """The last drill of this archive, where it passed and is young enough. where: the bucket, or ""."""
    mine = History(Path(params["history_dir"])).of(params["stack"], f"{OF_ARCHIVES} {params['name']}", where)
    if limit is None or not mine or mine[-1].result != PASSED:
        return None
    return mine[-1] if timedelta(0) <= mine[-1].age(datetime.now(tz=UTC)) < limit else None


def run(params: dict[str, Any], report: Report, *, check: bool) -> bool:
    """Whether there is a drill, or would be one."""
    limit = age_limit(params["unless_newer_than"]) if params["unless_newer_than"] else None
    if not Path(params["history_dir"]).is_dir():
        raise StoreError(f"there is no folder {params['history_dir']}: make db-start makes it")
    if shutil.disk_usage(params["history_dir"]).free < NOTE_BYTES:
        raise StoreError(f"the disk of {params['history_dir']} is full, so nothing could be noted of a drill: make room there")
    report.offsite = Place.of(params).text if params["bucket"] else ""
    last = lately(params, limit, report.offsite)
    if last is not None:
        report.target = str(target_of(params)) if report.offsite else ""
        report.record = last
        return False
    cluster = cluster_of(params)
    work = of_bucket if params["bucket"] else of_folder
    work(cluster, params, report, check=check)
    return True


def of_folder(cluster: Cluster, params: dict[str, Any], report: Report, *, check: bool) -> None:
    """The archive of this machine."""
    progress = Progress(params["progress_file"])
    drill = ArchiveDrill(cluster, params, lambda words: progress.begin(cluster.name, words))
    if check:
        drill.foresee(report)
        return
    with Store(cluster.folder).locked(f"drill of {cluster.name}", wait=params["lock_wait"]):
        remove_left_behind(cluster)
        sweep_killed(cluster, params, progress)
        drill.run(report)


def sweep_killed(cluster: Cluster, params: dict[str, Any], progress: Progress) -> None:
    """A drill out of the bucket that was killed has left data beside the live ones, and the next one is a month away. One that works goes on."""
    with contextlib.suppress(Busy), Store(cluster.folder).locked(f"off-site drill of {cluster.name}", wait=0, lock=DRILL_LOCK):
        sweep(cluster, params, progress)


def of_bucket(cluster: Cluster, params: dict[str, Any], report: Report, *, check: bool) -> None:
    """Its copy."""
    progress = Progress(params["progress_file"])
    drill = drill_of(cluster, params, lambda words: progress.begin(cluster.name, words), progress, secrets.token_hex(4))
    with Store(cluster.folder).locked(f"off-site drill of {cluster.name}", wait=params["lock_wait"], lock=DRILL_LOCK, make=not check):
        if check:
            drill.foresee(report)
            return
        remove_left_behind(drill.cluster)
        drill.run(report)


def change(name: str, report: Report) -> Change:
    """The drill, as a diff shows it."""
    fetched = {"fetched": f"{megabytes(report.fetch)} MB out of {report.offsite}"} if report.offsite else {}
    moment = "the newest one" if report.offsite else "a random one"
    return Change("drill of the archive", name, None, {**fetched, "moment": moment, "base backup": report.backup})


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    report = Report()
    try:
        with ended_by_signals():
            changed = run(module.params, report, check=module.check_mode)
    except (*ERRORS, STATEMENT_ERROR) as error:
        module.fail_json(msg=f"no drill of {module.params['name']}: {' '.join(str(error).split())}")
    record = report.record
    found = {
        "changed": changed,
        "diff": diff([change(module.params["name"], report)] if changed else []),
        "target": report.target,
        "backup": report.backup,
        "reached": report.reached,
        "offsite": report.offsite,
        "fetched": report.fetch,
        "needs": dataclasses.asdict(report.needs),
        "databases": report.databases,
        "checks": record.checks if record else 0,
        "rto": record.rto if record else None,
        "rpo": record.rpo if record else None,
        "last": {"at": record.at} if record and not changed else None,
        "problems": report.problems,
    }
    if report.problems:
        word = "FAILED" if record and record.result == FAILED else "was refused" if record else "would not pass"
        what = f"the drill of the archive of {module.params['name']}{f' in {report.offsite}' if report.offsite else ''}"
        module.fail_json(msg=f"{what} {word}: {'; '.join(report.problems)}", **found)
    module.exit_json(**found)


if __name__ == "__main__":
    main()
