#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill empty databases with sample data, once."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgres_seed
short_description: Fill empty databases with sample data
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - Runs one SQL text per database, which makes sample data for a number of users. Each database gets its data in one transaction, together with a row in
    the table C(_ledger.seeds) with file, SHA-256 and number of users.
  - Sample data goes into empty databases alone. Before anything is written anywhere, all databases are looked at. A table of users' data (one with row
    security) that holds rows, a database that was seeded with another number of users or from another text, and one that does not exist are refused, all
    in one message.
  - The text runs as the database's owner, for whom row security is lifted inside the transaction. It reads the number of users with
    C(current_setting('seed.users')::int).
extends_documentation_fragment:
  - nexanest.database.login
attributes:
  check_mode:
    description: Says which databases would be filled, or why none can be.
    support: full
  diff_mode:
    description: The seeds, by database, with checksum and number of users.
    support: full
  idempotent:
    description: A database that was seeded with the same text and number of users is left alone.
    support: full
options:
  databases:
    description: The databases and their sample data.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the database.
        type: str
        required: true
      session_role:
        description: Role that runs the statements, the owner of the tables.
        type: str
        required: true
      file:
        description: Name of the file, for the ledger and for messages.
        type: str
        required: true
      text:
        description: The SQL. It may use all that a migration may.
        type: str
        required: true
  users:
    description: For how many users data is made. What a user has is up to the text.
    type: int
    required: true
  lock_wait:
    description: Seconds to wait for another run that applies migrations or sample data.
    type: int
    default: 900
  collection_version:
    description: Recorded in the ledger.
    type: str
    default: unknown
"""

EXAMPLES = r"""
- name: Fill a database with the data of a thousand users
  nexanest.database.postgres_seed:
    login_host: 127.0.0.1
    login_port: 5432
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    login_db: postgres
    connect_timeout: 10
    databases:
      - name: portfolio
        session_role: portfolio_owner
        file: portfolio.sql
        text: "{{ lookup('ansible.builtin.file', inventory_dir ~ '/seeds/portfolio.sql', rstrip=false) }}"
    users: 1000
    lock_wait: 900
    collection_version: 0.1.0
"""

RETURN = r"""
objects:
  description: The seeds that were sown, in check mode those that would be.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Always V(seed).
      type: str
      sample: seed
    name:
      description: Database and file.
      type: str
      sample: portfolio/portfolio.sql
    action:
      description: Always V(create).
      type: str
      sample: create
problems:
  description: Why nothing was written.
  returned: when a database cannot be filled
  type: list
  elements: str
  sample: ["auth: there are rows that no seed made in auth.users"]
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._migration_ledger import LedgerUnusable
from ansible_collections.nexanest.database.plugins.module_utils._seed_plan import Seed, Soil, plan
from ansible_collections.nexanest.database.plugins.module_utils._seed_server import SeedFailed, lock, read, sow

DATABASE_ARGUMENTS = {name: {"type": "str", "required": True} for name in ("name", "session_role", "file", "text")}
ARGUMENTS: dict[str, Any] = {
    **LOGIN_ARGUMENTS,
    "databases": {"type": "list", "elements": "dict", "required": True, "options": DATABASE_ARGUMENTS},
    "users": {"type": "int", "required": True},
    "lock_wait": {"type": "int", "default": 900},
    "collection_version": {"type": "str", "default": "unknown"},
}


class Refused(Exception):
    """Nothing was written anywhere; problems: why."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__(
            f"no sample data was made: {'; '.join(problems)}. It is made once, in empty databases: keep what is there, or begin with an empty stack"
        )


def soils(params: Mapping[str, Any]) -> dict[str, Soil]:
    """What the databases that exist hold."""
    names = [item["name"] for item in params["databases"]]
    with contextlib.closing(connect(params)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_catalog.pg_database WHERE datname = ANY (%s)", (names,))
        present = [row[0] for row in cursor.fetchall()]
    found: dict[str, Soil] = {}
    for name in present:
        with contextlib.closing(connect(params, name)) as connection:
            found[name] = read(connection)
    return found


def planned(params: Mapping[str, Any], found: Mapping[str, Soil]) -> list[Seed]:
    """The seeds to sow; Refused where one has a problem."""
    if params["users"] < 1:
        raise Refused([f"users is {params['users']}; give at least 1"])
    seeds = [Seed(item["name"], item["session_role"], item["file"], item["text"], params["users"]) for item in params["databases"]]
    pending, problems = plan(seeds, found)
    if problems:
        raise Refused(problems)
    return pending


def sow_all(params: Mapping[str, Any], pending: Sequence[Seed]) -> None:
    """One database after the other; each is looked at again under the lock."""
    for seed in pending:
        with contextlib.closing(connect(params, seed.database)) as connection:
            lock(connection, wait=params["lock_wait"])
            still_pending, problems = plan([seed], {seed.database: read(connection)})
            if problems:
                raise Refused(problems)
            if still_pending:
                sow(connection, seed, version=params["collection_version"])


def _result(pending: Sequence[Seed]) -> dict[str, Any]:
    changes = [Change(kind="seed", name=f"{seed.database}/{seed.file}", before=None, after={"users": seed.users, "sha256": seed.sha256}) for seed in pending]
    return {"changed": bool(changes), "diff": diff(changes), "objects": objects(changes), "invocation": {"module_args": {}}}


def main() -> None:
    # no_log: the texts of all files do not belong into the host's log.
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, no_log=True)
    pending: list[Seed] = []
    try:
        pending = planned(module.params, soils(module.params))
        if not module.check_mode:
            sow_all(module.params, pending)
    except Refused as refusal:
        module.fail_json(msg=str(refusal), problems=refusal.problems, **_result([]))
    except (ServerUnreachable, LedgerUnusable, SeedFailed) as error:
        module.fail_json(msg=f"making sample data failed: {error}", **_result([]))
    except STATEMENT_ERROR as error:
        module.fail_json(msg=f"making sample data failed: the databases could not be read: {' '.join(str(error).split())}", **_result([]))
    module.exit_json(**_result(pending))


if __name__ == "__main__":
    main()
