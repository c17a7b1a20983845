# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery from its beginning to its end: into the side instance, into use, back, and away. Each step may be repeated after a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _recovery_journal as journals
from ansible_collections.nexanest.database.plugins.module_utils import _recovery_look as looks
from ansible_collections.nexanest.database.plugins.module_utils._archive_state import make_folder
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._exchange import exchange
from ansible_collections.nexanest.database.plugins.module_utils._health import health_of
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Repository, RepositoryError, percent
from ansible_collections.nexanest.database.plugins.module_utils._recovery_journal import Entry, Journal
from ansible_collections.nexanest.database.plugins.module_utils._recovery_side import Reached, Side, SideFailed
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import LATEST, Target
from ansible_collections.nexanest.database.plugins.module_utils._stream import replace, synchronise
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import CURRENT, ArchiveError, Cluster, segment_of

HEALTHY_WAIT = 300.0
_SHUT_DOWN = "shut down"
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

    def promote(self, report: Report, *, check: bool) -> None:
        """Put the side instance's data into use."""
        entry = self.journal.read()
        if entry is None or entry.phase not in (journals.READY, journals.PROMOTING, journals.PROMOTED):
            raise ArchiveError("there is no recovered side instance to promote: recover first (state=recovered)")
        report.entry = entry
        if entry.phase == journals.PROMOTED and entry.returned:
            raise ArchiveError(f"there is no recovered side instance to promote: recover first (state=recovered); in use is the recovery to {entry.target}")
        if entry.phase == journals.PROMOTED:
            return
        report.changed = True
        if check:
            return
        if entry.phase == journals.READY:
            entry = self._prove(entry)
        if not self._in_use(entry.inode):
            self._stop_live()
            self._refuse_running()
            self._exchange(entry)
        self._start_live(entry, report)
        report.entry = self.journal.write(dataclasses.replace(entry, phase=journals.PROMOTED))

    def _prove(self, entry: Entry) -> Entry:
        """The side instance becomes a server that writes, is shut down cleanly, and its data folder says so; only then the live one may be touched.

        What fails before that leaves the recovery as it was. One that was cut off between the shutdown and the journal is known by the data folder.
        """
        side = self.side(entry)
        displaced = self._displaced(entry)
        if side.running():
            self.told("ending the recovery: the side instance becomes a server of its own")
            side.promote(self.params["timeout"])
            side.stop()
        text = looks.control(self.cluster, self.beside(entry))
        state = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Database cluster state:")), "unknown")
        if state != _SHUT_DOWN:
            raise ArchiveError(f"the recovered data are not shut down cleanly but '{state}': nothing was replaced; state=cleaned, then recover again")
        side.remove()
        replaced = self.data.stat().st_ino if self.data.is_dir() else 0
        return self.journal.write(dataclasses.replace(entry, phase=journals.PROMOTING, replaced=replaced, displaced=displaced))

    def _displaced(self, entry: Entry) -> str:
        """What the current archive will be called where another one takes its place."""
        if entry.cluster == CURRENT:
            return ""
        name = Repository(self._current()).info().system_id or f"empty-{entry.id}"
        if (self.cluster.folder / name).exists():
            raise ArchiveError(f"{self.cluster.folder / name} is in the way, as the current archive will be called so: move it elsewhere; nothing was replaced")
        return name

    def _exchange(self, entry: Entry) -> None:
        """The recovered data take the live ones' name, at once; what the companion received of the old timeline is kept for later recoveries."""
        self.told("exchanging the data folders")
        try:
            if entry.replaced:
                exchange(self.data, self.beside(entry))
            else:
                self.beside(entry).rename(self.data)
                synchronise(self.data.parent)
        except OSError as error:
            raise ArchiveError(f"the data folders could not be exchanged ({error}): state=promoted tries again, state=undone starts the live server") from error

    def _take_archive(self, taken: str, displaced: str) -> None:
        """The archive `taken` becomes the current one, and the current one is kept as `displaced`; what was done already is left."""
        folder, current = self.cluster.folder, self._current().home
        if taken == CURRENT or not (folder / taken).is_dir():
            return
        if current.is_dir():
            # Where it was renamed already, another run has made empty folders since.
            current.rename(folder / (f"empty-{int(time.time())}" if (folder / displaced).exists() else displaced))
        (folder / taken).rename(current)
        synchronise(folder)

    def _current(self) -> Cluster:
        return dataclasses.replace(self.cluster, which=CURRENT)

    def _rotate_received(self, name: str) -> None:
        received = self._current().received
        kept = received.parent / name
        if received.is_dir() and not kept.exists():
            received.rename(kept)
        make_folder(received, self.cluster)
        synchronise(kept.parent)

    def _take_up_received(self, name: str) -> None:
        """The reverse, where that was done. The empty folder that stands between the two names is made again by a run that finds it gone."""
        received = self._current().received
        old = received.parent / name
        if not old.is_dir():
            return
        self._rotate_received(f"{name}.undone")
        if not any(received.iterdir()):
            received.rmdir()
            old.rename(received)
            synchronise(received.parent)

    def _rotate_note(self, name: str) -> None:
        """The last segment that the old timeline archived: by it the companion would drop what the new one has not archived yet."""
        last = self._current().home / "archived" / "last"
        kept = last.with_name(f"last.{name}")
        if kept.exists() or not last.parent.is_dir():
            return
        if last.exists():
            last.rename(kept)
        else:
            replace(kept, b"")
        synchronise(last.parent)

    def _take_up_note(self, name: str) -> None:
        """The reverse: an archive that goes aside says again how far it came, and not what was archived after the recovery that is taken back."""
        last = self._current().home / "archived" / "last"
        kept = last.with_name(f"last.{name}")
        if not kept.exists():
            return
        if kept.stat().st_size:
            kept.replace(last)
        else:
            last.unlink(missing_ok=True)
            kept.unlink()
        synchronise(last.parent)

    def undo(self, report: Report, *, check: bool) -> None:
        """Put back what a recovery replaced; what it had recovered is kept until it is removed."""
        entry = self.journal.read()
        if entry is None or entry.phase not in (journals.PROMOTED, journals.PROMOTING, journals.UNDOING, journals.UNDONE):
            raise ArchiveError("no recovery was put into use here: there is nothing to take back")
        report.entry = entry
        if entry.phase == journals.UNDONE:
            return
        if self._in_use(entry.inode) and not self._is_kept(entry):
            raise ArchiveError(f"{self.beside(entry)} is not what the recovery replaced (or it replaced nothing): there is nothing to put back")
        if not self._in_use(entry.inode) and (entry.phase == journals.PROMOTED or not self._in_use(entry.replaced)):
            raise ArchiveError(f"{self.data} is neither what was recovered nor what that replaced: other data came there since, and nothing is put back")
        report.changed = True
        if check:
            return
        entry = self.journal.write(dataclasses.replace(entry, phase=journals.UNDOING, returned=False))
        if self._in_use(entry.inode):
            self._stop_live()
            self._refuse_running()
            exchange(self.data, self.beside(entry))
        self._start_live(entry, report, back=True)
        report.steps.append("Take a base backup now (make db-base-backup): those that were taken since the recovery are of its timeline.")
        report.entry = self.journal.write(dataclasses.replace(entry, phase=journals.UNDONE))

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
        if kept and not check and self._live_runs():
            self._refuse_elsewhere()
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
        for note in (self._current().home / "archived").glob("last.*"):
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

    def _in_use(self, inode: int) -> bool:
        return self.data.is_dir() and self.data.stat().st_ino == inode

    def _is_kept(self, entry: Entry) -> bool:
        folder = self.beside(entry)
        return bool(entry.replaced) and folder.is_dir() and folder.stat().st_ino == entry.replaced

    def _refuse_running(self) -> None:
        """Somebody else may have started it meanwhile: a server goes on in the folder that it was started in, whatever that is called."""
        if self._live_runs():
            raise ArchiveError(
                f"{self.cluster.container} was started by somebody else just now: nothing was exchanged; run this again, and nothing else beside it"
            )

    def _live_runs(self) -> bool:
        try:
            found = Docker().inspect("container", [self.cluster.container])
        except DockerError as error:
            raise ArchiveError(str(error)) from error
        return bool(found and found[0]["State"]["Running"])

    def _refuse_elsewhere(self) -> None:
        """The server that runs must run on the folder that has the live name."""
        if not (self.data / "postmaster.pid").is_file():
            raise ArchiveError(f"{self.cluster.container} does not run on {self.data}: make db-restart, and look at its data before anything is cleaned up")

    def _stop_live(self) -> None:
        """The server first: what it writes in the end still reaches its companion and the archive."""
        docker = Docker(timeout=300)
        try:
            for name in (self.cluster.container, self.params["companion"]):
                if name and docker.inspect("container", [name]):
                    self.told(f"stopping {name}")
                    docker.stop(name)
        except DockerError as error:
            raise ArchiveError(str(error)) from error

    def _start_live(self, entry: Entry, report: Report, *, back: bool = False) -> None:
        """Received log of the timeline that goes is put aside, that of the one that comes back is taken up again."""
        self._stop_live()  # one that another run has started since sees the folders by their old names
        if back:
            self._take_up_received(entry.id)
            self._take_up_note(entry.id)
            self._take_archive(entry.displaced or CURRENT, entry.cluster)
        else:
            self._take_archive(entry.cluster, entry.displaced)
            self._rotate_received(entry.id)
            self._rotate_note(entry.id)
        docker = Docker(timeout=300)
        try:
            for name in (self.cluster.container, self.params["companion"]):
                if name and docker.inspect("container", [name]):
                    self.told(f"starting {name}")
                    docker.start(name)
            if docker.inspect("container", [self.cluster.container]):
                self._wait_healthy(docker)
                self._refuse_elsewhere()
            else:
                report.steps.append(f"{self.cluster.container} is not there: site.yml makes it, on the recovered data")
        except DockerError as error:
            raise ArchiveError(str(error)) from error

    def _wait_healthy(self, docker: Docker) -> None:
        deadline = time.monotonic() + HEALTHY_WAIT
        while True:
            health = health_of(docker.inspect("container", [self.cluster.container])[0])
            if health.good:
                return
            if time.monotonic() > deadline or health.status in ("exited", "dead"):
                words = " ".join(docker.logs(self.cluster.container, 5).split())
                raise ArchiveError(f"{self.cluster.container} is {health.word} after the exchange: {words}. state=undone brings the old data back")
            time.sleep(0.5)

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
