# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security labels of a database. A dump has those of its objects; its own belongs to its name, which a copy does not have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

try:
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

KIND = "security label"
_DATABASE = "database"
# pg_dump leaves out those of what belongs to an extension.
_READ = """
SELECT i.type, i.identity, l.provider, l.label FROM pg_catalog.pg_seclabel l
CROSS JOIN LATERAL pg_catalog.pg_identify_object(l.classoid, l.objoid, l.objsubid) i
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE (d.classid, d.objid, d.deptype) = (l.classoid, l.objoid, 'e'))
UNION ALL
SELECT 'database', '', l.provider, l.label FROM pg_catalog.pg_shseclabel l JOIN pg_catalog.pg_database d ON d.oid = l.objoid
WHERE l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.datname = pg_catalog.current_database()
ORDER BY 1, 2, 3
"""

# [kind, name, properties], as in the picture of a catalog.
Row = Sequence[Any]


def read(cursor: Any) -> list[Row]:
    """Of the session's database and all in it."""
    cursor.execute(_READ)
    return [
        [KIND, " ".join(filter(None, (type_, identity, "by", provider))), {"object": type_, "provider": provider, "label": label}]
        for type_, identity, provider, label in cursor.fetchall()
    ]


def write(cursor: Any, rows: Iterable[Row], database: str) -> None:
    """Give the database its own."""
    for _kind, _name, one in rows:
        if one["object"] == _DATABASE:
            give(cursor, sql.SQL("DATABASE {}").format(sql.Identifier(database)), one["provider"], one["label"])


def give(cursor: Any, target: Any, provider: str, label: str) -> None:
    """target: "ROLE x", "DATABASE y". The session has the provider's library."""
    cursor.execute(sql.SQL("SECURITY LABEL FOR {} ON {} IS {}").format(sql.Identifier(provider), target, sql.Literal(label)))


def differences(wanted: Iterable[Row], found: Iterable[Row]) -> list[str]:
    """Labels that are not what they were; sets of before have none to compare."""
    there = {name: properties for _kind, name, properties in found}
    return [f"{KIND} of {name} is {'another one' if name in there else 'missing'}" for _kind, name, one in wanted if there.get(name) != one]
