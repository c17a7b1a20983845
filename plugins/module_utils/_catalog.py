# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a database: a snapshot of its catalog to compare with another, and a fingerprint of it that is cheap to compare."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils._catalog_query import FINGERPRINT, SNAPSHOT

if TYPE_CHECKING:
    import psycopg2.extensions

# (kind, name) -> properties, in the order in which objects are shown.
Catalog = Mapping[tuple[str, str], Mapping[str, Any]]

# Deparsed definitions follow these; and a text in which nothing is qualified means nothing.
_SETTINGS = {
    "search_path": "pg_catalog",
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "quote_all_identifiers": "off",
    "statement_timeout": "0",
}

# The fingerprint of a database in which no migration has made anything.
EMPTY = hashlib.sha256(b"").hexdigest()


def snapshot(connection: psycopg2.extensions.connection) -> Catalog:
    """Every object with its properties; `connection` is an autocommit session of one who may read every catalog."""
    with _reading(connection) as cursor:
        return _objects(cursor)


def snapshot_within(cursor: Any) -> Catalog:
    """The same in a transaction that is open already, and under the locks that it holds; its settings are others from then on."""
    _set(cursor)
    return _objects(cursor)


def fingerprint(connection: psycopg2.extensions.connection) -> str:
    """SHA-256 of what the migrations made: equal where a comparison of snapshots would find no difference."""
    with _reading(connection) as cursor:
        cursor.execute(FINGERPRINT)
        return str(cursor.fetchone()[0])


def form(connection: psycopg2.extensions.connection) -> str:
    """Fingerprints of one form can be compared: the same query on the same major version."""
    return f"{hashlib.sha256(FINGERPRINT.encode()).hexdigest()[:16]}/{connection.server_version // 10000}"


@contextlib.contextmanager
def _reading(connection: psycopg2.extensions.connection) -> Iterator[Any]:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            _set(cursor)
            yield cursor
        finally:
            if not connection.closed:
                cursor.execute("ROLLBACK")


def _set(cursor: Any) -> None:
    for name, value in _SETTINGS.items():
        cursor.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))


def _objects(cursor: Any) -> Catalog:
    cursor.execute(SNAPSHOT)
    return {(kind, name): properties for kind, name, properties in cursor.fetchall()}
