#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply versioned SQL files exactly once each."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgres_migrations
short_description: Apply versioned SQL files to databases, each exactly once
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - Applies the files C(NNNN_what.sql) of a directory to a database, in the order of their numbers, each exactly once, to one or several databases in one call.
  - Files C(R_what.sql) are repeatable. They run after the others, in the order of their names, whenever their text is not the one that ran last.
  - The files lie on the controller. A ledger in each database, the table C(_ledger.migrations), records id, file, SHA-256, who applied it, when, how long it
    took and the collection's version. Only the administrator writes it; every role of the database can read it.
  - A repeatable file that is gone from the directory is forgotten by the next run that applies something. Drop what it made in a numbered file, with
    C(IF EXISTS).
  - Each file runs in one transaction together with its row in the ledger. A file that fails is rolled back, and those before it stay.
  - Before anything is applied to any database, all directories are compared with their ledgers. A file whose text changed after it was applied, a gap, a number
    that is used twice, a file that vanished, and text that is not plain SQL (commands of psql, V(COPY) from a program or from data lines, own transaction
    control, a byte-order mark, Windows line ends, NUL) are refused, all in one message.
  - Two runs at once are safe. One applies, the other waits and then finds nothing left to do.
  - The ledger also keeps a fingerprint of the catalog. Where it is not known whether a catalog is what its files make (it was changed by hand before
    a file was applied, or the fingerprint is of an older form), a run compares it with what the files make in O(shadow), and warns of a difference.
extends_documentation_fragment:
  - nexanest.database.login
  - nexanest.database.shadow
attributes:
  check_mode:
    description:
      - The applied files are run again in O(shadow), then the pending ones. One that fails there fails the task, with the words that a run would have.
      - A file whose effect hangs on the rows that are there (a unique index over duplicates) cannot be predicted.
      - Without O(shadow), or where its image is not there yet, the pending files are listed. A database that is not there yet is planned as an empty one.
    support: full
  diff_mode:
    description:
      - The files with their checksums, then the difference of the catalogs before and after, object by object.
      - In check mode the catalogs are those of O(shadow).
    support: full
  idempotent:
    description: A file in the ledger is never run again.
    support: full
options:
  databases:
    description: The databases and where their files are.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the database. It must exist when files are to be applied.
        type: str
        required: true
      directory:
        description:
          - Directory on the controller that holds the files. A relative one is looked for beside the inventory, then beside the playbook.
          - Files that do not end in C(.sql) and start neither with four digits nor with C(R_), and folders, are ignored.
        type: path
        required: true
      session_role:
        description: Role that runs the statements and so owns what they create. The login by default.
        type: str
      baseline:
        description:
          - Number of a file. Where the database holds something but has no ledger, its catalog is compared with what the files up to this one make in
            O(shadow). If they are equal, these files are recorded as applied, else the run is refused with the differences.
          - A database with a ledger, and one with nothing in it, is treated as without it.
        type: int
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
  lock_timeout:
    description:
      - How long a statement waits for a lock, in PostgreSQL's units.
      - A migration must not queue behind a long query, because everybody else would queue behind it.
      - It does not hold for V(CONCURRENTLY), which blocks nobody.
    type: str
    default: 5s
  lock_retries:
    description: How often a file is tried again after O(lock_timeout) or a deadlock, with a pause of 1 to 5 seconds before each.
    type: int
    default: 10
  lock_wait:
    description: Seconds to wait for another run that applies migrations.
    type: int
    default: 900
  assume_empty:
    description: Plan as for an empty ledger, without a connection. For check mode where there is no server yet; outside check mode it is refused.
    type: bool
    default: false
  collection_version:
    description: Recorded in the ledger. Filled in by the action plugin.
    type: str
    default: unknown
notes:
  - Files are trusted. O(databases[].session_role) makes what they create belong to it, and is no border. A file that says C(RESET ROLE) acts as the login.
  - M(nexanest.database.postgres_schema_info) tells in which objects a database differs from what its files make.
  - "The line C(-- migration: no-transaction) in a file runs its one statement outside a transaction, as C(CREATE INDEX CONCURRENTLY IF NOT EXISTS) needs.
    An invalid index of that name, left by a failure or a crash, is dropped before it."
"""

EXAMPLES = r"""
- name: Apply the migrations of two databases
  nexanest.database.postgres_migrations:
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
      - name: portfolio
        directory: migrations/portfolio
        session_role: portfolio_owner
        baseline: 3
    shadow:
      image: nexanest-database/postgres:17
      uid: 999
      gid: 999
      preload_libraries: [pg_stat_statements]
      databases: "{{ data_model_postgres_databases }}"
      label: nexanest.database.stack=nexanest
      memory_mb: 1024
    lock_timeout: 5s
    lock_retries: 10
    lock_wait: 900

- name: Show what a server that does not exist yet would get
  nexanest.database.postgres_migrations:
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    databases: "{{ data_model_migrations }}"
    assume_empty: true
  check_mode: true
"""

RETURN = r"""
applied:
  description: Files applied by this run, or in check mode those that would be, by database.
  returned: always
  type: dict
  sample:
    auth: [0001_users.sql, 0002_tokens.sql]
    portfolio: []
adopted:
  description: Files recorded as applied without running them (O(databases[].baseline)), by database.
  returned: always
  type: dict
  sample:
    portfolio: [0001_portfolios.sql]
prediction:
  description: How the difference was predicted. C(by) is V(shadow), or V(files) where only the names of the files are known and C(reason) says why.
  returned: always; empty outside check mode and where nothing is pending
  type: dict
  sample: {by: files, reason: "the image nexanest-database/postgres:17 is not on this host yet"}
objects:
  description: The files as a list of objects.
  returned: always
  type: list
  elements: dict
  sample:
    - kind: migration
      name: auth/0001_users.sql
      action: create
problems:
  description: Why nothing was applied.
  returned: when the files and the ledger do not fit
  type: list
  elements: str
  sample: ["auth: 0002 is missing before 0003_tokens.sql; numbers have no gaps"]
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._migration_apply import MigrationFailed
from ansible_collections.nexanest.database.plugins.module_utils._migration_ledger import LedgerUnusable
from ansible_collections.nexanest.database.plugins.module_utils._migration_options import FILES_ARGUMENT, SHADOW_ARGUMENT, Refused
from ansible_collections.nexanest.database.plugins.module_utils._migration_plan import File
from ansible_collections.nexanest.database.plugins.module_utils._migration_run import Run

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
            "baseline": {"type": "int"},
            "files": FILES_ARGUMENT,
        },
    },
    "shadow": SHADOW_ARGUMENT,
    "lock_timeout": {"type": "str", "default": "5s"},
    "lock_retries": {"type": "int", "default": 10},
    "lock_wait": {"type": "int", "default": 900},
    "assume_empty": {"type": "bool", "default": False},
    "collection_version": {"type": "str", "default": "unknown"},
}


def _changes(params: Mapping[str, Any], names: Mapping[str, Sequence[str]], kind: str) -> list[Change]:
    files = {(item["name"], file["name"]): File(**file) for item in params["databases"] if names[item["name"]] for file in item["files"] or []}
    return [
        Change(kind=kind, name=f"{database}/{name}", before=None, after={"sha256": files[database, name].sha256})
        for database, listed in names.items()
        for name in listed
    ]


def _result(params: Mapping[str, Any], run: Run) -> dict[str, Any]:
    done = run.outcome
    files = [*_changes(params, done.adopted, "baseline"), *_changes(params, done.applied, "migration")]
    # The texts of all files would come back with every result otherwise.
    invocation = {"module_args": {"databases": [item["name"] for item in params["databases"]]}}
    result = {"changed": bool(files), "diff": diff([*files, *done.catalog]), "objects": objects(files), "applied": done.applied, "adopted": done.adopted}
    return {**result, "prediction": done.prediction, "invocation": invocation}


def main() -> None:
    # no_log: the texts of all files do not belong into the host's log.
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, no_log=True)
    params = module.params
    run = Run(params)
    try:
        run.forecast() if module.check_mode else run.perform()
    except Refused as refusal:
        module.fail_json(msg=str(refusal), problems=refusal.problems, **_result(params, run))
    except (ServerUnreachable, LedgerUnusable, MigrationFailed) as error:
        module.fail_json(msg=str(error), **_result(params, run))
    except STATEMENT_ERROR as error:
        module.fail_json(
            msg=f"postgres_migrations: the ledger or the catalog could not be read or written: {' '.join(str(error).split())}", **_result(params, run)
        )
    for warning in run.outcome.warnings:
        module.warn(warning)
    module.exit_json(**_result(params, run))


if __name__ == "__main__":
    main()
