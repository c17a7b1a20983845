# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send one set into a bucket: file by file, each byte hashed on its way, the manifest last."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import WORKERS, Bucket, BucketError
from ansible_collections.nexanest.database.plugins.module_utils._offsite_look import marks
from ansible_collections.nexanest.database.plugins.module_utils._offsite_plan import part_bytes
from ansible_collections.nexanest.database.plugins.module_utils._parallel import Stop, each
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, Tally, megabytes


@dataclass(frozen=True)
class Sender:
    """Sends sets of one stack. part: bytes of a file that are in memory at a time; WORKERS files go at once."""

    bucket: Bucket
    stack: str
    part: int
    progress: Progress

    def send(self, folder: Path, manifest: Manifest, files: Sequence[File]) -> None:
        """These files of the set in a folder, then its manifest: from then on, and not before, the bucket has the set."""
        total = sum(file.bytes for file in files)
        self.progress.begin(manifest.id, f"copying {megabytes(total)} MB")
        tally, stop = Tally(self.progress, manifest.id, total), Stop()
        # The largest first: all workers then end at about the same time.
        each(lambda file: self._file(folder, manifest.id, file, tally, stop), sorted(files, key=lambda file: -file.bytes), workers=WORKERS, stop=stop)
        self._compare(manifest)
        self._manifest(folder, manifest)
        self.progress.end(manifest.id, "copied")

    def _file(self, folder: Path, identity: str, file: File, tally: Tally, stop: Stop) -> None:
        stop.check()
        key, size = f"{identity}/{file.path}", part_bytes(file.bytes, self.part)
        with (folder / file.path).open("rb") as source:
            if file.bytes > size:
                self._in_parts(key, source, file, size, tally, stop)
                return
            body = source.read(file.bytes + 1)
        _check(file, len(body), hashlib.sha256(body).hexdigest())
        self.bucket.put(key, body, marks(self.stack, file.sha256))
        tally.add(len(body))

    def _in_parts(self, key: str, source: IO[bytes], file: File, size: int, tally: Tally, stop: Stop) -> None:
        """A file that is not what its manifest says is never completed, so that it is not in the bucket."""
        upload = self.bucket.begin(key, marks(self.stack, file.sha256))
        try:
            digest, sent = hashlib.sha256(), 0
            parts: list[dict[str, Any]] = []
            while sent <= file.bytes and (block := source.read(size)):
                stop.check()
                digest.update(block)
                parts.append(self.bucket.part(key, upload, len(parts) + 1, block))
                sent += len(block)
                tally.add(len(block))
                del block  # or it would be in memory beside the next one
            _check(file, sent, digest.hexdigest())
            self.bucket.complete(key, upload, parts)
        except BaseException:
            self._abort(key, upload)
            raise
        head = self.bucket.head(key)
        if head is None or (head.bytes, head.marks.get("sha256")) != (file.bytes, file.sha256):
            raise BucketError(f"{key} is not in {self.bucket.place.text} as it was sent: run this again")

    def _abort(self, key: str, upload: str) -> None:
        try:
            self.bucket.abort(key, upload)
        except BucketError:
            pass  # the failure that led here is the one to tell; the next run aborts it

    def _compare(self, manifest: Manifest) -> None:
        """Before the set counts as one, the service is asked what it has."""
        there = {one.key: one.bytes for one in self.bucket.objects(f"{manifest.id}/")}
        wrong = [file.path for file in manifest.files if there.get(f"{manifest.id}/{file.path}") != file.bytes]
        if wrong:
            raise BucketError(f"{self.bucket.place.text} does not have what was sent to it ({', '.join(wrong[:5])}): run this again")

    def _manifest(self, folder: Path, manifest: Manifest) -> None:
        text = (folder / manifests.NAME).read_bytes()
        if manifests.read(text.decode()) != manifest:
            raise Damaged(f"{manifests.NAME} was changed while the set was copied")
        key = f"{manifest.id}/{manifests.NAME}"
        self.bucket.put(key, text, marks(self.stack, hashlib.sha256(text).hexdigest()))
        if self.bucket.document(key) != text:
            raise BucketError(f"{key} is not in {self.bucket.place.text} as it was sent: run this again")


def _check(file: File, size: int, sha256: str) -> None:
    if (size, sha256) != (file.bytes, file.sha256):
        raise Damaged(f"{file.path} is damaged on this machine: its bytes are not those that the manifest lists")
