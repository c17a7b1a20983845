#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the write-ahead log that another host received into an archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wal_received
short_description: Put the write-ahead log that another host received into an archive that is kept aside
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - The archive of a lost cluster ends with the last segment that was archived, or with what the companion beside the server had. Another host that received the
    log has the rest. This puts it where a recovery of that cluster finds it.
  - A segment that is there stays. Of one that is there in part the longer one wins. Each file is there whole or not at all, and a damaged one is refused
    before any is written.
extends_documentation_fragment:
  - nexanest.database.attributes
  - nexanest.database.wal_archive
options:
  cluster:
    description: System identifier of the cluster whose archive is kept aside in O(archive_dir).
    type: str
    required: true
  source:
    description: Folder on the managed host with what was received.
    type: path
    required: true
  files:
    description: Files below O(source), each with the time at which it was last written, in seconds since the epoch. C(gzip) is undone.
    type: dict
    required: true
  lock_wait:
    description: Seconds to wait for another run that works in O(archive_dir).
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Put what another host received into the archive of the lost cluster
  nexanest.database.wal_received:
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    cluster: "7713188848805994522"
    source: /var/tmp/received
    files:
      1/0000000100000000000000A3.gz: 1748694896.1
      1/0000000100000000000000A4.partial: 1748694901.5
    lock_wait: 60
"""

RETURN = r"""
segments:
  description: Segments that were put into the archive, in order.
  returned: success
  type: list
  elements: str
  sample: ["0000000100000000000000A3", "0000000100000000000000A4"]
objects:
  description: The changes as a list of objects.
  returned: success
  type: list
  elements: dict
  sample:
    - {kind: received log, name: 0000000100000000000000A3, action: create}
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _received as received
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store, StoreError
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._signals import ended_by_signals
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ARGUMENTS as CLUSTER_ARGUMENTS
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError, cluster_of

ARGUMENTS: dict[str, Any] = {
    **CLUSTER_ARGUMENTS,
    "cluster": {"type": "str", "required": True},
    "source": {"type": "path", "required": True},
    "files": {"type": "dict", "required": True},
    "lock_wait": {"type": "int", "default": 60},
}
ERRORS = (ArchiveError, StoreError, OSError)


def run(params: dict[str, Any], *, check: bool) -> tuple[list[Change], list[str]]:
    """The changes, and the segments that are put there."""
    cluster = cluster_of(params, params["cluster"])
    if params["cluster"] not in cluster.others:
        kept = ", ".join(cluster.others) or "none"
        raise ArchiveError(f"{cluster.folder} has no archive of a cluster {params['cluster']} that ran here before (there are {kept})")
    modified = {path: float(moment) for path, moment in params["files"].items()}
    with Store(cluster.folder).locked(f"putting received log into the archive of {params['cluster']}", wait=params["lock_wait"]):
        if not cluster.received.is_dir():
            raise ArchiveError(f"{cluster.received} is missing: the archive of {params['cluster']} is not whole")
        chosen = received.missing(cluster.received, received.pieces(Path(params["source"]), modified))
        changes = received.changes(cluster.received, chosen)
        if not check:
            received.put(cluster, chosen)
    return changes, received.segments(chosen)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        with ended_by_signals():
            changes, segments = run(module.params, check=module.check_mode)
    except ERRORS as error:
        module.fail_json(msg=f"nothing of what was received was put into the archive of {module.params['name']}: {' '.join(str(error).split())}")
    module.exit_json(changed=bool(changes), diff=diff(changes), objects=objects(changes), segments=segments)


if __name__ == "__main__":
    main()
