# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a database has beside its content: owner, rights, comment and settings. A dump does not bring them to a database of another name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Database

if TYPE_CHECKING:
    import psycopg2.extensions

try:
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

# PostgreSQL's variable_is_guc_list_quote(): given as one text, these would become one name.
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}

_PRELOADING = ("local_preload_libraries", "session_preload_libraries")

_SETTINGS = """
SELECT CASE WHEN s.setrole = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(s.setrole)::text END, s.setconfig FROM pg_catalog.pg_db_role_setting s
JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase WHERE d.datname = %s
"""


def create(cursor: Any, name: str, database: Database, rules: str | None) -> None:
    """An empty database of the same kind. Nobody but superusers gets in: everybody else waits for the swap, which gives it its limit of connections.

    rules: of its collation, where ICU has some beside the locale.
    """
    parts = [
        sql.SQL("OWNER {}").format(sql.Identifier(database.owner)),
        sql.SQL("TEMPLATE template0 CONNECTION LIMIT 0"),
        sql.SQL("ENCODING {}").format(sql.Literal(database.encoding)),
        sql.SQL("LOCALE_PROVIDER {}").format(sql.Identifier(database.locale_provider)),
        sql.SQL("LC_COLLATE {}").format(sql.Literal(database.collate)),
        sql.SQL("LC_CTYPE {}").format(sql.Literal(database.ctype)),
    ]
    if database.locale is not None:
        option = "ICU_LOCALE" if database.locale_provider == "icu" else "BUILTIN_LOCALE"
        parts.append(sql.SQL(f"{option} {{}}").format(sql.Literal(database.locale)))
    if database.tablespace:
        parts.append(sql.SQL("TABLESPACE {}").format(sql.Identifier(database.tablespace)))
    if rules is not None:
        parts.append(sql.SQL("ICU_RULES {}").format(sql.Literal(rules)))
    cursor.execute(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(" ").join(parts)))


def dress(session: psycopg2.extensions.connection, name: str, database: Database, settings: Sequence[tuple[str, list[str]]]) -> None:
    """Give a database its rights, comment and settings. The session is on another one."""
    identifier = sql.Identifier(name)
    with session.cursor() as cursor:
        if database.acl is not None:
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(identifier, sql.Identifier(database.owner)))
            for grant in database.acl:
                statement = sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                    sql.SQL(grant.privilege),
                    identifier,
                    sql.Identifier(grant.grantee) if grant.grantee else sql.SQL("PUBLIC"),
                    sql.SQL(" WITH GRANT OPTION" if grant.grantable else ""),
                )
                cursor.execute(statement)
        if database.comment is not None:
            cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(identifier, sql.Literal(database.comment)))
        for role, texts in settings:
            where = sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), identifier) if role else sql.SQL("DATABASE {}").format(identifier)
            assign(cursor, where, texts)


def preload(cursor: Any, name: str, settings: Sequence[tuple[str, list[str]]]) -> None:
    """Of its settings those without which some of its content cannot be loaded: libraries, as the providers of security labels."""
    wanted = [text for role, texts in settings if not role for text in texts if text.partition("=")[0] in _PRELOADING]
    assign(cursor, sql.SQL("DATABASE {}").format(sql.Identifier(name)), wanted)


def assign(cursor: Any, where: Any, texts: Sequence[str]) -> None:
    """Set `name=value` as the server itself wrote it, for a role, a database or both."""
    for text in texts:
        name, _equals, value = text.partition("=")
        parts = sql.SQL(".").join([sql.Identifier(part) for part in name.split(".")])
        if name in _LISTS:
            cursor.execute("SELECT pg_catalog.current_setting(%s), pg_catalog.set_config(%s, %s, false)", (name, name, value))
            before = cursor.fetchall()[0][0]
            cursor.execute(sql.SQL("ALTER {} SET {} FROM CURRENT").format(where, parts))
            cursor.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, before))
        else:
            cursor.execute(sql.SQL("ALTER {} SET {} TO {}").format(where, parts, sql.Literal(value)))


def settings(session: psycopg2.extensions.connection, name: str) -> list[tuple[str, list[str]]]:
    """(role or '', settings) of a database as it is."""
    with session.cursor() as cursor:
        cursor.execute(_SETTINGS, (name,))
        return sorted((str(role), list(texts)) for role, texts in cursor.fetchall())
