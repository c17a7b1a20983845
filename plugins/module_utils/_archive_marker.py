# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the copy of a continuous backup in a bucket holds, as data. docs/continuous_backup.md says how it lies there.

archives/<server>/<system identifier>/archive.json       the marker, written last: what it lists is the copy, all else is remains
archives/<server>/<system identifier>/lists/<SHA-256>    files of one folder with sizes and checksums, called after its own bytes
archives/<server>/<system identifier>/repository/…       pgBackRest's files, which never change

What does change (pgBackRest's info files, the noted restore points) stands in the marker itself: one write replaces all of it.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._offsite_object import Content
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import SEGMENT

FORMAT = 1
FOLDER, NAME, LISTS, REPOSITORY = "archives", "archive.json", "lists/", "repository/"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SERVER, _SYSTEM_ID = re.compile(r"[A-Za-z0-9_-]+"), re.compile(r"[0-9]{1,20}")
_KEY = re.compile(rf"{FOLDER}/(?P<server>{_SERVER.pattern})/(?P<id>{_SYSTEM_ID.pattern})/{re.escape(NAME)}")
_HISTORY = re.compile(r"received/current/[0-9A-F]{8}\.history")
# No file system has names with a NUL, and no repository one with other control characters.
_SIZE, _CONTROL = re.compile(r"[0-9]{1,18}"), re.compile(r"[\x00-\x1f\x7f]")


# By path. Beside a field that is called bytes, the type has no other name.
Documents = dict[str, bytes]


class MarkerError(Exception):
    """The marker or a list is damaged, or of a newer format; the text says which, and what to do."""


@dataclass(frozen=True)
class Marker:
    """One copy. host: of the machine that made it; copied: when what was copied was looked at; until: when the newest segment was archived; all in UTC.

    oldest, newest: when these base backups ended; segment: the newest one; timeline: its; pgbackrest: the version that wrote the newest base backup;
    files, bytes: of all lists; documents: what changes, by path.
    """

    stack: str
    server: str
    system_id: str
    host: str
    copied: str
    until: str
    oldest: str
    newest: str
    backups: list[str]
    segment: str
    timeline: int
    pgbackrest: str
    files: int
    bytes: int
    lists: list[str]
    documents: Documents = field(default_factory=dict)


def root(server: str, system_id: str) -> str:
    """What the keys of one copy begin with."""
    return f"{FOLDER}/{server}/{system_id}/"


def place(key: str) -> tuple[str, str] | None:
    """Server and system identifier, where a key is that of a marker."""
    found = _KEY.fullmatch(key)
    return (found["server"], found["id"]) if found else None


def is_system_id(text: str) -> bool:
    return bool(_SYSTEM_ID.fullmatch(text))


def info_files(server: str) -> tuple[str, str]:
    """pgBackRest's, by path: which base backups there are, and of which cluster the log is."""
    return (f"{REPOSITORY}backup/{server}/backup.info", f"{REPOSITORY}archive/{server}/archive.info")


def write(marker: Marker) -> bytes:
    data = dataclasses.asdict(marker)
    data["documents"] = {path: base64.b64encode(text).decode() for path, text in sorted(marker.documents.items())}
    return json.dumps({"format": FORMAT, **data}, indent=1).encode()


def read(text: bytes) -> Marker:
    """Raises MarkerError."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise MarkerError(f"{NAME} has the format {data['format']}, which this version of the collection does not know: use a newer one")
        documents = {str(path): base64.b64decode(body, validate=True) for path, body in data["documents"].items()}
        fields = {one.name: data[one.name] for one in dataclasses.fields(Marker)}
        marker = Marker(**{**fields, "documents": documents})
        _check(marker)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise MarkerError(f"{NAME} is damaged: it cannot be read as a marker") from error
    return marker


def _check(marker: Marker) -> None:
    """Whoever can write to the bucket must not choose where root writes."""
    allowed = {*info_files(str(marker.server)), "restore_points.jsonl"}
    right = [
        _SERVER.fullmatch(str(marker.server)),
        _SYSTEM_ID.fullmatch(str(marker.system_id)),
        all(isinstance(name, str) and _SHA256.fullmatch(name) for name in marker.lists),
        all(path in allowed or _HISTORY.fullmatch(path) for path in marker.documents),
        all(isinstance(number, int) for number in (marker.timeline, marker.files, marker.bytes)),
        all(path in marker.documents for path in info_files(str(marker.server))),
        SEGMENT.fullmatch(marker.segment) if marker.segment else True,
        _is_moment(marker.until),
    ]
    if not all(right):
        raise MarkerError(f"{NAME} is damaged: it holds what no marker holds")


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except (ValueError, TypeError):
        return False


def grouped(contents: Iterable[Content]) -> dict[str, list[Content]]:
    """The files by the folder whose list they are in: a base backup, or 256 segments of the log. One that does not grow any more is never written again."""
    found: dict[str, list[Content]] = {}
    for one in sorted(contents, key=lambda content: content.path):
        parts = PurePosixPath(one.path).parts
        found.setdefault("/".join(parts[: 5 if parts[1] == "archive" else 4]), []).append(one)
    return found


def write_list(contents: Iterable[Content]) -> tuple[str, bytes]:
    """Its name and its bytes."""
    text = "".join(f"{one.sha256} {one.bytes} {one.path}\n" for one in contents).encode()
    return hashlib.sha256(text).hexdigest(), text


def read_list(name: str, text: bytes) -> list[Content]:
    """Raises MarkerError where the bytes are not those that the name promises."""
    if hashlib.sha256(text).hexdigest() != name:
        raise MarkerError(f"{LISTS}{name} is damaged in the bucket: its bytes are not those that it is called after")
    found = []
    for line in text.decode(errors="replace").splitlines():
        sha256, _blank, rest = line.partition(" ")
        size, _blank, path = rest.partition(" ")
        if not (_SHA256.fullmatch(sha256) and _SIZE.fullmatch(size) and _is_below(path)):
            raise MarkerError(f"{LISTS}{name} is damaged: it holds what no list holds")
        found.append(Content(path, int(size), sha256))
    return found


def _is_below(path: str) -> bool:
    """Whether it is that of a file of a repository."""
    parts = PurePosixPath(path).parts
    return path.startswith(REPOSITORY) and ".." not in parts and "/".join(parts) == path and not _CONTROL.search(path)


def summary(marker: Marker) -> dict[str, Any]:
    """What a diff shows of it."""
    return described(marker.files, marker.bytes, marker.backups, marker.segment, marker.documents)


def described(files: int, size: int, backups: Iterable[str], segment: str, documents: Mapping[str, bytes]) -> dict[str, Any]:
    """The same of what is not written yet."""
    told = hashlib.sha256(repr(sorted(documents.items())).encode()).hexdigest()[:12]
    return {"files": files, "bytes": size, "base backups": list(backups), "newest segment": segment, "info files": told}


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
