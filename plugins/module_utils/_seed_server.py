# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sample data of one database: what is there, and sowing it in one transaction with its row in `_ledger.seeds`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _migration_ledger as ledger
from ansible_collections.nexanest.database.plugins.module_utils._migration_sql import Statement
from ansible_collections.nexanest.database.plugins.module_utils._migration_text import UnfitText, parse
from ansible_collections.nexanest.database.plugins.module_utils._seed_plan import Seed, Soil, Sown

try:
    import psycopg2
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

_CREATE = """
CREATE SCHEMA IF NOT EXISTS _ledger;
CREATE TABLE IF NOT EXISTS _ledger.seeds (
    file text PRIMARY KEY,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    users integer NOT NULL CHECK (users > 0),
    applied_by text NOT NULL,
    started timestamptz NOT NULL,
    duration interval NOT NULL,
    collection_version text NOT NULL
);
COMMENT ON TABLE _ledger.seeds IS 'The sample data of this database, written in the transaction that made it; no row: none was made';
"""

# Who may make a schema could have made this one: a trigger in it would run as the administrator.
_STRANGER = """
SELECT r.rolname FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'seeds'
JOIN pg_catalog.pg_roles r ON r.oid IN (n.nspowner, c.relowner)
WHERE n.nspname = '_ledger' AND NOT r.rolsuper
"""

_GUARDED = """
SELECT n.nspname, c.relname, c.relforcerowsecurity, c.relkind = 'p'
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relrowsecurity AND c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2
"""

# Millions of rows take longer than any guard rail for applications allows, and a lost sample is made again.
_SETTINGS = {
    "lock_timeout": "30s",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "synchronous_commit": "off",
    "standard_conforming_strings": "on",
}


class SeedFailed(Exception):
    """Nothing was sown in this database; the text gives file, line, statement and PostgreSQL's words."""


def read(connection: psycopg2.extensions.connection) -> Soil:
    """What one database holds."""
    with connection.cursor() as cursor:
        cursor.execute(_STRANGER)
        stranger = cursor.fetchone()
        if stranger is not None:
            raise SeedFailed(f"{connection.info.dbname}: the schema _ledger or its table belongs to {stranger[0]}, which is no superuser: rename it")
        cursor.execute("SELECT pg_catalog.to_regclass('_ledger.seeds') IS NOT NULL")
        sown: tuple[Sown, ...] = ()
        if _one(cursor):
            cursor.execute("SELECT file, sha256, users FROM _ledger.seeds ORDER BY started")
            sown = tuple(Sown(*row) for row in cursor.fetchall())
        cursor.execute(_GUARDED)
        tables = [(schema, table) for schema, table, _forced, parent in cursor.fetchall() if not parent]
        return Soil(sown, tuple(f"{schema}.{table}" for schema, table in tables if _filled(cursor, schema, table)))


def sow(connection: psycopg2.extensions.connection, seed: Seed, *, version: str) -> None:
    """Run a seed on an autocommit connection of the administrator, who holds the ledger's lock."""
    try:
        statements = parse(seed.text).statements
    except UnfitText as error:
        raise SeedFailed(f"{seed.database}: {seed.file}: {error}") from error
    running: list[Statement] = []
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            _sow(cursor, seed, statements, running)
            cursor.execute(
                "INSERT INTO _ledger.seeds (file, sha256, users, applied_by, started, duration, collection_version)"
                " VALUES (%s, %s, %s, session_user, pg_catalog.now(), pg_catalog.clock_timestamp() - pg_catalog.now(), %s)",
                (seed.file, seed.sha256, seed.users, version),
            )
            cursor.execute("COMMIT")
            cursor.execute("ANALYZE")
    except psycopg2.Error as error:
        if not connection.closed:
            connection.rollback()
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
        raise SeedFailed(f"{seed.database}: {seed.file} failed {_where(error, running)}; it was rolled back") from error


def _sow(cursor: Any, seed: Seed, statements: Sequence[Statement], running: list[Statement]) -> None:
    """The statements as the owner, whom row security does not hold meanwhile: nobody else sees the tables in this state."""
    cursor.execute(_CREATE)
    for name, value in _SETTINGS.items():
        cursor.execute("SELECT pg_catalog.set_config(name, %s, true) FROM pg_catalog.pg_settings WHERE name = %s", (value, name))
    cursor.execute(_GUARDED)
    forced = [sql.Identifier(schema, table) for schema, table, is_forced, _parent in cursor.fetchall() if is_forced]
    _each(cursor, "ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", forced)
    cursor.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(seed.session_role)))
    cursor.execute("SET LOCAL search_path = DEFAULT")
    cursor.execute("SELECT pg_catalog.set_config('seed.users', %s, true)", (str(seed.users),))
    for statement in statements:
        running[:] = [statement]
        cursor.execute(statement.text)
    running.clear()
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what waits for the commit would run as the administrator
    for reset in ("SET LOCAL SESSION AUTHORIZATION DEFAULT", "SET LOCAL ROLE NONE", "SET LOCAL search_path = pg_catalog"):
        cursor.execute(reset)
    _each(cursor, "ALTER TABLE {} FORCE ROW LEVEL SECURITY", forced)


def _each(cursor: Any, template: str, tables: Sequence[sql.Identifier]) -> None:
    for table in tables:
        cursor.execute(sql.SQL(template).format(table))


def _filled(cursor: Any, schema: str, table: str) -> bool:
    cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(schema, table)))
    return _one(cursor)


def _one(cursor: Any) -> bool:
    return bool(cursor.fetchone()[0])


def _where(error: psycopg2.Error, running: Sequence[Statement]) -> str:
    """Line, statement, and PostgreSQL's own words on one line."""
    diagnosis = error.diag
    words = "; ".join(" ".join(part.split()) for part in (diagnosis.message_primary or str(error), diagnosis.message_detail) if part)
    if not running:
        return f"outside its statements: {words}"
    position = diagnosis.statement_position
    line = running[0].line_at(int(position)) if position else running[0].line
    return f"at line {line}, `{running[0].head}`: {words}"


lock = ledger.lock
