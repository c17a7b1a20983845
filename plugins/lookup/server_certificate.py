# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of a server's certificate and its private key."""

from __future__ import annotations

DOCUMENTATION = r"""
name: server_certificate
short_description: The certificate of a server that other hosts connect to
version_added: 0.1.0
author: The nexanest.database authors (@nexanest)
description:
  - Reads a certificate and its private key in a PEM file on the controller, made on first use, and gives one of them.
  - It is signed by itself and holds for ten years. Those who connect get it as the only one that they trust, and check the name in it.
  - The file is of mode 0600, in a folder of mode 0700, and is written whole or not at all. Delete it to have another one made by the next run.
  - In check mode nothing is written. A certificate that does not exist yet is then a stand-in, another one each time.
options:
  _terms:
    description: The file.
    required: true
    type: list
    elements: str
  name:
    description: The name in the certificate, by which clients know the server (C(host) in libpq's connection string).
    type: str
    required: true
  part:
    description: Which half.
    type: str
    choices: [certificate, private_key]
    default: certificate
  create:
    description: Whether a missing certificate is made. Where it is not, its absence is an error. The variable must be a plain boolean, no template.
    type: bool
    default: true
    vars:
      - name: stack_secrets_create
"""

EXAMPLES = r"""
- name: Give a client what it shall trust
  ansible.builtin.copy:
    content: "{{ lookup('nexanest.database.server_certificate', '/srv/project/secrets/nexanest/timescaledb_tls', name='nexanest-timescaledb') }}"
    dest: /etc/client/server.crt
    mode: "0644"

- name: Read the private key, which must be there
  ansible.builtin.set_fact:
    private_key: "{{ lookup('nexanest.database.server_certificate', '/srv/project/secrets/nexanest/timescaledb_tls', name='nexanest-timescaledb',
      part='private_key', create=false) }}"
  no_log: true
"""

RETURN = r"""
_raw:
  description: The halves as PEM, in the order of the terms.
  type: list
  elements: str
  sample:
    - "-----BEGIN CERTIFICATE-----…"
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.nexanest.database.plugins.module_utils import _secrets
from ansible_collections.nexanest.database.plugins.plugin_utils import certificate


class LookupModule(LookupBase):
    """Reads on the controller, as the user who runs Ansible."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        check_mode = bool((variables or {}).get("ansible_check_mode"))
        try:
            found = [self._one(Path(term).expanduser(), check_mode=check_mode) for term in terms]
        except _secrets.SecretError as error:
            raise AnsibleLookupError(str(error)) from error
        return [one.private_key if self.get_option("part") == "private_key" else one.certificate for one in found]

    def _one(self, path: Path, *, check_mode: bool) -> certificate.Certificate:
        name, now = self.get_option("name"), certificate.today()
        found = certificate.read(path, name, now)
        if found is not None:
            return found
        if not self.get_option("create"):
            raise _secrets.SecretError(f"the certificate {path} does not exist: the first run of db-start makes it")
        return certificate.stand_in(name, now) if check_mode else certificate.ensure(path, name, now)
