# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Received write-ahead log of other hosts, put into the received log of an archive: whole segments where one is missing, of partial ones the longer one."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._stream import replace
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import SEGMENT, SEGMENT_BYTES, ArchiveError, Cluster

PARTIAL, HISTORY, PACKED = ".partial", ".history", ".gz"
_NAME = re.compile(rf"({SEGMENT.pattern}({re.escape(PARTIAL)})?|[0-9A-F]{{8}}{re.escape(HISTORY)})")


@dataclass(frozen=True)
class Piece:
    """A file that another host has sent: the name it will have, and when that host wrote it last."""

    file: Path
    modified: float

    @property
    def name(self) -> str:
        return self.file.name.removesuffix(PACKED)

    def content(self) -> bytes:
        """Raises ArchiveError where it is damaged."""
        try:
            found = gzip.decompress(self.file.read_bytes()) if self.file.suffix == PACKED else self.file.read_bytes()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ArchiveError(f"{self.file.name} is damaged ({error}): see to the disk of the host that received it") from error
        if not self.name.endswith(HISTORY) and len(found) != SEGMENT_BYTES:
            raise ArchiveError(f"{self.file.name} has {len(found)} bytes, and a segment has {SEGMENT_BYTES}: see to the disk of the host that received it")
        return found


def extent(content: bytes) -> int:
    """Bytes up to the last one that was received: the receiver fills a segment with zeros first."""
    return len(content.rstrip(b"\0"))


def pieces(source: Path, modified: dict[str, float]) -> list[Piece]:
    """What was sent, those that were written first first. modified: by path below the source. Raises ArchiveError."""
    found = [Piece(source / path, moment) for path, moment in modified.items()]
    for piece in found:
        if not _NAME.fullmatch(piece.name) or source not in piece.file.parents or ".." in piece.file.parts:
            raise ArchiveError(f"{piece.file} is no received log")
    return sorted(found, key=lambda piece: (piece.modified, str(piece.file)))


def missing(received: Path, found: Iterable[Piece]) -> dict[str, Piece]:
    """By name, what the received log lacks; of several partial ones of a segment the longest."""
    chosen: dict[str, Piece] = {}
    extents: dict[str, int] = {}
    for piece in found:
        name, here = piece.name, received / piece.name
        if not name.endswith(PARTIAL):
            if not here.exists():
                chosen.setdefault(name, piece)
            continue
        if (received / name.removesuffix(PARTIAL)).exists():
            continue
        known = extents.get(name, extent(here.read_bytes()) if here.exists() else -1)
        size = extent(piece.content())
        extents[name] = max(known, size)
        if size > known:
            chosen[name] = piece
    return {name: piece for name, piece in chosen.items() if name.removesuffix(PARTIAL) == name or name.removesuffix(PARTIAL) not in chosen}


def changes(received: Path, chosen: dict[str, Piece]) -> list[Change]:
    """As changes."""
    return [Change("received log", name, {"shorter": True} if (received / name).exists() else None, {"received": True}) for name in sorted(chosen)]


def put(cluster: Cluster, chosen: dict[str, Piece]) -> None:
    """Each whole or not at all, with the time at which it was written: when the cluster was last heard of."""
    for name in sorted(chosen):
        target = cluster.received / name
        replace(target, chosen[name].content())
        os.chown(target, cluster.uid, cluster.gid, follow_symlinks=False)
        os.utime(target, (chosen[name].modified, chosen[name].modified), follow_symlinks=False)


def segments(chosen: Iterable[str]) -> list[str]:
    """The segments among them, in order."""
    return sorted({name.removesuffix(PARTIAL) for name in chosen if not name.endswith(HISTORY)}, key=lambda name: (name[8:], name))
