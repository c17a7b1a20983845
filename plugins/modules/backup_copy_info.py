#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup sets a bucket has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_copy_info
short_description: List the backup sets in an S3-compatible bucket
version_added: 0.1.0
description:
  - Lists the sets in a bucket with what they hold, from their manifests, and compares the names and sizes of their objects with them.
  - What an interrupted copy has left is no set, and is not listed.
  - No content is read. M(nexanest.database.backup_copy) compares every byte when it fetches a set.
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
  - nexanest.database.offsite
options:
  backup_dir:
    description: Folder of the sets on the managed host, to tell which of the bucket's sets are here too.
    type: path
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: List the sets in the bucket
  nexanest.database.backup_copy_info:
    backup_dir: /srv/project/backups
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
    here:
      description: Whether the folder on this machine has a set of this name.
      type: bool
      sample: true
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
      description: As M(nexanest.database.backup_set_info) returns them.
      type: dict
      sample: {postgres: {kind: postgresql, version: "17.5", databases: [{name: auth, rows: 1200, bytes: 9437184, tables: 14}], left_out: []}}
    redis:
      description: By instance its version and number of keys.
      type: dict
      sample: {redis: {version: 8.0.2, keys: 512}}
    problems:
      description: What is missing in the bucket, or wrong with the manifest.
      type: list
      elements: str
      sample: ["postgres/auth/0001.dat.zst.age is missing in the bucket, or has another size"]
where:
  description: The bucket.
  returned: always
  type: str
  sample: s3://nexanest-backups/production at https://s3.example.org
report:
  description: The same as a table.
  returned: always
  type: str
  sample: "SET              AGE    SIZE   STACK     DATABASES  ROWS  REDIS KEYS  ENCRYPTED  IN THE BUCKET  HERE"
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store, now
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import HAS_BOTO, MISSING, Bucket, BucketError
from ansible_collections.nexanest.database.plugins.module_utils._offsite_list import listed, report
from ansible_collections.nexanest.database.plugins.module_utils._offsite_look import survey
from ansible_collections.nexanest.database.plugins.module_utils._offsite_options import CONNECTION
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place


def main() -> None:
    module = AnsibleModule(argument_spec={**CONNECTION, "backup_dir": {"type": "path"}}, supports_check_mode=True)
    where = Place.of(module.params).text
    if not HAS_BOTO:
        module.fail_json(msg=MISSING, sets=[], where=where, report="")
    try:
        folder = module.params["backup_dir"]
        here = {entry.id for entry in Store(Path(folder)).entries()} if folder else set()
        sets = [listed(one, here, now()) for one in survey(Bucket(module.params)).ordered()]
    except BucketError as error:
        module.fail_json(msg=f"the sets in the bucket cannot be listed: {error}", sets=[], where=where, report="")
    except OSError as error:
        module.fail_json(msg=f"the sets in {module.params['backup_dir']} cannot be read ({error.strerror})", sets=[], where=where, report="")
    module.exit_json(changed=False, sets=sets, where=where, report=report(sets, where), invocation={"module_args": {}})


if __name__ == "__main__":
    main()
