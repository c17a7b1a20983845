#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup counts when a restore of it was seen to work: restore a set elsewhere, check it, and remove it again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_drill
short_description: Prove a backup set by restoring it into throw-away servers
version_added: 0.1.0
description:
  - Restores a set into throw-away servers of the live servers' images, checks what came of it, and removes them, whatever happens. The live servers are
    not asked and not touched.
  - The throw-away servers have no network, no rights, a read-only file system and a limit of memory. They are reached by a socket in a folder of the managed
    host that nobody else can enter. No job runs in them, nothing is archived, and no role has a password.
  - Every file is compared with the manifest and decrypted. Each database is then loaded and compared by the code of M(nexanest.database.restore), which is
    its rows, catalog, owners, rights and settings. Beside that, C(amcheck) looks into every B-tree and heap, the first rows of tables with a primary key are
    compared with the set's checksum of them, and sequences with the dump. Redis loads its file, and the keys are counted.
  - Without a key that opens the set the stored bytes are compared alone. That is no proof of the content, and RV(content) says so.
  - What came of it is appended to C(.drills/drills.jsonl) in the folder of the sets, also of a drill that failed or was refused.
  - A drill needs room for the opened files of the set and for the restored databases on the file system of the sets. Without it, or without the memory,
    nothing is begun.
  - What a drill that was killed has left is removed by the next one, and noted as a failure.
  - With O(bucket) it is a set that M(nexanest.database.backup_copy) copied there. It is fetched into a folder of the drill's own, every byte compared with its
    manifest, and is gone with it. It needs room as well, and its time is part of RV(rto). The history has a mark that it was off-site.
options:
  backup_dir:
    description: Folder of the sets on the managed host. The drill works in a folder of its own in it.
    type: path
    required: true
  id:
    description: The set to drill. The default is the newest one that is whole; with O(bucket) the one with the latest name of those that are there.
    type: str
    default: ""
  stack:
    description: Drill sets of this stack alone. It is also the label of the throw-away servers.
    type: str
    default: ""
  unless_newer_than:
    description:
      - Do nothing where the last drill of the same set passed and is younger than this, such as V(20h) (s, m, h, d). Where there are O(identities), a
        comparison of checksums alone does not count.
    type: str
    default: ""
  identities:
    description: Private keys of C(age) that are tried, as texts. Without one the stored bytes of an encrypted set are compared alone.
    type: list
    elements: str
    default: []
  servers:
    description: The PostgreSQL servers of the set. Each must be named, where the set can be opened.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name in the set.
        type: str
        required: true
      container:
        description: The live container, whose image is used. It need not run.
        type: str
        default: ""
      image:
        description: The image, where there is no live container; it must be on the host.
        type: str
        default: ""
      uid:
        description: Number of the user that the server runs as, where the container does not say it.
        type: int
        default: 999
      gid:
        description: Number of its group.
        type: int
        default: 999
      superuser:
        description: Name of the live server's administrator, who owns what an extension makes. The default is the first superuser of the set.
        type: str
        default: ""
      memory_mb:
        description: Memory of its throw-away server in MB, where that is another one than O(memory_mb).
        type: int
  redis:
    description: The Redis instances of the set.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name in the set.
        type: str
        required: true
      container:
        description: The live container, whose image is used. It need not run.
        type: str
        default: ""
      image:
        description: The image, where there is no live container; it must be on the host.
        type: str
        default: ""
      uid:
        description: Number of the user that the server runs as, where the container does not say it.
        type: int
        default: 999
      gid:
        description: Number of its group.
        type: int
        default: 999
  memory_mb:
    description: Memory of a throw-away PostgreSQL server in MB. One runs at a time. A Redis gets what its file may need.
    type: int
    default: 1024
  jobs:
    description: Tables and indexes that are restored at the same time.
    type: int
    default: 2
  lock_wait:
    description: Seconds to wait for another drill in the same folder. Backups and restores are not waited for.
    type: int
    default: 0
  progress_file:
    description: File on the managed host that gets a line per step while the work runs; read by the action plugin of the same name.
    type: path
    default: ""
requirements:
  - psycopg2 on the managed host
  - docker client and age on the managed host
  - root's rights, as folders are given to the servers' users
extends_documentation_fragment:
  - nexanest.database.attributes
  - nexanest.database.offsite.optional
  - nexanest.database.offsite
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details: Says what would be drilled, and what it needs of disk and memory. Whether the set can be restored is what only a drill tells.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: partial
    details: With O(unless_newer_than) a set that has just been proven is not drilled again. Without it every run is a drill, and a line in the history.
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Prove the newest set
  nexanest.database.restore_drill:
    backup_dir: /srv/nexanest/backups
    stack: nexanest
    identities: ["{{ backup_key }}"]
    servers:
      - {name: postgres, container: nexanest-postgres, superuser: nexanest}
      - {name: timescaledb, container: nexanest-timescaledb, superuser: timescale}
    redis:
      - {name: redis, container: nexanest-redis}

- name: Prove a set on a machine without the stack, unless that was done today
  nexanest.database.restore_drill:
    backup_dir: /mnt/offsite
    id: "20250531_123456"
    unless_newer_than: 20h
    identities: ["{{ backup_key }}"]
    servers:
      - {name: postgres, image: "registry.example.org/postgres:17", superuser: nexanest, memory_mb: 4096}
    redis:
      - {name: redis, image: "registry.example.org/redis:8"}

- name: Prove the newest set in the bucket
  nexanest.database.restore_drill:
    backup_dir: /srv/nexanest/backups
    stack: nexanest
    identities: ["{{ backup_key }}"]
    servers:
      - {name: postgres, container: nexanest-postgres, superuser: nexanest}
    redis:
      - {name: redis, container: nexanest-redis}
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
set:
  description: Id of the set.
  returned: always
  type: str
  sample: "20250531_123456"
offsite:
  description: The bucket that it is fetched out of; empty for a set of O(backup_dir).
  returned: always
  type: str
  sample: s3://nexanest-backups/production at https://s3.example.org
content:
  description: Whether its content is restored, and not only its checksums compared.
  returned: always
  type: bool
  sample: true
result:
  description: V(passed), V(failed) or V(refused); empty in check mode, and where it was not due.
  returned: always
  type: str
  sample: passed
databases:
  description: The databases and Redis instances, each with its rows or keys, and after a drill the number of checks.
  returned: always
  type: list
  elements: dict
  sample: [{name: postgres/auth, rows: 120000, tables: 12, checks: 412}, {name: redis/redis, keys: 512, checks: 3}]
checks:
  description: How many checks were made.
  returned: always
  type: int
  sample: 2140
rto:
  description: Seconds from the start until all of it was proven. Null where it was not.
  returned: always
  type: float
  sample: 41.2
rpo:
  description: Seconds from the moment of the set to the start of the drill, which a loss at the start would have cost.
  returned: always
  type: int
  sample: 3600
needs:
  description: Bytes of disk and MB of memory that the drill needs, with what has to be fetched.
  returned: always
  type: dict
  sample: {disk: 734003200, memory_mb: 1024}
last:
  description: The drill before this one, or the one that made this one needless, as it stands in the history; null without one.
  returned: always
  type: dict
  sample: {at: "2025-05-24T05:45:00+00:00", result: passed, rto: 40.8, rpo: 9000}
plan:
  description: What is drilled, in words.
  returned: always
  type: str
  sample: 6 databases, 1 Redis instance; it needs 734 MB of disk and 1024 MB of memory
notes:
  description: What somebody should know, also shown as warnings.
  returned: always
  type: list
  elements: str
  sample: []
refused:
  description: Whether nothing was restored, for a reason that says nothing of the set.
  returned: always
  type: bool
  sample: false
problems:
  description: Why it failed, or was refused, a sentence each.
  returned: always
  type: list
  elements: str
  sample: []
"""

import dataclasses
from datetime import timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._backup_plan import PlanError, age_limit
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import PASSED
from ansible_collections.nexanest.database.plugins.module_utils._drill_run import Drill, Report, opened
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import BucketError
from ansible_collections.nexanest.database.plugins.module_utils._offsite_options import OPTIONAL
from ansible_collections.nexanest.database.plugins.module_utils._progress import megabytes
from ansible_collections.nexanest.database.plugins.module_utils._restore_parties import ERRORS, one_line
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals

INSTANCE: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "container": {"type": "str", "default": ""},
    "image": {"type": "str", "default": ""},
    "uid": {"type": "int", "default": 999},
    "gid": {"type": "int", "default": 999},
}
SERVER: dict[str, Any] = {**INSTANCE, "superuser": {"type": "str", "default": ""}, "memory_mb": {"type": "int"}}
ARGUMENTS: dict[str, Any] = {
    **OPTIONAL,
    "backup_dir": {"type": "path", "required": True},
    "id": {"type": "str", "default": ""},
    "stack": {"type": "str", "default": ""},
    "unless_newer_than": {"type": "str", "default": ""},
    "identities": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "servers": {"type": "list", "elements": "dict", "default": [], "options": SERVER},
    "redis": {"type": "list", "elements": "dict", "default": [], "options": INSTANCE},
    "memory_mb": {"type": "int", "default": 1024},
    "jobs": {"type": "int", "default": 2},
    "lock_wait": {"type": "int", "default": 0},
    "progress_file": {"type": "path", "default": ""},
}
EXPECTED: tuple[type[Exception], ...] = (*ERRORS, BucketError)
UNPROVEN = "its content is not proven: no key that opens it is here, so that only the stored bytes were compared"


def result(report: Report) -> dict[str, Any]:
    """The same in check mode and after it, but for what was measured."""
    record = report.record
    units = report.findings.units or report.units
    changed = record is not None or report.due
    notes = [*report.findings.notes, *([f"the set {report.set}: {UNPROVEN}"] if record and record.result == PASSED and not record.content else [])]
    return {
        "changed": changed,
        "diff": diff([_change(report)] if changed else []),
        "set": report.set,
        "offsite": report.offsite,
        "content": report.content,
        "result": record.result if record else "",
        "databases": units,
        "checks": record.checks if record else 0,
        "rto": record.rto if record else None,
        "rpo": record.rpo if record else None,
        "needs": dataclasses.asdict(report.needs),
        "last": dataclasses.asdict(report.last) if report.last else None,
        "plan": plan(report),
        "notes": notes,
        "refused": bool(report.refusals),
        "problems": report.refusals or report.findings.problems,
    }


def plan(report: Report) -> str:
    """What is drilled."""
    fetched = f"{megabytes(report.fetch)} MB out of {report.offsite}, " if report.fetch else ""
    if not report.content:
        return f"{fetched}its checksums alone, as no key that opens it is here" if report.set else ""
    keyed = sum("keys" in unit for unit in report.units)
    words = ", ".join(word for word in (_count(len(report.units) - keyed, "database"), _count(keyed, "Redis instance")) if word)
    return f"{fetched}{words}; it needs {megabytes(report.needs.disk)} MB of disk and {report.needs.memory_mb} MB of memory"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""


def _change(report: Report) -> Change:
    last = report.last
    before = {"last drill": f"{last.result} at {last.at}, set {last.set or 'unknown'}"} if last else None
    content = ", ".join(unit["name"] for unit in report.units) if report.content else "checksums alone"
    fetched = {"fetched": report.offsite} if report.offsite else {}
    return Change("drill", report.set or "of no set", before, {**fetched, "restored and checked": content})


def failure(report: Report) -> str:
    """One message with every problem."""
    if report.refusals:
        return f"the drill was refused, and nothing was restored: {'; '.join(report.refusals)}"
    name = " ".join(word for word in ("the set", report.set, f"in {report.offsite}" if report.offsite else "") if word)
    return f"{name} is NOT proven: {'; '.join(report.findings.problems)}"


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    try:
        limit: timedelta | None = age_limit(params["unless_newer_than"]) if params["unless_newer_than"] else None
        with ended_by_signals():
            if module.check_mode:
                report = Drill(params, limit).look()[0]
            else:
                with opened(params, limit) as run:
                    report = run.run()
    except PlanError as error:
        module.fail_json(msg=str(error))
    except EXPECTED as error:
        module.fail_json(msg=f"the drill came to no end, and proves nothing: {one_line(error)}")
    found = result(report)
    for note in found["notes"]:
        module.warn(note)
    if found["problems"]:
        module.fail_json(msg=failure(report), **found)
    module.exit_json(**found)


if __name__ == "__main__":
    main()
