#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a copy of the backup sets in a bucket of any S3-compatible service, and bring one back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_copy
short_description: Copy backup sets into an S3-compatible bucket, and back
version_added: 0.1.0
description:
  - With O(state=present) the bucket gets every set of the folder that it lacks and that O(retention) keeps, the newest first. A set that is damaged on the disk
    is never completed in the bucket; the others are copied, and the module fails and names it.
  - Every file is hashed while it is sent, compared with the manifest, and checked by the service against the checksum that was sent with it. The manifest
    is sent last and read back. A folder in the bucket without a manifest is no set.
  - An interrupted copy is taken up again. What it sent whole is not sent again; unfinished uploads and other remains of interrupted copies are removed.
  - Afterwards sets are removed from the bucket as O(retention) says, the manifest first. Never removed are the newest set, what is damaged, sets of other
    stacks, and whatever this module did not send. Nothing is removed in a run in which a copy failed, or where the bucket has newer sets than the folder.
  - With O(state=fetched) one set is brought back, aside, every byte compared with its manifest, and gets its name when its last byte is on the disk.
  - Four files go at a time, with one part of each in memory; about 120 MB with the default O(part_size), whatever the size of the set.
extends_documentation_fragment:
  - nexanest.database.offsite
  - nexanest.database.retention
options:
  backup_dir:
    description: Folder of the sets on the managed host.
    type: path
    required: true
  stack:
    description: Name of the stack. Sets of others are neither copied nor removed.
    type: str
    required: true
  state:
    description: Whether the bucket gets the folder's sets, or the folder gets one of the bucket.
    type: str
    choices: [present, fetched]
    default: present
  id:
    description:
      - The set to fetch.
      - With O(state=present) this set alone is copied, whatever O(retention) says of it, and none is removed.
    type: str
  retention:
    description:
      - Which sets the bucket keeps, by the rules of M(nexanest.database.backup_set). The newest set of each of the last so many hours, days, weeks and months.
      - With all zero, every set of the folder is copied, and none is ever removed. The key then needs the right to delete for nothing but what interrupted
        copies leave.
  part_size:
    description: A file that is larger is sent in parts of so many megabytes (2^20 bytes). AWS takes none below 5.
    type: int
    default: 16
  lock_wait:
    description: Seconds to wait for another run that works on the same folder.
    type: int
    default: 0
  coming:
    description: In check mode, count with a set that would be taken before.
    type: bool
    default: false
  progress_file:
    description: File that gets lines about the progress.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what would be sent, removed or fetched, with the bytes. The bucket is asked; nothing is written.
    support: full
  diff_mode:
    description: The sets that are copied, removed or fetched.
    support: full
  idempotent:
    description: What is there and whole is left alone. A set that was fetched is read again in every byte.
    support: full
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Copy what the bucket lacks
  nexanest.database.backup_copy:
    backup_dir: /srv/project/backups
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
    retention: {hourly: 0, daily: 14, weekly: 8, monthly: 24, minimum: 3}
    part_size: 16
    lock_wait: 0

- name: Bring one set back
  nexanest.database.backup_copy:
    backup_dir: /srv/project/backups
    stack: nexanest
    state: fetched
    id: "20250531_123456"
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
      description: V(copy of a set) in the bucket, V(remains of a copy) that was interrupted, or V(backup set) in the folder.
      type: str
      sample: copy of a set
    name:
      description: Id of the set.
      type: str
      sample: "20250531_123456"
    action:
      description: V(create), V(delete), or V(update) for one whose missing objects were sent again.
      type: str
      sample: create
sent:
  description: Number of files and bytes that were sent or fetched, in check mode that would be; without manifests.
  returned: always
  type: dict
  sample: {files: 24, bytes: 73400320}
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
problems:
  description: What failed.
  returned: on failure
  type: list
  elements: str
  sample: ["20250531_123456: redis/redis.rdb.age is damaged on this machine: its bytes are not those that the manifest lists"]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._backup_prune import judge
from ansible_collections.nexanest.database.plugins.module_utils._backup_retention import OPTION
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import COPY_LOCK, Copy, Store, StoreError, now
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import HAS_BOTO, MISSING, Bucket, BucketError
from ansible_collections.nexanest.database.plugins.module_utils._offsite_copy import Copier, Refused, changes, told
from ansible_collections.nexanest.database.plugins.module_utils._offsite_fetch import Fetcher, look
from ansible_collections.nexanest.database.plugins.module_utils._offsite_options import CONNECTION, LARGEST_PART
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "backup_dir": {"type": "path", "required": True},
    "stack": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "fetched"], "default": "present"},
    "id": {"type": "str"},
    "retention": OPTION,
    "part_size": {"type": "int", "default": 16},
    "lock_wait": {"type": "int", "default": 0},
    "coming": {"type": "bool", "default": False},
    "progress_file": {"type": "str", "default": ""},
}


class Failed(Exception):
    """Some of it failed; result: of what was done all the same."""

    def __init__(self, text: str, problems: Sequence[str], result: dict[str, Any]) -> None:
        self.problems, self.result = list(problems), result
        super().__init__(text)


def present(params: dict[str, Any], bucket: Bucket, store: Store, *, check_mode: bool) -> dict[str, Any]:
    """Copy what is missing. Failed where a set could not be copied."""
    copier = Copier({**params, "coming": params["coming"] and check_mode}, bucket, store)
    if check_mode or not store.folder.is_dir():
        plan = copier.look()
        result = _result(bucket, changes(plan), plan.sizes(plan.send), told(plan))
        return _complained(params, store, plan.problems, result)
    with store.locked(f"copying sets of {params['stack']}", wait=params["lock_wait"], lock=COPY_LOCK):
        plan = copier.look()
        done, failed, notices = copier.apply(plan)
    result = _result(bucket, done, plan.sizes([identity for identity in plan.send if identity not in failed]), [*told(plan), *notices])
    return _complained(params, store, failed, result)


def _complained(params: dict[str, Any], store: Store, failed: dict[str, str], result: dict[str, Any]) -> dict[str, Any]:
    """The result, unless something failed."""
    if not failed:
        return result
    problems = [f"{identity}: {why}" for identity, why in failed.items()]
    whole = f"The sets in {store.folder} are as they were"
    raise Failed(f"the off-site copy of the stack {params['stack']} is not what it should be: {'; '.join(problems)}. {whole}.", problems, result)


def fetched(params: dict[str, Any], bucket: Bucket, store: Store, *, check_mode: bool) -> dict[str, Any]:
    """Bring one set back."""
    identity = params["id"]
    manifest, text, there = look(bucket, store, identity)
    change = Change("backup set", identity, None, {"files": len(manifest.files), "bytes": manifest.bytes})
    if check_mode or there:
        return _result(bucket, [] if there else [change], [] if there else [file.bytes for file in manifest.files])
    store.prepare()
    with store.locked(f"fetching the set {identity}", wait=params["lock_wait"]):
        Fetcher(bucket, store, Progress(params["progress_file"])).fetch(manifest, text)
        store.copied(manifest, Copy(now().isoformat(timespec="seconds"), bucket.place.text))
    return _result(bucket, [change], [file.bytes for file in manifest.files])


def _result(bucket: Bucket, done: Sequence[Change], sent: Sequence[int], notices: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "changed": bool(done),
        "diff": diff(done),
        "objects": objects(done),
        "sent": {"files": len(sent), "bytes": sum(sent)},
        "where": bucket.place.text,
        "notices": list(notices),
        "invocation": {"module_args": {}},
    }


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """What the state asks for. Refused before anything is changed."""
    if params["id"] is not None and not manifests.ID.fullmatch(params["id"]):
        raise Refused(f"id is '{params['id']}': a set is called like 20250531_123456")
    wrong = [
        *judge(params["retention"]),
        *([] if 0 < params["part_size"] <= LARGEST_PART else [f"part_size is {params['part_size']}: say 5 to {LARGEST_PART} (MB)"]),
    ]
    if wrong:
        raise Refused("; ".join(wrong))
    if not HAS_BOTO:
        raise Refused(MISSING)
    work = fetched if params["state"] == "fetched" else present
    return work(params, Bucket(params), Store(Path(params["backup_dir"])), check_mode=check_mode)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, required_if=[("state", "fetched", ["id"])])
    what = "fetched" if module.params["state"] == "fetched" else "copied"
    nothing = {"sent": {"files": 0, "bytes": 0}, "where": Place.of(module.params).text, "notices": [], "invocation": {"module_args": {}}}
    try:
        with ended_by_signals():
            result = run(module.params, check_mode=module.check_mode)
    except Failed as failure:
        module.fail_json(msg=str(failure), problems=failure.problems, **failure.result)
    except Damaged as error:
        module.fail_json(msg=f"the set was not fetched, take another one: {error}", problems=[str(error)], objects=[], diff=diff([]), **nothing)
    except (Refused, BucketError, StoreError) as error:
        module.fail_json(msg=f"no set was {what}: {error}", problems=[str(error)], objects=[], diff=diff([]), **nothing)
    except OSError as error:
        text = f"no set was {what}: {error.strerror or error} ({error.filename or module.params['backup_dir']})"
        module.fail_json(msg=text, problems=[text], objects=[], diff=diff([]), **nothing)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
