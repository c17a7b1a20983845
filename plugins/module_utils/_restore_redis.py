# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the data of one Redis instance back: made and proven beside the live ones in the same volume, then exchanged with them while the server stands still.

Every operation can be repeated, after a kill at any instant too. The exchange itself is done by the server's start script, from an order in the volume:
whoever starts the server, a restore, an operator or a reboot, it never runs between two states.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Redis
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError, remove_left
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._health import health_of
from ansible_collections.nexanest.database.plugins.module_utils._redis import RedisFailed, RedisLoginRefused, RedisServer
from ansible_collections.nexanest.database.plugins.module_utils._redis_rdb import Rdb, RdbError, parse
from ansible_collections.nexanest.database.plugins.module_utils._redis_sides import NEW, OLD, PARTIAL, UNDONE, Sides, SidesError
from ansible_collections.nexanest.database.plugins.module_utils._redis_volume import Volume, VolumeError, keyspace, volume_of
from ansible_collections.nexanest.database.plugins.module_utils._stream import measure

KILLED = 137
_INTERVAL = 0.3
_OURS = (VolumeError, SidesError, RdbError, RedisFailed, RedisLoginRefused, DockerError, BulkError, OSError)


class RestoreRedisError(Exception):
    """A step could not be done; one sentence says which, why and what to do. The live data are whole."""


@dataclass(frozen=True)
class RedisTarget:
    """One instance and one restore. wanted: what the manifest says of its dump; login: the administrator's, as REDIS_LOGIN_ARGUMENTS.

    mark: of the restore, for its tools; timeout: seconds in which the server loads its data.
    """

    container: str
    id: str
    wanted: Redis
    login: Mapping[str, Any] = field(repr=False)
    mark: str
    timeout: float = 300

    def prepare(self, plain: Path) -> None:
        """Make a side from the dump in the file `plain`, and prove it against the manifest."""
        with self._step("prepare"):
            volume, sides = self._begin()
            if sides.swapped(self.id) or sides.prepared(self.id):
                return
            if not volume.finishes_exchanges():
                raise VolumeError(f"the start script of {self.container} is of an older version: run site.yml first, which installs the new one")
            try:
                self._prove(volume, self._copy(volume, plain))
            except BaseException:
                volume.away(self.id, NEW + PARTIAL)
                raise
            volume.finish(self.id)

    def prove(self, volume: Volume, plain: Path) -> Mapping[str, str]:
        """Prove a dump in a volume that is nobody's, and leave it there; what the throw-away server said of itself."""
        with self._step("prove"):
            return self._prove(volume, self._copy(volume, plain))

    def discard(self) -> None:
        """Remove the side."""
        with self._step("discard"):
            volume, sides = self._begin()
            if sides.swapped(self.id) or (sides.order is not None and sides.order.id == self.id):
                raise VolumeError("it is in place: undo the restore first")
            volume.away(self.id, NEW + PARTIAL)
            volume.away(self.id, NEW)

    def swapped(self) -> bool:
        """Whether the restored data are in place; so says the volume. True also where only the next start brings them."""
        with self._step("look at"):
            return self._look()[1].swapped(self.id)

    def kept(self) -> list[str]:
        """What lies beside the data in place: the old ones of a restore that is in place, the new ones of one that is not."""
        with self._step("look at"):
            return sorted(self._look()[1].of(self.id) & {NEW, OLD})

    def fingerprint(self) -> str:
        """A text that every write and every start changes; empty where that cannot be told."""
        with self._step("look at"):
            server = RedisServer(self.login)
            info = {**server.section("server"), **server.section("persistence")}
        return "" if int(info["rdb_changes_since_last_save"]) else f"{info['run_id']} {info['rdb_last_save_time']}"

    def clients(self) -> list[str]:
        """Who is connected, as the swap will end these sessions: user and address."""
        with self._step("look at"):
            return RedisServer(self.login).clients()

    def swap(self) -> None:
        """Put the restored data into place, keep the old ones, and count what the server has loaded. Starts a server that a killed run left stopped."""
        with self._step("swap"):
            turned = self._turn(NEW)
            info = self._start()
            if turned and UNDONE not in self._look()[1].of(self.id):
                self._count(info)

    def unswap(self) -> None:
        """Put the old data back, and keep the restored ones (with what was written since) as the side."""
        with self._step("undo the swap of"):
            self._turn(OLD)
            self._start()

    def drop_old(self) -> None:
        """Remove the data that the restored ones replaced."""
        with self._step("clean up after the swap of"):
            volume, sides = self._begin()
            if sides.order is not None and sides.order.id == self.id:
                raise VolumeError("its swap is not finished: finish or undo the restore first")
            if NEW not in sides.of(self.id):
                volume.away(self.id, OLD)

    def sweep(self, keep: Collection[str]) -> list[str]:
        """Remove what killed restores have left, but nothing of the restores `keep`; ids of others whose old data are there, which are never removed here."""
        with self._step("clean up"):
            volume, sides = self._begin()
            litter = sides.litter(keep)
            if litter:
                volume.clear(litter)
            return [name for name in sides.olds() if name not in keep]

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        try:
            yield
        except _OURS as error:
            raise RestoreRedisError(f"could not {what} Redis in {self.container}: {_remedied(str(error))}") from error

    @property
    def _tools(self) -> str:
        """Mark of this instance's tools alone: those of other targets may be at work."""
        return f"{self.mark} {self.container}"

    def _look(self) -> tuple[Volume, Sides]:
        volume = volume_of(self.container, self._tools)
        return volume, volume.sides()

    def _begin(self) -> tuple[Volume, Sides]:
        """What a run that was killed left running is ended first: two exchanges at once would be in each other's way."""
        remove_left(self._tools)
        return self._look()

    def _copy(self, volume: Volume, plain: Path) -> Rdb:
        if volume.copy(self.id, plain) != measure(plain)[1]:
            raise VolumeError("what lies in its volume is not what was written there: is its disk failing?")
        found = parse(volume.check(self.id), plain.stat().st_size)
        if (found.keys, found.expires) != (self.wanted.keys, self.wanted.expires):
            raise VolumeError(
                f"the dump holds {found.keys} keys, {found.expires} with a time to live, the manifest says {self.wanted.keys} and {self.wanted.expires}: "
                "take another set"
            )
        return found

    def _prove(self, volume: Volume, file: Rdb) -> Mapping[str, str]:
        """Load it, with the live server's own configuration, and count."""
        with volume.trial(self.id) as trial:
            deadline = time.monotonic() + self.timeout
            while (info := trial.info()) is None:
                if time.monotonic() > deadline:
                    raise VolumeError(f"a throw-away server has not loaded it in {self.timeout:.0f} s: allow more time")
                time.sleep(_INTERVAL)
        self._counted(info)
        lasting, expiring = keyspace(info)
        # A hash goes with the last of its fields that have a time to live.
        most = file.keys - file.expires
        if not most - file.field_expires <= lasting <= most or expiring > file.expires:
            raise VolumeError(f"a throw-away server holds {lasting} keys without and {expiring} with a time to live: take another set")
        if 0 < int(info["maxmemory"]) < int(info["used_memory"]):
            need, have = (int(info[name]) >> 20 for name in ("used_memory", "maxmemory"))
            raise VolumeError(f"its data need {need} MB, and maxmemory is {have} MB: keys would be evicted at once; give it more (redis_memory_mb) first")
        return info

    def _counted(self, info: Mapping[str, str]) -> None:
        """Each key of the file was loaded, or left out as its time was over. These counts of the load itself are the same whatever clients do afterwards."""
        loaded, over = (int(info.get(f"rdb_last_load_keys_{what}", -1)) for what in ("loaded", "expired"))
        if loaded < 0 or over < 0 or loaded + over != self.wanted.keys:
            raise VolumeError(f"{loaded} keys were loaded and {over} were over, and the manifest says {self.wanted.keys}")

    def _turn(self, into: str) -> bool:
        """Exchange so that `into` is in place; whether the server has yet to start with it."""
        volume, sides = self._begin()
        if sides.order is not None and sides.order.id != self.id:
            raise VolumeError(f"the restore {sides.order.id} is in the midst of an exchange: finish or undo that one first")
        if sides.order is None and sides.swapped(self.id) == (into == NEW):
            return not _running(self.container)
        if sides.order is None and into not in sides.of(self.id):
            raise VolumeError(f"its volume has no '{into}' data of the restore {self.id}")
        self._stop(volume)
        if sides.order is not None:
            volume.exchange()
            sides = volume.sides()
        if sides.swapped(self.id) != (into == NEW):
            self._order(volume, into)
            volume.exchange()
        return True

    def _order(self, volume: Volume, into: str) -> None:
        try:
            volume.order(self.id, into, OLD if into == NEW else NEW)
        except VolumeError:
            self._start()
            raise

    def _stop(self, volume: Volume) -> None:
        """End the server; one that had to be killed may lack its last snapshot, so it starts again."""
        if not _running(self.container):
            return
        try:
            # What no file has yet would be lost with a server that has to be killed.
            RedisServer(self.login).save(self.timeout)
        except RedisFailed as error:
            raise VolumeError(f"{error}; nothing was exchanged") from error
        Docker(timeout=volume.stop_timeout + 60).stop(self.container)
        if health_of(Docker().inspect("container", [self.container])[0]).exit_code == KILLED:
            self._start()
            raise VolumeError(
                f"it did not end in {volume.stop_timeout} s, so that its last writes may be lost: nothing was exchanged, see its log (make db-logs)"
            )

    def _start(self) -> dict[str, str]:
        """Start it and wait until it is healthy and has loaded its data; what it says of its load."""
        Docker().start(self.container)
        deadline = time.monotonic() + self.timeout
        first = health = health_of(Docker().inspect("container", [self.container])[0])
        problem = "it is not healthy"
        while time.monotonic() < deadline and not health.hopeless(since=first):
            try:
                if health.good:
                    info = RedisServer(self.login).section("persistence")
                    if info["loading"] == "0":  # it says so much while it loads, too
                        return info
                    problem = "it is still loading"
            except RedisFailed as error:
                problem = str(error)
            time.sleep(_INTERVAL)
            health = health_of(Docker().inspect("container", [self.container])[0])
        raise VolumeError(f"it did not start with the data in its volume ({health.word}; {problem}): see its log (make db-logs)")

    def _count(self, info: Mapping[str, str]) -> None:
        try:
            self._counted(info)
        except VolumeError as error:
            raise VolumeError(f"it runs with other data than were restored ({error}): undo the restore") from error


def _running(container: str) -> bool:
    found = Docker().inspect("container", [container])
    return bool(found and found[0]["State"]["Running"])


def _remedied(words: str) -> str:
    return f"{words}: free some space on the file system of its volume, then run this again" if "No space left" in words else words
