#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup sets there are, and whether each byte of them is the one that was written."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_set_info
short_description: List backup sets and verify them
version_added: 0.1.0
description:
  - Lists the sets in a folder with what they hold, from their manifests. A set whose manifest cannot be read is listed with its problem.
  - With O(verify) every byte is read again and compared with the manifest. What is missing, changed, more than the manifest lists, or not readable is a
    problem; other modes or owners of the files are none. Every asked set is read to its end, then the module fails if there is any problem, and names all.
  - A set that was found right is noted as verified in the folder, and the note of one that was found damaged is removed. The retention never deletes the
    newest set with a note. In check mode no note is touched.
  - Takes no lock, so that it can look beside a running backup. A set that the retention removes while it is read is reported as removed, not as damaged.
  - Two files are read at a time, in blocks, so that the size of a set does not matter to the memory.
  - It detects accidents. Manifests are not signed, so that somebody who can write to the folder can forge a set.
options:
  backup_dir:
    description: Folder of the sets on the managed host.
    type: path
    required: true
  id:
    description: Look at this set alone. The default are all.
    type: str
  verify:
    description: Whether to read every byte of the sets. Fails where one has a problem.
    type: bool
    default: false
  identities:
    description:
      - Private keys of C(age), as texts. With one that fits, the content of encrypted sets is decrypted and compared as well.
      - Without one only the stored bytes of an encrypted set are compared. That proves that no bit has changed since, not that there is a key which opens it.
    type: list
    elements: str
  progress_file:
    description: A file for lines about the work that is done; read by the action plugin of the same name.
    type: str
    default: ""
requirements:
  - C(age) on the managed host, where O(identities) are given
extends_documentation_fragment:
  - nexanest.database.attributes
attributes:
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: N/A
    details: The module changes no set.
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: List the sets
  nexanest.database.backup_set_info:
    backup_dir: /var/backups/nexanest

- name: Read one set again, its content too
  nexanest.database.backup_set_info:
    backup_dir: /var/backups/nexanest
    id: 20250531_123456
    verify: true
    identities:
      - "{{ lookup('ansible.builtin.file', 'secrets/nexanest/backup.key') }}"
"""

RETURN = r"""
sets:
  description: The sets, the oldest first, as their serial numbers count them. What a manifest would say is null where it cannot be read.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Name of the set, the UTC time of its beginning.
      type: str
      sample: "20250531_123456"
    folder:
      description: Where it is.
      type: str
      sample: /var/backups/nexanest/20250531_123456
    age:
      description: Seconds since it was begun; below zero where a clock was set back since.
      type: int
      sample: 3600
    bytes:
      description: Size of its files as they are stored.
      type: int
      sample: 52428800
    started:
      description: When it was begun, UTC.
      type: str
      sample: "2025-05-31T12:34:56+00:00"
    finished:
      description: When its last file was written, UTC.
      type: str
      sample: "2025-05-31T12:35:40+00:00"
    seconds:
      description: How long it took.
      type: int
      sample: 44
    stack:
      description: Name of the stack.
      type: str
      sample: nexanest
    host:
      description: Name of the host that took it.
      type: str
      sample: database
    encryption:
      description: V(age) or V(none).
      type: str
      sample: age
    servers:
      description: By server its kind and version, its databases with their rows, tables and size in bytes on the server, and what is left out and why.
      type: dict
      sample:
        postgres:
          kind: postgresql
          version: "17.5"
          databases: [{name: auth, rows: 1200, bytes: 9437184, tables: 14}]
          left_out: [{name: scratch, why: it allows no connections, data: true}]
    redis:
      description: By instance its version and number of keys.
      type: dict
      sample: {redis: {version: 8.0.2, keys: 512}}
    verified:
      description: When every byte was last found right, and whether the content was decrypted for it; null if never.
      type: dict
      sample: {at: "2025-06-01T03:00:00+00:00", content: true}
    problems:
      description: What is wrong with it.
      type: list
      elements: str
      sample: ["postgres/auth/0001.dat.zst.age is missing"]
report:
  description: The same as a table.
  returned: always
  type: str
  sample: "SET              AGE    SIZE   TOOK  DATABASES  ROWS  REDIS KEYS  ENCRYPTED  VERIFIED"
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_list import complaints, described, report
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Entry, Store, Verification, now
from ansible_collections.nexanest.database.plugins.module_utils._backup_verify import Outcome, verify
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, Tally, megabytes


class Refused(Exception):
    """What was asked for cannot be looked at; the text says why."""


def entries(store: Store, identity: str | None) -> list[Entry]:
    """The asked sets. One that goes away between two looks is left out."""
    found = [entry for entry in store.entries() if entry.manifest or entry.folder.is_dir()]
    if identity is None:
        return found
    if not manifests.ID.fullmatch(identity):
        raise Refused(f"{identity!r} is no name of a set: it looks like 20250531_123456")
    asked = [entry for entry in found if entry.id == identity]
    if not asked:
        raise Refused(f"there is no set {identity} in {store.folder}: it has {', '.join(entry.id for entry in found) or 'none'}")
    return asked


def verified(module: AnsibleModule, store: Store, entry: Entry, at: datetime) -> dict[str, Any]:
    """One set as data, after each byte of it was read."""
    outcome = _read(entry, module.params["identities"] or (), Progress(module.params["progress_file"]))
    if entry.manifest is None:
        return described(entry, at)
    note = None if outcome.damaged else entry.verified
    if not outcome.problems:
        # Bytes that are still the same hold what they held when they were decrypted once.
        content = outcome.content or bool(entry.verified and entry.verified.content)
        note = Verification(now().isoformat(timespec="seconds"), content)
    if note != entry.verified and not module.check_mode:
        try:
            if note:
                store.verified(entry.manifest, note)
            else:
                store.unverified(entry.id)
        except OSError as error:
            module.warn(f"what was found out about the set {entry.id} could not be noted in {store.folder} ({error.strerror}): the retention does not know it")
    return described(Entry(entry.id, entry.folder, entry.manifest, verified=note), at, outcome.problems)


def _read(entry: Entry, identities: Sequence[str], progress: Progress) -> Outcome:
    """Every byte of a set, for the operator to see."""
    total = entry.manifest.bytes if entry.manifest else 0
    progress.begin(entry.id, f"reading {megabytes(total)} MB")
    outcome = verify(entry, identities, Tally(progress, entry.id, total).add)
    progress.end(entry.id, f"{len(outcome.problems)} problems" if outcome.problems else "right")
    return outcome


def failure(sets: Sequence[dict[str, Any]], folder: Path) -> str:
    """All problems of all sets in one message."""
    wrong = [one for one in sets if one["problems"]]
    told = "; ".join(line for one in wrong for line in complaints(one))
    return f"verifying the sets in {folder} found problems with {len(wrong)} of {len(sets)}. {told}. Do not rely on these sets."


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "backup_dir": {"type": "path", "required": True},
            "id": {"type": "str"},
            "verify": {"type": "bool", "default": False},
            "identities": {"type": "list", "elements": "str", "no_log": True},
            "progress_file": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    store, at = Store(Path(module.params["backup_dir"])), now()
    try:
        asked = entries(store, module.params["id"])
        sets = [verified(module, store, entry, at) if module.params["verify"] else described(entry, at) for entry in asked]
    except Refused as error:
        module.fail_json(msg=str(error), sets=[], report="")
    except OSError as error:
        module.fail_json(msg=f"the sets in {store.folder} cannot be read ({error.strerror}): run this as the user who owns them", sets=[], report="")
    text = report(sets, str(store.folder))
    if module.params["verify"] and any(one["problems"] for one in sets):
        module.fail_json(msg=failure(sets, store.folder), sets=sets, report=text)
    module.exit_json(changed=False, sets=sets, report=text)


if __name__ == "__main__":
    main()
