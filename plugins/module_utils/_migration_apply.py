# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One migration applied: its statements and its row in the ledger, in one transaction."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _migration_ledger as ledger
from ansible_collections.nexanest.database.plugins.module_utils._migration_plan import Pending
from ansible_collections.nexanest.database.plugins.module_utils._migration_sql import Statement
from ansible_collections.nexanest.database.plugins.module_utils._migration_text import concurrent_index

try:
    import psycopg2
    from psycopg2 import extensions, sql
except ImportError:  # _connection.connect() says so
    pass

_RETRIED = {"55P03": "a lock was not free within lock_timeout", "40P01": "a deadlock"}
_NOT_IN_TRANSACTION = "25001"

# Each file starts as in a fresh session, whatever the one before it left; the guard rails of roles and databases are for applications.
_FRESH = (
    *("SET SESSION AUTHORIZATION DEFAULT", "SET ROLE NONE", "RESET ALL"),
    *("CLOSE ALL", "UNLISTEN *", "DEALLOCATE ALL", "DISCARD TEMP", "DISCARD SEQUENCES"),
)
_SESSION = {
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "client_connection_check_interval": "5s",  # a killed run must not keep its locks until a long statement ends
}

# Only an index that nobody is building now; the name is enough, because a valid one is never touched. The server cuts long names, as the cast does.
_INVALID_INDEX = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relname = (pg_catalog.parse_ident(%s))[1]::name
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
"""


class MigrationFailed(Exception):
    """A file failed and was rolled back; what: file, line, statement and PostgreSQL's words; then: what that means for the database; code: SQLSTATE."""

    def __init__(self, what: str, then: str, code: str | None = None) -> None:
        self.what = what
        self.code = code
        super().__init__(f"{what}. {then}")


@dataclass(frozen=True)
class Options:
    """How migrations are run; session_role: who owns what they create (None: the login)."""

    session_role: str | None
    lock_timeout: str
    lock_retries: int
    version: str


def apply(connection: psycopg2.extensions.connection, database: str, pending: Pending, options: Options) -> None:
    """Apply one file on an autocommit connection that holds the ledger's lock; MigrationFailed where it cannot."""
    run = _transaction if pending.migration.transaction else _without_transaction
    for attempt in range(options.lock_retries + 1):
        progress = _Progress(database, pending)
        try:
            fresh_session(connection)
            run(connection, pending, options, progress)
            return
        except psycopg2.Error as error:
            if connection.closed:
                raise progress.lost(error) from error
            _clean_up(connection, pending)
            if error.pgcode not in _RETRIED or attempt == options.lock_retries:
                raise progress.failed(error, attempt + 1) from error
            time.sleep(min(attempt + 1, 5))


@dataclass
class _Progress:
    """Which statement runs, for the message."""

    database: str
    pending: Pending
    statement: Statement | None = None
    begun: bool = False

    @property
    def file(self) -> str:
        return f"{self.database}/{self.pending.file.name}"

    def failed(self, error: psycopg2.Error, attempts: int) -> MigrationFailed:
        end = "It was rolled back" if self.pending.migration.transaction else "It has no transaction, so look at what it left"
        again = (
            f" Tried {attempts} times: {_RETRIED[error.pgcode]}; run again when the long query or transaction has ended." if error.pgcode in _RETRIED else ""
        )
        what = f"migration {self.file} failed at {self._where(error)}: {_words(error)}"
        return MigrationFailed(what, f"{end}; what was applied before it stays.{again}", error.pgcode)

    def lost(self, error: psycopg2.Error) -> MigrationFailed:
        what = f"migration {self.file}: the connection was lost at {self._where(error)}: {_words(error)}"
        return MigrationFailed(what, "Run again: the ledger tells what was applied")

    def _where(self, error: psycopg2.Error) -> str:
        if not self.begun:
            return "its start, before its first statement"
        if self.statement is None:
            return "its end, when deferred constraints were checked and the ledger was written"
        position = error.diag.statement_position
        line = self.statement.line_at(int(position)) if position else self.statement.line
        return f"line {line}, `{self.statement.head}`"


def _words(error: psycopg2.Error) -> str:
    """PostgreSQL's own words on one line."""
    diagnosis = error.diag
    parts = [diagnosis.message_primary or str(error).strip().rstrip("."), diagnosis.message_detail, diagnosis.message_hint]
    if error.pgcode == _NOT_IN_TRANSACTION:
        parts.append("start the file with the line `-- migration: no-transaction`")
    text = "; ".join(" ".join(part.split()) for part in parts if part)
    return f"{text} ({error.pgcode})" if error.pgcode else text


def fresh_session(connection: psycopg2.extensions.connection) -> None:
    """The login's own session again: nothing that a file left in it, and no guard rails that are for applications."""
    with connection.cursor() as cursor:
        for statement in _FRESH:
            cursor.execute(statement)
        cursor.execute(
            "SELECT pg_catalog.set_config(name, %s::jsonb ->> name, false) FROM pg_catalog.pg_settings WHERE name = ANY (%s)",
            (json.dumps(_SESSION), list(_SESSION)),
        )


def _transaction(connection: psycopg2.extensions.connection, pending: Pending, options: Options, progress: _Progress) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        started = _now(cursor)
        cursor.execute("SELECT pg_catalog.set_config('lock_timeout', %s, true)", (options.lock_timeout,))
        _become(cursor, options.session_role)
        progress.begun = True
        for progress.statement in pending.migration.statements:
            cursor.execute(progress.statement.text)
        # Triggers that wait for the commit would run as the administrator.
        progress.statement = None
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        _administrator(cursor)
        if connection.info.transaction_status != extensions.TRANSACTION_STATUS_INTRANS:
            raise MigrationFailed(f"migration {progress.file} ended its own transaction", "Remove what does it")
        ledger.record(connection, pending.file, started=started, version=options.version)
        cursor.execute("COMMIT")


def _without_transaction(connection: psycopg2.extensions.connection, pending: Pending, options: Options, progress: _Progress) -> None:
    statement = pending.migration.statements[0]
    _drop_invalid_index(connection, statement)
    with connection.cursor() as cursor:
        started = _now(cursor)
        # CONCURRENTLY waits for old transactions without blocking anybody: a timeout would only leave an invalid index.
        timeout = "0" if "CONCURRENTLY" in statement.words else options.lock_timeout
        cursor.execute("SELECT pg_catalog.set_config('lock_timeout', %s, false)", (timeout,))
        _become(cursor, options.session_role)
        progress.begun, progress.statement = True, statement
        cursor.execute(statement.text)
        progress.statement = None
        _administrator(cursor)
        ledger.record(connection, pending.file, started=started, version=options.version)


def _become(cursor: Any, role: str | None) -> None:
    if role:
        cursor.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))


def _administrator(cursor: Any) -> None:
    """Back to the login, away from functions that the migration may have put into a search_path, and to what texts are read by."""
    for statement in (
        *("SET SESSION AUTHORIZATION DEFAULT", "SET ROLE NONE", "SET search_path = pg_catalog"),
        *("SET client_encoding = 'UTF8'", "SET standard_conforming_strings = on", "SET statement_timeout = 0"),
    ):
        cursor.execute(statement)


def _now(cursor: Any) -> datetime:
    cursor.execute("SELECT pg_catalog.clock_timestamp()")
    moment: datetime = cursor.fetchone()[0]
    return moment


def _clean_up(connection: psycopg2.extensions.connection, pending: Pending) -> None:
    """After a failure: no open transaction, and no invalid index that costs every write."""
    with connection.cursor() as cursor:
        cursor.execute("ROLLBACK")
    fresh_session(connection)
    if not pending.migration.transaction:
        _drop_invalid_index(connection, pending.migration.statements[0])


def _drop_invalid_index(connection: psycopg2.extensions.connection, statement: Statement) -> None:
    """A failed CONCURRENTLY leaves an invalid index, and IF NOT EXISTS then takes it for the wanted one."""
    name = concurrent_index(statement)
    if name is None:
        return
    with connection.cursor() as cursor:
        cursor.execute(_INVALID_INDEX, (name,))
        for schema, index in cursor.fetchall():
            cursor.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(schema, index)))
