# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A moment of the continuous backup, recovered into a throw-away server without a network, checked, measured, and forgotten."""

from __future__ import annotations

import dataclasses
import math
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _recovery_look as looks
from ansible_collections.nexanest.database.plugins.module_utils._archive_copy import Refused
from ansible_collections.nexanest.database.plugins.module_utils._archive_look import newest_age
from ansible_collections.nexanest.database.plugins.module_utils._archive_marker import MarkerError
from ansible_collections.nexanest.database.plugins.module_utils._archive_state import make_folder
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, OF_ARCHIVES, PASSED, REFUSED, History, Record
from ansible_collections.nexanest.database.plugins.module_utils._drill_party import Needs
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import BucketError
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Repository, RepositoryError
from ansible_collections.nexanest.database.plugins.module_utils._recovery_look import SPARE_BYTES, Plan
from ansible_collections.nexanest.database.plugins.module_utils._recovery_side import Reached, Side, SideFailed
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import LATEST, TIME, Target, TargetError, shown, target_of
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError, Cluster, segment_of

# How many relations pg_amcheck looks at, of one database.
_RELATIONS = "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam WHERE a.amname IN ('heap', 'btree')"
_DATABASES = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1"
# What is told of these is told in the report. Refused: it could not be done, however far it came; damage: it was done, and there is no use in it.
_REFUSALS, _DAMAGE = (Refused,), (Damaged, MarkerError)
EXPECTED = (*_REFUSALS, *_DAMAGE, TargetError, ArchiveError, RepositoryError, SideFailed, BucketError)


@dataclass
class Report:
    """What came of it. target, backup: of the recovery; reached: its last transaction; databases: that were checked.

    rpo: seconds between the newest moment that would have survived the loss of the server and the beginning; None where nobody knows.
    offsite: the bucket that the archive is fetched out of, "" for the one of this machine; fetch: its bytes.
    """

    target: str = ""
    backup: str = ""
    reached: str = ""
    rpo: int | None = None
    databases: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    record: Record | None = None
    needs: Needs = field(default_factory=lambda: Needs(0, 0))
    offsite: str = ""
    fetch: int = 0


@dataclass(frozen=True)
class Prepared:
    """What is recovered. bring: makes that all of it is on this machine; what it raises is damage, or else no word on what is drilled."""

    target: Target
    plan: Plan
    bring: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class ArchiveDrill:
    """Drills one cluster. The caller holds the archive's lock. told: hears what is going on."""

    cluster: Cluster
    params: Mapping[str, Any]
    told: Callable[[str], None]

    @property
    def where(self) -> str:
        """The bucket; "" for this machine."""
        return ""

    @property
    def data(self) -> Path:
        """Beside the live data, where a recovery would put it as well."""
        return self.cluster.data.with_name(f"{self.cluster.data.name}.drill")

    @property
    def side(self) -> Side:
        return Side(self.cluster, self.data, admin=self.params["login_user"], label=self.params["label"], suffix="drill")

    def prepare(self, report: Report, *, touch: bool) -> Prepared:
        """What is known before anything is begun. touch: the live server may be asked to write down where it is."""
        age = newest_age(self.params)
        report.rpo = None if age is None else math.ceil(max(0.0, age))
        target = self.moment(touch=touch)
        report.target = str(target)
        return Prepared(target, self.planned(target, report))

    def planned(self, target: Target, report: Report) -> Plan:
        plan = looks.plan(self.cluster, target, self.params, touch=False)
        report.backup, report.needs = plan.backup.label, Needs(plan.backup.bytes + SPARE_BYTES, self.cluster.memory_mb // 2)
        return plan

    def moment(self, *, touch: bool) -> Target:
        """The one that is asked for, or any that can be reached.

        touch: the server writes down the present one, since a recovery stops before a later commit alone.
        """
        reach = looks.reach(self.cluster, Repository(self.cluster).info(), self.params, touch=touch)
        reach = dataclasses.replace(reach, backups=looks.unbroken(self.cluster, reach.backups))
        if not reach.alive:
            raise ArchiveError("the server does not answer: a drill is for quiet days, docs/continuous_backup.md says how to recover")
        if not reach.backups:
            raise TargetError("the archive holds no base backup yet: take one (make db-base-backup)")
        if self.params["recovery_target_time"]:
            return target_of(self.params)
        span = (reach.newest - reach.oldest).total_seconds()
        if span < 2:
            raise TargetError(f"nothing but the base backup of {shown(reach.oldest)} can be reached yet: wait a moment")
        found = reach.oldest + timedelta(seconds=1 + random.random() * (span - 1.5))  # noqa: S311  no secret
        return Target(TIME, f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00", found)

    def foresee(self, report: Report) -> None:
        """What would be drilled, or why it cannot be."""
        try:
            self.prepare(report, touch=False)
        except EXPECTED as error:
            report.problems.append(_said(error))

    def run(self, report: Report) -> None:
        """All of it; what it finds is in the history when this returns or raises."""
        began, at = time.monotonic(), datetime.now(tz=UTC)
        self.sweep()
        result, seconds, checks = REFUSED, None, 0
        try:
            prepared = self.prepare(report, touch=True)
            prepared.bring()
            result = FAILED  # until here nothing was tried of what is drilled
            checks = self._carry_out(prepared, report)
            result = FAILED if report.problems else PASSED
            seconds = round(time.monotonic() - began, 1)
        except EXPECTED as error:
            report.problems.append(_said(error))
            result = REFUSED if isinstance(error, _REFUSALS) else FAILED if isinstance(error, _DAMAGE) else result
        except BaseException as error:  # what ends this run is no success
            report.problems.append("it was ended before it had proven anything" if isinstance(error, SystemExit) else _said(error))
            self._end(at, report, FAILED)
            raise
        self._end(at, report, result, seconds, checks)

    def _end(self, at: datetime, report: Report, result: str, seconds: float | None = None, checks: int = 0) -> None:
        """Where the note cannot be written, nothing is left all the same."""
        try:
            self._note(at, report, result, seconds, checks)
        finally:
            self.sweep()

    def _carry_out(self, prepared: Prepared, report: Report) -> int:
        """How many relations were checked."""
        target, plan = prepared.target, prepared.plan
        make_folder(self.data, self.cluster)
        self.told(f"drill: restoring the base backup {plan.backup.label}, {plan.backup.bytes >> 20} MB")
        Repository(self.cluster).restore(self.data, plan.options(self.cluster.name))
        self.told(f"drill: recovering to {target}, up to {plan.log >> 20} MB of log")
        side = self.side
        side.start()
        reached = side.wait(target, self.params["timeout"], self.told)
        report.reached = reached.moment
        _refuse_gap(prepared, reached)
        side.promote(self.params["timeout"])
        report.databases = side.sql([_DATABASES]).splitlines()
        self.told(f"drill: checking every table and index of {', '.join(report.databases)}")
        checks = sum(int(side.sql([_RELATIONS], database=name).strip() or 0) for name in report.databases)
        report.problems += [f"damaged after the recovery: {words}" for words in side.amcheck(self.params["timeout"])]
        return checks

    def sweep(self) -> None:
        """What this drill or one that was killed has made."""
        try:
            self.side.remove()
        finally:
            if self.data.is_dir():
                shutil.rmtree(self.data)

    def _note(self, at: datetime, report: Report, result: str, seconds: float | None, checks: int) -> None:
        report.record = Record(
            at=at.isoformat(timespec="seconds"),
            stack=self.params["stack"],
            result=result,
            source=f"{OF_ARCHIVES} {self.cluster.name}",
            set=report.backup,
            content=True,
            rto=seconds if result == PASSED else None,
            rpo=report.rpo,
            checks=checks,
            problems=report.problems,
            offsite=self.where,
        )
        History(Path(self.params["history_dir"])).add(report.record)


def _refuse_gap(prepared: Prepared, reached: Reached) -> None:
    """A segment that is missing looks like the end of the log: there must be none behind it."""
    last, newest = segment_of(reached.timeline, reached.lsn), prepared.plan.newest_segment
    if prepared.target.kind == LATEST and newest and last[8:] < newest[8:]:
        raise SideFailed(f"the log has a gap: the recovery ended at {reached.lsn} in {last}, but there is a segment {newest}")


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())
