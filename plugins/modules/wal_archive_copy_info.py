#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which continuous backups a bucket has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wal_archive_copy_info
short_description: List the continuous backups in an S3-compatible bucket
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - Lists the copies that M(nexanest.database.wal_archive_copy) has made below a prefix, from their markers.
  - What an interrupted copy has left is none, and is not listed. No content is read; a fetch compares every byte.
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
  - nexanest.database.offsite
options:
  archive_dir:
    description: Folder of the stack's archives on the managed host, with a folder by server, to tell which of the copies are here too.
    type: path
"""

EXAMPLES = r"""
- name: List the continuous backups in the bucket
  nexanest.database.wal_archive_copy_info:
    archive_dir: /srv/nexanest/archive
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
archives:
  description:
    - The copies. C(oldest) and C(newest) are the ends of base backups, C(until) is when the newest segment was archived.
    - Of one whose marker is damaged C(server), C(system_id) and C(problem) are known.
  returned: always
  type: list
  elements: dict
  sample:
    - stack: nexanest
      server: timescaledb
      system_id: "7713188848805994522"
      host: database
      copied: "2025-05-31T12:35:00+00:00"
      until: "2025-05-31T12:34:10+00:00"
      oldest: "2025-05-24T02:00:05+00:00"
      newest: "2025-05-31T02:00:05+00:00"
      segment: 0000000100000000000000A3
      timeline: 1
      pgbackrest: 2.54.2
      files: 320
      bytes: 104857600
      backups: 8
      here: false
      problem: ""
where:
  description: The bucket.
  returned: always
  type: str
  sample: s3://nexanest-backups/production at https://s3.example.org
report:
  description: The same as a table.
  returned: always
  type: str
  sample: "ARCHIVE                          STACK     FROM                 UNTIL                SIZE    BASE BACKUPS  HOST      HERE"
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._archive_bucket import survey
from ansible_collections.nexanest.database.plugins.module_utils._archive_list import broken, listed, report
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import HAS_BOTO, MISSING, Bucket, BucketError
from ansible_collections.nexanest.database.plugins.module_utils._offsite_options import CONNECTION
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place


def archives(params: dict[str, Any]) -> list[dict[str, Any]]:
    """By server and system identifier."""
    markers, wrong = survey(Bucket(params))
    folder = Path(params["archive_dir"]) if params["archive_dir"] else None
    found = {root: listed(marker, folder) for root, marker in markers.items()}
    found.update({root: broken(root, problem) for root, problem in wrong.items()})
    return [found[root] for root in sorted(found)]


def main() -> None:
    module = AnsibleModule(argument_spec={**CONNECTION, "archive_dir": {"type": "path"}}, supports_check_mode=True)
    where = Place.of(module.params).text
    if not HAS_BOTO:
        module.fail_json(msg=MISSING, archives=[], where=where, report="")
    try:
        found = archives(module.params)
    except BucketError as error:
        module.fail_json(msg=f"the continuous backups in the bucket cannot be listed: {error}", archives=[], where=where, report="")
    module.exit_json(changed=False, archives=found, where=where, report=report(found, where), invocation={"module_args": {}})


if __name__ == "__main__":
    main()
