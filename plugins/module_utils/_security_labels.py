# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security labels. A dump has those of a database's objects, of all that it holds; the database's own belongs to its name, which a copy does not have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

try:
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

KIND = "security label"
_OWN = """
SELECT l.provider, l.label FROM pg_catalog.pg_shseclabel l JOIN pg_catalog.pg_database d ON d.oid = l.objoid
WHERE l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.datname = pg_catalog.current_database() ORDER BY 1
"""
_ALL = "SELECT classoid::text, objoid::text, objsubid, provider, label FROM pg_catalog.pg_seclabel ORDER BY 1, 2, 3, 4"

# [kind, name, properties], as in the picture of a catalog.
Row = Sequence[Any]


def own(cursor: Any) -> list[Row]:
    """Of the session's database itself. What pg_restore does not get into the copy ends the restore: objects' labels need no look."""
    cursor.execute(_OWN)
    return [[KIND, provider, {"label": label}] for provider, label in cursor.fetchall()]


def everything(cursor: Any) -> list[Sequence[Any]]:
    """To see later whether one was changed."""
    cursor.execute(_ALL)
    return [*cursor.fetchall(), *own(cursor)]


def write(cursor: Any, rows: Iterable[Row], database: str) -> None:
    """Give the database its own."""
    for _kind, provider, one in rows:
        give(cursor, sql.SQL("DATABASE {}").format(sql.Identifier(database)), provider, one["label"])


def give(cursor: Any, target: Any, provider: str, label: str) -> None:
    """target: "ROLE x", "DATABASE y". The session has the provider's library."""
    cursor.execute(sql.SQL("SECURITY LABEL FOR {} ON {} IS {}").format(sql.Identifier(provider), target, sql.Literal(label)))


def differences(wanted: Iterable[Row], found: Iterable[Row]) -> list[str]:
    """Labels that are not what they were."""
    there = {provider: one["label"] for _kind, provider, one in found}
    return [f"its {KIND} by {provider} is {there.get(provider, 'missing')}" for _kind, provider, one in wanted if there.get(provider) != one["label"]]
