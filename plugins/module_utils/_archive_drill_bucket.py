# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill of an archive's copy in a bucket: what the loss of the host would need, fetched, recovered to its newest moment, and forgotten.

It has folders, a container and a lock of its own: base backups and recoveries go on meanwhile, however long the fetch takes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _recovery_look as looks
from ansible_collections.nexanest.database.plugins.module_utils._archive_bucket import stored
from ansible_collections.nexanest.database.plugins.module_utils._archive_copy import Refused
from ansible_collections.nexanest.database.plugins.module_utils._archive_drill import ArchiveDrill, Prepared, Report
from ansible_collections.nexanest.database.plugins.module_utils._archive_fetch import Fetcher, Found, aside
from ansible_collections.nexanest.database.plugins.module_utils._archive_look import system_id
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged, make_folder
from ansible_collections.nexanest.database.plugins.module_utils._drill_party import Needs
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import Bucket, BucketError, Gone, bucket_of
from ansible_collections.nexanest.database.plugins.module_utils._offsite_fetch import free_bytes
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place
from ansible_collections.nexanest.database.plugins.module_utils._parallel import Stop
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import remove_left_behind
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, megabytes
from ansible_collections.nexanest.database.plugins.module_utils._recovery_look import Plan
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import log_bytes, target_of
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError, Cluster

# The folder of a drill, beside the folder of the archives; nothing else looks for such a name.
FOLDER = ".drill-"
# A fetch may take hours, and the live server archives onto the same disk meanwhile: what is asked for beside the copy, its tenth but at least this.
SPARE_BYTES = 256 * 2**20


class Room(Stop):
    """Also ends a fetch that takes the room of the live server. floor: bytes that have to stay free."""

    def __init__(self, folder: Path, floor: int) -> None:
        super().__init__()
        self._folder, self._floor = folder, floor

    def check(self) -> None:
        super().check()
        self.refuse_full()

    def refuse_full(self) -> None:
        """Also when the fetch has ended, which stops it."""
        free = free_bytes(self._folder)
        if free < self._floor:
            needed = f"has {megabytes(free)} MB free by now, and {megabytes(self._floor)} MB have to stay free"
            raise Refused(f"{self._folder.parent} {needed}, as the live server archives there too: make room")


@dataclass(frozen=True)
class BucketDrill(ArchiveDrill):
    """cluster: as of another container, whose archive is in this drill's folder. The caller holds the lock of such drills."""

    progress: Progress

    @property
    def where(self) -> str:
        return Place.of(self.params).text

    @property
    def data(self) -> Path:
        return self.cluster.data.with_name(f"{self.cluster.data.name}.offsite-drill")

    def prepare(self, report: Report, *, touch: bool) -> Prepared:
        """What stands in the copy's marker is written into the drill's folder: from it pgBackRest tells what a recovery needs, before gigabytes come."""
        report.offsite = self.where
        fetcher = Fetcher(bucket_of(self.params), self.cluster, self.progress)
        found = fetcher.copy(self.params["stack"], self.cluster.which)
        # What the lists say is what comes, whatever the marker says.
        report.fetch = sum(one.bytes for one in found.stored.files.values())
        report.rpo = behind(found.marker.until, datetime.now(tz=UTC))
        target = target_of(self.params)
        report.target = str(target)
        make_folder(self.cluster.home)
        fetcher.begin(self.cluster.home, found)
        plan = self.planned(target, report)
        room = self._refuse_full(report)
        plan = dataclasses.replace(plan, newest_segment=found.marker.segment, log=log_bytes(plan.backup, found.marker.segment))
        return Prepared(target, plan, lambda: self._bring(fetcher, found, plan, room))

    def _refuse_full(self, report: Report) -> Room:
        """Beside what the recovery needs, which was looked at. Half of what is spared may go while the copy comes."""
        data, folder = report.needs.disk, self.cluster.folder
        together = folder.stat().st_dev == self.cluster.data.parent.stat().st_dev
        report.needs = Needs(data + report.fetch, report.needs.memory_mb)
        if why := crowded(report.fetch, data, free_bytes(folder), together=together):
            raise ArchiveError(f"{folder.parent} {why}: make room")
        return Room(folder, spare(report.fetch) // 2 + (data if together else 0))

    def _bring(self, fetcher: Fetcher, found: Found, plan: Plan, room: Room) -> None:
        """There was room when this began, maybe hours ago."""
        try:
            fetcher.complete(self.cluster.home, found, room)
        except Gone as error:
            self._refuse_exchanged(fetcher.bucket, found, error)
            raise Damaged(str(error)) from error
        room.refuse_full()
        looks.refuse_crowded(self.cluster, plan.backup)

    def _refuse_exchanged(self, bucket: Bucket, found: Found, error: Gone) -> None:
        """What a newer copy has dropped meanwhile is gone, and no harm is done. One that lacks something itself is damaged."""
        try:
            newer = stored(bucket, self.cluster.name, self.cluster.which)
        except BucketError:
            raise error from None  # nobody knows then, and the first word says more
        if newer.sha256 != found.stored.sha256 and not newer.lacking():
            raise Refused(f"the copy in {self.where} became another one while it was fetched ({error}): run this again") from error

    def foresee(self, report: Report) -> None:
        """Nothing of it stays."""
        try:
            super().foresee(report)
        finally:
            self._forget(self.cluster.folder)

    def sweep(self) -> None:
        """All of it, whatever cannot be removed."""
        with contextlib.ExitStack() as left:
            for folder in self.cluster.folder.parent.glob(f"{FOLDER}{self.cluster.name}-*"):
                left.callback(self._forget, folder)
            left.callback(super().sweep)

    def _forget(self, folder: Path) -> None:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)


def drill_of(cluster: Cluster, params: Mapping[str, Any], told: Callable[[str], None], progress: Progress, token: str) -> BucketDrill:
    """Of the copy of the cluster that runs. token: makes the folder's name one of its own. Raises ArchiveError."""
    return BucketDrill(_elsewhere(cluster, token, system_id(params)), params, told, progress)


def sweep(cluster: Cluster, params: Mapping[str, Any], progress: Progress) -> None:
    """What a drill that was killed has left, before another one comes: neither bucket nor server is asked. The caller holds the lock of such drills."""
    elsewhere = _elsewhere(cluster, "", "")
    remove_left_behind(elsewhere)
    BucketDrill(elsewhere, params, lambda words: progress.begin(cluster.name, words), progress).sweep()


def _elsewhere(cluster: Cluster, token: str, which: str) -> Cluster:
    folder = aside(cluster.folder) / f"{FOLDER}{cluster.name}-{token}"
    return dataclasses.replace(cluster, container=f"{cluster.container}-offsite", folder=folder, which=which)


def behind(until: str, now: datetime) -> int:
    """Seconds that the loss of the host would cost now. until: when the newest segment of the copy was archived."""
    return math.ceil(max(0.0, (now - datetime.fromisoformat(until).astimezone(UTC)).total_seconds()))


def spare(copy: int) -> int:
    """Bytes to ask for beside a copy."""
    return max(copy // 10, SPARE_BYTES)


def crowded(copy: int, data: int, free: int, *, together: bool) -> str:
    """Why there is no room for a copy, "" where there is. data: bytes of the recovery; together: on the same file system."""
    asked = copy + spare(copy)
    both = f" and {megabytes(data)} MB for what is recovered" if together else ""
    words = f"has {megabytes(free)} MB free, and the drill needs {megabytes(asked)} MB for the copy and what is archived meanwhile{both}"
    return words if free < asked + (data if together else 0) else ""
