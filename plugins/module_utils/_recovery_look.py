# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery would meet: looked up before anything is done."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import Bulk, BulkError
from ansible_collections.nexanest.database.plugins.module_utils._connection import ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._exchange import can_exchange
from ansible_collections.nexanest.database.plugins.module_utils._memory import available_mb
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import BaseBackup, Info, Repository, mark
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import (
    Reach,
    RestorePoint,
    Target,
    choose,
    lineage_of,
    log_bytes,
    refuse_late,
)
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import CURRENT, RESUMED, SEGMENT, TOOLS, ArchiveError, Cluster, segments

POINTS = "restore_points.jsonl"
# Beside the backup itself: the log that is fetched a segment at a time, and what recovery writes.
SPARE_BYTES = 512 * 1024 * 1024
# A transaction, so that the log says that this moment was reached; when it is committed, the end of the segment, so that it leaves the server.
_MARK = ("SELECT pg_catalog.pg_current_xact_id()", "SELECT pg_catalog.pg_switch_wal()")
_CONTROL = "Latest checkpoint's TimeLineID:"


@dataclass(frozen=True)
class Plan:
    """From which backup the recovery begins, and what it takes. timeline: the one that is followed; log: bytes of log at most; lost: what is not in it."""

    target: Target
    backup: BaseBackup
    reach: Reach
    timeline: str
    newest_segment: str
    log: int
    free: int

    def options(self, name: str) -> list[str]:
        """pgBackRest's, to restore the backup of the stanza `name` so that the server recovers to the target."""
        command = f"{TOOLS}/wal-get %f %p {name}"
        return [f"--set={self.backup.label}", *self.target.options(self.timeline), f"--recovery-option=restore_command={command}"]


def plan(cluster: Cluster, target: Target, params: Mapping[str, Any], *, touch: bool) -> Plan:
    """Raises TargetError and ArchiveError. touch: the live server may be asked to write down where it is."""
    data = cluster.data
    info = Repository(cluster).info()
    followed = timeline(cluster, data, params)
    line = lineage_of(followed, history(cluster, data, followed))
    found = reach(cluster, info, params, touch=touch)
    found = dataclasses.replace(found, backups=line.of_use(found.backups))
    backup = choose(target, found, noted(cluster.home), str(params.get("backup") or ""))
    refuse_late(target, found)
    newest = line.newest([*_places(cluster, params), *([info.wal_max] if info.wal_max else [])])
    free = refuse_crowded(cluster, backup)
    if touch and not can_exchange(data.parent):
        raise ArchiveError(f"the file system of {data.parent} cannot exchange two folders at once: move Docker's volumes to ext4, xfs or btrfs")
    return Plan(target, backup, found, followed, newest, log_bytes(backup, newest), free)


def reach(cluster: Cluster, info: Info, params: Mapping[str, Any], *, touch: bool) -> Reach:
    """What can be reached now. The log of a cluster that ran here before grows no more, whatever the live server says."""
    now = datetime.now(tz=UTC)
    if cluster.which != CURRENT:
        return Reach(info.backups, last_heard(cluster, info, params), alive=False)
    try:
        with contextlib.closing(connect(params)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_catalog.clock_timestamp()")
            moment = (cursor.fetchone() or (now,))[0]
            for statement in _MARK if touch else ():
                cursor.execute(statement)
        return Reach(info.backups, moment, alive=True)
    except ServerUnreachable:
        return Reach(info.backups, last_heard(cluster, info, params), alive=False)


def last_heard(cluster: Cluster, info: Info, params: Mapping[str, Any]) -> datetime:
    """When the cluster last left a trace: a backup, received log, or the note of the last archived segment, where the companion was dead."""
    seen = [*_written(cluster, params).values(), *(backup.stop for backup in info.backups)]
    return datetime.fromtimestamp(max(seen, default=datetime.now(tz=UTC).timestamp()), tz=UTC)


def timeline(cluster: Cluster, data: Path, params: Mapping[str, Any]) -> str:
    """The timeline that the cluster is or was on: after a recovery that was taken back there is a newer one in the archive that nobody is on.

    The live data say it, or else the segment that was received or archived last. Its place does not: other hosts may have sent what was left by a recovery.
    """
    if params.get("recovery_target_timeline"):
        return str(params["recovery_target_timeline"])
    if cluster.which == CURRENT and (data / "global" / "pg_control").is_file():
        found = [line.partition(":")[2].strip() for line in control(cluster, data).splitlines() if line.startswith(_CONTROL)]
    else:
        written = sorted(_written(cluster, params).items(), key=lambda item: (item[1], item[0][8:24]))
        found = [str(int(name[:8], 16)) for name, _moment in written[-1:]]
    return found[0] if found else "latest"


def _written(cluster: Cluster, params: Mapping[str, Any]) -> dict[str, float]:
    """Segments as they were received, and the one that was archived last, each with the time at which it was written.

    A recovery that is only planned counts what other hosts would send (params: received).
    """
    files = list(cluster.received.iterdir()) if cluster.received.is_dir() else []
    found = {path.name: path.stat().st_mtime for path in files if SEGMENT.fullmatch(path.name.removesuffix(".partial"))}
    found |= {name: float(moment) for name, moment in (params.get("received") or {}).items()}
    note = cluster.home / "archived" / "last"
    name = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    return {**({name: note.stat().st_mtime} if SEGMENT.fullmatch(name) else {}), **found}


def _places(cluster: Cluster, params: Mapping[str, Any]) -> list[str]:
    """The segments among them that are received log."""
    planned = {name.removesuffix(".partial") for name in params.get("received") or {}}
    return sorted({*segments(cluster.received), *planned}, key=lambda name: (name[8:], name))


def history(cluster: Cluster, data: Path, followed: str) -> str:
    """The history file of a timeline, which the live server has, and the companion got; "" where nobody has it."""
    name = f"{int(followed):08X}.history" if followed.isdigit() else ""
    places = [*([data / "pg_wal"] if cluster.which == CURRENT else []), cluster.received, *sorted(cluster.received.parent.glob("*"))]
    found = [place / name for place in places if name and (place / name).is_file()]
    return found[0].read_text(encoding="utf-8") if found else ""


def unbroken(cluster: Cluster, backups: Sequence[BaseBackup]) -> tuple[BaseBackup, ...]:
    """Those since which no log is missing because the archive was off. Labels are ordered by time."""
    note = cluster.home / RESUMED
    first = note.read_text(encoding="ascii").strip() if note.is_file() else ""
    return tuple(backup for backup in backups if backup.label >= first)


def usable(cluster: Cluster, backups: Sequence[BaseBackup], segment: str) -> tuple[BaseBackup, ...]:
    """The backups from which a recovery can reach what the live server writes now: not those of a timeline that was left. segment: the one it writes."""
    number = str(int(segment[:8], 16))
    return lineage_of(number, history(cluster, cluster.data, number)).of_use(backups)


def control(cluster: Cluster, data: Path) -> str:
    """What pg_controldata says of a data folder."""
    bulk = Bulk(cluster.image, mark=mark(cluster), folder=data, target=cluster.pgdata, read_only=True)
    try:
        return bulk.run(["pg_controldata", "-D", cluster.pgdata])
    except BulkError as error:
        raise ArchiveError(str(error)) from error


def noted(folder: Path) -> list[RestorePoint]:
    """The moments that were named, as they were noted, each before it was made and then with its place; a line that was cut off by a crash is none."""
    file = folder / POINTS
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            data = json.loads(line)
        except ValueError:
            continue
        found.append(RestorePoint(data["name"], data["lsn"], datetime.fromisoformat(data["moment"])))
    return found


def refuse_crowded(cluster: Cluster, backup: BaseBackup) -> int:
    """Bytes that are free beside the live data. ArchiveError where these, or the memory, are not enough for a second server."""
    folder = cluster.data.parent
    free = shutil.disk_usage(folder).free
    if free < backup.bytes + SPARE_BYTES:
        needed = f"{(backup.bytes + SPARE_BYTES) >> 20} MB beside the live data are needed, and {folder} has {free >> 20} MB free"
        raise ArchiveError(f"{needed}: make room, or remove what earlier recoveries kept (state: cleaned)")
    _refuse_memory(cluster.memory_mb)
    return free


def _refuse_memory(memory_mb: int) -> None:
    """A quarter of a server's limit are its shared buffers; a recovery needs these and little more."""
    available = available_mb()
    if available is not None and available < memory_mb // 2:
        raise ArchiveError(f"a second server needs {memory_mb // 2} MB of memory, and {available} MB are available: stop something first")
