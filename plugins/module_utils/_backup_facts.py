# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server and its databases are, beside their rows: asked when a set is made, and again of what a restore made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Database, Grant, LargeObjects, LeftOut, Server, Table

if TYPE_CHECKING:
    import psycopg2.extensions

try:
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

# Names of databases that a restore makes, beside the live ones or out of them.
_OF_RESTORES = "^_restore_[0-9a-f]{8}_[0-9]+(_old)?$"
# Has the server's own things (pg_cron's jobs are converged by postgres_jobs); nobody's data belongs there.
MAINTENANCE = "postgres"

_SERVER = """
SELECT split_part(current_setting('server_version'), ' ', 1), current_setting('server_version_num')::int,
  (SELECT system_identifier::text FROM pg_control_system()), pg_current_wal_lsn()::text
"""

_NAMES = """
SELECT datname, CASE WHEN datconnlimit = -2 THEN 'it is broken: a DROP DATABASE was interrupted'
  WHEN datname ~ %(restores)s THEN 'it was made by a restore'
  WHEN NOT datallowconn THEN 'it allows no connections' WHEN datistemplate THEN 'it is a template' ELSE '' END,
  datconnlimit <> -2 AND datname !~ %(restores)s
FROM pg_database WHERE datname NOT IN ('template0', 'template1', %(maintenance)s) ORDER BY datname
"""

# What nobody but a person can have made: the database is not dumped, and a restore keeps its ledger there.
_STRANGERS = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', '_restore', '_ledger')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""

# A dump that is not a superuser's lacks them.
_SUBSCRIPTIONS = """
SELECT format('%s, its subscription %s', d.datname, s.subname) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) ORDER BY 1
"""

_ROLES = """
SELECT rolname AS name, rolsuper AS superuser, rolinherit AS inherit, rolcreaterole AS createrole, rolcreatedb AS createdb, rolcanlogin AS login,
  rolreplication AS replication, rolbypassrls AS bypassrls, rolconnlimit AS conn_limit, rolvaliduntil::text AS valid_until, rolpassword AS verifier,
  shobj_description(oid, 'pg_authid') AS comment
FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY rolname
"""

_MEMBERSHIPS = """
SELECT pg_get_userbyid(roleid) AS role, pg_get_userbyid(member) AS member, pg_get_userbyid(grantor) AS grantor,
  admin_option AS admin, inherit_option AS inherit, set_option AS set
FROM pg_auth_members ORDER BY 1, 2, 3
"""

_SETTINGS = """
SELECT coalesce((SELECT datname FROM pg_database d WHERE d.oid = s.setdatabase), '') AS database,
  CASE WHEN s.setrole = 0 THEN '' ELSE pg_get_userbyid(s.setrole) END AS role, s.setconfig AS settings
FROM pg_db_role_setting s ORDER BY 1, 2
"""

_ROLE_LABELS = """
SELECT pg_get_userbyid(objoid) AS role, provider, label FROM pg_shseclabel WHERE classoid = 'pg_authid'::regclass ORDER BY 1, 2
"""

# A collation's own rules (ICU_RULES), which no other place of a set has.
_RULES = "SELECT datname AS database, daticurules AS rules FROM pg_database WHERE daticurules IS NOT NULL ORDER BY 1"

_DATABASE = """
SELECT pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
  CASE d.datlocprovider WHEN 'b' THEN 'builtin' WHEN 'i' THEN 'icu' ELSE 'libc' END AS locale_provider,
  coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale, d.datcollate AS collate, d.datctype AS ctype,
  d.datconnlimit AS conn_limit, shobj_description(d.oid, 'pg_database') AS comment, d.datacl IS NULL AS untouched, pg_database_size(d.oid) AS bytes,
  (SELECT nullif(t.spcname, 'pg_default') FROM pg_tablespace t WHERE t.oid = d.dattablespace) AS tablespace
FROM pg_database d WHERE d.datname = current_database()
"""

_ACL = """
SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END, pg_get_userbyid(a.grantor), a.privilege_type, a.is_grantable
FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = current_database() ORDER BY 1, 2, 3
"""

# A length is where the last page ends: holes are pages in the copy.
_LARGE_OBJECTS = """
SELECT (SELECT count(*) FROM pg_largeobject_metadata),
  (SELECT coalesce(sum(size), 0)::bigint FROM (SELECT max(pageno::bigint * (current_setting('block_size')::int / 4) + octet_length(data)) AS size
    FROM pg_largeobject GROUP BY loid) l)
"""

_TABLESPACES = """
SELECT DISTINCT t.spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE t.spcname <> 'pg_global' ORDER BY 1
"""

_EXTENSIONS = "SELECT extname, extversion FROM pg_extension ORDER BY extname"

# Extensions' own tables are theirs, and materialised views are made again by a restore.
# Rows of a partition are counted where they are, those of a hypertable (whole) at its root.
_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""

_HYPERTABLES = "SELECT schema_name, table_name FROM _timescaledb_catalog.hypertable WHERE compression_state <> 2"
# Chunks, and the tables that hold rows of compressed ones.
_PARTS = """
SELECT schema_name, table_name FROM _timescaledb_catalog.chunk
UNION SELECT schema_name, table_name FROM _timescaledb_catalog.hypertable WHERE compression_state = 2
"""


@dataclass(frozen=True)
class Countable:
    """A table with rows. whole: those of its chunks are its own."""

    schema: str
    name: str
    whole: bool


def server(connection: psycopg2.extensions.connection, kind: str, folder: str) -> Server:
    """What a server is, without its databases; folder: where the set keeps it. The session belongs to one who may read every table."""
    with connection.cursor() as cursor:
        cursor.execute(_SERVER)
        version, number, identifier, lsn = _row(cursor)
        cursor.execute("SELECT current_setting('timescaledb.license', true)")
        (licence,) = _row(cursor)
    return Server(
        kind=kind,
        version=version,
        version_num=number,
        system_identifier=identifier,
        lsn=lsn,
        timescaledb_license=licence or None,
        globals=f"{folder}/globals.sql",
        description=f"{folder}/server.json",
        databases=[],
        left_out=[],
    )


def databases(connection: psycopg2.extensions.connection) -> tuple[list[str], list[LeftOut]]:
    """The databases to dump, and the others. The session is on the maintenance database."""
    with connection.cursor() as cursor:
        cursor.execute(_NAMES, {"restores": _OF_RESTORES, "maintenance": MAINTENANCE})
        found = cursor.fetchall()
        cursor.execute(_STRANGERS)
        strangers = ", ".join(row[0] for row in cursor.fetchall())
        cursor.execute(_SUBSCRIPTIONS)
        left = [LeftOut(name, "only a superuser can dump it, make it again after a restore", data=True) for (name,) in cursor.fetchall()]
    left += [LeftOut(name, why, data) for name, why, data in found if why]
    own = f"it holds tables that no backup takes, move them into a database of their own: {strangers}" if strangers else "it holds nothing but the server's own"
    return [name for name, why, _data in found if not why], [*left, LeftOut(MAINTENANCE, own, bool(strangers))]


def description(connection: psycopg2.extensions.connection) -> dict[str, Any]:
    """Roles (with their verifiers: a secret), memberships, labels, and the settings of roles and databases."""
    with connection.cursor() as cursor:
        queries = {"roles": _ROLES, "memberships": _MEMBERSHIPS, "settings": _SETTINGS, "icu_rules": _RULES, "role_labels": _ROLE_LABELS}
        return {key: _records(cursor, query) for key, query in queries.items()}


def database(connection: psycopg2.extensions.connection, name: str, folder: str) -> Database:
    """What the session's database is, without its tables. folder: of the server in the set; the dump's own is below it."""
    with connection.cursor() as cursor:
        cursor.execute(_DATABASE)
        facts = dict(zip([column.name for column in cursor.description or ()], _row(cursor), strict=True))
        cursor.execute(_ACL)
        acl = [Grant(*row) for row in cursor.fetchall()]
        cursor.execute(_EXTENSIONS)
        extensions = dict(cursor.fetchall())
        cursor.execute(_TABLESPACES)
        facts["tablespaces"] = [row[0] for row in cursor.fetchall()]
    facts["tablespace"] = facts["tablespace"] or ""
    untouched = facts.pop("untouched")
    return Database(name=name, path=folder, catalog=f"{folder}.catalog.json", acl=None if untouched else acl, tables=[], extensions=extensions, **facts)


def large_objects(connection: psycopg2.extensions.connection) -> LargeObjects:
    """As the session's transaction sees them."""
    with connection.cursor() as cursor:
        cursor.execute(_LARGE_OBJECTS)
        return LargeObjects(*_row(cursor))


def names(connection: psycopg2.extensions.connection) -> list[tuple[str, str]]:
    """Schema and name of every table that has rows of its own, chunks too."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        return list(cursor.fetchall())


def sizes(connection: psycopg2.extensions.connection) -> dict[tuple[str, str], int]:
    """Their bytes: what a dump has to read. It waits for whoever has one of them, unless the session holds them."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT nspname, relname, pg_table_size(format('%I.%I', nspname, relname)::regclass) FROM ({_TABLES}) t")  # noqa: S608  a constant
        return {(schema, name): size for schema, name, size in cursor.fetchall()}


def hold(connection: psycopg2.extensions.connection, tables_: Iterable[tuple[str, str]]) -> None:
    """Keep tables as they are until the session's transaction ends: nobody drops, rewrites or empties them. Whoever reads or writes rows is not held up."""
    held = [sql.SQL("ONLY {}").format(sql.Identifier(*name)) for name in tables_]
    if held:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.SQL(", ").join(held)))


def tables(connection: psycopg2.extensions.connection) -> list[Table]:
    """Every table with its rows, as the session's transaction sees them."""
    return [count(connection, one) for one in countable(connection)]


def countable(connection: psycopg2.extensions.connection) -> list[Countable]:
    """Tables whose rows are counted."""
    with connection.cursor() as cursor:
        roots, parts = timescale_tables(cursor)
        return [Countable(*one, whole=one in roots) for one in names(connection) if one not in parts]


def count(connection: psycopg2.extensions.connection, one: Countable) -> Table:
    """A table with its rows."""
    with connection.cursor() as cursor:
        only = sql.SQL("" if one.whole else "ONLY ")
        cursor.execute(sql.SQL("SELECT count(*) FROM {}{}").format(only, sql.Identifier(one.schema, one.name)))
        return Table(one.schema, one.name, int(_row(cursor)[0]))


def timescale_tables(cursor: Any) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Hypertables, and the tables that are parts of them."""
    cursor.execute("SELECT to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL")
    if not _row(cursor)[0]:
        return set(), set()
    cursor.execute(_HYPERTABLES)
    roots = set(cursor.fetchall())
    cursor.execute(_PARTS)
    return roots, set(cursor.fetchall())


def _records(cursor: Any, query: str) -> list[dict[str, Any]]:
    cursor.execute(query)
    columns = [column.name for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _row(cursor: Any) -> tuple[Any, ...]:
    return tuple(cursor.fetchone())
