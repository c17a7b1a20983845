# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of Redis settings: as text for Redis, and compared the way Redis reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 2**10, "m": 10**6, "mb": 2**20, "g": 10**9, "gb": 2**30}
_MEMORY = re.compile(r"(\d+)([kmg]?b?)", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_ENUM = re.compile(r"[a-z][a-z0-9-]*")

# What the letter A of notify-keyspace-events stands for.
_ALL_EVENTS = "g$lshzxetd"

SECRET_SETTINGS = frozenset({"masterauth", "requirepass", "tls-key-file-pass", "tls-client-key-file-pass"})

# What CONFIG SET refuses (asked of Redis 8.0, each setting with its own value); a test asks again.
RESTART_SETTINGS = frozenset(
    {
        "aclfile",
        "always-show-logo",
        "aof-rewrite-cpulist",
        "aof_rewrite_cpulist",
        "appenddirname",
        "appendfilename",
        "bgsave-cpulist",
        "bgsave_cpulist",
        "bio-cpulist",
        "bio_cpulist",
        "cluster-config-file",
        "cluster-enabled",
        "cluster-port",
        "daemonize",
        "databases",
        "dbfilename",
        "dir",
        "disable-thp",
        "enable-debug-command",
        "enable-module-command",
        "enable-protected-configs",
        "io-threads",
        "logfile",
        "pidfile",
        "rdbchecksum",
        "replicaof",
        "server-cpulist",
        "server_cpulist",
        "set-proc-title",
        "slaveof",
        "socket-mark-id",
        "supervised",
        "syslog-enabled",
        "syslog-facility",
        "syslog-ident",
        "tcp-backlog",
        "unixsocket",
        "unixsocketperm",
    }
)


def text(value: Any) -> str:
    """A value of the inventory as CONFIG SET takes it: true is yes, a list is its items with spaces between."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(text(item) for item in value)
    return "" if value is None else str(value).strip()


def shown(name: str, value: str) -> str:
    """The value as a diff may show it."""
    return "********" if name in SECRET_SETTINGS else value


def equal(name: str, running: str, wanted: str) -> bool:
    """Does `wanted` mean what the server runs with?"""
    if running == wanted:
        return True
    if name in SECRET_SETTINGS:
        return False
    return _COMPARE.get(name, _same_tokens)(running, wanted)


def _same_tokens(running: str, wanted: str) -> bool:
    left, right = running.split(), wanted.split()
    return len(left) == len(right) and all(_same_token(a, b) for a, b in zip(left, right, strict=True))


def _same_token(running: str, wanted: str) -> bool:
    if running == wanted:
        return True
    if _NUMBER.fullmatch(running) and _NUMBER.fullmatch(wanted):
        return float(running) == float(wanted)
    memory = _MEMORY.fullmatch(wanted)
    if memory and running.isdigit():
        return int(running) == int(memory[1]) * _UNITS[memory[2].lower()]
    return _ENUM.fullmatch(running) is not None and running == wanted.lower()


def _same_set(running: str, wanted: str) -> bool:
    return set(running.lower().split()) == set(wanted.lower().split())


def _same_events(running: str, wanted: str) -> bool:
    return set(running.replace("A", _ALL_EVENTS)) == set(wanted.replace("A", _ALL_EVENTS))


def _same_save_points(running: str, wanted: str) -> bool:
    return _groups(running, 2) == _groups(wanted, 2)


def _same_output_limits(running: str, wanted: str) -> bool:
    """The wanted classes only: CONFIG SET leaves the others alone."""
    have = {group[0].lower(): group[1:] for group in _groups(running.replace("replica ", "slave "), 4)}
    want = {group[0].lower(): group[1:] for group in _groups(wanted.replace("replica ", "slave "), 4)}
    return bool(want) and all(_same_tokens(" ".join(have.get(name, ())), " ".join(limits)) for name, limits in want.items())


def _groups(value: str, size: int) -> set[tuple[str, ...]]:
    tokens = value.split()
    return {tuple(tokens[start : start + size]) for start in range(0, len(tokens), size)}


_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "notify-keyspace-events": _same_events,
    "save": _same_save_points,
    "client-output-buffer-limit": _same_output_limits,
    "shutdown-on-sigterm": _same_set,
    "shutdown-on-sigint": _same_set,
}
