# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions with Redis through its Python client (4.3 or later), with its errors told apart."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

try:
    import redis

    REDIS_ERROR: str | None = None
except ImportError as missing:
    REDIS_ERROR = str(missing)

REDIS_LOGIN_ARGUMENTS: dict[str, dict[str, Any]] = {
    "login_host": {"type": "str", "default": "127.0.0.1"},
    "login_port": {"type": "int", "default": 6379},
    "login_user": {"type": "str", "required": True},
    "login_password": {"type": "str", "required": True, "no_log": True},
    "connect_timeout": {"type": "int", "default": 10},
}

_REFUSED_ARGUMENT = re.compile(r"related to argument '([^']+)'\) - can't set (?:immutable|protected) config")


class RedisFailed(Exception):
    """Redis could not be asked or refused something: one sentence, with its own words."""


class RedisLoginRefused(Exception):
    """The user, its password or its rights are not those of the running server."""


class RedisNeedsRestart(Exception):
    """CONFIG SET refuses this setting while the server runs; nothing was set."""

    def __init__(self, setting: str) -> None:
        super().__init__(setting)
        self.setting = setting


class RedisServer:
    """One session; each method is one question or one order."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        if REDIS_ERROR is not None:
            raise RedisFailed(f"Python's redis is missing on the managed host ({REDIS_ERROR}): run the role nexanest.database.docker, which installs it")
        self._where = f"{params['login_host']}:{params['login_port']}"
        self._client: Any = redis.Redis(
            host=params["login_host"],
            port=params["login_port"],
            username=params["login_user"],
            password=params["login_password"],
            socket_connect_timeout=params["connect_timeout"],
            socket_timeout=60,
            decode_responses=True,
            encoding_errors="backslashreplace",
        )

    def settings(self) -> dict[str, str]:
        return {str(name): str(value) for name, value in self._ask("CONFIG GET", "*").items()}

    def acl(self) -> list[str]:
        return [str(line) for line in self._ask("ACL LIST")]

    def databases(self) -> frozenset[int]:
        """Numbers of the logical databases that hold keys."""
        return frozenset(int(name[2:]) for name in self._ask("INFO", "keyspace") if re.fullmatch(r"db\d+", str(name)))

    def section(self, name: str) -> dict[str, str]:
        """One section of INFO."""
        return {str(key): str(value) for key, value in self._ask("INFO", name).items()}

    def clients(self) -> list[str]:
        """Who is connected, apart from this session and the health check: user and address."""
        own = str(self._ask("CLIENT ID"))
        found = [client for client in self._ask("CLIENT LIST") if str(client["id"]) != own and client.get("user") != "health"]
        return sorted(f"{client.get('user', '')} {client['addr']}" for client in found)

    def set(self, settings: Mapping[str, str]) -> None:
        """All or nothing."""
        pairs = [item for pair in settings.items() for item in pair]
        try:
            self._ask("CONFIG SET", *pairs)
        except RedisFailed as error:
            refused = _REFUSED_ARGUMENT.search(str(error))
            if refused is None:
                raise
            raise RedisNeedsRestart(refused[1]) from error

    def load_acl(self) -> None:
        """Read the ACL file again. Redis keeps the old users when one line is wrong, and closes the connections of removed ones."""
        self._ask("ACL LOAD")
        self._client.connection_pool.disconnect()

    def wait_for_append_only_file(self, timeout: float) -> None:
        """Until the file that CONFIG SET appendonly began holds all data."""
        deadline = time.monotonic() + timeout
        while True:
            state = self._ask("INFO", "persistence")
            if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
                break
            if time.monotonic() > deadline:
                raise RedisFailed(f"Redis at {self._where} has been writing its append-only file for {timeout:.0f} s: wait for it and run again")
            time.sleep(0.2)
        if state["aof_last_bgrewrite_status"] != "ok":
            raise RedisFailed(f"Redis at {self._where} could not write its append-only file: see the container's log, is there space?")

    def save(self, timeout: float) -> None:
        """Have a snapshot of now on the disk, where no append-only file has everything anyway."""
        if self.settings()["appendonly"] == "yes":
            return
        deadline = time.monotonic() + timeout
        self._await_snapshot(deadline, timeout)  # one that began earlier lacks the latest writes
        self._ask("BGSAVE")
        self._await_snapshot(deadline, timeout)

    def _await_snapshot(self, deadline: float, timeout: float) -> None:
        while True:
            state = self._ask("INFO", "persistence")
            if not state["rdb_bgsave_in_progress"]:
                break
            if time.monotonic() > deadline:
                raise RedisFailed(f"Redis at {self._where} has been writing a snapshot for {timeout:.0f} s: wait for it and run again")
            time.sleep(0.2)
        if state["rdb_last_bgsave_status"] != "ok":
            raise RedisFailed(f"Redis at {self._where} could not write its snapshot: see the container's log, is there space?")

    def _ask(self, command: str, *arguments: str) -> Any:
        try:
            return self._client.execute_command(command, *arguments)
        except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            raise RedisLoginRefused(str(error)) from error
        except redis.exceptions.BusyLoadingError as error:
            raise RedisFailed(f"Redis at {self._where} is still loading its data: wait until its container is healthy and run again") from error
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
            raise RedisFailed(f"could not reach Redis at {self._where}: {' '.join(str(error).split())}; does its container run?") from error
        except redis.exceptions.RedisError as error:
            # The client 4.3 has no error of its own for a wrong password.
            if str(error).startswith(("WRONGPASS", "NOAUTH", "NOPERM")):
                raise RedisLoginRefused(str(error)) from error
            raise RedisFailed(f"Redis at {self._where} refused {command}: {error}") from error
