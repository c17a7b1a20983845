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
  - The files lie on the controller. A ledger in each database, the table C(_ledger.migrations), records id, file, SHA-256, who applied it, when, how long it
    took and the collection's version. Only the administrator writes it; every role of the database can read it.
  - Each file runs in one transaction together with its row in the ledger. A file that fails is rolled back, and those before it stay.
  - Before anything is applied to any database, all directories are compared with their ledgers. A file whose text changed after it was applied, a gap, a number
    that is used twice, a file that vanished, and text that is not plain SQL (commands of psql, V(COPY) from a program or from data lines, own transaction
    control, a byte-order mark, Windows line ends, NUL) are refused, all in one message.
  - Two runs at once are safe. One applies, the other waits and then finds nothing left to do.
extends_documentation_fragment:
  - nexanest.database.login
attributes:
  check_mode:
    description: Lists the pending files. A database that is not there yet is planned as an empty one.
    support: full
  diff_mode:
    description: The pending files, by database, with their checksums.
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
          - Files that do not end in C(.sql) and do not start with four digits, and folders, are ignored.
        type: path
        required: true
      session_role:
        description: Role that runs the statements and so owns what they create. The login by default.
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
objects:
  description: The same as a list of objects.
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

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _migration_ledger as ledger
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._migration_apply import MigrationFailed, Options, apply
from ansible_collections.nexanest.database.plugins.module_utils._migration_plan import Applied, File, Plan, plan

if TYPE_CHECKING:
    import psycopg2.extensions

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
            "files": {
                "type": "list",
                "elements": "dict",
                "options": {"name": {"type": "str", "required": True}, "text": {"type": "str", "required": True}},
            },
        },
    },
    "lock_timeout": {"type": "str", "default": "5s"},
    "lock_retries": {"type": "int", "default": 10},
    "lock_wait": {"type": "int", "default": 900},
    "assume_empty": {"type": "bool", "default": False},
    "collection_version": {"type": "str", "default": "unknown"},
}


class Refused(Exception):
    """Nothing was applied anywhere; problems: why."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__(f"no migration was applied: {'; '.join(problems)}")


def read(params: Mapping[str, Any]) -> dict[str, list[Applied]]:
    """The ledgers of the databases that exist."""
    if any(item["files"] is None for item in params["databases"]):
        raise Refused(["the files were not read on the controller; call the module by its full name, nexanest.database.postgres_migrations"])
    names = [item["name"] for item in params["databases"]]
    if params["assume_empty"]:
        return {}
    ledgers: dict[str, list[Applied]] = {}
    for name in _present(params, "SELECT datname FROM pg_database WHERE datname = ANY (%s)", names):
        with contextlib.closing(connect(params, name)) as connection:
            ledgers[name] = ledger.read(connection)
    return ledgers


def plans(params: Mapping[str, Any], ledgers: Mapping[str, Sequence[Applied]]) -> list[Plan]:
    """Every database's plan; Refused where one has a problem."""
    made = [plan(item["name"], [File(**file) for file in item["files"]], ledgers.get(item["name"], [])) for item in params["databases"]]
    problems = [*_bad_options(params), *[problem for one in made for problem in one.problems]]
    if problems:
        raise Refused(problems)
    return made


def apply_all(params: Mapping[str, Any], applied: dict[str, list[str]]) -> None:
    """Lock every database, plan again on what is true now, and apply; `applied` grows with every file."""
    if params["assume_empty"]:
        raise Refused(["assume_empty is for check mode alone"])
    _check_targets(params)
    with _locked(params) as connections:
        now = {name: ledger.read(connection) for name, connection in connections.items()}
        for item, one in zip(params["databases"], plans(params, now), strict=True):
            options = Options(item["session_role"], params["lock_timeout"], params["lock_retries"], params["collection_version"])
            if one.pending:
                ledger.create(connections[one.database])
            for pending in one.pending:
                apply(connections[one.database], one.database, pending, options)
                applied[one.database].append(pending.file.name)


def _bad_options(params: Mapping[str, Any]) -> list[str]:
    names = [item["name"] for item in params["databases"]]
    problems = [f"{name} stands twice in databases; write it once" for name in sorted(set(names)) if names.count(name) > 1]
    if not re.fullmatch(r"[0-9]+\s*(us|ms|s|min|h|d)?", params["lock_timeout"]):
        problems.append(f"lock_timeout is {params['lock_timeout']!r}; write a number and a unit, as 5s or 500ms")
    return problems


def _present(params: Mapping[str, Any], query: str, names: Sequence[str]) -> set[str]:
    with contextlib.closing(connect(params)) as connection, connection.cursor() as cursor:
        cursor.execute(query, (list(names),))
        return {row[0] for row in cursor.fetchall()}


def _check_targets(params: Mapping[str, Any]) -> None:
    """Databases and roles must be there before the first file is applied anywhere."""
    names = {item["name"] for item in params["databases"]}
    roles = {item["session_role"] for item in params["databases"] if item["session_role"]}
    missing = [f"database {name}" for name in sorted(names - _present(params, "SELECT datname FROM pg_database WHERE datname = ANY (%s)", sorted(names)))]
    missing += [f"role {role}" for role in sorted(roles - _present(params, "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", sorted(roles)))]
    if missing:
        raise Refused([f"{what} does not exist; converge it with postgres_databases first" for what in missing])


@contextlib.contextmanager
def _locked(params: Mapping[str, Any]) -> Iterator[dict[str, psycopg2.extensions.connection]]:
    """A session with the lock on every database; in the order of names, so that two runs cannot wait for each other."""
    with contextlib.ExitStack() as stack:
        connections: dict[str, psycopg2.extensions.connection] = {}
        for name in sorted(item["name"] for item in params["databases"]):
            connections[name] = stack.enter_context(contextlib.closing(connect(params, name)))
            ledger.lock(connections[name], wait=params["lock_wait"])
        yield connections


def _changes(params: Mapping[str, Any], applied: Mapping[str, Sequence[str]]) -> list[Change]:
    files = {(item["name"], file["name"]): File(**file) for item in params["databases"] for file in item["files"] or []}
    return [
        Change(kind="migration", name=f"{database}/{name}", before=None, after={"sha256": files[database, name].sha256})
        for database, names in applied.items()
        for name in names
    ]


def _result(params: Mapping[str, Any], applied: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    changes = _changes(params, applied)
    # The texts of all files would come back with every result otherwise.
    invocation = {"module_args": {"databases": [item["name"] for item in params["databases"]]}}
    return {"changed": bool(changes), "diff": diff(changes), "objects": objects(changes), "applied": applied, "invocation": invocation}


def main() -> None:
    # no_log: the texts of all files do not belong into the host's log.
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, no_log=True)
    params = module.params
    applied: dict[str, list[str]] = {item["name"]: [] for item in params["databases"]}
    try:
        planned = {one.database: [pending.file.name for pending in one.pending] for one in plans(params, read(params))}
        if module.check_mode:
            applied = planned
        elif any(planned.values()):
            apply_all(params, applied)
    except Refused as refusal:
        module.fail_json(msg=str(refusal), problems=refusal.problems, **_result(params, applied))
    except (ServerUnreachable, ledger.LedgerUnusable, MigrationFailed) as error:
        module.fail_json(msg=str(error), **_result(params, applied))
    except STATEMENT_ERROR as error:
        module.fail_json(msg=f"postgres_migrations: the ledger could not be read or made: {' '.join(str(error).split())}", **_result(params, applied))
    module.exit_json(**_result(params, applied))


if __name__ == "__main__":
    main()
