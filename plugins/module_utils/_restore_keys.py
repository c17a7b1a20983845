# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of user tokens in a mapped restore: they are the stack's, as passwords are. Whoever has development's must not become any user of production."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils._transaction import unlogged
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens import COLUMNS
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_server import SESSION

if TYPE_CHECKING:
    import psycopg2.extensions

Keys = Sequence[tuple[Any, ...]]
# Schema and name of their table.
TABLE = ("session", "keys")


def read(session: psycopg2.extensions.connection) -> Keys:
    """Those of a database; none where it has no such table, or somebody else than an administrator could have made it."""
    with session.cursor() as cursor:
        if not _are_ours(cursor):
            return []
        cursor.execute("SELECT key_id, secret, inner_pad, outer_pad FROM session.keys")
        return list(cursor.fetchall())


def put(session: psycopg2.extensions.connection, keys: Keys) -> None:
    """Let a copy have these, and no others."""
    with session.cursor() as cursor:
        if not _are_ours(cursor):
            return
        with unlogged(cursor):
            cursor.execute("DELETE FROM session.keys")
            for row in keys:
                cursor.execute("INSERT INTO session.keys (key_id, secret, inner_pad, outer_pad) VALUES (%s, %s, %s, %s)", row)


def _are_ours(cursor: Any) -> bool:
    cursor.execute(SESSION)
    found = cursor.fetchall()
    return bool(found) and found[0][0]["trusted"] and found[0][0]["columns"] == list(COLUMNS)
