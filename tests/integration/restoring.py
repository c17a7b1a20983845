# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of restores share: the module's arguments, and everything that a database is, as text."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modules import run_module
from psycopg2 import sql
from servers import Server

from ansible_collections.nexanest.database.plugins.module_utils import _catalog
from ansible_collections.nexanest.database.plugins.module_utils._restore_compare import skeleton

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relpersistence <> 't' AND n.nspname !~ '^(pg_|_timescaledb|information_schema)'
ORDER BY 1, 2
"""
_DATABASE = """
SELECT datname, pg_get_userbyid(datdba), datconnlimit, datallowconn, datcollate, datctype, datlocprovider, datlocale, encoding,
  shobj_description(oid, 'pg_database'),
  (SELECT array_agg(x.right ORDER BY x.right) FROM (SELECT format('%%s %%s %%s', coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC'), a.privilege_type,
     a.is_grantable) AS right FROM aclexplode(datacl) a) x), datacl IS NULL
FROM pg_database WHERE datname = %s
"""
_SETTINGS = """
SELECT coalesce(nullif(setrole, 0)::regrole::text, ''), setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
WHERE datname = %s ORDER BY 1
"""
_ROWS = "SELECT count(*), md5(string_agg(md5(t::text), ',' ORDER BY md5(t::text))) FROM {} {} t"
_LARGE = "SELECT loid, count(*), md5(string_agg(md5(data), ',' ORDER BY pageno)) FROM pg_largeobject GROUP BY 1 ORDER BY 1"
_SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences WHERE schemaname !~ '^_timescaledb' ORDER BY 1, 2"


@dataclass
class Restorer:
    """The module `restore`, for one server and one folder of sets."""

    server: Server
    backups: Path
    state: Path
    identity: str = ""
    name: str = "postgres"
    more: dict[str, Any] = field(default_factory=dict)

    def arguments(self, **changed: Any) -> dict[str, Any]:
        given = {
            "backup_dir": str(self.backups),
            "state_dir": str(self.state),
            "servers": [{"name": self.name, "container": self.server.container, **self.server.login}],
            "identities": [self.identity] if self.identity else [],
            "lock_wait": 5,
            **self.more,
        }
        return {**given, **changed}

    def run(self, *, check: bool = False, **changed: Any) -> dict[str, Any]:
        return run_module("restore", self.arguments(**changed), check)

    def restored(self, name: str, **changed: Any) -> dict[str, Any]:
        result = self.run(set=name, **changed)
        assert not result["failed"], result["msg"]
        return result

    def refused(self, name: str, **changed: Any) -> str:
        result = self.run(set=name, **changed)
        assert result["failed"], result
        return str(result["msg"])

    def undone(self, **changed: Any) -> dict[str, Any]:
        result = self.run(state="undone", **changed)
        assert not result["failed"], result["msg"]
        return result

    def cleaned(self, **changed: Any) -> dict[str, Any]:
        result = self.run(state="cleaned", **changed)
        assert not result["failed"], result["msg"]
        return result

    def left(self) -> list[str]:
        """Databases that a restore made and that are not in use."""
        return [row[0] for row in self.server.query(r"SELECT datname FROM pg_database WHERE datname LIKE '\_restore\_%' ORDER BY 1")]

    def staging(self) -> list[str]:
        return [path.name for path in self.backups.iterdir() if path.name.startswith((".staging-", ".partial-"))]


def picture(server: Server, database: str, *, name: str | None = None) -> dict[str, Any]:
    """All that a database is: itself, settings, catalog, every row of every table, large objects, sequences. name: to show for it."""
    found: dict[str, Any] = {"database": server.query(_DATABASE, database), "settings": server.query(_SETTINGS, database)}
    if name is not None:
        found["database"] = [(name, *row[1:]) for row in found["database"]]
    with session(server, database) as connection, connection.cursor() as cursor:
        found["catalog"] = {key: skeleton(dict(value)) for key, value in _catalog.snapshot(connection).items()}
        cursor.execute(_TABLES)
        for schema, table in cursor.fetchall():
            cursor.execute(
                sql.SQL("SELECT count(*), md5(string_agg(md5(t::text), ',' ORDER BY md5(t::text))) FROM ONLY {} t").format(sql.Identifier(schema, table))
            )
            found[f"{schema}.{table}"] = cursor.fetchall()
        for what, query in (("large objects", _LARGE), ("sequences", _SEQUENCES)):
            cursor.execute(query)
            found[what] = cursor.fetchall()
    return found


@contextlib.contextmanager
def session(server: Server, database: str) -> Iterator[Any]:
    with contextlib.closing(server.connect(database)) as connection:
        yield connection


def is_hypertable(connection: Any, schema: str, table: str) -> bool:
    """Is it one? Its rows are in its chunks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT count(*) FROM _timescaledb_catalog.hypertable WHERE (schema_name, table_name) = (%s, %s)", (schema, table))
        return bool(cursor.fetchone()[0])
