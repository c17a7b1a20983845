# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receivers of the write-ahead log on other hosts, as the server sees them: each has a replication slot and a session of its own name."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._connection import connect
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError

# What the names of their slots begin with.
PREFIX = "receiver_"
_STANDBYS = re.compile(r"(?:(?:ANY|FIRST)\s+)?(?P<number>\d+)\s*\((?P<names>.*)\)", re.IGNORECASE)
# How long a session may take to end.
PATIENCE = 20.0
# As the companion: one that has not answered for 15 seconds stands still.
_SEEN = """
SELECT n.name, coalesce(r.state = 'streaming' AND r.reply_time > now() - interval '15 seconds', false),
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.flush_lsn)::bigint, extract(epoch FROM r.flush_lag)::float, s.wal_status
FROM unnest(%(names)s::text[]) WITH ORDINALITY AS n (name, place)
LEFT JOIN pg_catalog.pg_stat_replication AS r ON r.application_name = n.name
LEFT JOIN pg_catalog.pg_replication_slots AS s ON s.slot_name = n.name
ORDER BY n.place
"""
_OTHERS = """
SELECT slot_name, active_pid FROM pg_catalog.pg_replication_slots
WHERE slot_type = 'physical' AND starts_with(slot_name::text, %(prefix)s) AND NOT slot_name = ANY (%(names)s::text[]) ORDER BY slot_name
"""


@dataclass(frozen=True)
class Receiver:
    """lag_*: behind what the server has written; slot: its wal_status, None where there is no slot yet."""

    name: str
    streaming: bool = False
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    slot: str | None = None


def seen(cursor: Any, names: Sequence[str]) -> tuple[Receiver, ...]:
    """Those that there shall be."""
    cursor.execute(_SEEN, {"names": list(names)})
    return tuple(Receiver(*row) for row in cursor.fetchall())


def left(login: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Slots of receivers that there shall not be any more: the server keeps log for them, which nobody takes."""
    with contextlib.closing(connect(login)) as connection, connection.cursor() as cursor:
        return list(strangers(cursor, names))


def strangers(cursor: Any, names: Sequence[str]) -> tuple[str, ...]:
    """The same, asked by somebody who is connected."""
    cursor.execute(_OTHERS, {"prefix": PREFIX, "names": list(names)})
    return tuple(name for name, _session in cursor.fetchall())


def waited_for(standbys: str) -> tuple[int, tuple[str, ...]]:
    """How many of whom commits wait for, out of synchronous_standby_names (PostgreSQL's documentation, 19.6.2)."""
    found = _STANDBYS.fullmatch(standbys.strip())
    number, names = (found["number"], found["names"]) if found else (None, standbys)
    several = tuple(name.strip().strip('"') for name in names.split(",") if name.strip())
    return (int(number) if number else 1 if several else 0), several


def changes(slots: Sequence[str]) -> list[Change]:
    """Their removal as changes."""
    return [Change("replication slot", name, {"keeps log": True}, None) for name in slots]


def drop(login: Mapping[str, Any], names: Sequence[str]) -> None:
    """Remove those slots. A session that still receives is ended first. Raises ArchiveError."""
    deadline = time.monotonic() + PATIENCE
    with contextlib.closing(connect(login)) as connection, connection.cursor() as cursor:
        while True:
            cursor.execute(_OTHERS, {"prefix": PREFIX, "names": list(names)})
            found = cursor.fetchall()
            for name, session in found:
                call = "SELECT pg_catalog.pg_terminate_backend(%s)" if session else "SELECT pg_catalog.pg_drop_replication_slot(%s)"
                cursor.execute(call, (session or name,))
            if not found:
                return
            if time.monotonic() > deadline:
                raise ArchiveError(f"somebody still receives by the replication slot {found[0][0]}: stop the receiver on that host, then run this again")
            time.sleep(0.2)
