# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket as where the set that is drilled comes from: chosen by the manifests that lie there, fetched into the drill's own folder, gone with it."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._age import Age, AgeError
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Entry, Store
from ansible_collections.nexanest.database.plugins.module_utils._drill_origin import Chosen, NoSet, named, of
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import Bucket, BucketError, bucket_of
from ansible_collections.nexanest.database.plugins.module_utils._offsite_fetch import Fetcher
from ansible_collections.nexanest.database.plugins.module_utils._offsite_look import survey
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place
from ansible_collections.nexanest.database.plugins.module_utils._offsite_plan import Stored
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._stream import copy

# In the drill's folder. No folder of sets has one of this name, so that nothing takes what is in it for one of its own.
FETCHED = "fetched"


@dataclass(frozen=True)
class BucketOrigin:
    """The sets below one prefix. params: how it is reached; what keeps it from being reached is told by whatever asks it first."""

    params: Mapping[str, Any]

    @functools.cached_property
    def bucket(self) -> Bucket:
        return bucket_of(self.params)

    @property
    def where(self) -> str:
        return Place.of(self.params).text

    def choose(self, name: str, stack: str) -> Chosen:
        sets = survey(self.bucket).ordered()
        found = pick(sets, named(name) if name else "", stack)
        if found is None:
            known = ", ".join(one.id for one in sets) or "none"
            missing = f"there is no set {name} in {self.where}: it has {known}" if name else f"there is no backup set{of(stack)} in {self.where}"
            raise NoSet(f"{missing}: make db-offsite copies those of this machine")
        if found.manifest is None or not found.whole:
            raise Damaged(f"the set {found.id} in {self.where} cannot be used: {'; '.join(found.problems[:5])}")
        return Chosen(Entry(found.id, Path(), found.manifest), found.manifest, found.sha256)

    def opens(self, chosen: Chosen, file: File, identities: Sequence[str]) -> bool:
        """It is read into a file without a name, which goes with this process."""
        with tempfile.TemporaryFile() as kept, Path(os.devnull).open("wb") as sink:
            with self.bucket.opened(f"{chosen.manifest.id}/{file.path}") as (stream, _size):
                copy(stream, kept)
            kept.seek(0)
            try:
                Age().decrypt(kept, sink, identities)
            except AgeError:
                return False
        return True

    def size(self, chosen: Chosen) -> int:
        return chosen.manifest.bytes

    def bring(self, chosen: Chosen, folder: Path, progress: Progress) -> Entry:
        store = Store(folder / FETCHED)
        store.prepare()
        try:
            Fetcher(self.bucket, store, progress).fetch(chosen.manifest, self._manifest(chosen))
        except BucketError as error:
            self._refuse_gone(chosen, error)
            raise
        return store.entry(chosen.manifest.id)

    def _manifest(self, chosen: Chosen) -> bytes:
        text = self.bucket.document(self._key(chosen))
        if hashlib.sha256(text).hexdigest() != chosen.sha256:
            raise NoSet(f"the set {chosen.manifest.id} in {self.where} was exchanged while it was looked at: run this again")
        return text

    def _refuse_gone(self, chosen: Chosen, error: BucketError) -> None:
        """A set that the retention removes meanwhile, as a newer one came, is not one that cannot be restored."""
        if self.bucket.head(self._key(chosen)) is None:
            raise NoSet(f"the set {chosen.manifest.id} was removed from {self.where} while it was fetched: run this again") from error

    def _key(self, chosen: Chosen) -> str:
        return f"{chosen.manifest.id}/{manifests.NAME}"


def pick(sets: Sequence[Stored], name: str, stack: str) -> Stored | None:
    """The set of this name, or the newest one; sets: the oldest first. One that is newer and cannot be read must not be passed over in silence."""
    if name:
        return next((one for one in sets if one.id == name), None)
    readable = [one for one in sets if one.manifest is not None and (not stack or one.manifest.stack == stack)]
    newest = readable[-1].id if readable else ""
    found = [one for one in sets if one.manifest is None and one.id > newest] or readable
    return found[-1] if found else None
