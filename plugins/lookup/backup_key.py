# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of the key pair that backups are encrypted with."""

from __future__ import annotations

DOCUMENTATION = r"""
name: backup_key
short_description: The key pair of a stack's backups
version_added: 0.1.0
author: The nexanest.database authors (@nexanest)
description:
  - Reads the private key of C(age) in a file on the controller, made on first use, and gives its public or its private half.
  - The file has the form that C(age-keygen) writes, mode 0600, in a folder of mode 0700, and is written whole or not at all.
  - In check mode nothing is written. A key that does not exist yet is then a stand-in, which opens nothing.
options:
  _terms:
    description: The file.
    required: true
    type: list
    elements: str
  part:
    description: Which half.
    type: str
    choices: [public, private]
    default: public
  create:
    description: Whether a missing key is made. Where it is not, its absence is an error. The variable must be a plain boolean, no template.
    type: bool
    default: true
    vars:
      - name: stack_secrets_create
"""

EXAMPLES = r"""
- name: Take a set that this key opens
  nexanest.database.backup_set:
    backup_dir: /srv/project/backups
    stack: nexanest
    recipients: "{{ query('nexanest.database.backup_key', '/srv/project/secrets/nexanest/backup.key') }}"

- name: Read the private key, which must be there
  ansible.builtin.set_fact:
    identity: "{{ lookup('nexanest.database.backup_key', '/srv/project/secrets/nexanest/backup.key', part='private', create=false) }}"
  no_log: true
"""

RETURN = r"""
_raw:
  description: The halves, in the order of the terms.
  type: list
  elements: str
  sample:
    - age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.nexanest.database.plugins.module_utils import _backup_key, _secrets


class LookupModule(LookupBase):
    """Reads on the controller, as the user who runs Ansible."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        check_mode = bool((variables or {}).get("ansible_check_mode"))
        try:
            pairs = [self._pair(Path(term).expanduser(), check_mode=check_mode) for term in terms]
        except _secrets.SecretError as error:
            raise AnsibleLookupError(str(error)) from error
        return [pair.private if self.get_option("part") == "private" else pair.public for pair in pairs]

    def _pair(self, path: Path, *, check_mode: bool) -> _backup_key.Pair:
        found = _backup_key.read(path)
        if found is not None:
            return found
        if not self.get_option("create"):
            raise _secrets.SecretError(
                f"the key of the backups {path} does not exist: the first run of db-start makes it, and a set of another key needs that one"
            )
        return _backup_key.stand_in() if check_mode else _backup_key.ensure(path)
