# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All calls of pgBackRest, each in a throw-away container without a network beside the server, and what it says as data.

Its exit codes are not enough: `verify` ends with 0 on a corrupt repository, so its text is read.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _wal_archive as archive
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import Bulk, BulkError, remove_left
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import Cluster

# Seconds for which a lock of another pgBackRest (one that was killed holds its lock for some) is waited for.
LOCK_PATIENCE = 60.0
# src/build/error/error.yaml of pgBackRest: lock-acquire.
_LOCKED = "[050]"
# Its status code for what is none of its usual states.
_BROKEN = 99
# … (bundle 20250531-020000F/1/58072, 8KB, 5.76%) checksum …
_PROGRESS = re.compile(r"[( ](?P<done>\d+(?:\.\d+)?)%\)")
_INFO = ("info", "--output=json")
_TROUBLE = re.compile(r"(?:checksum invalid|missing|other|size invalid|error): *[1-9]|status: error|invalid checksum|ERROR", re.IGNORECASE)


class RepositoryError(Exception):
    """pgBackRest failed; the text has its own words."""


@dataclass(frozen=True)
class BaseBackup:
    """One backup of the whole cluster. start, stop: seconds since the epoch; wal_*: segments that it needs; bytes: of the cluster, stored: of this backup."""

    label: str
    type: str
    start: int
    stop: int
    lsn_start: str
    lsn_stop: str
    wal_start: str
    wal_stop: str
    bytes: int
    stored: int
    damaged: bool = False


@dataclass(frozen=True)
class Info:
    """What a repository holds. system_id: of the cluster, "" for none; wal_max: the newest archived segment; state: pgBackRest's own words.

    version: of the pgBackRest that wrote the newest backup.
    """

    system_id: str = ""
    backups: tuple[BaseBackup, ...] = ()
    wal_min: str = ""
    wal_max: str = ""
    state: str = ""
    version: str = ""

    @property
    def newest(self) -> BaseBackup | None:
        return self.backups[-1] if self.backups else None


@dataclass(frozen=True)
class Repository:
    """The repository of one cluster."""

    cluster: Cluster

    def info(self) -> Info:
        return self._parsed(self._run(_INFO, read_only=True, locked=False))

    def info_of_running(self) -> Info:
        """The same of the archive that is current, asked in its server's container, which runs: that is four times as quick as a container of its own."""
        try:
            output = Docker().execute(self.cluster.container, ["pgbackrest", *self._words("warn"), *_INFO], user=str(self.cluster.uid))
        except DockerError as error:
            raise RepositoryError(str(error)) from error
        if output.code != 0:
            raise RepositoryError(explained(f"pgbackrest failed: {' '.join(output.stderr.split())}"))
        return self._parsed(output.stdout)

    def create(self) -> None:
        """Make the stanza, for the cluster that runs."""
        self._patiently(["stanza-create"], beside_server=True)

    def check(self) -> None:
        """Have the server switch its segment, and wait until that is archived."""
        self._patiently(["check"], beside_server=True)

    def backup(self, kind: str, heard: Callable[[str], None] | None = None) -> Info:
        """Take a backup (full, diff or incr), and drop what the retention does not want. What is there then."""
        return self._parsed(self._patiently([f"--type={kind}", "backup"], then=_INFO, beside_server=True, heard=heard))

    def restore(self, target: Path, options: Sequence[str], heard: Callable[[str], None] | None = None) -> None:
        """Write a backup into an empty folder of this host."""
        mount = archive.bind(target, self.cluster.pgdata, read_only=False)
        self._run(["restore", *options], mounts=[mount], heard=heard, read_only=True)

    def verify(self) -> list[str]:
        """What is wrong with the repository's files, in pgBackRest's words; [] where every checksum is right."""
        said: list[str] = []
        text = self._run(["verify", "--output=text", "--verbose"], heard=said.append, read_only=True)
        return troubles([*text.splitlines(), *said])

    def _parsed(self, text: str) -> Info:
        return parse_info(text, self.cluster.name)

    def _patiently(self, argv: Sequence[str], *, then: Sequence[str] = (), beside_server: bool, heard: Callable[[str], None] | None = None) -> str:
        deadline = time.monotonic() + LOCK_PATIENCE
        mounts = [
            archive.bind(self.cluster.data, self.cluster.pgdata),
            archive.bind(self.cluster.config / "socket", archive.SOCKET, read_only=False),
        ]
        while True:
            try:
                return self._run(argv, then=then, mounts=mounts if beside_server else [], heard=heard)
            except RepositoryError as error:
                if not locked(error) or time.monotonic() > deadline:
                    raise
            time.sleep(2)

    def _run(
        self,
        argv: Sequence[str],
        *,
        then: Sequence[str] = (),
        mounts: Sequence[str] = (),
        heard: Callable[[str], None] | None = None,
        read_only: bool = False,
        locked: bool = True,
    ) -> str:
        if not self.cluster.home.is_dir():
            raise RepositoryError(f"{self.cluster.home} is missing (is its disk mounted?)")
        bulk = Bulk(
            self.cluster.image,
            # What only looks is not in the way of a run that has the lock, and is not ended by one.
            mark=mark(self.cluster) if locked else f"{mark(self.cluster)}-look",
            folder=self.cluster.home,
            target=archive.HOME,
            read_only=read_only,
            mounts=(archive.bind(self.cluster.config / "pgbackrest", archive.CONFIG), *mounts),
        )
        words = ["pgbackrest", *self._words("detail" if heard else "warn")]
        try:
            return bulk.run([*words, *argv], then=[*words, *then] if then else (), heard=heard)
        except BulkError as error:
            raise RepositoryError(explained(str(error))) from error

    def _words(self, level: str) -> list[str]:
        return [f"--stanza={self.cluster.name}", "--log-level-console=off", f"--log-level-stderr={level}"]


def mark(cluster: Cluster) -> str:
    """The label by which containers of a killed run are found."""
    return f"archive-{cluster.container}"


def remove_left_behind(cluster: Cluster) -> None:
    """End what a killed run has left; the caller holds the archive's lock."""
    try:
        remove_left(mark(cluster))
    except BulkError as error:
        raise RepositoryError(str(error)) from error


def percent(line: str) -> int | None:
    """How far a backup or restore is, from one of its lines."""
    found = _PROGRESS.search(line)
    return int(float(found["done"])) if found else None


def shares(progress: Progress, label: str) -> Callable[[str], None]:
    """Hears pgBackRest, and says how far it is."""

    def hear(line: str) -> None:
        done = percent(line)
        if done is not None:
            progress.share(label, done)

    return hear


def troubles(lines: Sequence[str]) -> list[str]:
    """The lines of `verify` that tell of something wrong."""
    return [line.strip() for line in lines if _TROUBLE.search(line)]


def locked(error: RepositoryError) -> bool:
    """Whether it failed because another pgBackRest works on the server."""
    return _LOCKED in str(error)


def explained(text: str) -> str:
    """pgBackRest's words, with the remedy for what people meet."""
    remedies = {
        "unable to load info file": "the wrong passphrase (wal_archive_passphrases), or a damaged repository",
        "[041]": "the repository cannot be read: see to its disk, its owner and its mode",
        "unable to flush": "the wrong passphrase (wal_archive_passphrases), or a damaged repository",
        "[028]": "the repository belongs to another cluster",
        "No space left": "the disk of the archive is full: make room",
        _LOCKED: "another pgBackRest works on this server: wait until it has ended, and see docker ps for one that nobody remembers",
    }
    found = [remedy for sign, remedy in remedies.items() if sign in text]
    return f"{text} ({found[0]})" if found else text


def parse_info(text: str, stanza: str) -> Info:
    """The document of `info --output=json`, which tells errors as data, with line breaks in its strings. Raises RepositoryError."""
    for document in json.loads(text or "[]", strict=False):
        if document["name"] == stanza:
            if document["status"]["code"] == _BROKEN:
                words = [repository["status"]["message"] for repository in document.get("repo", [])] or [document["status"]["message"]]
                raise RepositoryError(explained(f"the repository cannot be read: {'; '.join(words)}"))
            return _stanza(document)
    return Info()


def _stanza(document: dict[str, Any]) -> Info:
    databases = {entry["id"]: str(entry["system-id"]) for entry in document.get("db", [])}
    newest = max(databases, default=0)
    ranges = [entry for entry in document.get("archive", []) if entry["database"]["id"] == newest and entry.get("max")]
    return Info(
        system_id=databases.get(newest, ""),
        backups=tuple(sorted((_backup(entry) for entry in document.get("backup", []) if entry["database"]["id"] == newest), key=lambda backup: backup.stop)),
        wal_min=ranges[0]["min"] if ranges else "",
        wal_max=ranges[0]["max"] if ranges else "",
        state=document["status"]["message"],
        version=max((str(entry.get("backrest", {}).get("version", "")) for entry in document.get("backup", [])[-1:]), default=""),
    )


def _backup(entry: dict[str, Any]) -> BaseBackup:
    return BaseBackup(
        label=entry["label"],
        type=entry["type"],
        start=entry["timestamp"]["start"],
        stop=entry["timestamp"]["stop"],
        lsn_start=entry["lsn"]["start"],
        lsn_stop=entry["lsn"]["stop"],
        wal_start=entry["archive"]["start"],
        wal_stop=entry["archive"]["stop"],
        bytes=entry["info"]["size"],
        stored=entry["info"]["repository"]["delta"],
        damaged=bool(entry.get("error")),
    )
