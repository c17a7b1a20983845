# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers and Redis instances of the options, and what a restore is to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Manifest, ManifestError, Redis
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import StoreError
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError, neighbour
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._restore_archive import ArchiveError
from ansible_collections.nexanest.database.plugins.module_utils._restore_jobs import JobsError
from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import Entry, JournalError
from ansible_collections.nexanest.database.plugins.module_utils._restore_ledger import LedgerUnusable
from ansible_collections.nexanest.database.plugins.module_utils._restore_load import Loader
from ansible_collections.nexanest.database.plugins.module_utils._restore_plan import Choice, Found
from ansible_collections.nexanest.database.plugins.module_utils._restore_postgres import PostgresTarget
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis import RedisTarget, RestoreRedisError
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis_side import PREFIX, RedisSide
from ansible_collections.nexanest.database.plugins.module_utils._restore_server import Server, ServerUnfit
from ansible_collections.nexanest.database.plugins.module_utils._restore_swap import SwapError
from ansible_collections.nexanest.database.plugins.module_utils._restore_target import Target, TargetError

# What a target or a server may answer to any operation.
_OURS = (BulkError, JournalError, LedgerUnusable, ManifestError, RestoreRedisError, ServerUnfit, ServerUnreachable, StoreError, SwapError, TargetError)
_OF_MAPPINGS = (ArchiveError, JobsError)
_THEIRS = (STATEMENT_ERROR, OSError)
ERRORS: tuple[type[Exception], ...] = _OURS + _OF_MAPPINGS + _THEIRS

# No restore has this id: for looking.
NOBODY = "00000000"
_REDIS_LOGIN = ("login_host", "login_port", "login_user", "login_password", "connect_timeout")


class Parties:
    """Made of the module's options. mark: of the tools' containers."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.servers = {one["name"]: _server(one, params["lock_wait"]) for one in params["servers"]}
        self.instances = {one["name"]: one for one in params["redis"]}
        self.disconnect = bool(params["disconnect"])
        self.mark = str(Path(params["backup_dir"]))
        self.progress = Progress(params.get("progress_file", ""))
        self.jobs = int(params.get("jobs", 1))

    def close(self) -> None:
        for server in self.servers.values():
            server.close()

    def postgres(self, name: str, restore: str = NOBODY) -> PostgresTarget:
        """A server by its name in the set."""
        if name not in self.servers:
            raise TargetError(f"the restore {restore} is also about {name}, which is not among the servers of the options: name it there")
        return PostgresTarget(self.servers[name], restore, disconnect=self.disconnect)

    def redis(self, name: str, wanted: Redis, restore: str = NOBODY) -> RedisSide:
        """An instance by its name in the set."""
        if name not in self.instances:
            raise TargetError(f"the restore {restore} is also about the Redis instance {name}, which is not among those of the options: name it there")
        one = self.instances[name]
        target = RedisTarget(one["container"], restore, wanted, {key: one[key] for key in _REDIS_LOGIN}, self.mark)
        return RedisSide(name, target, disconnect=self.disconnect)

    def target(self, name: str, entry: Entry) -> Target:
        """A target by the name that it has in a journal."""
        if name.startswith(PREFIX):
            instance = name.removeprefix(PREFIX)
            return self.redis(instance, Redis(**entry.redis[instance]), entry.restore)
        return self.postgres(name, entry.restore)

    def targets(self, entry: Entry) -> list[Target]:
        return [self.target(name, entry) for name in entry.targets]

    def loader(self, name: str, folder: Path) -> Loader:
        """For the dumps of a server, which are in this folder in plain."""
        server = self.servers[name]
        return Loader(neighbour(server.container), server.login, folder / name, self.progress, self.mark, self.jobs)

    def found(self, name: str) -> Found:
        """What a server has."""
        neighbour(self.servers[name].container)
        return self.servers[name].look()

    def clients(self, choice: Choice, manifest: Manifest) -> list[str]:
        """Who would be in the way of a swap."""
        found = [f"{name}/{text}" for name, items in choice.items.items() for text in self.postgres(name).connected(items)]
        return found + [f"{PREFIX}{name}: {text}" for name in choice.redis for text in self.redis(name, manifest.redis[name]).clients()]


def kept(targets: Sequence[Target]) -> list[str]:
    """What can be put back, or removed."""
    return [f"{target.name}/{name}" for target in targets for name in target.kept()]


def one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{text}: the server needs its library (session_preload_libraries)" if "security label provider" in text else text


def _server(one: Mapping[str, Any], lock_wait: float) -> Server:
    login = {key: one[key] for key in ("login_host", "login_port", "login_user", "login_password", "login_db", "connect_timeout")}
    return Server(one["name"], one["container"], login, lock_wait)
