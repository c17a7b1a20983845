# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exchange databases of one server by renaming them, all in one transaction: clients see the old ones or the new ones.

Doors first: the databases take no connections any more, which is committed and so holds for everybody. Then whoever is still in is looked at: clients stop
the swap (or are disconnected, when that was asked for), the server's own workers are ended. Only then names change, and the new ones open in that instant.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _restore_ledger as ledger
from ansible_collections.nexanest.database.plugins.module_utils import _restore_timescale as timescale
from ansible_collections.nexanest.database.plugins.module_utils._connection import ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._restore_ledger import Row
from ansible_collections.nexanest.database.plugins.module_utils._restore_server import Server
from ansible_collections.nexanest.database.plugins.module_utils._transaction import transaction

try:
    import psycopg2.errors
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

# Seconds until whoever was told to leave has left.
PATIENCE = 30.0
# Seconds in which a client that is on its way out is none: the server needs a moment for the end of a session.
GRACE = 2.0

# pg_cron may come as a client, from the server's own machine.
_INSIDE = """
SELECT a.pid, d.datname, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'local'),
  a.backend_type IN ('client backend', 'walsender')
    AND NOT (a.application_name = 'pg_cron' AND (a.client_addr IS NULL OR host(a.client_addr) IN ('127.0.0.1', '::1')))
FROM pg_stat_activity a JOIN pg_database d ON d.oid = a.datid WHERE a.datid = ANY (%s::oid[]) AND a.pid <> pg_backend_pid() ORDER BY a.pid
"""


class SwapError(Exception):
    """The databases were not exchanged; the text says why. They are as they were."""


class Connected(SwapError):
    """Clients are in a database that was to be exchanged."""

    def __init__(self, clients: Sequence[str]) -> None:
        self.clients = list(clients)
        super().__init__("; ".join(f"a client is connected to {text}: stop it, or say disconnect: true" for text in clients))


@dataclass(frozen=True)
class Move:
    """Names of one exchange. inner: the database that goes out of use, and the name it gets; outer: the one that comes into use. None where there is none."""

    row: Row
    name: str
    inner: tuple[int, str] | None
    outer: tuple[int, str] | None

    @property
    def oids(self) -> list[int]:
        return [side[0] for side in (self.inner, self.outer) if side is not None]


def clients(server: Server, names: Sequence[str]) -> list[str]:
    """Who is connected to these databases and stays, in words."""
    deadline = time.monotonic() + GRACE
    with server.control.cursor() as cursor:
        cursor.execute("SELECT oid FROM pg_database WHERE datname = ANY (%s)", (list(names),))
        oids = [row[0] for row in cursor.fetchall()]
        while True:
            found = [words for _pid, words, is_client in _inside(cursor, oids) if is_client]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)


def oid(cursor: Any, name: str) -> int | None:
    """Of a database by its name."""
    cursor.execute("SELECT oid FROM pg_database WHERE datname = %s", (name,))
    found = cursor.fetchall()
    return int(found[0][0]) if found else None


def exchange(server: Server, moves: Sequence[Move], state: str, *, disconnect: bool) -> None:
    """Do the moves, or none of them."""
    moves = sorted(moves, key=lambda move: move.name)
    try:
        _shut(server, moves)
        _wait(server, lambda: _exchanged(server, moves, state, disconnect=disconnect))
    except BaseException:
        reopen(server, [move.row for move in moves])
        raise


def reopen(server: Server, rows: Sequence[Row]) -> None:
    """Take a swap back that did not come to its end: whatever has the name in use takes connections, and its jobs go on."""
    server.alive()
    opened = []
    with server.control.cursor() as cursor, transaction(cursor):
        for row in ledger.rows(server.control):
            if row.closed and (row.restore, row.number) in {(one.restore, one.number) for one in rows}:
                if oid(cursor, row.name) is not None:
                    cursor.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(row.name)))
                    opened.append(row.name)
                ledger.change(cursor, row, closed=False)
    for name in opened:
        wake(server, name, [])


def wake(server: Server, name: str, jobs: list[int]) -> None:
    """Let the server's own workers go on in a database that is in use."""
    with server.session(name) as session:
        if timescale.is_in(session):
            timescale.wake(session, jobs)


def _wait(server: Server, attempt: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while True:
        try:
            if attempt():
                return
        except Connected:
            if time.monotonic() > begun + GRACE:
                raise
        if time.monotonic() > begun + PATIENCE:
            raise SwapError(f"{server.name}: the databases stayed in use for {PATIENCE:.0f} s by the server's own workers: run this again")
        time.sleep(0.1)


def _shut(server: Server, moves: Sequence[Move]) -> None:
    """Close the doors. A database that took no connections before stays as it was when the swap fails."""
    oids = [number for move in moves for number in move.oids]
    control = server.control
    with control.cursor() as cursor:
        names = ledger.names(cursor, oids)
        with transaction(cursor):  # before its workers are ended, so that whoever takes the swap back wakes them again
            for move in moves:
                ledger.change(cursor, move.row, closed=move.row.closed or (move.inner is not None and _connectable(cursor, move.inner[0])))
        for name in names.values():
            _quiet(server, name)
        with transaction(cursor):
            for name in sorted(names.values()):
                cursor.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))


def _exchanged(server: Server, moves: Sequence[Move], state: str, *, disconnect: bool) -> bool:
    """One attempt; False where somebody who was told to leave is still there."""
    with server.control.cursor() as cursor:
        inside = _inside(cursor, [number for move in moves for number in move.oids])
        found = [words for _pid, words, is_client in inside if is_client]
        if found and not disconnect:
            raise Connected(found)
        for pid, _words, _is_client in inside:
            cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))
        if inside:
            return False
        try:
            with transaction(cursor):
                for move in moves:
                    _move(cursor, move, state)
        except psycopg2.errors.ObjectInUse:
            return False
    return True


def _move(cursor: Any, move: Move, state: str) -> None:
    current = ledger.names(cursor, move.oids)
    if move.inner is not None:
        _rename(cursor, current[move.inner[0]], move.inner[1])
    if move.outer is not None:
        _rename(cursor, current[move.outer[0]], move.outer[1])
        cursor.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(move.outer[1])))
    if state == ledger.LIVE:
        cursor.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(sql.Identifier(move.name), sql.Literal(move.row.conn_limit)))
        ledger.change(cursor, move.row, state=state, closed=False, old_oid=move.inner[0] if move.inner else None)
        cursor.execute("UPDATE _restore.databases SET swapped = clock_timestamp() WHERE restore = %s AND number = %s", (move.row.restore, move.row.number))
    else:
        ledger.change(cursor, move.row, state=state, closed=False)


def _rename(cursor: Any, before: str, after: str) -> None:
    cursor.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(before), sql.Identifier(after)))


def _quiet(server: Server, name: str) -> None:
    """End the scheduler of TimescaleDB, which would come back. One that takes no connections has none."""
    with contextlib.suppress(ServerUnreachable), server.session(name) as session:
        if timescale.is_in(session):
            timescale.quiet(session)


def _inside(cursor: Any, oids: Sequence[int]) -> list[tuple[int, str, bool]]:
    """(pid, words, is a client) of all who are in these databases."""
    cursor.execute(_INSIDE, (list(oids),))
    return [
        (pid, f"{database}: {role} from {address} ({application or 'no application name'}, pid {pid})", is_client)
        for pid, database, role, application, address, is_client in cursor.fetchall()
    ]


def _connectable(cursor: Any, number: int) -> bool:
    cursor.execute("SELECT datallowconn FROM pg_database WHERE oid = %s", (number,))
    found = cursor.fetchall()
    return bool(found and found[0][0])
