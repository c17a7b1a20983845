# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring one set out of a bucket: aside, every byte compared with the manifest, then it gets its name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import make_folder
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store
from ansible_collections.nexanest.database.plugins.module_utils._backup_verify import verify
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import WORKERS, Bucket
from ansible_collections.nexanest.database.plugins.module_utils._offsite_copy import Refused
from ansible_collections.nexanest.database.plugins.module_utils._offsite_object import Content, receive
from ansible_collections.nexanest.database.plugins.module_utils._offsite_plan import Stored, by_set, stored
from ansible_collections.nexanest.database.plugins.module_utils._parallel import Stop, each
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, Tally, megabytes
from ansible_collections.nexanest.database.plugins.module_utils._stream import measure

# What must be left on the disk when the set is there.
FLOOR = 64 * 2**20


@dataclass(frozen=True)
class Fetcher:
    """Fetches into one store, whose lock the caller holds."""

    bucket: Bucket
    store: Store
    progress: Progress

    def fetch(self, manifest: Manifest, text: bytes) -> Path:
        """The set's folder. What fails leaves nothing. text: the manifest's bytes."""
        self.store.sweep()
        partial = self.store.begin(manifest.id)
        self.progress.begin(manifest.id, f"fetching {megabytes(manifest.bytes)} MB")
        tally, stop = Tally(self.progress, manifest.id, manifest.bytes), Stop()
        try:
            files = sorted(manifest.files, key=lambda file: -file.bytes)
            each(lambda file: self._file(partial, manifest.id, file, tally, stop), files, workers=WORKERS, stop=stop)
            target = self.store.finish(partial, manifest, text)
        finally:
            if partial.exists():
                shutil.rmtree(partial)
        self.progress.end(manifest.id, "fetched")
        return target

    def _file(self, partial: Path, identity: str, file: File, tally: Tally, stop: Stop) -> None:
        target = partial / file.path
        make_folder(target.parent)
        receive(self.bucket, f"{identity}/{file.path}", Content(file.path, file.bytes, file.sha256), target, stop)
        tally.add(file.bytes)


def look(bucket: Bucket, store: Store, identity: str) -> tuple[Manifest, bytes, bool]:
    """The set in the bucket, its manifest's bytes, and whether the folder has it already. Refused before anything is changed."""
    objects = by_set(bucket.objects())
    there = sorted(name for name, files in objects.items() if manifests.NAME in files)
    if identity not in there:
        raise Refused(f"there is no set {identity} in {bucket.place.text}: it has {', '.join(there) or 'none'}")
    text = bucket.document(f"{identity}/{manifests.NAME}")
    found = stored(identity, objects[identity], text)
    if found.manifest is None or not found.whole:
        raise Refused(f"the set {identity} in {bucket.place.text} cannot be used: {'; '.join(found.problems[:5])}. Nothing was fetched; take another set")
    if (store.folder / identity).exists():
        _compare(store, found)
        return found.manifest, text, True
    free = free_bytes(store.folder)
    if free < found.manifest.bytes + FLOOR:
        needed = megabytes(found.manifest.bytes)
        raise Refused(f"{store.folder} has {megabytes(free)} MB free, and the set {identity} needs {needed} MB: make room. Nothing was fetched")
    return found.manifest, text, False


def _compare(store: Store, found: Stored) -> None:
    """A set that is there has to be the same, in every byte."""
    entry = store.entry(found.id)
    remedy = f"nothing was fetched; remove {entry.folder}, then fetch it again"
    problems = verify(entry, ()).problems
    if problems:
        raise Refused(f"the set {found.id} is in {store.folder} and damaged: {'; '.join(problems[:5])}: {remedy}")
    if measure(entry.folder / manifests.NAME)[1] != found.sha256:
        raise Refused(f"{store.folder} has another set {found.id} than {found.id} in the bucket: {remedy} if it is the bucket's that you want")


def free_bytes(folder: Path) -> int:
    """Of the file system where a folder is, or would be made."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
