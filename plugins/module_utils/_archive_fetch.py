# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a continuous backup out of a bucket: aside, every byte compared with its lists, then it is one that is kept under its system identifier."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils import _archive_marker as markers
from ansible_collections.nexanest.database.plugins.module_utils import _archive_note as notes
from ansible_collections.nexanest.database.plugins.module_utils._archive_bucket import Stored, stored, survey
from ansible_collections.nexanest.database.plugins.module_utils._archive_copy import Refused
from ansible_collections.nexanest.database.plugins.module_utils._archive_marker import Marker
from ansible_collections.nexanest.database.plugins.module_utils._archive_note import Note
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged, create, make_folder
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import WORKERS, Bucket
from ansible_collections.nexanest.database.plugins.module_utils._offsite_object import Content, receive
from ansible_collections.nexanest.database.plugins.module_utils._parallel import Stop, each
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Info, Repository, RepositoryError
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, Tally, megabytes
from ansible_collections.nexanest.database.plugins.module_utils._stream import measure, synchronise
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import FULL_BYTES, Cluster

# The folder of a fetch that has not ended; it has no name that anything else looks for.
PARTIAL = ".fetch-"


@dataclass(frozen=True)
class Found:
    """A whole copy. there: whether it is on this machine already."""

    marker: Marker
    stored: Stored
    there: bool


@dataclass(frozen=True)
class Fetcher:
    """Fetches for one server. The caller of fetch() holds the lock of the copies."""

    bucket: Bucket
    cluster: Cluster
    progress: Progress

    def look(self, stack: str, system_id: str) -> Found:
        """Refused before anything is changed."""
        copy = self.copy(stack, system_id)
        if (self.cluster.folder / system_id).exists():
            self._compare(copy.stored, system_id)
            return dataclasses.replace(copy, there=True)
        self._refuse_current(system_id)
        self._refuse_full(copy.marker)
        return copy

    def copy(self, stack: str, system_id: str) -> Found:
        """What the bucket has. Refused where it has no copy of this stack's; Damaged, or MarkerError, where that cannot be used."""
        found = stored(self.bucket, self.cluster.name, system_id)
        marker = found.marker
        if marker is None:
            known = [key.split("/")[2] for key in survey(self.bucket)[0] if key.split("/")[1] == self.cluster.name]
            raise Refused(f"there is no copy of {self.cluster.name} {system_id} in {self.bucket.place.text}: it has {', '.join(known) or 'none'}")
        if marker.stack != stack:
            raise Refused(f"the copy of {self.cluster.name} {system_id} in {self.bucket.place.text} is that of the stack {marker.stack}")
        if wrong := found.lacking():
            raise Damaged(f"the copy of {self.cluster.name} {system_id} cannot be used: {'; '.join(wrong[:5])}")
        return Found(marker, found, there=False)

    def _compare(self, found: Stored, system_id: str) -> None:
        """What is there has to be the same, in every byte."""
        home = self.cluster.folder / system_id
        if notes.read(home).marker != found.sha256:
            raise Refused(f"{home} is there already, and not as the bucket has it: recover from it, or move it elsewhere and fetch again")

        def right(one: Content) -> bool:
            with contextlib.suppress(OSError):
                return measure(home / one.path) == (one.bytes, one.sha256)
            return False

        answers = each(right, found.files.values(), workers=WORKERS)
        wrong = [one.path for one, yes in zip(found.files.values(), answers, strict=True) if not yes]
        if wrong:
            raise Refused(f"{home} is there already, and damaged ({', '.join(wrong[:5])}): move it elsewhere, then fetch again")

    def _refuse_current(self, system_id: str) -> None:
        """The archive of the cluster that runs is not one that is kept aside."""
        try:
            current = Repository(self.cluster).info().system_id if self.cluster.repository.is_dir() else ""
        except RepositoryError:
            return  # it is no reason to keep another one from coming
        if current == system_id:
            raise Refused(f"{self.cluster.home} is the archive of {system_id}, which is in use: a recovery needs no other one")

    def _refuse_full(self, marker: Marker) -> None:
        free = shutil.disk_usage(self.cluster.folder).free
        if free < marker.bytes + FULL_BYTES:
            raise Refused(f"{self.cluster.folder} has {megabytes(free)} MB free, and the copy has {megabytes(marker.bytes)} MB: make room")

    def fetch(self, found: Found) -> None:
        """The archive is kept aside under its system identifier when this returns. What fails leaves nothing."""
        beside = aside(self.cluster.folder)
        for left in beside.glob(f"{PARTIAL}{self.cluster.name}-*"):
            shutil.rmtree(left)
        partial = beside / f"{PARTIAL}{self.cluster.name}-{found.marker.system_id}"
        partial.mkdir(mode=0o700)
        try:
            self.begin(partial, found)
            self.complete(partial, found)
            partial.rename(self.cluster.folder / found.marker.system_id)
            synchronise(self.cluster.folder)
        finally:
            if partial.exists():
                shutil.rmtree(partial)

    def begin(self, home: Path, found: Found) -> Info:
        """What stands in the marker, in a folder that is empty, and what pgBackRest makes of it. Refused where it cannot read it."""
        self._documents(home, found)
        self._hand_over(home, found.marker)
        return self._readable(home, found.marker)

    def complete(self, home: Path, found: Found, stop: Stop | None = None) -> None:
        """All the others. Raises Damaged. stop: is asked with every block that comes."""
        self._files(home, found, stop or Stop())
        self._hand_over(home, found.marker)

    def _documents(self, partial: Path, found: Found) -> None:
        """What stands in the marker, and what a recovery finds beside a repository."""
        marker = found.marker
        infos = {f"{path}.copy": marker.documents[path] for path in markers.info_files(marker.server)}
        last = {"archived/last": f"{marker.segment}\n".encode()}
        for path, text in {**marker.documents, **infos, **last}.items():
            make_folder((partial / path).parent)
            with create(partial / path) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        make_folder(partial / "received" / "current")
        notes.write(partial, Note(self.bucket.place.text, marker.copied, marker.until, found.stored.sha256))

    def _readable(self, partial: Path, marker: Marker) -> Info:
        """The bucket has no passphrase. Whether this machine's is the right one is seen before gigabytes are fetched."""
        remedy = f"put secrets/{marker.stack}/{marker.server}_archive of the lost machine there, and make db-start"
        try:
            info = Repository(dataclasses.replace(self.cluster, folder=partial.parent, which=partial.name)).info()
        except RepositoryError as error:
            raise Refused(f"this machine cannot read what it fetched: {error}. Where it is the passphrase, {remedy}") from error
        if info.system_id != marker.system_id:
            raise Refused(f"the copy holds the archive of '{info.system_id}', not that of {marker.system_id}: nothing of it can be trusted")
        return info

    def _files(self, partial: Path, found: Found, stop: Stop) -> None:
        files, name = found.stored.files, self.cluster.name
        self.progress.begin(name, f"fetching {megabytes(found.marker.bytes)} MB")
        tally = Tally(self.progress, name, found.marker.bytes)

        def one(content: Content) -> None:
            make_folder((partial / content.path).parent)
            receive(self.bucket, f"{found.stored.root}{content.path}", content, partial / content.path, stop)
            tally.add(content.bytes)

        each(one, sorted(files.values(), key=lambda content: -content.bytes), workers=WORKERS, stop=stop)
        self.progress.end(name, "fetched")

    def _hand_over(self, partial: Path, marker: Marker) -> None:
        """All of it is the server's user's, and the newest segment is the newest file: a recovery and the next copy ask when the last one came."""
        until = datetime.fromisoformat(marker.until).astimezone(UTC).timestamp()
        for path in _below(partial):
            newest = path.name[:24] == marker.segment or path.name == "last"
            moment = until if newest else until - 1
            if path.is_dir():
                path.chmod(0o750 if "repository" in path.parent.relative_to(partial.parent).parts else 0o700)
            elif path.name != notes.NAME:
                path.chmod(0o640)
            os.utime(path, (moment, moment), follow_symlinks=False)
            if path.name != notes.NAME:
                os.chown(path, self.cluster.uid, self.cluster.gid, follow_symlinks=False)
            if path.is_dir():
                synchronise(path)


def aside(folder: Path) -> Path:
    """Where the server's user, who has the folder of the archives, can put nothing in the way of root: beside it, if that is the same file system."""
    return folder.parent if folder.parent.stat().st_dev == folder.stat().st_dev else folder


def _below(folder: Path) -> Iterator[Path]:
    """All of a folder, itself last: who has it only then can change something in it."""
    for path, folders, names in os.walk(folder, topdown=False):
        yield from (Path(path, name) for name in (*names, *folders))
    yield folder
