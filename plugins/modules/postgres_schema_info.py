#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What databases have otherwise than their migrations make it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgres_schema_info
short_description: Compare databases with what their migrations make
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - Runs the applied files of each database anew in O(shadow), and compares the catalog there with the real one, object by object. Data is not compared.
  - Compared are schemas, tables with columns, constraints and indexes, views, functions, triggers, policies and row security, types, sequences, owners, rights
    of every kind, default privileges, extensions, publications, comments, and what else migrations make.
  - Range partitions are made ahead by jobs, so neither their number nor their bounds count, only what they have that their parent has not itself. The
    chunks of hypertables do not count. The version of an extension does not count either.
  - It also tells which files are pending. O(shadow) is needed.
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
  - nexanest.database.login
  - nexanest.database.shadow
options:
  databases:
    description: The databases and where their files are.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the database.
        type: str
        required: true
      directory:
        description: As in M(nexanest.database.postgres_migrations).
        type: path
        required: true
      session_role:
        description: As in M(nexanest.database.postgres_migrations).
        type: str
      files:
        description: The files' text. Filled in by the action plugin on the controller; never set it.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the file.
            type: str
            required: true
          text:
            description: What it holds.
            type: str
            required: true
seealso:
  - module: nexanest.database.postgres_migrations
"""

EXAMPLES = r"""
- name: Compare a database with its migrations
  nexanest.database.postgres_schema_info:
    login_host: 127.0.0.1
    login_port: 5432
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    login_db: postgres
    connect_timeout: 10
    databases:
      - name: auth
        directory: "{{ inventory_dir }}/migrations/auth"
        session_role: auth_owner
    shadow:
      image: nexanest-database/postgres:17
      uid: 999
      gid: 999
      preload_libraries: [pg_stat_statements]
      databases: "{{ data_model_postgres_databases }}"
      label: nexanest.database.stack=nexanest
      memory_mb: 1024
"""

RETURN = r"""
databases:
  description: One entry for each database that is there.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the database.
      type: str
      sample: auth
    differences:
      description: What it has otherwise, in words.
      type: list
      elements: str
      sample: ["column auth.users.nickname is there, but no migration makes it"]
    pending:
      description: Files that are not applied yet.
      type: list
      elements: str
      sample: [0003_more.sql]
report:
  description: The same as a text.
  returned: success
  type: str
  sample: "auth: what its migrations make"
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._migration_drift import drift
from ansible_collections.nexanest.database.plugins.module_utils._migration_ledger import LedgerUnusable
from ansible_collections.nexanest.database.plugins.module_utils._migration_options import FILES_ARGUMENT, SHADOW_ARGUMENT, Refused
from ansible_collections.nexanest.database.plugins.module_utils._shadow import ShadowFailed, ShadowUnavailable

ARGUMENTS: dict[str, Any] = {
    **LOGIN_ARGUMENTS,
    "databases": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "session_role": {"type": "str"},
            "files": FILES_ARGUMENT,
        },
    },
    "shadow": SHADOW_ARGUMENT,
}


def report(found: Sequence[Mapping[str, Any]]) -> str:
    """For people: one paragraph per database."""
    lines: list[str] = []
    for item in found:
        count = len(item["differences"])
        lines.append(f"{item['name']}: {f'{count} differences' if count > 1 else 'one difference' if count else 'what its migrations make'}")
        lines += [f"  {difference}" for difference in item["differences"]]
        lines += [f"  pending: {name}" for name in item["pending"]]
    return "\n".join(lines)


def main() -> None:
    # no_log: the texts of all files do not belong into the host's log.
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, no_log=True)
    invocation = {"module_args": {"databases": [item["name"] for item in module.params["databases"]]}}
    try:
        found = drift(module.params)
    except (Refused, ServerUnreachable, LedgerUnusable, ShadowUnavailable, ShadowFailed) as error:
        module.fail_json(msg=f"comparing the schemas of {module.params['login_host']}:{module.params['login_port']} failed: {error}", invocation=invocation)
    except STATEMENT_ERROR as error:
        module.fail_json(msg=f"postgres_schema_info: the catalog could not be read: {' '.join(str(error).split())}", invocation=invocation)
    module.exit_json(changed=False, databases=found, report=report(found), invocation=invocation)


if __name__ == "__main__":
    main()
