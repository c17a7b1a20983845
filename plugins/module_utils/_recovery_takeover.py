# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recovered data take the place of the live ones, with their archive, and give it back. Each step may be repeated after a crash."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils import _recovery_journal as journals
from ansible_collections.nexanest.database.plugins.module_utils import _recovery_look as looks
from ansible_collections.nexanest.database.plugins.module_utils._archive_state import make_folder
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._exchange import exchange
from ansible_collections.nexanest.database.plugins.module_utils._health import health_of
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Repository
from ansible_collections.nexanest.database.plugins.module_utils._recovery_journal import Entry, Journal
from ansible_collections.nexanest.database.plugins.module_utils._recovery_run import Recovery, Report
from ansible_collections.nexanest.database.plugins.module_utils._stream import replace, synchronise
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import CURRENT, ArchiveError, Cluster

HEALTHY_WAIT = 300.0
_SHUT_DOWN = "shut down"


@dataclass(frozen=True)
class Takeover:
    """Puts the data of a recovery into use, and those that they replaced again."""

    recovery: Recovery

    @property
    def cluster(self) -> Cluster:
        return self.recovery.cluster

    @property
    def journal(self) -> Journal:
        return self.recovery.journal

    @property
    def data(self) -> Path:
        return self.recovery.data

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
        side = self.recovery.side(entry)
        displaced = self._displaced(entry)
        if side.running():
            self.recovery.told("ending the recovery: the side instance becomes a server of its own")
            side.promote(self.recovery.params["timeout"])
            side.stop()
        text = looks.control(self.cluster, self.recovery.beside(entry))
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
        name = Repository(self.recovery.current).info().system_id or f"empty-{entry.id}"
        if (self.cluster.folder / name).exists():
            raise ArchiveError(f"{self.cluster.folder / name} is in the way, as the current archive will be called so: move it elsewhere; nothing was replaced")
        return name

    def _exchange(self, entry: Entry) -> None:
        """The recovered data take the live ones' name, at once; what the companion received of the old timeline is kept for later recoveries."""
        self.recovery.told("exchanging the data folders")
        try:
            if entry.replaced:
                exchange(self.data, self.recovery.beside(entry))
            else:
                self.recovery.beside(entry).rename(self.data)
                synchronise(self.data.parent)
        except OSError as error:
            raise ArchiveError(f"the data folders could not be exchanged ({error}): state=promoted tries again, state=undone starts the live server") from error

    def undo(self, report: Report, *, check: bool) -> None:
        """Put back what a recovery replaced; what it had recovered is kept until it is removed."""
        entry = self.journal.read()
        if entry is None or entry.phase not in (journals.PROMOTED, journals.PROMOTING, journals.UNDOING, journals.UNDONE):
            raise ArchiveError("no recovery was put into use here: there is nothing to take back")
        report.entry = entry
        if entry.phase == journals.UNDONE:
            return
        if self._in_use(entry.inode) and not self._is_kept(entry):
            raise ArchiveError(f"{self.recovery.beside(entry)} is not what the recovery replaced (or it replaced nothing): there is nothing to put back")
        if not self._in_use(entry.inode) and (entry.phase == journals.PROMOTED or not self._in_use(entry.replaced)):
            raise ArchiveError(f"{self.data} is neither what was recovered nor what that replaced: other data came there since, and nothing is put back")
        report.changed = True
        if check:
            return
        entry = self.journal.write(dataclasses.replace(entry, phase=journals.UNDOING, returned=False))
        if self._in_use(entry.inode):
            self._stop_live()
            self._refuse_running()
            exchange(self.data, self.recovery.beside(entry))
        self._start_live(entry, report, back=True)
        report.steps.append("Take a base backup now (make db-base-backup): those that were taken since the recovery are of its timeline.")
        report.entry = self.journal.write(dataclasses.replace(entry, phase=journals.UNDONE))

    def _in_use(self, inode: int) -> bool:
        return self.data.is_dir() and self.data.stat().st_ino == inode

    def _is_kept(self, entry: Entry) -> bool:
        folder = self.recovery.beside(entry)
        return bool(entry.replaced) and folder.is_dir() and folder.stat().st_ino == entry.replaced

    def _refuse_running(self) -> None:
        """Somebody else may have started it meanwhile: a server goes on in the folder that it was started in, whatever that is called."""
        if self.recovery.live_runs():
            raise ArchiveError(
                f"{self.cluster.container} was started by somebody else just now: nothing was exchanged; run this again, and nothing else beside it"
            )

    def _stop_live(self) -> None:
        """The server first: what it writes in the end still reaches its companion and the archive."""
        docker = Docker(timeout=300)
        try:
            for name in (self.cluster.container, self.recovery.params["companion"]):
                if name and docker.inspect("container", [name]):
                    self.recovery.told(f"stopping {name}")
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
            for name in (self.cluster.container, self.recovery.params["companion"]):
                if name and docker.inspect("container", [name]):
                    self.recovery.told(f"starting {name}")
                    docker.start(name)
            if docker.inspect("container", [self.cluster.container]):
                self._wait_healthy(docker)
                self.recovery.refuse_elsewhere()
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

    def _take_archive(self, taken: str, displaced: str) -> None:
        """The archive `taken` becomes the current one, and the current one is kept as `displaced`; what was done already is left."""
        folder, current = self.cluster.folder, self.recovery.current.home
        if taken == CURRENT or not (folder / taken).is_dir():
            return
        if current.is_dir():
            # Where it was renamed already, another run has made empty folders since.
            current.rename(folder / (f"empty-{int(time.time())}" if (folder / displaced).exists() else displaced))
        (folder / taken).rename(current)
        synchronise(folder)

    def _rotate_received(self, name: str) -> None:
        received = self.recovery.current.received
        kept = received.parent / name
        if received.is_dir() and not kept.exists():
            received.rename(kept)
        make_folder(received, self.cluster)
        synchronise(kept.parent)

    def _take_up_received(self, name: str) -> None:
        """The reverse, where that was done. The empty folder that stands between the two names is made again by a run that finds it gone."""
        received = self.recovery.current.received
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
        last = self.recovery.current.home / "archived" / "last"
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
        last = self.recovery.current.home / "archived" / "last"
        kept = last.with_name(f"last.{name}")
        if not kept.exists():
            return
        if kept.stat().st_size:
            kept.replace(last)
        else:
            last.unlink(missing_ok=True)
            kept.unlink()
        synchronise(last.parent)
