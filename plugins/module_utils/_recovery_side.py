# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The side instance: a server on the recovered data, on a port of its own, that changes nothing elsewhere.

It mounts its own data folder alone, the archive for reading, has no archive_command (what it would archive waits until the data is in use), no jobs, and no
way to its neighbours. Until it is promoted it can be read, not written.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ansible_collections.nexanest.database.plugins.module_utils import _wal_archive as archive
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import LATEST, Target
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError, Cluster

_STATE = """
SELECT pg_catalog.pg_is_in_recovery(),
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_get_wal_replay_pause_state() END,
       pg_catalog.pg_last_wal_replay_lsn(),
       pg_catalog.pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
       (SELECT wait_event FROM pg_catalog.pg_stat_activity WHERE backend_type = 'startup')
"""
# What pgBackRest wrote for the recovery; in force it would be for the next one only, but it must not look like the operator's.
_RECOVERY_SETTINGS = (
    *("restore_command", "recovery_target", "recovery_target_time", "recovery_target_lsn", "recovery_target_xid", "recovery_target_name"),
    *("recovery_target_timeline", "recovery_target_action", "recovery_target_inclusive"),
)
# The startup process waits like this after it found no more log anywhere.
_NOTHING_MORE = "RecoveryRetrieveRetryInterval"
_LOWER_SETTINGS = "because of insufficient parameter settings"
_ENDED_EARLY = re.compile(r"last completed transaction was at log time (?P<moment>[0-9-]+ [0-9:.]+\+\d\d)")

_SCRATCH = "/tmp"  # noqa: S108  inside the container
_LIBRARIES = re.compile(r"^shared_preload_libraries = '(?P<names>[^']*)'", re.MULTILINE)

Answer = TypeVar("Answer")


class SideFailed(Exception):
    """The recovery did not reach its target; the text says how far it came."""


@dataclass(frozen=True)
class Reached:
    """Where the side instance stands. moment: of the last transaction, UTC, "" where none was replayed; paused: it waits at its target."""

    lsn: str
    moment: str
    timeline: int
    recovering: bool
    done: bool


@dataclass(frozen=True)
class Side:
    """data: its data folder on this host. admin: who it is asked as. label: of the stack; network, port: where it is published on the loopback.

    Without a port nobody reaches it, but through its own socket. suffix: of its container's name.
    """

    cluster: Cluster
    data: Path
    admin: str
    label: str
    network: str = "none"
    port: int = 0
    suffix: str = "pitr"

    @property
    def container(self) -> str:
        return f"{self.cluster.container}-{self.suffix}"

    @property
    def there(self) -> bool:
        return self.container in _docker(lambda docker: docker.names("container"))

    def start(self) -> None:
        """Begin the recovery; a container of that name is replaced."""
        self.remove()
        cluster = self.cluster
        settings = {
            "config_file": "/etc/nexanest/postgresql.conf",
            "hba_file": "/etc/nexanest/pg_hba.conf",
            "ident_file": "/etc/nexanest/pg_ident.conf",
            "cluster_name": self.container,
            "unix_socket_directories": "/run/postgresql",
            "shared_preload_libraries": ",".join(self._libraries()),
            "timescaledb.max_background_workers": "0",
            "archive_mode": "on",
            "archive_command": "",
            "synchronous_standby_names": "",
            "hot_standby": "on",
            # The certificate stays with the live server.
            "ssl": "off",
        }
        owner = f"uid={cluster.uid},gid={cluster.gid}"
        # The last one stands in the place of the volume that the image asks for.
        memory = (f"/run/postgresql:{owner},mode=0775", f"{_SCRATCH}:mode=1777", f"{Path(cluster.pgdata).parent}:{owner},mode=0700,size=1m")
        options = [
            *("--init", "--name", self.container, "--pull", "never", "--label", self.label, "--network", self.network, "--stop-signal", "SIGINT"),
            *(("--publish", f"127.0.0.1:{self.port}:5432") if self.port else ()),
            *("--user", f"{cluster.uid}:{cluster.gid}", "--stop-timeout", "120"),
            *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "300", "--log-opt", "max-size=10m"),
            *("--memory", f"{cluster.memory_mb}m", "--shm-size", f"{max(cluster.memory_mb // 4, 64)}m"),
            *(part for mount in memory for part in ("--tmpfs", mount)),
            *(part for mount in self._mounts() for part in ("--mount", mount)),
            *("--entrypoint", "postgres"),
        ]
        arguments = ["-D", cluster.pgdata, *(part for key, value in settings.items() for part in ("-c", f"{key}={value}"))]
        _docker(lambda docker: docker.launch(cluster.image, arguments, options=options))

    def _libraries(self) -> list[str]:
        """The live server's, but for pg_cron, which would run its jobs."""
        text = (self.cluster.config.parent / "conf" / "postgresql.conf").read_text(encoding="utf-8")
        found = _LIBRARIES.search(text)
        return [name for name in (part.strip() for part in found["names"].split(",")) if name and name != "pg_cron"] if found else []

    def _mounts(self) -> list[str]:
        cluster = self.cluster
        return [
            archive.bind(self.data, cluster.pgdata, read_only=False),
            archive.bind(cluster.config.parent / "conf", "/etc/nexanest"),
            archive.bind(cluster.home, archive.HOME),
            archive.bind(cluster.config / "pgbackrest", archive.CONFIG),
            archive.bind(cluster.config / "tools", archive.TOOLS),
        ]

    def wait(self, target: Target, timeout: float, told: Callable[[str], None]) -> Reached:
        """Wait until it stands at its target. Raises SideFailed where it ends before."""
        deadline = time.monotonic() + timeout
        last: Reached | None = None
        while time.monotonic() < deadline:
            try:
                found = self.look(target)
            except ArchiveError:  # too busy to answer in time; whether it runs is asked next, of the engine
                found = None
            if found is None and not self.running():
                raise SideFailed(why(self._log()))
            if found is not None and found.done and (target.kind != LATEST or found == last):
                self._refuse_settings()
                return found
            if found is not None and found != last:
                told(f"recovered to {found.moment or 'the backup'}, {found.lsn}")
            last = found
            time.sleep(0.5)
        raise SideFailed(f"the recovery did not reach {target} within {timeout:.0f} s; the log of {self.container} says how far it is")

    def look(self, target: Target) -> Reached | None:
        """Where it stands now; None where it does not answer."""
        answer = self.sql([_STATE], strict=False)
        fields = answer.strip().split("|")
        if len(fields) != 6:
            return None
        recovering, pause, lsn, moment, timeline, event = fields
        done = pause == "paused" if target.kind != LATEST else event == _NOTHING_MORE
        return Reached(lsn, f"{moment}+00" if moment else "", int(timeline), recovering == "t", done or recovering == "f")

    def promote(self, timeout: float) -> None:
        """End the recovery: from now on it is a server of its own, on a timeline of its own, that still archives nothing."""
        if self.sql(["SELECT pg_catalog.pg_is_in_recovery()"]).strip() == "t":
            self.sql([f"SELECT pg_catalog.pg_promote(true, {int(timeout)})"], timeout=timeout + 10)
        if self.sql(["SELECT pg_catalog.pg_is_in_recovery()"]).strip() != "f":
            raise SideFailed(f"{self.container} did not end its recovery within {timeout:.0f} s; its log says why")
        self.sql([*(f"ALTER SYSTEM RESET {name}" for name in _RECOVERY_SETTINGS), "CHECKPOINT"], timeout=timeout)

    def sql(self, statements: list[str], *, strict: bool = True, timeout: float = 30, database: str = "postgres") -> str:
        """Run statements over the container's own socket, as the server's system user."""
        argv = ["psql", "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-h", "/run/postgresql", "-U", self.admin, "-d", database]
        docker = Docker(timeout=timeout)
        try:
            output = docker.execute(self.container, argv, stdin="".join(f"{one};\n" for one in statements), user=str(self.cluster.uid))
        except DockerError as error:
            raise ArchiveError(str(error)) from error
        if output.code != 0 and strict:
            raise SideFailed(f"{self.container}: {' '.join(output.stderr.split())}")
        return output.stdout if output.code == 0 else ""

    def amcheck(self, timeout: float) -> list[str]:
        """What is damaged in any database's tables and indexes, in the words of pg_amcheck; every row is looked up in its indexes."""
        argv = ["pg_amcheck", "--all", "--install-missing=pg_catalog", "--heapallindexed", "--no-password", "-h", "/run/postgresql", "-U", self.admin]
        try:
            output = Docker(timeout=timeout).execute(self.container, argv, user=str(self.cluster.uid))
        except DockerError as error:
            raise ArchiveError(str(error)) from error
        said = [line.strip() for line in (output.stdout + output.stderr).splitlines() if line.strip()]
        return said[:20] or [f"pg_amcheck ended with {output.code}"] if output.code != 0 else []

    def running(self) -> bool:
        found = _docker(lambda docker: docker.inspect("container", [self.container]))
        return bool(found and found[0]["State"]["Running"])

    def stop(self) -> None:
        """A clean shutdown; the container stays."""
        _docker(lambda docker: docker.stop(self.container), timeout=180)

    def remove(self) -> None:
        if self.there:
            if self.running():
                self.stop()
            _docker(lambda docker: docker.remove("container", self.container))

    def _refuse_settings(self) -> None:
        """Where a setting was lowered since, the recovery pauses on its way, which looks like a target."""
        text = self._log()
        if _LOWER_SETTINGS in text:
            raise SideFailed(why(text))

    def _log(self) -> str:
        return _docker(lambda docker: docker.logs(self.container))


def why(text: str) -> str:
    """The reason why a recovery ended, out of the server's log."""
    lines = text.splitlines()
    if _LOWER_SETTINGS in text:
        details = [line.partition("DETAIL:")[2].strip() for line in lines if "lower setting than on the primary" in line]
        return f"the server has less of a setting than it had in the log: {' '.join(details[-1:])} Raise it (make db-start), then recover again"
    ended = [found["moment"] for found in map(_ENDED_EARLY.search, lines) if found]
    if "before configured recovery target was reached" in text:
        last = f"its last transaction is of {ended[-1]}" if ended else "there is no transaction in it after the base backup"
        return f"the log ends before the target: {last}. Leave the target out to recover the latest moment"
    told = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line and "starting up" not in line]
    told += [line for line in lines if "ERROR: [" in line or line.startswith("wal-get:")]
    return f"the recovery ended: {'; '.join(dict.fromkeys(told[-4:])) or 'its log says nothing'}"


def _docker(work: Callable[[Docker], Answer], timeout: float = 60) -> Answer:
    try:
        return work(Docker(timeout=timeout))
    except DockerError as error:
        raise ArchiveError(str(error)) from error
