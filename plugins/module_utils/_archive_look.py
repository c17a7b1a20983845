# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a server, its companion and its repository how the continuous backup is; changes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _archive_note as notes
from ansible_collections.nexanest.database.plugins.module_utils._archive_failure import said
from ansible_collections.nexanest.database.plugins.module_utils._archive_receivers import seen, strangers
from ansible_collections.nexanest.database.plugins.module_utils._archive_status import Facts
from ansible_collections.nexanest.database.plugins.module_utils._backup_list import moment
from ansible_collections.nexanest.database.plugins.module_utils._backup_look import offsite_drills
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._disks import survives
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, OF_ARCHIVES, History, Record
from ansible_collections.nexanest.database.plugins.module_utils._drill_status import Drills
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Info, Repository, RepositoryError
from ansible_collections.nexanest.database.plugins.module_utils._recovery_journal import PROMOTED, RECOVERING, Journal, JournalError
from ansible_collections.nexanest.database.plugins.module_utils._recovery_look import unbroken, usable
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import COMPANION, PAUSED, ArchiveError, Cluster, cluster_of

# It answers every second. One that stands still has a session until the server ends it, a minute later.
_SERVER = """
SELECT pg_catalog.current_setting('archive_mode') <> 'off' AS archiving,
       a.last_archived_wal AS archived_wal, extract(epoch FROM now() - a.last_archived_time)::float AS archived_age,
       a.last_failed_wal AS failed_wal, extract(epoch FROM now() - a.last_failed_time)::float AS failed_age,
       coalesce(r.state = 'streaming' AND r.reply_time > now() - interval '15 seconds', false) AS streaming,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.flush_lsn)::bigint AS lag_bytes,
       extract(epoch FROM r.flush_lag)::float AS lag_seconds,
       pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) AS segment, s.wal_status AS slot, s.safe_wal_size AS safe_bytes,
       (SELECT setting::bigint * 1048576 FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_bytes,
       pg_catalog.current_setting('synchronous_standby_names') AS standbys,
       (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_id
FROM pg_catalog.pg_stat_archiver AS a
LEFT JOIN pg_catalog.pg_stat_replication AS r ON r.application_name = %(companion)s
LEFT JOIN pg_catalog.pg_replication_slots AS s ON s.slot_name = %(companion)s
"""


def look(params: Mapping[str, Any]) -> Facts:
    """Everything about the archive of one server; what cannot be asked is in `trouble`."""
    try:
        cluster = cluster_of(params)
    except ArchiveError as error:
        return Facts(params["name"], trouble=str(error))
    server = _ask(params)
    try:
        return _looked(cluster, server, params)
    except OSError as error:
        trouble = f"{error.filename or cluster.folder} cannot be read ({error.strerror}): see to its disk"
        return dataclasses.replace(server, trouble=trouble, container=cluster.container, folder=str(cluster.folder))


def _looked(cluster: Cluster, server: Facts, params: Mapping[str, Any]) -> Facts:
    """With what lies on disks. Raises OSError."""
    info, unread = _info(cluster)
    backups = usable(cluster, info.backups, server.segment) if server.segment and info.system_id == server.system_id else info.backups
    backups = unbroken(cluster, backups)
    disk = shutil.disk_usage(cluster.folder) if cluster.folder.is_dir() else None
    return dataclasses.replace(
        server,
        name=cluster.name,
        trouble=unread,
        now=datetime.now(tz=UTC).timestamp(),
        backups=tuple((backup.label, backup.type, backup.stop) for backup in backups if not backup.damaged),
        repository_of=info.system_id,
        aside=tuple(cluster.others),
        recovery=_recovery(cluster),
        drills=_drills(params),
        container=cluster.container,
        folder=str(cluster.folder),
        disk_free=disk.free if disk else None,
        disk_total=disk.total if disk else None,
        full_stored=max((backup.stored for backup in info.backups if backup.type == "full"), default=None),
        received=cluster.received.is_dir(),
        survives=survives(cluster.data, cluster.folder) if cluster.data.is_dir() and cluster.folder.is_dir() else "",
        failure=said(cluster.container) if server.failing else "",
        paused=(cluster.home / PAUSED).exists(),
        offsite_drills=_offsite_drills(params),
        **_offsite(cluster, params),
    )


def _offsite(cluster: Cluster, params: Mapping[str, Any]) -> dict[str, Any]:
    """What the last copy noted; the bucket is not asked."""
    if not params.get("offsite"):
        return {}
    note, where, now = notes.read(cluster.home), Place.of(params["offsite"]).text, datetime.now(tz=UTC)
    known = {"offsite": where, "offsite_failure": str(params.get("offsite_failure") or "")}
    at, until = moment(note.at), moment(note.until)
    if note.where != where or at is None or until is None:
        return known
    return {**known, "copied_age": (now - at).total_seconds(), "copied_until": (now - until).total_seconds()}


def newest_age(params: Mapping[str, Any]) -> float | None:
    """Seconds between now and the newest moment that would survive the loss of the server; None where the server does not say."""
    return _ask(params).newest_age


def system_id(params: Mapping[str, Any]) -> str:
    """System identifier of the cluster that runs. Raises ArchiveError."""
    found = _ask(params)
    if found.silent:
        raise ArchiveError(f"the server does not answer, so that nobody knows which cluster it is: {found.silent}")
    return found.system_id


def _ask(params: Mapping[str, Any]) -> Facts:
    """What the server itself knows."""
    try:
        with contextlib.closing(connect(params)) as connection, connection.cursor() as cursor:
            cursor.execute(_SERVER, {"companion": COMPANION})
            names = [column.name for column in cursor.description or ()]
            known = dict(zip(names, cursor.fetchone() or (), strict=False))
            return Facts(params["name"], **known, **_receivers(cursor, params))
    except (ServerUnreachable, STATEMENT_ERROR) as error:
        return Facts(params["name"], silent=" ".join(str(error).split()))


def _receivers(cursor: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Those on other hosts, and slots of others that are called so."""
    names = params.get("receivers") or ()
    return {"receivers": seen(cursor, names), "strangers": strangers(cursor, names), "keep_hours": params.get("receivers_keep_hours") or 0}


def _info(cluster: Cluster) -> tuple[Info, str]:
    if not cluster.repository.is_dir():
        return Info(), f"{cluster.repository} is missing (is its disk mounted?)"
    try:
        return Repository(cluster).info(), ""
    except RepositoryError as error:
        return Info(), str(error)


def _drills(params: Mapping[str, Any]) -> tuple[Record, ...]:
    """Of this archive, the oldest first; none where nobody says where the history is."""
    if not params.get("history_dir"):
        return ()
    try:
        return tuple(History(Path(params["history_dir"])).of(params["stack"], f"{OF_ARCHIVES} {params['name']}"))
    except OSError as error:
        now = datetime.now(tz=UTC).isoformat(timespec="seconds")
        return (Record(now, params["stack"], FAILED, problems=[f"the history of drills cannot be read ({error.strerror})"]),)


def _offsite_drills(params: Mapping[str, Any]) -> Drills | None:
    """Of its copy."""
    kept = {**(params.get("backups") or {}), "offsite": params.get("offsite")}
    return offsite_drills(kept, params["stack"], datetime.now(tz=UTC), f"{OF_ARCHIVES} {params['name']}") if params.get("backups") else None


def _recovery(cluster: Cluster) -> tuple[str, str]:
    journal = Journal(cluster.config)
    try:
        entry = journal.read()
        # Read again after the lock: the run that had it may have come to its end meanwhile.
        cut_off = entry is not None and entry.phase == RECOVERING and not Store(cluster.folder).busy() and journal.read() == entry
    except JournalError as error:
        return "unreadable", str(error)
    if entry is None:
        return "", ""
    phase = "cut off" if cut_off else "kept" if entry.phase == PROMOTED and entry.returned else entry.phase
    return phase, entry.target
