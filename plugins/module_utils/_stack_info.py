# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a stack's services are, and what to do about what is wrong: from facts to a judgement, without asking anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._health import ABSENT, Health, health_of

GREEN, YELLOW, RED = "green", "yellow", "red"

CONNECTIONS_FULL = 0.8
DISK_YELLOW, DISK_RED = 0.85, 0.95
# A service that began again this often and is up for less than this many seconds is in a loop.
LOOP_RESTARTS, LOOP_SECONDS = 3, 600


@dataclass(frozen=True)
class Problem:
    """What is wrong with a service (or the host), what to do, and how bad it is: yellow can wait."""

    service: str
    what: str
    remedy: str
    level: str = RED


@dataclass(frozen=True)
class Facts:
    """What was found out about one service.

    document: the engine's document of its container; None where there is none.
    trouble: why it could not be asked itself: "", or one of UNREACHABLE, REFUSED, UNASKED with reason.
    details: kind-specific answers (connections, pending_restart, extension, info ...).
    """

    document: Mapping[str, Any] | None = None
    memory_used: int | None = None
    version: str = ""
    size: int | None = None
    trouble: str = ""
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


UNREACHABLE, REFUSED, UNASKED = "unreachable", "refused", "unasked"


@dataclass(frozen=True)
class Judge:
    """Turns facts into a status. stack: its name, for the commands in remedies; now: for uptimes."""

    stack: str
    now: datetime

    def service(self, service: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
        """One service as data, its problems included."""
        document = facts.document or {}
        return {
            "service": service["service"],
            "kind": service["kind"],
            "container": service["container"],
            "health": self._health(facts).word,
            "version": facts.version,
            "host": service["host"],
            "port": service["port"],
            "uptime": self._uptime(facts),
            "restarts": document.get("RestartCount", 0),
            "memory_used": facts.memory_used,
            "memory_limit": (document.get("HostConfig") or {}).get("Memory") or None,
            "size": facts.size,
            "problems": [_as_dict(problem) for problem in self.problems(service, facts)],
        }

    def problems(self, service: Mapping[str, Any], facts: Facts) -> list[Problem]:
        """What is wrong with one service; the first cause hides its consequences."""
        name = service["service"]
        found = self._container_problems(name, service["container"], facts)
        if any(problem.level == RED for problem in found) and self._health(facts).status != "running":
            return found
        found += self._answer_problems(service, facts)
        if not facts.trouble:
            found += self._redis_problems(service, facts.details) if service["kind"] == "redis" else self._postgres_problems(name, facts.details)
        return found

    def disk(self, path: str, used: int, total: int) -> list[Problem]:
        """Is the file system of the volumes nearly full?"""
        share = used / total if total else 0.0
        if share < DISK_YELLOW:
            return []
        free = (total - used) // 1024**2
        what = f"the file system of {path} is {share:.0%} full, {free} MB are free"
        remedy = "make room, or move Docker's data to a larger disk; PostgreSQL stops when the disk is full (docs/troubleshooting.md)"
        return [Problem("host", what, remedy, RED if share >= DISK_RED else YELLOW)]

    def verb(self, name: str) -> str:
        return f"make {name}" if self.stack == "nexanest" else f"make {name} STACK={self.stack}"

    def _health(self, facts: Facts) -> Health:
        return ABSENT if facts.document is None else health_of(facts.document)

    def _uptime(self, facts: Facts) -> int | None:
        if facts.document is None or self._health(facts).status != "running":
            return None
        # Nanoseconds are more than Python reads.
        started = facts.document["State"]["StartedAt"].partition(".")[0].removesuffix("Z")
        return max(0, int((self.now - datetime.fromisoformat(started).replace(tzinfo=UTC)).total_seconds()))

    def _container_problems(self, name: str, container: str, facts: Facts) -> list[Problem]:
        health = self._health(facts)
        logs = f"{self.verb('db-logs')} shows why; {self.verb('db-start')} starts it"
        if health.status == "absent":
            return [Problem(name, f"the container {container} is not there", self.verb("db-start"))]
        if health.status == "restarting":
            return [Problem(name, f"the container {container} fails at every start (exit code {health.exit_code})", self.verb("db-logs"))]
        if health.status != "running":
            memory = " for lack of memory" if (facts.document or {})["State"].get("OOMKilled") else ""
            return [Problem(name, f"the container {container} has stopped{memory} ({health.status}, exit code {health.exit_code})", logs)]
        return self._running_problems(name, container, health, self._uptime(facts) or 0)

    def _running_problems(self, name: str, container: str, health: Health, uptime: int) -> list[Problem]:
        found = []
        if health.check == "unhealthy":
            found.append(Problem(name, f"the health check of {container} fails: {health.probe[:200] or 'it says nothing'}", self.verb("db-logs")))
        if health.check == "starting":
            found.append(Problem(name, f"the container {container} is still starting", "look again in a minute", YELLOW))
        if health.restarts >= LOOP_RESTARTS and uptime < LOOP_SECONDS:
            found.append(Problem(name, f"the container {container} had to be restarted {health.restarts} times", self.verb("db-logs"), YELLOW))
        return found

    def _answer_problems(self, service: Mapping[str, Any], facts: Facts) -> list[Problem]:
        name, where = service["service"], f"{service['host']}:{service['port']}"
        if facts.trouble == UNREACHABLE:
            return [Problem(name, f"{where} does not answer ({facts.reason})", f"{self.verb('db-start')} publishes the port again; {self.verb('db-logs')}")]
        if facts.trouble == REFUSED:
            remedy = f"the server's password differs from the one in .env.db: {self.verb('db-start')} sets it"
            return [Problem(name, f"{where} refuses the login of {service['login_user']}", remedy)]
        if facts.trouble == UNASKED:
            return [Problem(name, f"it could not be asked for more ({facts.reason})", f"{self.verb('db-start')} installs what is missing", YELLOW)]
        return []

    def _postgres_problems(self, name: str, details: Mapping[str, Any]) -> list[Problem]:
        found = []
        used, most = details.get("connections", 0), details.get("max_connections", 0)
        if most and used > most * CONNECTIONS_FULL:
            remedy = f"close idle sessions, or raise {name}_max_connections and run {self.verb('db-start')}"
            found.append(Problem(name, f"{used} of {most} connections are taken", remedy, YELLOW))
        if details.get("pending_restart"):
            names = ", ".join(details["pending_restart"])
            found.append(Problem(name, f"settings wait for a restart: {names}", f"{self.verb('db-restart')} when it suits", YELLOW))
        remedy = f"{self.verb('db-schema')} shows in what; put it into a migration, or take it back"
        found += [Problem(name, f"the schema of {item['database']} {item['what']}", remedy, YELLOW) for item in details.get("schema_drift", [])]
        found += [Problem(name, notice.what, notice.remedy, RED if notice.urgent else YELLOW) for notice in details.get("schedule", [])]
        if details.get("extension_missing"):
            found.append(Problem(name, f"the extension timescaledb is missing in the database {details['database']}", self.verb("db-start")))
        return found

    def _redis_problems(self, service: Mapping[str, Any], info: Mapping[str, Any]) -> list[Problem]:
        name, found = service["service"], []
        evicted = int(info.get("evicted_keys", 0))
        if service.get("sessions") and evicted:
            remedy = f"set redis_sessions_separate: true in the inventory and run {self.verb('db-start')}; or give Redis more memory (redis_memory_mb)"
            found.append(Problem(name, f"{evicted} keys were evicted from the instance that holds sessions: users were logged out", remedy, YELLOW))
        writes = {"aof_last_write_status": "to the AOF", "aof_last_bgrewrite_status": "of a new AOF", "rdb_last_bgsave_status": "of a snapshot"}
        for key, what in writes.items():
            if info.get(key, "ok") != "ok":
                found.append(Problem(name, f"the last write {what} failed", f"look for a full disk, then {self.verb('db-logs')}"))
        return found


def overall(services: Sequence[Mapping[str, Any]], host: Sequence[Problem]) -> str:
    """The worst level of all problems. services: whatever has problems, the backups too."""
    levels = {problem["level"] for service in services for problem in service["problems"]} | {problem.level for problem in host}
    return RED if RED in levels else YELLOW if YELLOW in levels else GREEN


def status(
    services: Sequence[Mapping[str, Any]],
    host: Sequence[Problem],
    backups: Mapping[str, Any] | None = None,
    archives: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The whole as data. backups: None where nobody asked for them; archives: continuous backups, by server."""
    worst = overall([*services, *([backups] if backups else []), *archives], host)
    return {
        "overall": worst,
        "services": list(services),
        "backups": backups,
        "archives": list(archives),
        "host": {"problems": [_as_dict(problem) for problem in host]},
    }


def _as_dict(problem: Problem) -> dict[str, str]:
    return {"what": problem.what, "remedy": problem.remedy, "level": problem.level}
