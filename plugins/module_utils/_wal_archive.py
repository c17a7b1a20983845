# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the continuous backup of one server lies: on the host, and as its containers see it.

<folder>/current/repository          pgBackRest's, of the cluster that runs
<folder>/current/received/current    write-ahead log as the companion got it; beside it what it had got when a recovery replaced the cluster's timeline
<folder>/current/received/cluster    the system identifier of the cluster whose log that is
<folder>/current/archived/last       the newest segment that is in the repository
<folder>/<system identifier>/…       the same of a cluster that ran here before
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError

HOME, CONFIG, SOCKET, TOOLS = "/archive/current", "/etc/pgbackrest", "/run/archive", "/archive-tools"
CURRENT = "current"
# The name of the companion's slot, and of the companion in pg_stat_replication.
COMPANION = "companion"
# Notes in an archive: it was switched off; the base backup from which on it lacks nothing again (_archive_pause).
PAUSED, RESUMED = "off", "resumed"
# A segment of the write-ahead log: timeline, and its place in two halves.
SEGMENT = re.compile(r"(?P<timeline>[0-9A-F]{8})(?P<log>[0-9A-F]{8})(?P<segment>[0-9A-F]{8})")
SEGMENT_BYTES = 16 * 1024 * 1024
# The disk of an archive is full with less than this: neither a segment nor the next one that the companion receives has room for certain.
FULL_BYTES = 2 * SEGMENT_BYTES

# What every module of the continuous backup is told of its server.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "container": {"type": "str", "required": True},
    "archive_dir": {"type": "path", "required": True},
    "config_dir": {"type": "path", "required": True},
}


class ArchiveError(Exception):
    """The archive or its server is not as it must be; the text says what to do."""


@dataclass(frozen=True)
class Cluster:
    """One server, and an archive.

    name: also the stanza's; image, uid, gid: as the container has them; pgdata: in the container; data: the same folder on this host; folder: of the
    archives; config: the folder with the folders pgbackrest, tools, companion and socket; which: the archive, of the cluster that runs or of another one.
    """

    name: str
    container: str
    image: str
    uid: int
    gid: int
    memory_mb: int
    pgdata: str
    data: Path
    folder: Path
    config: Path
    which: str = CURRENT

    @property
    def home(self) -> Path:
        return self.folder / self.which

    @property
    def repository(self) -> Path:
        return self.home / "repository"

    @property
    def received(self) -> Path:
        return self.home / "received" / CURRENT

    @property
    def others(self) -> list[str]:
        """System identifiers of the clusters whose archives are kept aside."""
        return sorted(path.name for path in self.folder.iterdir() if path.name.isdigit()) if self.folder.is_dir() else []


def bind(source: Path, target: str, *, read_only: bool = True) -> str:
    """A mount for docker's option --mount."""
    return f"type=bind,source={source},target={target}{',readonly' if read_only else ''}"


def cluster_of(params: Mapping[str, Any], which: str = CURRENT) -> Cluster:
    """Look the server's container up. Raises ArchiveError."""
    name = params["container"]
    try:
        found = Docker().inspect("container", [name])
    except DockerError as error:
        raise ArchiveError(str(error)) from error
    if not found:
        raise ArchiveError(
            f"there is no container {name}: make db-start makes it. Where its data were lost, that keeps their archive aside, and a recovery can name it"
        )
    config = found[0]["Config"]
    environment = dict(entry.partition("=")[::2] for entry in config["Env"])
    pgdata = Path(environment.get("PGDATA", ""))
    uid, _colon, gid = str(config["User"]).partition(":")
    if not uid.isdigit() or not gid.isdigit() or not pgdata.is_absolute():
        raise ArchiveError(f"the container {name} is not one that the role postgres makes (its user is '{config['User']}', PGDATA '{pgdata}')")
    return Cluster(
        name=params["name"],
        container=name,
        image=str(found[0]["Image"]),
        uid=int(uid),
        gid=int(gid),
        memory_mb=int(found[0]["HostConfig"]["Memory"]) >> 20,
        pgdata=str(pgdata),
        data=_on_this_host(name, pgdata, found[0]["Mounts"]),
        folder=Path(params["archive_dir"]),
        config=Path(params["config_dir"]),
        which=which,
    )


def _on_this_host(name: str, pgdata: Path, mounts: list[dict[str, Any]]) -> Path:
    for mount in mounts:
        target = Path(mount["Destination"])
        if mount["Type"] == "volume" and target in pgdata.parents:
            return Path(mount["Source"]) / pgdata.relative_to(target)
    raise ArchiveError(f"the data folder {pgdata} of {name} is not a folder in one of its volumes: a second one cannot stand beside it")


def segment_of(timeline: int, lsn: str) -> str:
    """The segment that holds a position such as 0/4034FD0."""
    high, _slash, low = lsn.partition("/")
    return f"{timeline:08X}{int(high, 16):08X}{int(low, 16) // SEGMENT_BYTES:08X}"


def position(lsn: str) -> int:
    """A position as a number of bytes."""
    high, _slash, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def segments(folder: Path) -> list[str]:
    """The segments in a folder of received ones, whole or in part, by their place."""
    names = {path.name.removesuffix(".partial") for path in folder.iterdir()} if folder.is_dir() else set()
    return sorted((name for name in names if SEGMENT.fullmatch(name)), key=lambda name: (name[8:], name))
