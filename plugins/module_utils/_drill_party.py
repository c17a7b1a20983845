# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill drills: one server or Redis instance of a source of data, with the same few questions whatever the source is.

A backup set is one source. Another one, such as a moment of a continuous backup, has parties of its own and uses the rest of the drill as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, megabytes

# What the machine keeps beside the throw-away server.
SPARE_MB = 256


@dataclass(frozen=True)
class Needs:
    """Bytes on the disk, and MB of memory while it is drilled."""

    disk: int
    memory_mb: int


@dataclass(frozen=True)
class Place:
    """Where a drill works. folder: its own, on the disk; plain: the opened files of the source below it; mark: of its containers; label: the stack's."""

    folder: Path
    plain: Path
    mark: str
    label: str
    jobs: int
    progress: Progress


@dataclass
class Findings:
    """problems: why it is not proven; notes: what somebody should know; units: databases and instances, each with what was counted in it."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    units: list[dict[str, Any]] = field(default_factory=list)
    checks: int = 0

    def add(self, other: Findings) -> None:
        self.problems += other.problems
        self.notes += other.notes
        self.units += other.units
        self.checks += other.checks

    def total(self, what: str) -> int:
        return sum(unit.get(what, 0) for unit in self.units)


class Party(Protocol):
    """One server or instance."""

    @property
    def name(self) -> str:
        """In the source."""

    @property
    def needs(self) -> Needs:
        """Known before anything is begun."""

    def units(self) -> list[dict[str, Any]]:
        """What it holds, before it is drilled."""

    def unfit(self) -> list[str]:
        """Why it cannot be drilled here, such as an image that is not there."""

    def drill(self, place: Place) -> Findings:
        """Restore it into a throw-away server, check it, and leave nothing running."""


def needed(needs: Sequence[Needs], opened: int) -> Needs:
    """Of one after another, whose files stay until the end. opened: bytes of the source's files in plain."""
    return Needs(opened + sum(one.disk for one in needs), max((one.memory_mb for one in needs), default=0))


def lacking(wanted: Needs, free: int, available_mb: int | None) -> list[str]:
    """Why a machine cannot hold it. free: bytes on the disk; available_mb: None where that is not known."""
    texts = []
    if free < wanted.disk:
        texts.append(f"the drill needs {megabytes(wanted.disk)} MB on the file system of the sets, and {megabytes(free)} MB are free: make room there")
    if available_mb is not None and available_mb < wanted.memory_mb + SPARE_MB:
        texts.append(
            f"the drill needs {wanted.memory_mb} MB of memory and leaves {SPARE_MB} MB to the others, and {available_mb} MB are available: "
            "give it less (backup_drill_memory_mb), or drill on another machine"
        )
    return texts
