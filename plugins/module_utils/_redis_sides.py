# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restores have in a volume of Redis, read from the names that are there. Pure.

.restore-<id>/new is a side: whole, proven, not in place. .restore-<id>/old is what it replaced. .restore-order is an exchange that is not finished:
roles/redis/files/start-redis does it, and explains the order of its steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

ID = re.compile(r"[0-9a-f]{8}")
NEW, OLD, REMOVED, UNDONE, PARTIAL = "new", "old", "removed", "undone", ".partial"
_ENTRY = re.compile(r"\.restore-([0-9a-f]{8})(?:/(.+))?")


class SidesError(Exception):
    """The volume holds what no restore leaves behind; the text says what."""


@dataclass(frozen=True)
class Order:
    """An unfinished exchange. into: what comes into place, NEW or OLD."""

    id: str
    into: str


@dataclass(frozen=True)
class Sides:
    """entries: names below .restore-<id>, by id."""

    entries: dict[str, frozenset[str]]
    order: Order | None

    def swapped(self, name: str) -> bool:
        """Whether the restored data are in place, or will be with the next start."""
        if self.order is not None and self.order.id == name:
            return self.order.into == NEW
        return OLD in self.of(name) and NEW not in self.of(name)

    def prepared(self, name: str) -> bool:
        return NEW in self.of(name)

    def of(self, name: str) -> frozenset[str]:
        return self.entries.get(name, frozenset())

    def olds(self) -> list[str]:
        """Ids of restores whose old data are there."""
        return sorted(name for name, found in self.entries.items() if OLD in found)

    def litter(self, keep: Iterable[str]) -> list[str]:
        """Paths of what killed runs have left: half sides, whole ones that nobody waits for, and what was being removed. Never data that were live."""
        kept = {*keep, *([self.order.id] if self.order else [])}
        half = {NEW + PARTIAL, REMOVED}
        paths = []
        for name, found in sorted(self.entries.items()):
            if name in kept:
                continue
            # Beside data that were live, `new` is what an undone exchange still needs.
            waste = found & (half if OLD in found or OLD + PARTIAL in found else {*half, NEW})
            paths += [f".restore-{name}/{entry}" for entry in sorted(waste)]
        return paths


def parse(listing: str, order: str) -> Sides:
    """listing: a path a line, seen from the volume; order: the text of .restore-order, empty without one."""
    entries: dict[str, set[str]] = {}
    for line in listing.split():
        found = _ENTRY.fullmatch(line)
        if found:
            entries.setdefault(found[1], set()).update([found[2]] if found[2] else [])
    return Sides({name: frozenset(names) for name, names in entries.items()}, _order(order))


def _order(text: str) -> Order | None:
    words = text.split()
    if not words:
        return None
    if len(words) != 3 or not ID.fullmatch(words[0]) or sorted(words[1:]) != [NEW, OLD]:
        raise SidesError(f"its .restore-order says {text.strip()!r}, which no restore writes")
    return Order(words[0], words[1])
