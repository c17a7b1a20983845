# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a role is on a foreign server, with its password: pg_dump shows these options to superusers alone, and leaves them out of a dump without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._transaction import unlogged

try:
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

KIND = "user mapping"
_READ = """
SELECT s.srvname, CASE m.umuser WHEN 0 THEN '' ELSE pg_get_userbyid(m.umuser)::text END, coalesce(m.umoptions, '{}')
FROM pg_user_mapping m JOIN pg_foreign_server s ON s.oid = m.umserver ORDER BY 1, 2
"""

# [kind, name, properties], as in the picture of a catalog.
Row = Sequence[Any]


def read(cursor: Any) -> list[Row]:
    """A secret."""
    cursor.execute(_READ)
    return [_row(server, role, sorted(options)) for server, role, options in cursor.fetchall()]


def renamed(rows: Iterable[Row], role: Callable[[str], str]) -> list[Row]:
    """Where roles have other names."""
    return [_row(one["server"], one["role"] and role(one["role"]), one["options"]) for _kind, _name, one in rows]


def write(cursor: Any, rows: Iterable[Row]) -> None:
    """Give mappings the options that they lack; the session is autocommit."""
    with unlogged(cursor):
        there = {name: properties["options"] for _kind, name, properties in read(cursor)}
        for _kind, name, properties in rows:
            pairs = [text.partition("=") for text in properties["options"] if text not in there.get(name, ())]
            if name in there and pairs:
                cursor.execute(_alter(properties["server"], properties["role"], pairs))


def differences(wanted: Iterable[Row], found: Iterable[Row]) -> list[str]:
    """Without what is in them."""
    there = {name: properties for _kind, name, properties in found}
    return [f"user mapping {name} {'has other options' if name in there else 'is missing'}" for _kind, name, one in wanted if there.get(name) != one]


def _row(server: str, role: str, options: list[str]) -> Row:
    return [KIND, f"{server} {role or 'PUBLIC'}", {"server": server, "role": role, "options": options}]


def _alter(server: str, role: str, pairs: Iterable[Sequence[str]]) -> Any:
    options = [sql.SQL("ADD {} {}").format(sql.Identifier(name), sql.Literal(value)) for name, _equals, value in pairs]
    who = sql.Identifier(role) if role else sql.SQL("PUBLIC")
    return sql.SQL("ALTER USER MAPPING FOR {} SERVER {} OPTIONS ({})").format(who, sql.Identifier(server), sql.SQL(", ").join(options))
