# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket as where the set that is drilled comes from: chosen by the manifests that lie there, fetched into the drill's own folder, gone with it."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
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
from ansible_collections.nexanest.database.plugins.module_utils._offsite_plan import Stored, by_set
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._stream import BLOCK, Counted, measure

# In the drill's folder. No folder of sets has one of this name, so that nothing takes what is in it for one of its own.
FETCHED = "fetched"
# So much of a file tells whether a key opens it: age gives the first 64 kB of its content as soon as it has them.
HEAD_BYTES = BLOCK


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
        noted = self._noted(stack)  # before the bucket is listed: what a copy sends and notes meanwhile is not in the list
        sets = survey(self.bucket).sets
        found = pick(list(sets.values()), named(name) if name else "", stack)
        if gone := vanished(noted - set(sets), name, found.id if found else ""):
            raise Damaged(f"the set {gone} was copied to {self.where}, and its manifest is not there any more: make db-offsite sends again what it lacks")
        if found is None:
            known = ", ".join(sorted(sets)) or "none"
            missing = f"there is no set {name} in {self.where}: it has {known}" if name else f"there is no backup set{of(stack)} in {self.where}"
            raise NoSet(f"{missing}: make db-offsite copies those of this machine")
        if found.manifest is None or not found.whole:
            raise Damaged(f"the set {found.id} in {self.where} cannot be used: {'; '.join(found.problems[:5])}")
        self._compare(found)
        return Chosen(Entry(found.id, Path(), found.manifest), found.manifest, found.sha256)

    def opens(self, chosen: Chosen, file: File, identities: Sequence[str]) -> bool:
        """Seen from its beginning alone, in memory: there may be no room for a whole file."""
        head, plain = bytearray(), Counted(io.BytesIO())
        with self.bucket.opened(f"{chosen.manifest.id}/{file.path}") as (stream, _size):
            while block := stream.read(HEAD_BYTES - len(head)):
                head += block
        try:
            Age().decrypt(io.BytesIO(head), plain, identities)
        except AgeError:
            return plain.bytes > 0  # what was cut off has an end that age refuses
        return True

    def size(self, chosen: Chosen) -> int:
        return chosen.manifest.bytes

    def bring(self, chosen: Chosen, folder: Path, progress: Progress) -> Entry:
        store = Store(folder / FETCHED)
        store.prepare()
        try:
            Fetcher(self.bucket, store, progress).fetch(chosen.manifest, self._manifest(chosen))
        except BucketError as error:
            raise self._judged(chosen, error) from error
        return store.entry(chosen.manifest.id)

    def _manifest(self, chosen: Chosen) -> bytes:
        text = self.bucket.document(self._key(chosen))
        if hashlib.sha256(text).hexdigest() != chosen.sha256:
            raise NoSet(f"the set {chosen.manifest.id} in {self.where} was exchanged while it was looked at: run this again")
        return text

    def _judged(self, chosen: Chosen, error: BucketError) -> NoSet | Damaged:
        """What a fetch that ended says of the set. An object that is gone is damage; that the service does not give one says nothing, nor does a set that the
        retention removes meanwhile, as a newer one came.
        """
        try:
            there = by_set(self.bucket.objects()).get(chosen.manifest.id, {})
        except BucketError:
            return NoSet(f"the set {chosen.manifest.id} could not be fetched: {error}")  # the first error, of which this one is a consequence
        if manifests.NAME not in there:
            return NoSet(f"the set {chosen.manifest.id} was removed from {self.where} while it was fetched: run this again")
        if any(file.path not in there for file in chosen.manifest.files):
            return Damaged(str(error))
        return NoSet(f"the set {chosen.manifest.id} could not be fetched: {error}")

    @functools.cached_property
    def _here(self) -> Store:
        """The sets of this machine."""
        return Store(Path(self.params["backup_dir"]))

    def _noted(self, stack: str) -> set[str]:
        """Ids of those that a copy has seen complete in this bucket."""
        known = [entry for entry in self._here.entries() if entry.copied is not None and entry.copied.where == self.where]
        return {entry.id for entry in known if entry.manifest is not None and (not stack or entry.manifest.stack == stack)}

    def _compare(self, found: Stored) -> None:
        """Who may write into the bucket may write a manifest that fits what lies there: where the set is on this machine too, that one tells."""
        here = self._here.entry(found.id)
        if here.manifest is not None and measure(here.folder / manifests.NAME)[1] != found.sha256:
            raise Damaged(
                f"the set {found.id} in {self.where} has another manifest than the one in {here.folder}: it was changed there, or another machine copies to "
                "the same prefix. Remove its manifest from the bucket, then make db-offsite"
            )

    def _key(self, chosen: Chosen) -> str:
        return f"{chosen.manifest.id}/{manifests.NAME}"


def pick(sets: Sequence[Stored], name: str, stack: str) -> Stored | None:
    """The set of this name, or the newest one. One that is newer and cannot be read must not be passed over in silence.

    The newest by its name, which is a time: the numbers begin anew with each folder of sets, and a bucket has those of the machine before this one as well.
    """
    if name:
        return next((one for one in sets if one.id == name), None)
    ours = [one for one in sets if one.manifest is None or not stack or one.manifest.stack == stack]
    return max(ours, key=lambda one: one.id, default=None)


def vanished(lost: Collection[str], name: str, found: str) -> str:
    """Which set should have been taken and is no longer there, "" for none. lost: ids that were there; found: what would be taken instead."""
    if name:
        return name if name in lost else ""
    return max((identity for identity in lost if identity > found), default="")
