# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a bucket, what goes there and what goes from there: from listings and manifests to a plan, without asking anybody.

A folder in the bucket is a set when its manifest is there and every object that the manifest lists is, in its size.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_list import moment
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest, ManifestError
from ansible_collections.nexanest.database.plugins.module_utils._backup_retention import Policy, Set, decide
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import Object, Upload

# What another machine has begun is left alone for so long.
ABANDONED = timedelta(days=1)
# S3's own limit.
PARTS = 10_000
COMING = "new"
_KEY = re.compile(rf"(?P<set>{manifests.ID.pattern})/(?P<path>.+)", re.DOTALL)


@dataclass(frozen=True)
class Local:
    """A set on this machine. sha256: of its manifest's bytes."""

    manifest: Manifest
    sha256: str


@dataclass(frozen=True)
class Stored:
    """A folder of the bucket that has a manifest. manifest: None where it cannot be read, and problem says why; gaps: paths that lack or have another size."""

    id: str
    manifest: Manifest | None
    sha256: str
    objects: Mapping[str, Object]
    problem: str = ""
    gaps: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return self.manifest is not None and not self.gaps

    @property
    def problems(self) -> list[str]:
        return [*([self.problem] if self.problem else []), *(f"{path} is missing in the bucket, or has another size" for path in self.gaps)]


@dataclass(frozen=True)
class Choice:
    """Ids. copy: to send, the newest first; remove: why, by id; kept_all: why no rule was applied, ""; conflicts: what cannot be sent, by id."""

    copy: Sequence[str] = ()
    remove: Mapping[str, str] = field(default_factory=dict)
    kept_all: str = ""
    conflicts: Mapping[str, str] = field(default_factory=dict)


def by_set(objects: Iterable[Object]) -> dict[str, dict[str, Object]]:
    """The objects by the set's id and the path in the set. What lies elsewhere is nobody's business here."""
    found: dict[str, dict[str, Object]] = {}
    for one in objects:
        place = _KEY.fullmatch(one.key)
        if place:
            found.setdefault(place["set"], {})[place["path"]] = one
    return found


def stored(identity: str, objects: Mapping[str, Object], text: bytes) -> Stored:
    """What a folder with a manifest is. text: the manifest's bytes."""
    sha256 = hashlib.sha256(text).hexdigest()
    try:
        manifest = manifests.read(text.decode())
    except (ManifestError, UnicodeDecodeError) as error:
        return Stored(identity, None, sha256, objects, str(error))
    if manifest.id != identity:
        return Stored(identity, None, sha256, objects, f"it holds the manifest of the set {manifest.id}")
    gaps = tuple(file.path for file in manifest.files if file.path not in objects or objects[file.path].bytes != file.bytes)
    return Stored(identity, manifest, sha256, objects, gaps=gaps)


def choose(stack: str, local: Mapping[str, Local], found: Mapping[str, Stored], policy: Policy, coming: datetime | None = None) -> Choice:
    """What the bucket lacks and shall have, and what no rule keeps there. coming: when a set would be made that is not there yet."""
    there = {identity: one for identity, one in found.items() if one.manifest is None or one.manifest.stack == stack}
    conflicts = {identity: _conflict(found[identity]) for identity, one in local.items() if identity in found and found[identity].sha256 != one.sha256}
    lacking = [one.manifest for identity, one in local.items() if identity not in conflicts and not (identity in there and there[identity].whole)]
    sets = [_judged(one) for one in there.values() if one.id not in {manifest.id for manifest in lacking}]
    sets += [Set(manifest.id, manifest.serial, moment(manifest.finished)) for manifest in lacking]
    behind = _behind(local, there, coming=coming is not None)
    if coming is not None:
        sets.append(Set(COMING, max((one.serial for one in sets), default=0) + 1, coming))
    doomed = {} if behind else decide(sets, policy).deleted
    copy = sorted((manifest for manifest in lacking if manifest.id not in doomed), key=_order, reverse=True)
    removed = {identity: why for identity, why in doomed.items() if identity in there}
    new = (COMING,) if coming is not None else ()
    return Choice((*new, *(manifest.id for manifest in copy)), removed, behind, conflicts)


def alone(identity: str, local: Mapping[str, Local], found: Mapping[str, Stored]) -> Choice:
    """One set, whatever the rules say of it; nothing is removed."""
    if identity in found and found[identity].sha256 != local[identity].sha256:
        return Choice(conflicts={identity: _conflict(found[identity])})
    return Choice() if identity in found and found[identity].whole else Choice((identity,))


def missing_files(manifest: Manifest, found: Stored | None, same: Collection[str]) -> list[File]:
    """What has to be sent of a set. same: paths that an earlier run has sent."""
    if found is not None:
        return [file for file in manifest.files if file.path in found.gaps]
    return [file for file in manifest.files if file.path not in same]


def is_same(file: File, size: int, marks: Mapping[str, str]) -> bool:
    """Is an object the one that would be sent? Its mark was set by the run that sent it, and S3 completes no object whose checksum is wrong."""
    return size == file.bytes and marks.get("sha256") == file.sha256


def dead_uploads(uploads: Sequence[Upload], ours: Collection[str], now: datetime) -> list[Upload]:
    """Those below a set's folder that nobody goes on with. ours: ids of the sets on this machine, where one run works at a time."""
    return [one for one in uploads if (place := _KEY.fullmatch(one.key)) and (place["set"] in ours or now - one.begun > ABANDONED)]


def remains(objects: Mapping[str, Mapping[str, Object]], kept: Collection[str], ours: Collection[str], now: datetime) -> dict[str, list[Object]]:
    """Objects by folder that belong to no set: of a copy that was never completed, or a removal that was not. kept: ids that have a manifest or get one."""
    loose = {identity: files for identity, files in objects.items() if identity not in kept and manifests.NAME not in files}
    found = {identity: [one for one in files.values() if identity in ours or now - one.modified > ABANDONED] for identity, files in loose.items()}
    return {identity: files for identity, files in found.items() if files}


def part_bytes(size: int, wanted: int) -> int:
    """How large the parts of a file are: as wanted, or so large that S3's number of parts is enough."""
    return max(wanted, -(-size // PARTS))


def _judged(one: Stored) -> Set:
    """As the retention sees it: what is not whole is not ours to judge."""
    if one.manifest is None:
        return Set(one.id, 0, None, whole=False)
    return Set(one.id, one.manifest.serial, moment(one.manifest.finished), whole=one.whole)


def _behind(local: Mapping[str, Local], there: Mapping[str, Stored], *, coming: bool) -> str:
    """Numbers of another folder: by them the sets that this machine makes would look older than they are."""
    here = max((_order(one.manifest) for one in local.values()), default=(0, ""))
    if coming:
        here = (here[0] + 1, COMING)
    newest = max((one.manifest for one in there.values() if one.manifest), key=_order, default=None)
    if newest is None or _order(newest) <= here:
        return ""
    return (
        f"the bucket holds a newer set, {newest.id} (number {newest.serial}), than the folder of the sets (number {here[0]}), so that no set was removed from "
        f"the bucket: fetch that set, so that the numbers go on from it"
    )


def _conflict(found: Stored) -> str:
    return found.problem or "the bucket has another set of this name: does another machine copy to the same prefix?"


def _order(manifest: Manifest) -> tuple[int, str]:
    return (manifest.serial, manifest.id)
