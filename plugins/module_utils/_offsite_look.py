# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a bucket: what lies in it, and what its manifests say. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import WORKERS, Bucket, Object
from ansible_collections.nexanest.database.plugins.module_utils._offsite_plan import Stored, by_set, is_same, stored
from ansible_collections.nexanest.database.plugins.module_utils._parallel import each

# Marks of our objects; a service may change the case of the names.
MARK = "nexanest-database"


@dataclass(frozen=True)
class Survey:
    """objects: by folder and path; sets: the folders that have a manifest."""

    objects: Mapping[str, Mapping[str, Object]]
    sets: Mapping[str, Stored]

    def ordered(self) -> list[Stored]:
        """The oldest first, as their manifests count them; what cannot be read comes first."""
        return sorted(self.sets.values(), key=lambda one: (one.manifest.serial if one.manifest else 0, one.id))


def survey(bucket: Bucket) -> Survey:
    """All that is below the prefix. BucketError where it cannot be looked at."""
    objects = by_set(bucket.objects())
    named = [identity for identity, files in objects.items() if manifests.NAME in files]
    found = each(lambda identity: _read(bucket, identity, objects[identity]), named, workers=WORKERS)
    return Survey(objects, {one.id: one for one in found})


def _read(bucket: Bucket, identity: str, files: Mapping[str, Object]) -> Stored:
    return stored(identity, files, bucket.document(f"{identity}/{manifests.NAME}"))


def sent_before(bucket: Bucket, manifest: Manifest, files: Mapping[str, Object]) -> set[str]:
    """Paths of a set without a manifest that an interrupted run has sent whole."""
    candidates = [file for file in manifest.files if file.path in files and files[file.path].bytes == file.bytes]

    def same(file: File) -> bool:
        head = bucket.head(f"{manifest.id}/{file.path}")
        return head is not None and is_same(file, head.bytes, head.marks)

    answers = each(same, candidates, workers=WORKERS)
    return {file.path for file, yes in zip(candidates, answers, strict=True) if yes}


def ours(bucket: Bucket, objects: list[Object], stack: str) -> list[Object]:
    """Those of them that a copy of this stack has sent."""
    answers = each(lambda one: bucket.head(one.key), objects, workers=WORKERS)
    return [one for one, head in zip(objects, answers, strict=True) if head is not None and head.marks.get(MARK) == stack]


def marks(stack: str, sha256: str) -> dict[str, str]:
    """What is noted with an object when it is sent."""
    return {MARK: stack, "sha256": sha256}
