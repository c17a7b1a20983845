# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A continuous backup that is switched off: nothing more is received, the server keeps no log for it, and what there is stays.

Switched on again it lacks what was written meanwhile. A note in the archive says so until there is a base backup from which a recovery can begin.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._archive_state import make_folder, stop_companion
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._connection import connect
from ansible_collections.nexanest.database.plugins.module_utils._stream import replace, synchronise
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import COMPANION, PAUSED, RESUMED, ArchiveError, Cluster

# How long the server may take to see that the companion has gone.
PATIENCE = 20.0
_SERVER = """
SELECT pg_catalog.current_setting('archive_mode') <> 'off',
       EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = %(slot)s),
       EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = %(slot)s AND active)
"""
_DROP = "SELECT pg_catalog.pg_drop_replication_slot(%(slot)s)"


@dataclass(frozen=True)
class Running:
    """What still goes on. slot: whether the server keeps log for the companion; noted: whether the archive says that it is off."""

    archiving: bool
    slot: bool
    noted: bool


def note(home: Path) -> Path:
    """home: of the archive."""
    return home / PAUSED


def read(cluster: Cluster, login: Mapping[str, Any]) -> Running:
    with contextlib.closing(connect(login)) as connection, connection.cursor() as cursor:
        cursor.execute(_SERVER, {"slot": COMPANION})
        archiving, slot, _active = cursor.fetchone() or (False, False, False)
    return Running(archiving, slot, note(cluster.home).exists() or not cluster.home.is_dir())


def plan(name: str, found: Running) -> list[Change]:
    changes = []
    if not found.noted:
        changes.append(Change("archive", name, {"goes on": True}, {"goes on": False}))
    if found.slot:
        changes.append(Change("replication slot", COMPANION, {"keeps log": True}, None))
    return changes


def pause(cluster: Cluster, companion: str, login: Mapping[str, Any]) -> None:
    """The note first: from then on nobody takes the archive for one that goes on. Each step may have been done by a run that was cut off."""
    if cluster.home.is_dir():
        replace(note(cluster.home), b"")
        synchronise(cluster.home)
    stop_companion(companion)
    _drop_slot(login)
    _set_received_aside(cluster)


def resumed(cluster: Cluster, label: str) -> None:
    """There is a base backup again. From it on no log is missing, and that stays written down."""
    if not note(cluster.home).exists():
        return
    replace(cluster.home / RESUMED, f"{label}\n".encode("ascii"))
    note(cluster.home).unlink()
    synchronise(cluster.home)


def _drop_slot(login: Mapping[str, Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    with contextlib.closing(connect(login)) as connection, connection.cursor() as cursor:
        while True:
            cursor.execute(_SERVER, {"slot": COMPANION})
            _archiving, slot, active = cursor.fetchone() or (False, False, False)
            if not slot:
                return
            if not active:
                cursor.execute(_DROP, {"slot": COMPANION})
                return
            if time.monotonic() > deadline:
                raise ArchiveError(f"somebody still receives by the replication slot {COMPANION}: stop what does, then run this again")
            time.sleep(0.2)


def _set_received_aside(cluster: Cluster) -> None:
    """The companion goes on where its folder ends, and the server will not have that any more."""
    if cluster.received.is_dir() and any(cluster.received.iterdir()):
        cluster.received.rename(cluster.received.parent / f"gap.{int(time.time())}")
    if cluster.received.parent.is_dir() and not cluster.received.is_dir():
        make_folder(cluster.received, cluster)
        synchronise(cluster.received.parent)
