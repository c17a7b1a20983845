# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the copies of continuous backups in a bucket. Changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.nexanest.database.plugins.module_utils import _archive_marker as markers
from ansible_collections.nexanest.database.plugins.module_utils._archive_marker import Marker, MarkerError
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import WORKERS, Bucket, BucketError, Gone, Object
from ansible_collections.nexanest.database.plugins.module_utils._offsite_object import Content
from ansible_collections.nexanest.database.plugins.module_utils._parallel import each

# How often a copy is looked at that becomes another one each time.
LOOKS = 5


@dataclass(frozen=True)
class Stored:
    """One copy. root: what its keys begin with; objects: by path below that; marker: None without one; sha256: of its bytes.

    files: what the lists say, by path; problems: lists that are missing or damaged, whose files nobody knows.
    """

    root: str
    objects: Mapping[str, Object]
    marker: Marker | None = None
    sha256: str = ""
    files: Mapping[str, Content] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def lacking(self) -> list[str]:
        """Why it cannot be used."""
        gaps = [
            f"{self.root}{path} is missing in the bucket, or has another size"
            for path, one in self.files.items()
            if path not in self.objects or self.objects[path].bytes != one.bytes
        ]
        return [*self.problems, *gaps]


def stored(bucket: Bucket, server: str, system_id: str) -> Stored:
    """BucketError where it cannot be looked at, MarkerError where its marker is damaged.

    Every few minutes a copy replaces marker and lists. What is lacking may be lacking in one look alone, which saw something of before and something of after:
    it is true where the next look finds the same marker.
    """
    before = ""
    for _look in range(LOOKS):
        found = _looked(bucket, server, system_id)
        if not found.lacking() or found.sha256 == before:
            return found
        before = found.sha256
    raise BucketError(f"the copy of {server} {system_id} in {bucket.place.text} became another one each time it was looked at: run this again")


def _looked(bucket: Bucket, server: str, system_id: str) -> Stored:
    found = unmarked(bucket, server, system_id)
    root, objects = found.root, found.objects
    if markers.NAME not in objects:
        return found
    marker, sha256 = marker_of(f"{root}{markers.NAME}", *bucket.marked(f"{root}{markers.NAME}"))
    if (marker.server, marker.system_id) != (server, system_id):
        raise MarkerError(f"{root}{markers.NAME} is that of {marker.server} {marker.system_id}: somebody has moved it there")
    files: dict[str, Content] = {}
    problems = []
    for answer in each(lambda name: _list(bucket, root, name, objects), marker.lists, workers=WORKERS):
        if isinstance(answer, str):
            problems.append(answer)
        else:
            files.update({one.path: one for one in answer})
    return Stored(root, objects, marker, sha256, files, tuple(problems))


def unmarked(bucket: Bucket, server: str, system_id: str) -> Stored:
    """What lies there, whatever it is."""
    root = markers.root(server, system_id)
    return Stored(root, {one.key.removeprefix(root): one for one in bucket.objects(root)})


def marker_of(key: str, text: bytes, marks: Mapping[str, str]) -> tuple[Marker, str]:
    """The marker, and the SHA-256 of its bytes, which was noted with it when it was sent. Raises MarkerError."""
    sha256 = hashlib.sha256(text).hexdigest()
    if marks.get("sha256") != sha256:
        raise MarkerError(f"{key} is damaged in the bucket: its bytes are not those that were sent")
    try:
        return markers.read(text), sha256
    except MarkerError as error:
        raise MarkerError(f"{key}: {error}") from error


def survey(bucket: Bucket) -> tuple[dict[str, Marker], dict[str, str]]:
    """All copies below the prefix, the marker or what is wrong with it, by what the keys begin with."""
    found: dict[str, Marker] = {}
    wrong: dict[str, str] = {}
    keys = [one.key for one in bucket.objects(f"{markers.FOLDER}/") if markers.place(one.key)]
    for key, (text, marks) in zip(keys, each(bucket.marked, keys, workers=WORKERS), strict=True):
        try:
            found[key.removesuffix(markers.NAME)] = marker_of(key, text, marks)[0]
        except MarkerError as error:
            wrong[key.removesuffix(markers.NAME)] = str(error)
    return found, wrong


def _list(bucket: Bucket, root: str, name: str, objects: Mapping[str, Object]) -> list[Content] | str:
    missing = f"{root}{markers.LISTS}{name} is missing in the bucket"
    if f"{markers.LISTS}{name}" not in objects:
        return missing
    try:
        return markers.read_list(name, bucket.document(f"{root}{markers.LISTS}{name}"))
    except Gone:
        return missing
    except MarkerError as error:
        return f"{root}{error}"
