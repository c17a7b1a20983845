# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that copy backup sets into a bucket."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  endpoint_url:
    description: Address of the S3-compatible service, such as V(https://s3.example.org). Without it, it is AWS.
    type: str
  region:
    description: Region of the bucket. Services that have none take any.
    type: str
    default: us-east-1
  bucket:
    description: Name of the bucket, which has to be there.
    type: str
    required: true
  prefix:
    description: What the keys of the sets begin with, without slashes at its ends. One folder of sets copies to one prefix.
    type: str
    default: ""
  access_key:
    description: The access key. Nothing of the machine's own AWS settings is used, neither variables, nor profiles, nor roles.
    type: str
    required: true
  secret_key:
    description: The secret key of O(access_key).
    type: str
    required: true
  ca_bundle:
    description: File on the managed host with the certificates of the authorities that are trusted, for a service with a certificate of its own.
    type: path
  addressing:
    description:
      - Whether the bucket's name stands in the path or before the host's name. V(auto) is V(path) where O(endpoint_url) is given, and what AWS wants otherwise.
    type: str
    choices: [auto, path, virtual]
    default: auto
  checksums:
    description:
      - Whether S3's own checksums (SHA-256) go with what is sent. Without them, for a service that does not know them, the signature holds the SHA-256 instead.
    type: bool
    default: true
requirements:
  - boto3 1.26 or newer on the managed host
"""
    # Of a module that has to do with a bucket only where one is named; it comes before the other one, whose words it changes.
    OPTIONAL = r"""
options:
  bucket:
    description: Name of the bucket, which has to be there. Without one nothing off-site is asked.
    required: false
    default: ""
  access_key:
    required: false
    default: ""
  secret_key:
    required: false
    default: ""
"""
