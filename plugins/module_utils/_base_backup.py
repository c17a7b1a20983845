# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a base backup: not where it cannot end well, and with nothing left of one that did not."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._archive_failure import remedy, said
from ansible_collections.nexanest.database.plugins.module_utils._connection import connect
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Info, Repository, RepositoryError, locked
from ansible_collections.nexanest.database.plugins.module_utils._stream import replace
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import FULL_BYTES, ArchiveError, Cluster

_LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?")
_MANIFEST = "backup.manifest"
# In the folder of the archives while a base backup of ours runs: the half ones that were there before.
NOTE = ".base_backup"
# Seconds without a write after which a half backup is nobody's: a running one writes all the time.
DEAD_AFTER = 3600.0
# For as long since it last grew somebody else's is waited for: at its end it waits for a segment (archive-timeout of pgBackRest), and has no lock any more.
OTHERS_PATIENCE = 60.0
# How long the archiver is watched when its last segment failed: it tries three times, a second apart.
PATIENCE = 20.0
_ARCHIVER = """
SELECT archived_count, failed_count, coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) FROM pg_catalog.pg_stat_archiver
"""
# A new segment wakes the archiver.
_WAKE = ("SELECT pg_catalog.pg_current_xact_id()", "SELECT pg_catalog.pg_switch_wal()")


def refuse_full(cluster: Cluster, kind: str, info: Info) -> None:
    """Raises ArchiveError where the disk of the archive has no room for a backup of this kind."""
    free = shutil.disk_usage(cluster.folder).free
    if free < FULL_BYTES:
        raise ArchiveError(f"the disk of the archive is full, {free >> 20} MB are free at {cluster.folder}: make room there")
    needed = max((backup.stored for backup in info.backups if backup.type == "full"), default=0)
    if kind == "full" and free < needed + FULL_BYTES:
        room = f"the last full one took {needed >> 20} MB, and {free >> 20} MB are free at {cluster.folder}"
        raise ArchiveError(f"the disk of the archive has no room for a full base backup ({room}): make room there, older ones go only when it is there")


def refuse_stuck(cluster: Cluster, login: Mapping[str, Any]) -> None:
    """Raises ArchiveError where segments do not arrive in the repository, without which pgBackRest would wait for minutes and fail."""
    with contextlib.closing(connect(login)) as connection, connection.cursor() as cursor:
        cursor.execute(_ARCHIVER)
        archived, failed, failing = cursor.fetchone() or (0, 0, False)
        if not failing:
            return
        for statement in _WAKE:
            cursor.execute(statement)
        deadline, before = time.monotonic() + PATIENCE, (archived, failed)
        while time.monotonic() < deadline:
            cursor.execute(_ARCHIVER)
            archived, failed, failing = cursor.fetchone() or (0, 0, False)
            if archived > before[0]:
                return
            # One of them may have begun before somebody mended it.
            if failed >= before[1] + 2:
                break
            time.sleep(0.2)
    words = said(cluster.container)
    todo = remedy(words, container=cluster.container, stanza=cluster.name, folder=str(cluster.folder))
    raise ArchiveError(f"segments do not arrive in the repository ({words or 'its server does not say why'}): {todo}")


def take(cluster: Cluster, kind: str, info: Info, login: Mapping[str, Any], heard: Callable[[str], None]) -> Info:
    """Take it. The caller holds the archive's lock, and info is what the repository holds. What it holds then."""
    drop([*left_by_a_killed_run(cluster, info), *dead_halves(cluster, info)])
    wait_for_others(cluster, info)
    refuse_full(cluster, kind, info)
    refuse_stuck(cluster, login)
    before, note = {path.name for path in halves(cluster, info)}, cluster.folder / NOTE
    # The folder is the server's user's, who may have put a link there.
    replace(note, json.dumps(sorted(before)).encode())
    try:
        return Repository(cluster).backup(kind, heard)
    except RepositoryError as error:
        # What it left may be what fills the disk.
        if not locked(error):
            drop(ours(cluster, info, before))
        raise
    finally:
        note.unlink()


def left_by_a_killed_run(cluster: Cluster, info: Info) -> list[Path]:
    """What a run of ours had begun that could not even note its end."""
    note = cluster.folder / NOTE
    if not note.is_file():
        return []
    try:
        before = set(json.loads(note.read_text(encoding="utf-8")))
    except ValueError:
        return []  # killed while it wrote that: before anything was begun
    return ours(cluster, info, before)


def ours(cluster: Cluster, info: Info, before: Collection[str]) -> list[Path]:
    """The half backup that came since. pgBackRest makes a backup's folder when it has its lock in the server: of two new ones nobody knows."""
    new = [path for path in halves(cluster, info) if path.name not in before]
    return new if len(new) == 1 else []


def halves(cluster: Cluster, info: Info) -> list[Path]:
    """Folders of backups that did not come to their end, or have not yet: somebody may take one by hand, and the last it writes is the manifest."""
    folder = cluster.repository / "backup" / cluster.name
    known = {backup.label for backup in info.backups}
    return [
        path
        for path in (sorted(folder.iterdir()) if folder.is_dir() else [])
        if _LABEL.fullmatch(path.name) and path.name not in known and not path.is_symlink() and not (path / _MANIFEST).exists()
    ]


def dead_halves(cluster: Cluster, info: Info) -> list[Path]:
    """Those in which nothing was written for long. pgBackRest would remove them at the next backup, for which there may be no room."""
    return [path for path in halves(cluster, info) if _rests_since(path) > DEAD_AFTER]


def wait_for_others(cluster: Cluster, info: Info) -> None:
    """pgBackRest would remove a half backup that somebody takes by hand as the remains of a dead one. Raises ArchiveError."""
    deadline = time.monotonic() + 1.5 * OTHERS_PATIENCE
    while others := [path.name for path in halves(cluster, info) if _rests_since(path) < OTHERS_PATIENCE]:
        if time.monotonic() > deadline:
            raise ArchiveError(f"another pgBackRest takes the base backup {others[0]} of this server: wait until it has ended")
        time.sleep(0.5)


def _rests_since(path: Path) -> float:
    """Seconds since the last write into a half backup; 0 where its files come and go."""
    try:
        return time.time() - max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
    except FileNotFoundError:
        return 0.0


def drop(folders: Iterable[Path]) -> None:
    for path in folders:
        shutil.rmtree(path)
