# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One drill: look whether it is due and possible, restore everything elsewhere, check it, and write down what came of it. Nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import DRILL, DRILL_LOCK, Entry, Store, StoreError, now
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError, remove_left
from ansible_collections.nexanest.database.plugins.module_utils._drill_bucket import BucketOrigin
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, OF_SETS, PASSED, REFUSED, History, Record, proven
from ansible_collections.nexanest.database.plugins.module_utils._drill_origin import Folder, NoSet, Origin, fitting
from ansible_collections.nexanest.database.plugins.module_utils._drill_party import Findings, Needs, Place, lacking
from ansible_collections.nexanest.database.plugins.module_utils._drill_set import SetSource, source
from ansible_collections.nexanest.database.plugins.module_utils._memory import available_mb
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import BucketError, Gone
from ansible_collections.nexanest.database.plugins.module_utils._offsite_fetch import free_bytes
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._stream import synchronise

LABEL = "nexanest.database.drill"
_ENDED = "it was ended by a signal before it had proven anything"
# In a drill's folder: the bucket that it fetches out of, for whoever finds the folder.
_OFFSITE = "offsite"
_CUT = "it was cut off (killed, or the machine went down) before it had proven anything"


def _by_signal(error: BaseException | None) -> bool:
    """Whether a signal ended it, also where that came in the middle of something else, which then failed in its own words."""
    return error is not None and (isinstance(error, SystemExit | KeyboardInterrupt) or _by_signal(error.__context__))


@dataclass
class Report:
    """What was found out. record: None where nothing was drilled; last: the drill that makes this one needless, or the one before it.

    offsite: the bucket that the set is fetched out of, "" for one of this machine; fetch: its bytes.
    """

    set: str = ""
    stack: str = ""
    offsite: str = ""
    fetch: int = 0
    content: bool = False
    due: bool = True
    needs: Needs = field(default_factory=lambda: Needs(0, 0))
    units: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    record: Record | None = None
    last: Record | None = None
    seconds: float = 0.0


class Drill:
    """One run of the module. The caller holds the lock of drills, unless it only looks."""

    def __init__(self, params: Mapping[str, Any], limit: timedelta | None) -> None:
        self.params, self.limit = params, limit
        self.store = Store(Path(params["backup_dir"]))
        self.origin: Origin = BucketOrigin(params) if params["bucket"] else Folder(self.store)
        self.history = History(self.store.folder)
        self.progress = Progress(params["progress_file"])
        self.started = now()
        self._clock = time.monotonic()

    @property
    def mark(self) -> str:
        """Of the containers of drills in this folder."""
        return f"{self.store.folder} drill"

    def look(self) -> tuple[Report, SetSource | None]:
        """What would be drilled, and why it cannot be. Touches nothing."""
        report = Report(stack=self.params["stack"], offsite=self.origin.where)
        try:
            found = self._source()
        except (NoSet, BucketError) as error:
            report.refusals.append(str(error))
            return report, None
        except Damaged as error:
            report.findings.problems.append(str(error))
            return report, None
        report.set, report.stack, report.content, report.fetch = found.manifest.id, found.manifest.stack, found.content, found.fetch
        report.units = [unit for party in found.parties for unit in party.units()] if found.content else []
        report.needs = found.needs
        records = self.history.of(report.stack, OF_SETS, report.offsite)
        report.last = records[-1] if records else None
        if self.limit is not None:
            last = proven(records, found.manifest.serial, content=found.content, limit=self.limit, now=self.started, name=found.manifest.id)
            if last is not None:
                report.due, report.last = False, last
                return report, found
        report.refusals += found.refusals()
        if found.content or found.fetch:
            report.refusals += lacking(found.needs, free_bytes(self.store.folder), available_mb())
        return report, found

    def _source(self) -> SetSource:
        chosen = self.origin.choose(self.params["id"], self.params["stack"])
        return source(chosen, self.params, fitting(self.origin, chosen, self.params["identities"] or ()), self.origin.size(chosen))

    def run(self) -> Report:
        """All of it. What it finds wrong is in the record, which is in the history when this returns."""
        self._sweep()
        report, found = self.look()
        if not report.due:
            return report
        if found is None or report.refusals:
            self._write(report, found, REFUSED if report.refusals else FAILED, report.refusals or report.findings.problems)
            return report
        try:
            report.findings = self._carry_out(found)
        except (NoSet, BucketError) as error:  # it went before it was here, or the service does not answer
            report.refusals.append(str(error))
            self._write(report, found, REFUSED, report.refusals)
            return report
        except BaseException as error:  # what ends this run is no success
            said = _ENDED if _by_signal(error) else " ".join(str(error).split()) or type(error).__name__
            self._write(report, found, FAILED, [said])
            raise
        report.seconds = round(time.monotonic() - self._clock, 1)
        self._write(report, found, FAILED if report.findings.problems else PASSED, report.findings.problems)
        return report

    def _carry_out(self, found: SetSource) -> Findings:
        with self._place() as place:
            try:
                entry = self.origin.bring(found.chosen, place.folder, self.progress)
            except (Damaged, Gone) as error:
                return Findings([str(error)])
            return self._restored(found, entry, place) if found.content else self._compared(found, entry)

    def _compared(self, found: SetSource, entry: Entry) -> Findings:
        self.progress.begin(found.manifest.id, "comparing its checksums")
        problems = found.checksums(entry)
        self.progress.end(found.manifest.id, f"{len(problems)} problems" if problems else "every byte is what was written")
        return Findings(problems, checks=len(found.manifest.files))

    def _restored(self, found: SetSource, entry: Entry, place: Place) -> Findings:
        problems = found.open(entry, place.plain, self.progress)
        findings = Findings(problems, checks=len(found.manifest.files))
        for party in found.parties if not problems else ():
            findings.add(party.drill(place))
        return findings

    @contextlib.contextmanager
    def _place(self) -> Iterator[Place]:
        """A private folder beside the sets; gone at the end, and swept by the next drill where the end was sudden."""
        folder = self.store.folder / f"{DRILL}{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        try:
            (folder / _OFFSITE).write_text(self.origin.where, encoding="utf-8")
            (folder / "plain").mkdir(mode=0o700)
            yield Place(folder, folder / "plain", self.mark, f"{LABEL}={self.params['stack']}", self.params["jobs"], self.progress)
        finally:
            with contextlib.suppress(BulkError):  # the next drill tries again
                remove_left(self.mark)
            shutil.rmtree(folder)
            synchronise(self.store.folder)

    def _sweep(self) -> None:
        """What a drill that was killed has left: its servers, and its folder, which says that there was one."""
        left = sorted(path for path in self.store.folder.iterdir() if path.name.startswith(DRILL) and path.is_dir() and not path.is_symlink())
        if left:  # made before its servers, and removed after them
            remove_left(self.mark)
        for path in left:
            at = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC).isoformat(timespec="seconds")
            note = path / _OFFSITE
            offsite = note.read_text(encoding="utf-8") if note.is_file() else ""
            self.history.add(Record(at, self.params["stack"], FAILED, problems=[_CUT], offsite=offsite))
            shutil.rmtree(path)

    def _write(self, report: Report, found: SetSource | None, result: str, problems: Sequence[str]) -> None:
        findings = report.findings
        report.record = Record(
            at=self.started.isoformat(timespec="seconds"),
            stack=report.stack,
            result=result,
            set=report.set,
            serial=found.manifest.serial if found else 0,
            content=report.content,
            rto=report.seconds if result == PASSED and report.content else None,
            rpo=found.rpo(self.started) if found else None,
            rows=findings.total("rows") if result == PASSED else 0,
            keys=findings.total("keys") if result == PASSED else 0,
            checks=findings.checks,
            problems=list(problems),
            offsite=report.offsite,
        )
        self.history.add(report.record)


@contextlib.contextmanager
def opened(params: Mapping[str, Any], limit: timedelta | None) -> Iterator[Drill]:
    """A run that is the only drill in the folder. Backups go on meanwhile: none of them removes the newest set."""
    store = Store(Path(params["backup_dir"]))
    if not store.folder.is_dir():
        raise StoreError(f"there is no folder {store.folder}: take a backup first (make db-backup)")
    if store.folder.stat().st_uid != os.geteuid() and os.geteuid() != 0:
        raise StoreError(f"the folder of the backups {store.folder} is another user's: run this as that user, or with become")
    with store.locked("restore drill", wait=params["lock_wait"], lock=DRILL_LOCK):
        yield Drill(params, limit)  # whose time begins now
