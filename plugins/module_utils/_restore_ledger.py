# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database is which: a table in the server's own database `postgres`, because a name has no room for it. Databases are known by their numbers (oid).

A row is written before its database is made, and changed in the very transaction that renames it: what it says is true at any instant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg2.extensions

try:
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

# State of a row. side: being made, or made and never swapped in; live: swapped in; undone: it was, and is not any more.
SIDE, LIVE, UNDONE = "side", "live", "undone"

# One number for all versions of the collection.
LOCK = 7_020_664_726_153_082

_CREATE = """
CREATE SCHEMA IF NOT EXISTS _restore;
COMMENT ON SCHEMA _restore IS 'What restores of nexanest.database made of this server''s databases; only the administrator reads and writes it';
REVOKE ALL ON SCHEMA _restore FROM PUBLIC;
CREATE TABLE IF NOT EXISTS _restore.databases (
    restore text NOT NULL CHECK (restore ~ '^[0-9a-f]{8}$'),
    number integer NOT NULL CHECK (number > 0),
    set_id text NOT NULL,
    set_sha256 text NOT NULL,
    source text NOT NULL,
    name text NOT NULL,
    state text NOT NULL CHECK (state IN ('side', 'live', 'undone')),
    side_oid oid,
    old_oid oid,
    closed boolean NOT NULL DEFAULT false,
    conn_limit integer NOT NULL,
    jobs integer[] NOT NULL DEFAULT '{}',
    mark text,
    made timestamptz NOT NULL DEFAULT now(),
    swapped timestamptz,
    PRIMARY KEY (restore, number)
);
DO $$ BEGIN  -- a ledger of an older version
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = '_restore.databases'::regclass AND attname = 'mapping') THEN
        ALTER TABLE _restore.databases ADD COLUMN mapping text NOT NULL DEFAULT '';
    END IF;
END $$;
COMMENT ON TABLE _restore.databases IS 'One row per restored database; _restore_<restore>_<number> is the copy, with the ending _old the one that it replaced';
COMMENT ON COLUMN _restore.databases.source IS 'Name of the database in the set';
COMMENT ON COLUMN _restore.databases.name IS 'Name under which it is, or shall be, in use';
COMMENT ON COLUMN _restore.databases.closed IS 'The databases were closed to connections for a swap that has not ended';
COMMENT ON COLUMN _restore.databases.jobs IS 'Jobs of TimescaleDB that start again when the copy is in use';
COMMENT ON COLUMN _restore.databases.mark IS 'What the copy was like when it was swapped in';
COMMENT ON COLUMN _restore.databases.mapping IS 'Roles that have another name than in the set, as JSON; empty where none has';
"""

# Who owns the database could have made this schema: a trigger in it would run as the administrator.
_STRANGER = """
SELECT r.rolname FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'databases'
JOIN pg_catalog.pg_roles r ON r.oid IN (n.nspowner, c.relowner)
WHERE n.nspname = '_restore' AND NOT r.rolsuper
"""

_READ = """
SELECT restore, number, set_id, set_sha256, source, name, state, side_oid, old_oid, closed, conn_limit, jobs, mark, swapped::text,
  coalesce(to_jsonb(d) ->> 'mapping', '')
FROM _restore.databases d WHERE %(restore)s IS NULL OR restore = %(restore)s ORDER BY d.swapped, made, number
"""


class LedgerUnusable(Exception):
    """The ledger is not the administrator's; the text says whose."""


@dataclass(frozen=True)
class Row:
    """One restored database."""

    restore: str
    number: int
    set_id: str
    set_sha256: str
    source: str
    name: str
    state: str
    side_oid: int | None
    old_oid: int | None
    closed: bool
    conn_limit: int
    jobs: list[int]
    mark: str | None
    swapped: str | None
    mapping: str

    @property
    def side(self) -> str:
        return side_name(self.restore, self.number)

    @property
    def old(self) -> str:
        return f"{self.side}_old"


def side_name(restore: str, number: int) -> str:
    """Short, because PostgreSQL cuts a name after 63 bytes without a word."""
    return f"_restore_{restore}_{number}"


def create(session: psycopg2.extensions.connection) -> None:
    with session.cursor() as cursor:
        _refuse_stranger(cursor)
        cursor.execute(_CREATE)


def rows(session: psycopg2.extensions.connection, restore: str | None = None) -> list[Row]:
    """All rows, or those of one restore, the latest swap last; none where nothing was ever restored."""
    with session.cursor() as cursor:
        _refuse_stranger(cursor)
        cursor.execute("SELECT pg_catalog.to_regclass('_restore.databases') IS NOT NULL")
        if not cursor.fetchall()[0][0]:
            return []
        cursor.execute(_READ, {"restore": restore})
        return [Row(*row) for row in cursor.fetchall()]


def add(session: psycopg2.extensions.connection, values: Mapping[str, Any]) -> None:
    statement = sql.SQL("INSERT INTO _restore.databases ({}) VALUES ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(map(sql.Placeholder, values))
    )
    with session.cursor() as cursor:
        cursor.execute(statement, dict(values))


def change(cursor: Any, row: Row, **values: Any) -> None:
    assignments = [sql.SQL("{} = {}").format(sql.Identifier(key), sql.Placeholder(key)) for key in values]
    statement = sql.SQL("UPDATE _restore.databases SET {} WHERE restore = %(_restore)s AND number = %(_number)s").format(sql.SQL(", ").join(assignments))
    cursor.execute(statement, {**values, "_restore": row.restore, "_number": row.number})


def forget(cursor: Any, row: Row) -> None:
    cursor.execute("DELETE FROM _restore.databases WHERE restore = %s AND number = %s", (row.restore, row.number))


def names(cursor: Any, oids: Sequence[int | None]) -> dict[int, str]:
    """Names of the databases of these numbers, of those that exist."""
    cursor.execute("SELECT oid, datname FROM pg_catalog.pg_database WHERE oid = ANY (%s::oid[])", ([oid for oid in oids if oid is not None],))
    return dict(cursor.fetchall())


def _refuse_stranger(cursor: Any) -> None:
    cursor.execute(_STRANGER)
    for (stranger,) in cursor.fetchall()[:1]:
        raise LedgerUnusable(f"the schema _restore of the database postgres, or its table, belongs to {stranger}, which is no superuser: rename it")
