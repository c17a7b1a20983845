# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles that a restore needs and the server lacks. One that exists is never touched: its password and its rights are the inventory's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _security_labels as labels
from ansible_collections.nexanest.database.plugins.module_utils._restore_settings import assign
from ansible_collections.nexanest.database.plugins.module_utils._transaction import unlogged

try:
    import psycopg2
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

_ATTRIBUTES = ("superuser", "inherit", "createrole", "createdb", "login", "replication", "bypassrls")


def create(cursor: Any, description: Mapping[str, Any], names: Sequence[str]) -> None:
    """Make the roles, as they were when the set was made, in one transaction of an autocommit session."""
    if not names:
        return
    with unlogged(cursor):
        _create_all(cursor, description, set(names))


def _create_all(cursor: Any, description: Mapping[str, Any], names: set[str]) -> None:
    """Roles first, then who is a member of which, then settings."""
    for role in description["roles"]:
        if role["name"] in names:
            _create(cursor, role)
    cursor.execute("SELECT rolname FROM pg_catalog.pg_roles")
    present = {row[0] for row in cursor.fetchall()}
    for one in description["memberships"]:
        both = {one["role"], one["member"]}
        if both & names and both <= present:
            _grant(cursor, one)
    for row in description["settings"]:
        if row["role"] in names and not row["database"]:
            assign(cursor, sql.SQL("ROLE {}").format(sql.Identifier(row["role"])), row["settings"])


def label(cursor: Any, description: Mapping[str, Any], names: Sequence[str]) -> None:
    """Give roles their security labels, in a session that has the providers' libraries."""
    for row in description.get("role_labels", ()):  # sets of before have none
        if row["role"] in names:
            labels.give(cursor, sql.SQL("ROLE {}").format(sql.Identifier(row["role"])), row["provider"], row["label"])


def drop(cursor: Any, names: Sequence[str]) -> list[str]:
    """Remove roles that were made in vain; those that cannot go are returned."""
    left = []
    for name in names:
        try:
            cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
        except psycopg2.Error:
            left.append(name)
    return left


def _create(cursor: Any, role: Mapping[str, Any]) -> None:
    words: list[Any] = [sql.SQL(attribute.upper() if role[attribute] else f"NO{attribute.upper()}") for attribute in _ATTRIBUTES]
    words.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(role["conn_limit"])))
    if role["verifier"] is not None:
        words.append(sql.SQL("PASSWORD {}").format(sql.Literal(role["verifier"])))
    if role["valid_until"] is not None:
        words.append(sql.SQL("VALID UNTIL {}").format(sql.Literal(role["valid_until"])))
    cursor.execute(sql.SQL("CREATE ROLE {} WITH {}").format(sql.Identifier(role["name"]), sql.SQL(" ").join(words)))
    if role["comment"] is not None:
        cursor.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role["name"]), sql.Literal(role["comment"])))


def _grant(cursor: Any, one: Mapping[str, Any]) -> None:
    options = sql.SQL(", ").join(sql.SQL(f"{key.upper()} {'TRUE' if one[key] else 'FALSE'}") for key in ("admin", "inherit", "set"))
    cursor.execute(sql.SQL("GRANT {} TO {} WITH {}").format(sql.Identifier(one["role"]), sql.Identifier(one["member"]), options))
