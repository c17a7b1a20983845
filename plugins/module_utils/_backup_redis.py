# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the snapshot of a running Redis as a file: as a replica would get it, and read to its end by Redis' own checker before it is believed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._backup_files import create
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Keys, Redis
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import WORK, Bulk, BulkError, Neighbour, neighbour
from ansible_collections.nexanest.database.plugins.module_utils._redis_rdb import Rdb, RdbError, databases, parse

PORT = 6379
# redis-cli tells them beside its errors.
_REMARKS = re.compile(r"(sending REPLCONF|SYNC sent to)[^;]*; ")
# A checker holds one key at a time: it needs no more than the server itself.
LEAST_MEMORY_MB = 512
_REMEDIES = {
    ("WRONGPASS", "NOAUTH", "NOPERM"): "run site.yml, which loads the declared users anew",
    (
        "Could not connect",
        "Connection refused",
        "timed out",
        "I/O error",
        "I/O Error",
        "closed the connection",
    ): "see its log (make db-logs), then run this again",
    ("No space left", "Disk quota", "short write"): "free some space on the file system of the backups, then run this again",
    ("LOADING",): "wait until its container is healthy, then run this again",
}


class RedisDumpError(BulkError):
    """There is no dump of this instance; one sentence says why and what to do."""


@dataclass(frozen=True)
class Instance:
    """A Redis server. name: in the set; container: its own; user: one that may REPLCONF and SYNC."""

    name: str
    container: str
    user: str
    password: str = field(repr=False)

    @property
    def file(self) -> str:
        return f"{self.name}.rdb"


def dump(instance: Instance, folder: Path, *, mark: str, patience: float = 300, progress: Callable[[int], None] | None = None) -> Redis:
    """Make the file `<name>.rdb` in `folder`, whole and checked, or no file and a RedisDumpError.

    mark: as of Bulk; patience: seconds without a byte; progress: gets the bytes that are there, every second. path of the result: in a set, before encryption.
    """
    target = folder / instance.file
    target.unlink(missing_ok=True)
    try:
        server = neighbour(instance.container)
        _fetch(instance, Bulk(server.image, mark, folder, beside=server), target, _Growth(instance, target, patience, progress).look)
        found, said = check(Bulk(server.image, mark, folder, read_only=True, memory_mb=memory_mb(server)), target)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, BulkError | OSError) and not isinstance(error, RedisDumpError):
            raise RedisDumpError(f"Redis in {instance.container} was not dumped: {_sentence(str(error))}") from error
        raise
    return Redis(found.version, f"redis/{instance.file}", found.keys, found.expires, found.expired, _databases(found, said, target))


def memory_mb(server: Neighbour) -> int:
    """What a tool may take that loads or checks this server's data."""
    return max(server.memory_mb, LEAST_MEMORY_MB)


def check(bulk: Bulk, file: Path) -> tuple[Rdb, str]:
    """Let redis-check-rdb read a whole file in the folder of `bulk`; with all that it says."""
    try:
        said = bulk.run(["redis-check-rdb", f"{WORK}/{file.name}"])
    except BulkError as error:
        raise BulkError(f"redis-check-rdb refuses {file.name}: {error}") from error
    try:
        return parse(said, file.stat().st_size), said
    except RdbError as error:
        raise BulkError(f"{file.name} is not whole: {error}") from error


def _databases(found: Rdb, said: str, file: Path) -> dict[str, Keys] | None:
    """Of each logical database, where the file says it and the sum is right."""
    with file.open("rb") as content:
        counts = databases(said, content)
    if counts is None or sum(keys for keys, _expires in counts.values()) != found.keys:
        return None
    return {str(number): Keys(*both) for number, both in counts.items()}


def _fetch(instance: Instance, bulk: Bulk, target: Path, watch: Callable[[], None]) -> None:
    """redis-cli as a replica. It is asked for its password, and reads it from its input: argv and environment are everybody's."""
    create(target).close()
    server = bulk.beside.address if bulk.beside else ""
    login = ("-h", server, "-p", str(PORT), "--user", instance.user, "--askpass")
    bulk.run(["redis-cli", *login, "--rdb", f"{WORK}/{target.name}"], watch=watch, stdin=f"{instance.password}\n".encode())


@dataclass
class _Growth:
    """Watches a file: redis-cli itself would wait for ever for a server that stopped sending."""

    instance: Instance
    file: Path
    patience: float
    progress: Callable[[int], None] | None
    bytes: int = -1
    since: float = 0.0

    def look(self) -> None:
        size = self.file.stat().st_size
        if size != self.bytes:
            self.bytes, self.since = size, time.monotonic()
        elif time.monotonic() - self.since > self.patience:
            raise BulkError(f"it has sent nothing for {self.patience:.0f} s; see its log (make db-logs), then run this again")
        if self.progress is not None:
            self.progress(size)


def _sentence(told: str) -> str:
    words = _REMARKS.sub("", told)
    remedy = next((remedy for signs, remedy in _REMEDIES.items() if any(sign in words for sign in signs)), None)
    return f"{words}: {remedy}" if remedy else words
