# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of a cluster as it is: read, and made right."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._connection import connect
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Info, Repository
from ansible_collections.nexanest.database.plugins.module_utils._stream import synchronise
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError, Cluster

_SERVER = """
SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()), pg_catalog.current_setting('archive_mode'),
       pg_catalog.current_setting('wal_segment_size') = '16MB', pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())
"""


@dataclass(frozen=True)
class State:
    """system_id: of the cluster that runs; info: what its repository holds; segment: what the cluster writes now."""

    system_id: str
    info: Info
    segment: str = ""

    @property
    def foreign(self) -> bool:
        """Whether the repository is another cluster's."""
        return bool(self.info.system_id) and self.info.system_id != self.system_id


def read(cluster: Cluster, login: dict[str, Any], *, resting: bool = False) -> State:
    """Ask the server and its repository. Raises ArchiveError where the server does not archive, unless that is what it is about to do (resting)."""
    with contextlib.closing(connect(login)) as connection, connection.cursor() as cursor:
        cursor.execute(_SERVER)
        system_id, mode, usual, segment = cursor.fetchone() or ("", "off", False, "")
    if mode == "off" and not resting:
        raise ArchiveError(f"the server {cluster.container} does not archive (archive_mode is off): run the role that makes it with its archive switched on")
    if not usual:
        raise ArchiveError(f"the segments of {cluster.container} have another size than 16 MB, which the continuous backup does not know")
    for folder in (cluster.repository, *(() if resting else (cluster.received,))):
        if not folder.is_dir():
            raise ArchiveError(f"{folder} is missing: run site.yml, which makes it, and see why it went (a disk that is not mounted?)")
    repository = Repository(cluster)
    # The container of one that does not archive yet has no archive mounted.
    return State(system_id, repository.info() if resting else repository.info_of_running(), segment)


def set_aside(cluster: Cluster, system_id: str, companion: str) -> None:
    """Keep the archive of the cluster that ran here before under its system identifier, and begin an empty one."""
    kept = cluster.folder / system_id
    if kept.exists():
        raise ArchiveError(f"{kept} is there already: move it elsewhere; it holds an earlier archive of the cluster {system_id}")
    stop_companion(companion)
    cluster.home.rename(kept)
    make_home(cluster)
    synchronise(cluster.folder)


def stop_companion(companion: str) -> None:
    """Where there is one. Raises ArchiveError."""
    try:
        docker = Docker()
        if companion in docker.names("container"):
            docker.stop(companion)
    except DockerError as error:
        raise ArchiveError(str(error)) from error


def make_home(cluster: Cluster) -> None:
    """The folders of an empty archive."""
    for folder in (cluster.home, cluster.repository, cluster.received.parent, cluster.received, cluster.home / "archived"):
        make_folder(folder, cluster)


def make_folder(folder: Path, cluster: Cluster) -> None:
    """A folder of the server's user alone; one that a run made before it was cut off gets its owner."""
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, cluster.uid, cluster.gid, follow_symlinks=False)
