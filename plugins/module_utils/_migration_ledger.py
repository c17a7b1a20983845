# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of one database, `_ledger.migrations`: what was applied, and the lock of the run that applies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ansible_collections.nexanest.database.plugins.module_utils._migration_plan import Applied, File, Ledger

if TYPE_CHECKING:
    import psycopg2.extensions

# One number for all versions of the collection; advisory locks are kept per database.
LOCK = 7_020_664_726_153_081

_CREATE = """
CREATE SCHEMA IF NOT EXISTS _ledger;
COMMENT ON SCHEMA _ledger IS 'What nexanest.database applied to this database; only the administrator writes it';
GRANT USAGE ON SCHEMA _ledger TO PUBLIC;
CREATE TABLE IF NOT EXISTS _ledger.migrations (
    id integer PRIMARY KEY CHECK (id > 0),
    file text NOT NULL UNIQUE,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    applied_by text NOT NULL,
    started timestamptz NOT NULL,
    duration interval NOT NULL,
    collection_version text NOT NULL
);
DO $$ BEGIN  -- IF NOT EXISTS would wait for everybody who reads the ledger, a backup too
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = '_ledger.migrations'::regclass AND attname = 'baseline') THEN
        ALTER TABLE _ledger.migrations ADD COLUMN baseline boolean NOT NULL DEFAULT false;
    END IF;
END $$;
COMMENT ON TABLE _ledger.migrations IS 'One row per applied migration file, written in the transaction that applied it';
COMMENT ON COLUMN _ledger.migrations.baseline IS 'The file was not run: the schema was there and equal to what it makes';
CREATE TABLE IF NOT EXISTS _ledger.repeatable (
    file text PRIMARY KEY,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    text text NOT NULL,
    applied_by text NOT NULL,
    started timestamptz NOT NULL,
    duration interval NOT NULL,
    collection_version text NOT NULL
);
COMMENT ON TABLE _ledger.repeatable IS 'One row per repeatable file, with the text that ran last';
CREATE TABLE IF NOT EXISTS _ledger.catalog (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    form text NOT NULL,
    sha256 text NOT NULL,
    taken timestamptz NOT NULL
);
COMMENT ON TABLE _ledger.catalog IS 'Fingerprint of the catalog when it was known to be what the migrations make; empty: it was not';
GRANT SELECT ON ALL TABLES IN SCHEMA _ledger TO PUBLIC;
"""

# The owner of a database may create schemas: a ledger that it made could hold triggers that run as the administrator.
_OWNERS = """
SELECT coalesce((array_agg(t.rolname) FILTER (WHERE NOT t.rolsuper))[1], o.rolname),
  o.rolsuper AND coalesce(bool_and(t.rolsuper), true), coalesce(array_agg(c.relname::text) FILTER (WHERE c.oid IS NOT NULL), '{}')
FROM pg_catalog.pg_namespace n
JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname IN ('migrations', 'repeatable', 'catalog')
LEFT JOIN pg_catalog.pg_roles t ON t.oid = c.relowner
WHERE n.nspname = '_ledger'
GROUP BY o.rolname, o.rolsuper
"""

_HOLDER = """
SELECT l.pid FROM pg_catalog.pg_locks l
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND (l.classid::bigint << 32) | l.objid::bigint = %s
"""


_RECORD = """
INSERT INTO _ledger.migrations (file, sha256, applied_by, started, duration, collection_version, id, baseline)
VALUES (%s, %s, session_user, %s, pg_catalog.clock_timestamp() - %s, %s, %s, %s)
"""

_RECORD_REPEATABLE = """
INSERT INTO _ledger.repeatable (file, sha256, applied_by, started, duration, collection_version, text)
VALUES (%s, %s, session_user, %s, pg_catalog.clock_timestamp() - %s, %s, %s)
ON CONFLICT (file) DO UPDATE SET sha256 = excluded.sha256, text = excluded.text, applied_by = excluded.applied_by, started = excluded.started,
  duration = excluded.duration, collection_version = excluded.collection_version
"""


class LedgerUnusable(Exception):
    """The ledger cannot be trusted or locked; the text says why and what to do."""


def tables(connection: psycopg2.extensions.connection) -> set[str]:
    """Which tables of the ledger there are; LedgerUnusable where somebody else than an administrator could have made them."""
    with connection.cursor() as cursor:
        cursor.execute(_OWNERS)
        found = cursor.fetchone()
    if found is None:
        return set()
    if not found[1]:
        raise LedgerUnusable(
            f"{connection.info.dbname}: the schema _ledger or its table belongs to {found[0]}, which is no superuser: not our ledger; rename it"
        )
    return set(found[2])


def read(connection: psycopg2.extensions.connection) -> Ledger:
    """All rows, in one query per table; none where there is no ledger yet."""
    present = tables(connection)
    with connection.cursor() as cursor:
        applied: list[Applied] = []
        repeated: list[File] = []
        if "migrations" in present:
            cursor.execute("SELECT id, file, sha256 FROM _ledger.migrations ORDER BY id")
            applied = [Applied(*row) for row in cursor.fetchall()]
        if "repeatable" in present:
            cursor.execute("SELECT file, text FROM _ledger.repeatable ORDER BY file")
            repeated = [File(*row) for row in cursor.fetchall()]
    return Ledger(tuple(applied), tuple(repeated))


def create(connection: psycopg2.extensions.connection) -> None:
    """Make the ledger where it is missing; the caller holds the lock."""
    with connection.cursor() as cursor:
        cursor.execute(_CREATE)


def lock(connection: psycopg2.extensions.connection, *, wait: float) -> None:
    """Take the database's lock for this session.

    Asked for again and again: a session that waits inside pg_advisory_lock() keeps a snapshot open, and a
    CREATE INDEX CONCURRENTLY of the run that holds the lock would wait for that snapshot: a deadlock.
    """
    deadline = time.monotonic() + wait
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", (LOCK,))
            row = cursor.fetchone()
            if row is not None and row[0]:
                return
            if time.monotonic() > deadline:
                cursor.execute(_HOLDER, (LOCK,))
                pids = ", ".join(str(holder[0]) for holder in cursor.fetchall()) or "one that has just ended"
                raise LedgerUnusable(f"{connection.info.dbname}: another run has been applying for {wait:.0f} s (server process {pids}); wait and run again")
            time.sleep(0.2)


def record(connection: psycopg2.extensions.connection, file: File, *, started: datetime, version: str) -> None:
    """Write the row of a file, in the transaction that is open, if one is."""
    values = (file.name, file.sha256, started, started, version)
    with connection.cursor() as cursor:
        if file.repeatable:
            cursor.execute(_RECORD_REPEATABLE, (*values, file.text))
        else:
            cursor.execute(_RECORD, (*values, file.number, False))


def forget(connection: psycopg2.extensions.connection, names: Sequence[str]) -> None:
    """Repeatable files that are gone are not part of what the files make."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM _ledger.repeatable WHERE file = ANY (%s)", (list(names),))


def adopt(connection: psycopg2.extensions.connection, ledger: Ledger, *, version: str) -> None:
    """Record files as applied that were not run; all or none."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT pg_catalog.clock_timestamp()")
        moment = cursor.fetchall()[0][0]
        for row in ledger.applied:
            cursor.execute(_RECORD, (row.name, row.sha256, moment, moment, version, row.number, True))
        for file in ledger.repeated:
            cursor.execute(_RECORD_REPEATABLE, (file.name, file.sha256, moment, moment, version, file.text))
        cursor.execute("COMMIT")
