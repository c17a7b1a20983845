# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery into the side instance, and what is left of it away. Each step may be repeated after a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _recovery_journal as journals
from ansible_collections.nexanest.database.plugins.module_utils import _recovery_look as looks
from ansible_collections.nexanest.database.plugins.module_utils._archive_state import make_folder
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Repository, RepositoryError, percent
from ansible_collections.nexanest.database.plugins.module_utils._recovery_journal import Entry, Journal
from ansible_collections.nexanest.database.plugins.module_utils._recovery_side import Reached, Side, SideFailed
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import LATEST, Target
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import CURRENT, ArchiveError, Cluster, segment_of

# What a recovery ends with that does not come about.
FAILURES = (SideFailed, RepositoryError, ArchiveError, OSError)


@dataclass
class Report:
    """What was done. changed: whether anything was; steps: in words."""

    changed: bool = False
    entry: Entry | None = None
    plan: looks.Plan | None = None
    reached: Reached | None = None
    kept: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Recovery:
    """Recovers one cluster. companion: the container that receives its log; told: hears what is going on."""

    cluster: Cluster
    params: Mapping[str, Any]
    told: Callable[[str], None]

    @property
    def journal(self) -> Journal:
        return Journal(self.cluster.config)

    @property
    def data(self) -> Path:
        return self.cluster.data

    def side(self, entry: Entry) -> Side:
        p = self.params
        cluster = dataclasses.replace(self.cluster, which=entry.cluster)
        return Side(cluster, self.beside(entry), admin=p["login_user"], label=p["label"], network=p["network"], port=p["port"])

    def beside(self, entry: Entry) -> Path:
        """The recovered data until it is in use; afterwards this name is that of what it replaced."""
        return self.data.with_name(f"{self.data.name}.pitr-{entry.id}")

    def kept(self) -> list[Path]:
        """Data folders that recoveries replaced or left."""
        return sorted(self.data.parent.glob(f"{self.data.name}.pitr-*")) if self.data.parent.is_dir() else []

    def recover(self, target: Target, report: Report, *, check: bool) -> None:
        """Bring the target up in the side instance."""
        entry = self.journal.read()
        if entry is not None and entry.phase in (journals.PROMOTING, journals.UNDOING):
            word = "promoted" if entry.phase == journals.PROMOTING else "undone"
            raise ArchiveError(f"the recovery {entry.id} to {entry.target} was cut off while it was {entry.phase}: run state={word} again, which finishes it")
        if entry is not None and entry.phase == journals.READY:
            if entry.target == str(target) and target.kind != LATEST and self.side(entry).running():
                report.entry, report.reached = entry, self.side(entry).look(target)
                return
            if not self.side(entry).running():
                raise ArchiveError(f"the side instance of {entry.target} does not run: docker start {self.side(entry).container}, or state=cleaned removes it")
            raise ArchiveError(f"the side instance holds {entry.target} already: look at it, then state=promoted puts it into use, or state=cleaned removes it")
        self._refuse_port(entry)
        report.plan = looks.plan(self.cluster, target, self.params, touch=not check)
        report.changed = True
        if not check:
            self._recover(target, report, report.plan, entry)

    def _recover(self, target: Target, report: Report, plan: looks.Plan, before: Entry | None) -> None:
        if before is not None and before.phase == journals.RECOVERING:
            self._discard(before)
        started = datetime.now(tz=UTC).isoformat(timespec="seconds")
        earlier = self.journal.read()
        entry = Entry(secrets.token_hex(4), journals.RECOVERING, str(target), plan.backup.label, started, cluster=self.cluster.which)
        if earlier is not None:
            entry = dataclasses.replace(entry, previous={**dataclasses.asdict(earlier), "previous": {}})
        self.journal.write(entry)
        try:
            report.reached = self._reach(target, plan, entry)
        except FAILURES:
            # Where that fails as well, the journal says what is left: the status tells of it, and the next recovery removes it.
            with contextlib.suppress(*FAILURES, journals.JournalError):
                self._discard(entry)
            raise
        inode = self.beside(entry).stat().st_ino
        report.entry = self.journal.write(dataclasses.replace(entry, phase=journals.READY, inode=inode, reached=report.reached.moment))

    def _reach(self, target: Target, plan: looks.Plan, entry: Entry) -> Reached:
        """Restore, and let a server recover there."""
        folder = self.beside(entry)
        make_folder(folder, self.cluster)
        self.told(f"restoring the base backup {plan.backup.label}, {plan.backup.bytes >> 20} MB")
        Repository(self.cluster).restore(folder, plan.options(self.cluster.name), self._quarters())
        side = self.side(entry)
        self.told(f"recovering to {target}, up to {plan.log >> 20} MB of log")
        side.start()
        reached = side.wait(target, self.params["timeout"], self.told)
        self._refuse_gap(target, plan, reached)
        return reached

    def _refuse_port(self, entry: Entry | None) -> None:
        """Before all the work; what a run that was cut off has left on it is removed first."""
        port = self.params["port"]
        if not port or (entry is not None and self.side(entry).running()):
            return
        with socket.socket() as wanted:
            wanted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                wanted.bind(("127.0.0.1", port))
            except (OSError, OverflowError) as error:
                what = f"the port {port} of 127.0.0.1, on which the side instance would listen, cannot be had ({error})"
                raise ArchiveError(f"{what}: name another one (wal_archive_pitr_port)") from error

    def _refuse_gap(self, target: Target, plan: looks.Plan, reached: Reached) -> None:
        """A segment that is missing looks like the end of the log: there must be none behind it."""
        last = segment_of(reached.timeline, reached.lsn)
        if target.kind == LATEST and plan.newest_segment and last[8:] < plan.newest_segment[8:]:
            raise SideFailed(
                f"the log has a gap: the recovery ended at {reached.lsn} in {last}, but there is a segment {plan.newest_segment}. "
                f"To have what is before the gap, name a target before {reached.moment or 'it'}"
            )

    @property
    def current(self) -> Cluster:
        return dataclasses.replace(self.cluster, which=CURRENT)

    def clean(self, report: Report, *, check: bool) -> None:
        """Remove the side instance and all data folders that are not in use. The journal goes first: what is half removed must not be put back."""
        entry = self.journal.read()
        if entry is not None and entry.phase in (journals.PROMOTING, journals.UNDOING):
            raise ArchiveError(f"the recovery {entry.id} was cut off while it was {entry.phase}: finish it first (state=promoted or state=undone)")
        wanted = self.params["recovery"]
        if wanted and (entry is None or entry.id != wanted):
            raise ArchiveError(f"the last recovery here is {entry.id if entry else 'none'}, not {wanted}: nothing was removed")
        if entry is not None and entry.phase in (journals.RECOVERING, journals.READY):
            self._clean_side(entry, report, check=check)
        elif entry is not None and entry.returned and not wanted:
            # The same command once more, after a look was cleaned up, must not take the way back of the recovery before.
            report.steps.append(f"What the recovery {entry.id} to {entry.target} replaced is still kept: state=cleaned with recovery={entry.id} removes it.")
        else:
            self._clean_kept(entry, report, check=check)

    def _clean_side(self, entry: Entry, report: Report, *, check: bool) -> None:
        """Only a look is over: what an earlier recovery replaced stays, and is told of again when nothing is left of this one."""
        report.changed = True
        report.kept = [self.beside(entry).name] if self.beside(entry).is_dir() else []
        if not check:
            self._discard(self.journal.write(dataclasses.replace(entry, phase=journals.RECOVERING)))

    def _clean_kept(self, entry: Entry | None, report: Report, *, check: bool) -> None:
        kept = self.kept()
        if kept and not check and self.live_runs():
            self.refuse_elsewhere()
        report.kept = [path.name for path in kept]
        report.changed = bool(entry or report.kept)
        if check or not report.changed:
            return
        if entry is not None:
            self.side(entry).remove()
            self.journal.remove()
        for path in kept:
            self.told(f"removing {path.name}")
            shutil.rmtree(path)
        for note in (self.current.home / "archived").glob("last.*"):
            note.unlink()

    def _discard(self, entry: Entry) -> None:
        """Nothing is left of a recovery that is not in use; what is said of the one before it is in force again, so that it can still be undone."""
        self.side(entry).remove()
        if self.beside(entry).is_dir():
            shutil.rmtree(self.beside(entry))
        if entry.previous:
            self.journal.write(Entry(**{**entry.previous, "returned": True}))
        else:
            self.journal.remove()

    def live_runs(self) -> bool:
        try:
            found = Docker().inspect("container", [self.cluster.container])
        except DockerError as error:
            raise ArchiveError(str(error)) from error
        return bool(found and found[0]["State"]["Running"])

    def refuse_elsewhere(self) -> None:
        """The server that runs must run on the folder that has the live name."""
        if not (self.data / "postmaster.pid").is_file():
            raise ArchiveError(f"{self.cluster.container} does not run on {self.data}: make db-restart, and look at its data before anything is cleaned up")

    def _quarters(self) -> Callable[[str], None]:
        """Hears pgBackRest, and tells each quarter once."""
        told = [0]

        def hear(line: str) -> None:
            quarter = (percent(line) or 0) // 25 * 25
            if quarter > told[-1]:
                told.append(quarter)
                self.told(f"restored {quarter} %")

        return hear


def described(plan: looks.Plan) -> dict[str, Any]:
    """The plan as data."""
    return {
        "backup": plan.backup.label,
        "backup_bytes": plan.backup.bytes,
        "log_bytes": plan.log,
        "free_bytes": plan.free,
        "oldest": plan.reach.oldest.isoformat(),
        "newest": plan.reach.newest.isoformat(),
        "timeline": plan.timeline,
    }
