# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the copy of a continuous backup in a bucket up to date: look at both, send what is missing, then the marker, then remove what is no part of it."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from ansible_collections.nexanest.database.plugins.module_utils import _archive_marker as markers
from ansible_collections.nexanest.database.plugins.module_utils import _archive_note as notes
from ansible_collections.nexanest.database.plugins.module_utils import _archive_snapshot as snapshots
from ansible_collections.nexanest.database.plugins.module_utils._archive_bucket import Stored, stored, unmarked
from ansible_collections.nexanest.database.plugins.module_utils._archive_marker import Marker, MarkerError
from ansible_collections.nexanest.database.plugins.module_utils._archive_note import Note
from ansible_collections.nexanest.database.plugins.module_utils._archive_snapshot import Snapshot
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import WORKERS, Bucket, BucketError, Upload
from ansible_collections.nexanest.database.plugins.module_utils._offsite_look import ours
from ansible_collections.nexanest.database.plugins.module_utils._offsite_object import Content, Courier, send_document
from ansible_collections.nexanest.database.plugins.module_utils._parallel import Stop, each
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, Tally, megabytes
from ansible_collections.nexanest.database.plugins.module_utils._stream import measure
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import Cluster

COPY, REMAINS = "copy of an archive", "remains of a copy"
MEGABYTE = 2**20


class Refused(Exception):
    """Nothing was changed; the text says why and what to do."""


class Moved(Exception):
    """pgBackRest removed a file before it was sent, or the archive is another one by now: what belongs together is to be looked at anew."""


@dataclass
class Plan:
    """What was found, and what is to do. kept: files that the bucket has, by path; send: paths; expired: keys of what the repository has no more.

    remains: keys of what interrupted runs left; note: what is known here of the copy; home: inode of the archive's folder, whose name a recovery may give
    to another one.
    """

    snapshot: Snapshot
    found: Stored
    note: Note
    home: int
    kept: dict[str, Content]
    send: list[str]
    expired: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)

    @property
    def stale(self) -> bool:
        """Whether the marker says something else than what is here."""
        marker, snapshot = self.found.marker, self.snapshot
        return marker is None or bool(self.send) or dict(marker.documents) != dict(snapshot.documents) or self.found.files != self.kept

    @property
    def sizes(self) -> list[int]:
        """Of the files that are to be sent."""
        return [self.snapshot.files[path] for path in self.send]

    def removed(self) -> list[int]:
        """Bytes of the objects that are to be removed."""
        objects = {f"{self.found.root}{path}": one.bytes for path, one in self.found.objects.items()}
        return [objects[key] for key in (*self.expired, *self.remains)]


@dataclass(frozen=True)
class Copier:
    """Works on the archive that is current and on one bucket. The caller of apply() holds the lock of the copies."""

    params: Mapping[str, Any]
    bucket: Bucket
    cluster: Cluster

    @property
    def stack(self) -> str:
        return str(self.params["stack"])

    def look(self) -> Plan:
        """Refused, or an error, before anything is changed."""
        home = self._home()
        snapshot, note = snapshots.take(self.cluster), notes.read(self.cluster.home)
        found = self._stored(snapshot.info.system_id)
        self._refuse_others(found, note)
        kept = {path: one for path, one in found.files.items() if self._whole(found, one) and snapshot.files.get(path) == one.bytes}
        kept.update(self._sent_before(found, [path for path in snapshot.files if path not in kept]))
        plan = Plan(snapshot, found, note, home, kept, sorted(path for path in snapshot.files if path not in kept))
        if self.params["remove"]:
            self._look_for_remains(plan)
        return plan

    def _stored(self, system_id: str) -> Stored:
        """What the bucket has; where a damaged marker may be replaced, as if there was none."""
        try:
            return stored(self.bucket, self.cluster.name, system_id)
        except MarkerError as error:
            if self.params["take_over"]:
                return unmarked(self.bucket, self.cluster.name, system_id)
            raise Refused(f"{error}; -e wal_archive_offsite_take_over=true writes a new one, as what lies there without it is no copy") from error

    def _refuse_others(self, found: Stored, note: Note) -> None:
        marker = found.marker
        if marker is None:
            return
        where = f"{self.bucket.place.text} has a copy of {marker.server} {marker.system_id}"
        if marker.stack != self.stack:
            raise Refused(f"{where} of the stack {marker.stack}: name another prefix for {self.stack}")
        if not note.knows(found.sha256) and not self.params["take_over"]:
            raise Refused(
                f"{where} that {marker.host} made at {marker.copied}, and not this machine: where that one is lost, fetch its copy before anything else; "
                f"where its copy may be replaced, say so (-e wal_archive_offsite_take_over=true); where both run, name another prefix for one of them"
            )

    def _whole(self, found: Stored, one: Content) -> bool:
        return one.path in found.objects and found.objects[one.path].bytes == one.bytes

    def _sent_before(self, found: Stored, paths: Iterable[str]) -> dict[str, Content]:
        """Files without a list that a run has sent whole before it was cut off."""
        candidates = [path for path in paths if path in found.objects]

        def same(path: str) -> Content | None:
            head = self.bucket.head(f"{found.root}{path}")
            try:
                size, sha256 = measure(self.cluster.home / path)
            except FileNotFoundError:
                return None
            return Content(path, size, sha256) if head is not None and (head.bytes, head.marks.get("sha256")) == (size, sha256) else None

        return {one.path: one for one in each(same, candidates, workers=WORKERS) if one is not None}

    def _look_for_remains(self, plan: Plan) -> None:
        """What no list of the coming marker names. Of what the lists of the last one do not name either, only what carries our mark."""
        found, files = plan.found, plan.snapshot.files
        loose = [path for path in found.objects if path != markers.NAME and path not in files and not path.startswith(markers.LISTS)]
        plan.expired = [f"{found.root}{path}" for path in loose if path in found.files]
        plan.remains = self._ours(plan, [path for path in loose if path not in found.files])
        plan.uploads = [one for one in self.bucket.uploads() if one.key.startswith(found.root)]

    def _ours(self, plan: Plan, paths: Iterable[str]) -> list[str]:
        return [one.key for one in ours(self.bucket, [plan.found.objects[path] for path in paths], self.stack)]

    def apply(self, plan: Plan, sent: list[int]) -> list[str]:
        """What could not be tidied up. sent: gets the bytes of each file that was sent. Moved where a file went meanwhile."""
        notices = self._abort(plan)
        marker, lists = plan.found.sha256, list(plan.found.marker.lists) if plan.found.marker else []
        if plan.stale:
            contents = {**plan.kept, **self._send(plan, sent)}
            self._compare(plan, contents)
            marker, lists = self._mark(plan, contents)
        snapshot = plan.snapshot
        # For whoever cannot ask the bucket.
        self._note(plan, Note(self.bucket.place.text, _utc(snapshot.moment), _utc(snapshot.until), marker))
        return [*notices, *self._remove(plan, lists)]

    def _home(self) -> int:
        """0 where there is none: its name is on its way to another one, or its disk is not there, which the snapshot says."""
        return self.cluster.home.stat().st_ino if self.cluster.home.is_dir() else 0

    def _note(self, plan: Plan, note: Note) -> None:
        if self._home() != plan.home:
            raise Moved(notes.NAME)
        notes.write(self.cluster.home, note)

    def _abort(self, plan: Plan) -> list[str]:
        try:
            for upload in plan.uploads:
                self.bucket.abort(upload.key, upload.id)
        except BucketError as error:
            return [f"what interrupted copies have left could not be removed: {error}"]
        return []

    def _send(self, plan: Plan, sent: list[int]) -> dict[str, Content]:
        progress, name = Progress(self.params["progress_file"]), self.cluster.name
        total, stop = sum(plan.sizes), Stop()
        progress.begin(name, f"copying {megabytes(total)} MB")
        courier = Courier(self.bucket, self.stack, self.params["part_size"] * MEGABYTE, stop, Tally(progress, name, total).add)

        def one(path: str) -> Content:
            file = self.cluster.home / path
            try:
                content = Content(path, *measure(file))
                with _opened(file) as source:
                    courier.send(f"{plan.found.root}{path}", source, content)
            except (FileNotFoundError, Damaged) as error:
                raise Moved(path) from error
            sent.append(content.bytes)
            return content

        # The largest first: all workers then end at about the same time.
        contents = each(one, sorted(plan.send, key=lambda path: -plan.snapshot.files[path]), workers=WORKERS, stop=stop)
        progress.end(name, "copied")
        return {content.path: content for content in contents}

    def _compare(self, plan: Plan, contents: Mapping[str, Content]) -> None:
        """Before the marker says so, the service is asked what it has."""
        there = {one.key: one.bytes for one in self.bucket.objects(f"{plan.found.root}{markers.REPOSITORY}")}
        wrong = [path for path, one in contents.items() if there.get(f"{plan.found.root}{path}") != one.bytes]
        if wrong:
            raise BucketError(f"{self.bucket.place.text} does not have what was sent to it ({', '.join(wrong[:5])}): run this again")

    def _mark(self, plan: Plan, contents: Mapping[str, Content]) -> tuple[str, list[str]]:
        """From the last request on the bucket has this state, and until then the one before. The marker's SHA-256, and the lists' names."""
        lists = dict(markers.write_list(group) for group in markers.grouped(contents.values()).values())
        known = set(plan.found.marker.lists) if plan.found.marker and not plan.found.problems else set[str]()
        for name, text in lists.items():
            if name not in known:
                send_document(self.bucket, f"{plan.found.root}{markers.LISTS}{name}", text, self.stack)
        text = markers.write(self._marker(plan, list(lists)))
        sha256 = markers.digest(text)
        # Killed in between, this machine must know its own marker again.
        self._note(plan, dataclasses.replace(plan.note, marker=plan.found.sha256, coming=sha256))
        send_document(self.bucket, f"{plan.found.root}{markers.NAME}", text, self.stack)
        return sha256, list(lists)

    def _marker(self, plan: Plan, lists: list[str]) -> Marker:
        snapshot, backups = plan.snapshot, plan.snapshot.info.backups
        return Marker(
            stack=self.stack,
            server=self.cluster.name,
            system_id=snapshot.info.system_id,
            host=socket.gethostname(),
            copied=_utc(snapshot.moment),
            until=_utc(snapshot.until),
            oldest=_utc(datetime.fromtimestamp(backups[0].stop, tz=UTC)),
            newest=_utc(datetime.fromtimestamp(backups[-1].stop, tz=UTC)),
            backups=snapshot.labels,
            segment=snapshot.segment,
            timeline=snapshot.timeline,
            pgbackrest=snapshot.info.version,
            files=len(snapshot.files),
            bytes=snapshot.bytes,
            lists=lists,
            documents=dict(snapshot.documents),
        )

    def _remove(self, plan: Plan, lists: list[str]) -> list[str]:
        """Only now, as until now they may have been part of the copy. What stays costs money and is in nobody's way: it fails nothing."""
        if not self.params["remove"]:
            return []
        named = {f"{markers.LISTS}{name}" for name in lists}
        try:
            old = self._ours(plan, [path for path in plan.found.objects if path.startswith(markers.LISTS) and path not in named])
            each(self.bucket.delete, [*plan.expired, *plan.remains, *old], workers=WORKERS)
        except BucketError as error:
            return [f"what is no part of the copy any more could not be removed from the bucket: {error}"]
        return []


def changes(plan: Plan) -> list[Change]:
    """All that the plan would change."""
    snapshot, marker = plan.snapshot, plan.found.marker
    name = plan.found.root.removeprefix(f"{markers.FOLDER}/").rstrip("/")
    found = []
    if plan.stale:
        after = markers.described(len(snapshot.files), snapshot.bytes, snapshot.labels, snapshot.segment, snapshot.documents)
        found.append(Change(COPY, name, markers.summary(marker) if marker else None, after))
    if plan.remains or plan.uploads:
        found.append(Change(REMAINS, name, {"objects": len(plan.remains), "uploads": len(plan.uploads)}, None))
    return found


def _opened(file: Path) -> IO[bytes]:
    """A link that was put in its place leads nowhere."""
    return os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
