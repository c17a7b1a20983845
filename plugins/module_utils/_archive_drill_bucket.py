# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill of an archive's copy in a bucket: what the loss of the host would need, fetched, recovered to its newest moment, and forgotten.

It has folders, a container and a lock of its own: base backups and recoveries go on meanwhile, however long the fetch takes.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._archive_bucket import stored
from ansible_collections.nexanest.database.plugins.module_utils._archive_copy import Refused
from ansible_collections.nexanest.database.plugins.module_utils._archive_drill import ArchiveDrill, Prepared, Report
from ansible_collections.nexanest.database.plugins.module_utils._archive_fetch import Fetcher, Found, aside
from ansible_collections.nexanest.database.plugins.module_utils._archive_look import system_id
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import make_folder
from ansible_collections.nexanest.database.plugins.module_utils._drill_party import Needs
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import Bucket, BucketError, bucket_of
from ansible_collections.nexanest.database.plugins.module_utils._offsite_fetch import free_bytes
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, megabytes
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import log_bytes, target_of
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import FULL_BYTES, ArchiveError, Cluster

# The folder of a drill, beside the folder of the archives; nothing else looks for such a name.
FOLDER = ".drill-"


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
        self._refuse_full(report)
        plan = dataclasses.replace(plan, newest_segment=found.marker.segment, log=log_bytes(plan.backup, found.marker.segment))
        return Prepared(target, plan, lambda: self._bring(fetcher, found))

    def _refuse_full(self, report: Report) -> None:
        """Beside what the recovery needs, which was looked at."""
        together = self.cluster.folder.stat().st_dev == self.cluster.data.parent.stat().st_dev
        why = crowded(report.fetch, report.needs.disk, free_bytes(self.cluster.folder), together=together)
        report.needs = Needs(report.needs.disk + report.fetch, report.needs.memory_mb)
        if why:
            raise ArchiveError(f"{self.cluster.folder.parent} {why}: make room")

    def _bring(self, fetcher: Fetcher, found: Found) -> None:
        try:
            fetcher.complete(self.cluster.home, found)
        except BucketError as error:
            self._refuse_exchanged(fetcher.bucket, found, error)
            raise

    def _refuse_exchanged(self, bucket: Bucket, found: Found, error: BucketError) -> None:
        """What a newer copy has dropped meanwhile is gone, and no harm is done."""
        if stored(bucket, self.cluster.name, self.cluster.which).sha256 != found.stored.sha256:
            raise Refused(f"the copy in {self.where} became another one while it was fetched: run this again") from error

    def foresee(self, report: Report) -> None:
        """Nothing of it stays."""
        try:
            super().foresee(report)
        finally:
            self._forget(self.cluster.folder)

    def sweep(self) -> None:
        super().sweep()
        for folder in self.cluster.folder.parent.glob(f"{FOLDER}{self.cluster.name}-*"):
            self._forget(folder)

    def _forget(self, folder: Path) -> None:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)


def drill_of(cluster: Cluster, params: Mapping[str, Any], told: Callable[[str], None], progress: Progress, token: str) -> BucketDrill:
    """Of the copy of the cluster that runs. token: makes the folder's name one of its own. Raises ArchiveError."""
    folder = aside(cluster.folder) / f"{FOLDER}{cluster.name}-{token}"
    elsewhere = dataclasses.replace(cluster, container=f"{cluster.container}-offsite", folder=folder, which=system_id(params))
    return BucketDrill(elsewhere, params, told, progress)


def behind(until: str, now: datetime) -> int:
    """Seconds that the loss of the host would cost now. until: when the newest segment of the copy was archived."""
    return math.ceil(max(0.0, (now - datetime.fromisoformat(until).astimezone(UTC)).total_seconds()))


def crowded(copy: int, data: int, free: int, *, together: bool) -> str:
    """Why there is no room for a copy, "" where there is. data: bytes of the recovery; together: on the same file system."""
    needed = copy + FULL_BYTES + (data if together else 0)
    both = f" and {megabytes(data)} MB for what is recovered" if together else ""
    return f"has {megabytes(free)} MB free, and the drill needs {megabytes(copy + FULL_BYTES)} MB for the copy{both}" if free < needed else ""
