# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send one set into a bucket: file by file, each byte hashed on its way, the manifest last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import WORKERS, Bucket, BucketError
from ansible_collections.nexanest.database.plugins.module_utils._offsite_object import Content, Courier, send_document
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
        stop = Stop()
        courier = Courier(self.bucket, self.stack, self.part, stop, Tally(self.progress, manifest.id, total).add)

        def one(file: File) -> None:
            with (folder / file.path).open("rb") as source:
                courier.send(f"{manifest.id}/{file.path}", source, Content(file.path, file.bytes, file.sha256))

        # The largest first: all workers then end at about the same time.
        each(one, sorted(files, key=lambda file: -file.bytes), workers=WORKERS, stop=stop)
        self._compare(manifest)
        self._manifest(folder, manifest)
        self.progress.end(manifest.id, "copied")

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
        send_document(self.bucket, f"{manifest.id}/{manifests.NAME}", text, self.stack)
