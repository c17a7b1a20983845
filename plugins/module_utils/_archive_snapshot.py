# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a repository belongs together at one moment, while pgBackRest goes on working in it.

Its files never change, and have their names when they are whole, but for two info files, which are replaced as a whole. They are read first and compared in
the end: pgBackRest writes them after a base backup, and before it removes one, so that all they speak of was there meanwhile.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._archive_marker import REPOSITORY, info_files
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Info, Repository
from ansible_collections.nexanest.database.plugins.module_utils._recovery_look import POINTS, history
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import SEGMENT, ArchiveError, Cluster

ATTEMPTS, PAUSE = 5, 1.0
_MANIFEST, _UNFINISHED, _HISTORY = "backup.manifest", ".pgbackrest.tmp", ".history"


@dataclass(frozen=True)
class Snapshot:
    """documents: what changes, by path below the archive; files: what does not, and their bytes; moment: before which all that was archived is in it.

    until: when the newest file of the log was archived; segment: the newest one on its timeline.
    """

    info: Info
    documents: Mapping[str, bytes]
    files: Mapping[str, int]
    moment: datetime
    until: datetime
    segment: str
    timeline: int

    @property
    def bytes(self) -> int:
        return sum(self.files.values())

    @property
    def labels(self) -> list[str]:
        return [backup.label for backup in self.info.backups]


@dataclass(frozen=True)
class _Found:
    """A regular file. path: below the archive."""

    path: str
    bytes: int
    changed: float

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def take(cluster: Cluster) -> Snapshot:
    """Raises ArchiveError, and RepositoryError where pgBackRest cannot read its repository."""
    for _attempt in range(ATTEMPTS):
        found = _try(cluster)
        if found is not None:
            return found
        time.sleep(PAUSE)
    raise ArchiveError(
        f"the repository of {cluster.name} changes while it is looked at, or lists a base backup whose files are gone: run this again, and if that is of no "
        f"use take a base backup (make db-base-backup)"
    )


def _try(cluster: Cluster) -> Snapshot | None:
    """None where it changed meanwhile."""
    moment = datetime.now(tz=UTC)
    infos = _infos(cluster)
    info = Repository(cluster).info()
    if not info.backups or not infos:
        raise ArchiveError(f"the repository of {cluster.name} holds no base backup yet, without which its log is worth nothing: make db-base-backup")
    log, backups = f"{REPOSITORY}archive/{cluster.name}", f"{REPOSITORY}backup/{cluster.name}"
    seen = {one.path for one in _files(cluster.home, log)}
    segments = settled(seen, {one.path: one for one in _files(cluster.home, log)})
    stored = [one for label in (*(backup.label for backup in info.backups), "backup.history") for one in _files(cluster.home, f"{backups}/{label}")]
    there = {one.path for one in stored}
    if _infos(cluster) != infos or any(f"{backups}/{backup.label}/{_MANIFEST}" not in there for backup in info.backups):
        return None
    newest = max(segments, key=lambda one: (one.changed, one.name))
    timeline = int(newest.name[:8], 16)
    segment = max((one.name[:24] for one in segments if SEGMENT.fullmatch(one.name[:24]) and int(one.name[:8], 16) == timeline), default="")
    documents = {**infos, **_notes(cluster, timeline)}
    files = {one.path: one.bytes for one in (*segments, *stored) if one.path not in documents}
    return Snapshot(info, documents, files, moment, datetime.fromtimestamp(newest.changed, tz=UTC), segment, timeline)


def settled(seen: Collection[str], again: Mapping[str, _Found]) -> list[_Found]:
    """The files of the log without a gap at their end, out of two looks at their folder.

    One look may miss a segment that comes meanwhile, and show the next one. What the first look showed had all its predecessors before the second began.
    """
    last: dict[str, str] = {}
    for path in seen:
        name = path.rpartition("/")[2]
        if SEGMENT.fullmatch(name[:24]):
            last[name[:8]] = max(last.get(name[:8], ""), name[:24])
    return [one for one in again.values() if _is_log(one.name) and (one.path in seen or one.name[:24] <= last.get(one.name[:8], ""))]


def _is_log(name: str) -> bool:
    return bool(SEGMENT.fullmatch(name[:24])) or name.endswith(_HISTORY)


def _infos(cluster: Cluster) -> dict[str, bytes]:
    """Both, or none where one is missing."""
    try:
        return {path: (cluster.home / path).read_bytes() for path in info_files(cluster.name)}
    except FileNotFoundError:
        return {}


def _notes(cluster: Cluster, timeline: int) -> dict[str, bytes]:
    """What a recovery wants to know beside the repository: the restore points, and where the timelines before this one were left."""
    points = cluster.home / POINTS
    found = {POINTS: points.read_bytes()} if points.is_file() and not points.is_symlink() else {}
    left = history(cluster, cluster.data, str(timeline))
    return {**found, **({f"received/current/{timeline:08X}{_HISTORY}": left.encode()} if left else {})}


def _files(home: Path, below: str) -> Iterator[_Found]:
    """The whole files of a folder; no links, as the server's user could let them lead anywhere."""
    for folder, _folders, names in os.walk(home / below):
        for name in names:
            path = Path(folder, name)
            try:
                about = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(about.st_mode) and not name.endswith(_UNFINISHED):
                yield _Found(str(path.relative_to(home)), about.st_size, about.st_mtime)
