#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a copy of a server's continuous backup in a bucket of any S3-compatible service, and bring one back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wal_archive_copy
short_description: Copy the continuous backup of a server into an S3-compatible bucket, and back
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - With O(state=present) the bucket gets what pgBackRest's repository holds, finished base backups and archived write-ahead log, as it is stored, encrypted.
    The passphrase is not in the bucket.
  - Each file is hashed while it is sent. A marker with all sizes and checksums is written last, in one request. What it lists is the copy, so that the bucket
    has the new state or the one before, whenever a run ends, and whatever pgBackRest does meanwhile.
  - An interrupted copy is taken up again. What it sent whole is not sent again.
  - What the repository has dropped is removed from the bucket when the marker is there. Never removed are copies of other clusters, and whatever this module
    did not send.
  - With O(state=fetched) the copy of a cluster that was lost is brought back, aside, every byte compared, and is then an archive that is kept under its
    system identifier, from which M(nexanest.database.pitr) recovers.
  - Four files go at a time, with one part of each in memory; about 120 MB with the default O(part_size), whatever the size of the repository.
extends_documentation_fragment:
  - nexanest.database.wal_archive
  - nexanest.database.offsite
options:
  stack:
    description: Name of the stack. A copy of another one is neither replaced nor fetched.
    type: str
    required: true
  state:
    description: Whether the bucket gets the archive that is in use, or this machine gets one of the bucket's.
    type: str
    choices: [present, fetched]
    default: present
  cluster:
    description: System identifier of the cluster whose archive is fetched.
    type: str
    default: ""
  remove:
    description:
      - Whether the bucket loses what the repository has dropped, and what interrupted copies have left. Without it the key needs no right to delete.
    type: bool
    default: true
  take_over:
    description:
      - Replace a copy of this very cluster that another machine made, or whose marker is damaged. It is refused otherwise, as that machine may still run,
        or may have copied what this one does not have.
    type: bool
    default: false
  part_size:
    description: A file that is larger is sent in parts of so many megabytes (2^20 bytes). AWS takes none below 5.
    type: int
    default: 16
  lock_wait:
    description: Seconds to wait for another run that copies the same archive.
    type: int
    default: 0
  progress_file:
    description: File on the managed host that gets a line per step while the work runs.
    type: path
    default: ""
attributes:
  check_mode:
    description: Says what would be sent, removed or fetched, with the bytes. Bucket and repository are asked; nothing is written.
    support: full
  diff_mode:
    description: Files, bytes, base backups and the newest segment of the copy.
    support: full
  idempotent:
    description: Where the repository holds what was copied, nothing is sent. An archive that was fetched is read again in every byte.
    support: full
"""

EXAMPLES = r"""
- name: Copy what the bucket lacks
  nexanest.database.wal_archive_copy:
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    stack: nexanest
    endpoint_url: https://s3.example.org
    region: eu-central-1
    bucket: nexanest-backups
    prefix: production
    access_key: "{{ backup_offsite_access_key }}"
    secret_key: "{{ backup_offsite_secret_key }}"
    ca_bundle: /etc/ssl/certs/ca-certificates.crt
    addressing: auto
    checksums: true
    remove: true
    take_over: false
    part_size: 16
    lock_wait: 0
    progress_file: ""

- name: Bring the archive of a lost server back
  nexanest.database.wal_archive_copy:
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    stack: nexanest
    state: fetched
    cluster: "7713188848805994522"
    endpoint_url: https://s3.example.org
    bucket: nexanest-backups
    access_key: "{{ backup_offsite_access_key }}"
    secret_key: "{{ backup_offsite_secret_key }}"
"""

RETURN = r"""
objects:
  description: What was changed, in check mode what would be.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: V(copy of an archive) in the bucket, V(remains of a copy) that was interrupted, or V(archive) on this machine.
      type: str
      sample: copy of an archive
    name:
      description: Server and system identifier.
      type: str
      sample: timescaledb/7713188848805994522
    action:
      description: V(create), V(update) or V(delete).
      type: str
      sample: update
sent:
  description: Number of files and bytes that were sent or fetched, in check mode that would be.
  returned: always
  type: dict
  sample: {files: 5, bytes: 1204224}
removed:
  description: Number of files and bytes that were removed from the bucket, in check mode that would be.
  returned: always
  type: dict
  sample: {files: 0, bytes: 0}
system_id:
  description: System identifier of the cluster whose archive was copied or fetched.
  returned: success
  type: str
  sample: "7713188848805994522"
until:
  description: When the newest segment of the write-ahead log that the copy has was archived, UTC.
  returned: success
  type: str
  sample: "2025-05-31T12:34:56+00:00"
where:
  description: The bucket.
  returned: always
  type: str
  sample: s3://nexanest-backups/production at https://s3.example.org
notices:
  description: What is worth knowing although nothing failed.
  returned: always
  type: list
  elements: str
  sample: []
"""

from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _archive_marker as markers
from ansible_collections.nexanest.database.plugins.module_utils._archive_copy import Copier, Moved, Plan, Refused, changes
from ansible_collections.nexanest.database.plugins.module_utils._archive_fetch import Fetcher
from ansible_collections.nexanest.database.plugins.module_utils._archive_marker import MarkerError
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import COPY_LOCK, Store, StoreError
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import HAS_BOTO, MISSING, Bucket, BucketError
from ansible_collections.nexanest.database.plugins.module_utils._offsite_options import CONNECTION, LARGEST_PART
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import RepositoryError
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ARGUMENTS as CLUSTER_ARGUMENTS
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError, Cluster, cluster_of

ARGUMENTS: dict[str, Any] = {
    **CLUSTER_ARGUMENTS,
    **CONNECTION,
    "stack": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "fetched"], "default": "present"},
    "cluster": {"type": "str", "default": ""},
    "remove": {"type": "bool", "default": True},
    "take_over": {"type": "bool", "default": False},
    "part_size": {"type": "int", "default": 16},
    "lock_wait": {"type": "int", "default": 0},
    "progress_file": {"type": "path", "default": ""},
}
ERRORS = (Refused, MarkerError, BucketError, ArchiveError, RepositoryError, BulkError, StoreError, Damaged)
# How often pgBackRest may remove what was about to be sent.
ATTEMPTS = 3


def present(params: dict[str, Any], bucket: Bucket, cluster: Cluster, *, check_mode: bool) -> dict[str, Any]:
    """Copy what is missing."""
    copier = Copier(params, bucket, cluster)
    if check_mode:
        plan = copier.look()
        return _copied(bucket, plan, plan.sizes, [])
    sent: list[int] = []
    with Store(cluster.folder).locked(f"copying the archive of {cluster.name}", wait=params["lock_wait"], lock=COPY_LOCK):
        for _attempt in range(ATTEMPTS):
            plan = copier.look()
            try:
                return _copied(bucket, plan, sent, copier.apply(plan, sent))
            except Moved as moved:
                last = str(moved)
    raise ArchiveError(f"base backups go, or a recovery exchanges the archive, while it is copied ({last} is not what it was): run this again")


def _copied(bucket: Bucket, plan: Plan, sent: Sequence[int], notices: Sequence[str]) -> dict[str, Any]:
    found = {"system_id": plan.snapshot.info.system_id, "until": plan.snapshot.until.isoformat(timespec="seconds")}
    return {**_result(bucket, changes(plan), sent, plan.removed() if not notices else []), **found, "notices": list(notices)}


def fetched(params: dict[str, Any], bucket: Bucket, cluster: Cluster, *, check_mode: bool) -> dict[str, Any]:
    """Bring one back."""
    fetcher, name = Fetcher(bucket, cluster, Progress(params["progress_file"])), f"{cluster.name}/{params['cluster']}"
    with Store(cluster.folder).locked(f"fetching the archive {name}", wait=params["lock_wait"], lock=COPY_LOCK, make=not check_mode):
        found = fetcher.look(params["stack"], params["cluster"])
        done = [] if found.there else [Change("archive", name, None, markers.summary(found.marker))]
        if done and not check_mode:
            fetcher.fetch(found)
    sent = [one.bytes for one in found.stored.files.values()] if done else []
    return {**_result(bucket, done, sent), "system_id": params["cluster"], "until": found.marker.until, "notices": []}


def _result(bucket: Bucket, done: Sequence[Change], sent: Sequence[int], removed: Sequence[int] = ()) -> dict[str, Any]:
    return {
        "changed": bool(done),
        "diff": diff(done),
        "objects": objects(done),
        "sent": {"files": len(sent), "bytes": sum(sent)},
        "removed": {"files": len(removed), "bytes": sum(removed)},
        "where": bucket.place.text,
        "invocation": {"module_args": {}},
    }


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """What the state asks for. Refused before anything is changed."""
    if params["state"] == "fetched" and not markers.is_system_id(params["cluster"]):
        raise Refused(f"cluster is '{params['cluster']}': name the system identifier of a cluster, a number such as 7713188848805994522")
    if not 0 < params["part_size"] <= LARGEST_PART:
        raise Refused(f"part_size is {params['part_size']}: say 5 to {LARGEST_PART} (MB)")
    if not HAS_BOTO:
        raise Refused(MISSING)
    cluster = cluster_of(params)
    if not cluster.folder.is_dir():
        raise Refused(f"{cluster.folder} is missing: make db-start makes it, and see why it went (a disk that is not mounted?)")
    work = fetched if params["state"] == "fetched" else present
    return work(params, Bucket(params), cluster, check_mode=check_mode)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    what = "fetched" if module.params["state"] == "fetched" else "copied"
    nothing: dict[str, Any] = {
        "sent": {"files": 0, "bytes": 0},
        "removed": {"files": 0, "bytes": 0},
        "where": Place.of(module.params).text,
        "notices": [],
        "objects": [],
        "diff": diff([]),
        "invocation": {"module_args": {}},
    }
    try:
        with ended_by_signals():
            result = run(module.params, check_mode=module.check_mode)
    except ERRORS as error:
        module.fail_json(msg=f"the archive of {module.params['name']} was not {what}: {' '.join(str(error).split())}", **nothing)
    except OSError as error:
        why = f"{error.strerror or error} ({error.filename or module.params['archive_dir']})"
        module.fail_json(msg=f"the archive of {module.params['name']} was not {what}: {why}", **nothing)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
