# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Received write-ahead log of other hosts, put into the received log of an archive: whole segments where one is missing, of partial ones the longer one."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._stream import replace
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import CURRENT, SEGMENT, SEGMENT_BYTES, ArchiveError, Cluster

PARTIAL, HISTORY, PACKED = ".partial", ".history", ".gz"
_NAME = re.compile(rf"({SEGMENT.pattern}({re.escape(PARTIAL)})?|[0-9A-F]{{8}}{re.escape(HISTORY)})")
_REMEDY = "no host has it whole. Move it away where it was received, and run this again: what can be recovered then ends before it"


@dataclass(frozen=True)
class Piece:
    """A file that another host has sent: the name it will have, and when that host wrote it last."""

    file: Path
    modified: float

    @property
    def name(self) -> str:
        return self.file.name.removesuffix(PACKED)

    @property
    def unborn(self) -> bool:
        """A partial segment gets its size before a byte of the log is in it: a shorter one, of a disk that was full, holds nothing."""
        return self.name.endswith(PARTIAL) and self.file.suffix != PACKED and self.file.stat().st_size < SEGMENT_BYTES

    def content(self) -> bytes:
        """Raises ArchiveError where it is damaged."""
        try:
            found = gzip.decompress(self.file.read_bytes()) if self.file.suffix == PACKED else self.file.read_bytes()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ArchiveError(f"{self.file.name} is damaged ({error}): {_REMEDY}") from error
        if not self.name.endswith(HISTORY) and len(found) != SEGMENT_BYTES:
            raise ArchiveError(f"{self.file.name} has {len(found)} bytes, and a segment has {SEGMENT_BYTES}: {_REMEDY}")
        return found


def extent(content: bytes) -> int:
    """Bytes up to the last one that was received: the receiver fills a segment with zeros first."""
    return len(content.rstrip(b"\0"))


def pieces(source: Path, modified: Mapping[str, float]) -> list[Piece]:
    """What was sent, those that were written last first. modified: by path below the source. Raises ArchiveError."""
    found = [Piece(source / path, moment) for path, moment in modified.items()]
    for piece in found:
        if not _NAME.fullmatch(piece.name) or source not in piece.file.parents or ".." in piece.file.parts:
            raise ArchiveError(f"{piece.file} is no received log")
    return sorted(found, key=lambda piece: (-piece.modified, str(piece.file)))


def missing(received: Path, found: Iterable[Piece]) -> dict[str, Piece]:
    """By name, what the received log lacks; of several partial ones of a segment the longest. Raises ArchiveError where one is damaged, and whole nowhere."""
    offered: dict[str, list[Piece]] = {}
    for piece in found:
        if not piece.unborn:
            offered.setdefault(piece.name, []).append(piece)
    whole = {name: _sound(some) for name, some in offered.items() if not name.endswith(PARTIAL) and not (received / name).exists()}
    parts = {
        name: _longest(received / name, some)
        for name, some in offered.items()
        if name.endswith(PARTIAL) and name.removesuffix(PARTIAL) not in whole and not (received / name.removesuffix(PARTIAL)).exists()
    }
    return whole | {name: longest for name, longest in parts.items() if longest is not None}


def _sound(some: Sequence[Piece]) -> Piece:
    """The first of them that is not damaged."""
    failures = []
    for piece in some:
        try:
            piece.content()
        except ArchiveError as error:
            failures.append(error)
        else:
            return piece
    raise failures[0]


def _longest(here: Path, some: Sequence[Piece]) -> Piece | None:
    """The longest of them, where it is longer than what is here."""
    longest = max(some, key=lambda piece: extent(piece.content()))
    if here.is_symlink() or (here.exists() and not here.is_file()):
        raise ArchiveError(f"{here} is no file: somebody put something else in its place")
    return longest if not here.exists() or extent(longest.content()) > extent(here.read_bytes()) else None


def changes(received: Path, chosen: dict[str, Piece]) -> list[Change]:
    """As changes."""
    return [Change("received log", name, {"shorter": True} if (received / name).exists() else None, {"received": True}) for name in sorted(chosen)]


def put(cluster: Cluster, chosen: dict[str, Piece]) -> None:
    """Each whole or not at all, with the time at which it was written: when the cluster was last heard of. Raises ArchiveError."""
    # The folder is the server's user's, who may have put a link in its place, which root would follow.
    if cluster.received.resolve() != cluster.folder.resolve() / cluster.which / "received" / CURRENT:
        raise ArchiveError(f"{cluster.received} is a link, or lies in one: nothing was written")
    for name in sorted(chosen):
        target = cluster.received / name
        replace(target, chosen[name].content())
        os.chown(target, cluster.uid, cluster.gid, follow_symlinks=False)
        os.utime(target, (chosen[name].modified, chosen[name].modified), follow_symlinks=False)


def segments(chosen: Iterable[str]) -> list[str]:
    """The segments among them, in order."""
    return sorted({name.removesuffix(PARTIAL) for name in chosen if not name.endswith(HISTORY)}, key=lambda name: (name[8:], name))
