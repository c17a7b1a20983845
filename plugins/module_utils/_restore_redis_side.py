# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Redis instance as a target of a restore: clients stop its swap as they do a database's, and a copy that was in use is kept by an undo."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._redis_sides import NEW
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis import RedisTarget
from ansible_collections.nexanest.database.plugins.module_utils._restore_target import TargetError

PREFIX = "redis/"


class RedisSide:
    """One restore of one instance."""

    def __init__(self, instance: str, target: RedisTarget, *, disconnect: bool) -> None:
        self.name, self.instance, self.target, self.disconnect = f"{PREFIX}{instance}", instance, target, disconnect
        self._fresh = False

    def prepare(self, plain: Path) -> None:
        """Make the copy from a dump in plain, and prove it."""
        self._fresh = True
        self.target.prepare(plain)

    def discard(self) -> None:
        """One that was made in this very run. Of another nobody knows here whether it was in use: it is kept until it is cleaned up."""
        if self._fresh:
            self.target.discard()

    def swapped(self) -> bool:
        return self.target.swapped()

    def swap(self) -> None:
        if not self.swapped():
            self._refuse_clients()
        self._fresh = False
        self.target.swap()

    def unswap(self) -> None:
        if self.swapped():
            self._refuse_clients()
        self.target.unswap()

    def undo_problems(self) -> list[str]:
        if self.target.kept():
            return []
        return [f"{self.name}: the data that the restore {self.target.id} replaced are gone"]

    def undone_copies(self) -> bool:
        return not self._fresh and NEW in self.target.kept()

    def drop_old(self) -> None:
        if self.swapped():
            self.target.drop_old()
        else:
            self.target.discard()

    def kept(self) -> list[str]:
        return [f".restore-{self.target.id}/{name}" for name in self.target.kept()]

    def clients(self) -> list[str]:
        return self.target.clients()

    def mark(self, set_sha256: str) -> str:
        """Of this set in this instance as it is; empty where a write may have been missed."""
        found = self.target.fingerprint()
        return f"{set_sha256} {found}" if found else ""

    def names(self) -> list[str]:
        return [self.instance]

    def _refuse_clients(self) -> None:
        found = [] if self.disconnect else self.clients()
        if found:
            raise TargetError("; ".join(f"a client is connected to {self.name}: {text}: stop it, or say disconnect: true" for text in found))
