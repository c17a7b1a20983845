# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery goes to, from which backup, and whether that can be: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import BaseBackup
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import SEGMENT_BYTES, position

TIME, LSN, XID, NAME, LATEST = "time", "lsn", "xid", "name", "latest"
_OPTIONS = {TIME: "recovery_target_time", LSN: "recovery_target_lsn", XID: "recovery_target_xid", NAME: "recovery_target_name"}
_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")


class TargetError(Exception):
    """The target is none, or cannot be reached; the text says what can."""


@dataclass(frozen=True)
class Target:
    """kind: time, lsn, xid, name or latest; value: as PostgreSQL takes it; moment: of a time."""

    kind: str
    value: str = ""
    moment: datetime | None = None

    def __str__(self) -> str:
        return "the latest moment" if self.kind == LATEST else f"{self.kind} {self.value}"

    def options(self, timeline: str) -> list[str]:
        """pgBackRest's options. The recovery stops at the target and waits there; for the latest moment it goes on as a standby."""
        where = [f"--target-timeline={timeline}"]
        if self.kind == LATEST:
            return ["--type=standby", *where]
        return [f"--type={self.kind}", f"--target={self.value}", "--target-action=pause", *where]


@dataclass(frozen=True)
class RestorePoint:
    """A moment that was named. lsn: "" where the run that made it was cut off, and nobody knows where it is, or whether it is."""

    name: str
    lsn: str
    moment: datetime


@dataclass(frozen=True)
class Reach:
    """What can be reached. newest: the last moment of which there is a log; alive: the server answers."""

    backups: tuple[BaseBackup, ...]
    newest: datetime
    alive: bool

    @property
    def oldest(self) -> datetime:
        """Raises TargetError where no base backup is whole."""
        return datetime.fromtimestamp(whole(self.backups)[0].stop, tz=UTC)

    def __str__(self) -> str:
        return f"{shown(self.oldest)} to {shown(self.newest)}"


@dataclass(frozen=True)
class Lineage:
    """The timeline that a recovery follows. number: 0 where only PostgreSQL will know; left: where the timelines before it were left, as far as is known."""

    number: int = 0
    left: Mapping[int, int] = field(default_factory=dict)

    def of_use(self, backups: Sequence[BaseBackup]) -> tuple[BaseBackup, ...]:
        """The backups from which this timeline can be reached: not those that were taken after it had branched off, or on another branch."""
        return tuple(backup for backup in backups if self._leads_from(backup))

    def newest(self, names: Sequence[str]) -> str:
        """The newest of some segments that is on this timeline, "" for none."""
        own = [name for name in names if self.number in (0, int(name[:8], 16))]
        return max(own, key=lambda name: name[8:], default="")

    def _leads_from(self, backup: BaseBackup) -> bool:
        timeline = int(backup.wal_start[:8], 16)
        if self.number in (0, timeline):
            return True
        if self.left:
            return timeline in self.left and position(backup.lsn_stop) <= self.left[timeline]
        return timeline < self.number


def lineage_of(timeline: str, history: str) -> Lineage:
    """timeline: its number, or a word such as latest; history: the text of its history file, "" where that is not known."""
    if not timeline.isdigit():
        return Lineage()
    rows = [line.split() for line in history.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return Lineage(int(timeline), {int(row[0]): position(row[1]) for row in rows if len(row) > 1})


def shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def target_of(params: Mapping[str, Any]) -> Target:
    """The one target that the options name; none of them is the latest moment. Raises TargetError."""
    timeline = str(params.get("recovery_target_timeline") or "")
    if timeline and not timeline.isdecimal() and timeline not in ("current", "latest"):
        raise TargetError(f"recovery_target_timeline is '{timeline}': it is a number, current or latest")
    given = [(kind, str(params[option]).strip()) for kind, option in _OPTIONS.items() if params.get(option)]
    if len(given) > 1:
        raise TargetError(f"{' and '.join(_OPTIONS[kind] for kind, _value in given)} are two targets: name one")
    if not given:
        return Target(LATEST)
    kind, value = given[0]
    if kind == TIME:
        return _time(value)
    if kind == LSN and not _LSN.fullmatch(value):
        raise TargetError(f"recovery_target_lsn is '{value}': write it as PostgreSQL does, such as 0/4034FD0")
    if kind == XID and not value.isdigit():
        raise TargetError(f"recovery_target_xid is '{value}': it is a number")
    return Target(kind, value.upper() if kind == LSN else value)


def _time(text: str) -> Target:
    """A time says its zone, since two people who read it must mean one moment."""
    try:
        moment = datetime.fromisoformat(text.replace(" UTC", "+00:00").replace("Z", "+00:00"))
    except ValueError as error:
        raise TargetError(f"recovery_target_time is '{text}', which is no time: write it like 2025-05-31 12:34:56+00") from error
    if moment.tzinfo is None:
        raise TargetError(f"recovery_target_time is '{text}', which is another moment in every time zone: add the zone, such as '{text}+00' for UTC")
    return Target(TIME, f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00", moment)


def choose(target: Target, reach: Reach, points: Sequence[RestorePoint], label: str = "") -> BaseBackup:
    """The backup to begin with: the newest that ended before the target. label: the operator's choice. Raises TargetError.

    Of a transaction nobody knows when it was: from the oldest backup on it is found, wherever it is.
    """
    backups = whole(reach.backups)
    if label:
        return _named(label, backups)
    fitting = [backup for backup in backups if _before(backup, target, points)]
    if not fitting:
        raise TargetError(
            f"{target} is before the first base backup ended: from {shown(reach.oldest)} on a recovery is possible; the backup sets reach further"
        )
    return fitting[0] if target.kind == XID else fitting[-1]


def whole(backups: Sequence[BaseBackup]) -> list[BaseBackup]:
    """Those from which a recovery can begin. Raises TargetError for none."""
    found = [backup for backup in backups if not backup.damaged]
    if not found:
        raise TargetError("the archive holds no base backup of this timeline: take one (make db-base-backup), and see the status for why there is none")
    return found


def _named(label: str, backups: Sequence[BaseBackup]) -> BaseBackup:
    found = [backup for backup in backups if backup.label == label]
    if not found:
        raise TargetError(f"there is no base backup {label}; there are {', '.join(backup.label for backup in backups)}")
    return found[0]


def _before(backup: BaseBackup, target: Target, points: Sequence[RestorePoint]) -> bool:
    if target.kind == TIME and target.moment is not None:
        return backup.stop < target.moment.timestamp()
    if target.kind == LSN:
        return position(backup.lsn_stop) < position(target.value)
    if target.kind == NAME:
        found = [point for point in points if point.name == target.value and point.lsn]
        if not found:
            known = ", ".join(point.name for point in points if point.lsn) or "none"
            begin = "needs backup, the label to begin with: -e backup=…, and --check without a target names one"
            raise TargetError(f"no restore point {target.value} is noted (there are: {known}); one that was made by hand, or that only a receiver has, {begin}")
        return position(backup.lsn_stop) <= position(found[-1].lsn)
    return True


def refuse_late(target: Target, reach: Reach) -> None:
    """A time after the end of the log would end the recovery with an error, after all the work."""
    if target.moment is not None and target.moment > reach.newest:
        what = "that is in the future" if reach.alive else "nothing is known of it"
        raise TargetError(f"{shown(target.moment)}: {what}. Possible is {reach}; leave the target out for the latest moment")


def log_bytes(backup: BaseBackup, newest_segment: str) -> int:
    """How much log lies between a backup and the newest segment, at most."""
    if not newest_segment:
        return 0
    first, last = (int(name[8:16], 16) * 256 + int(name[16:24], 16) for name in (backup.wal_start, newest_segment))
    return max(0, last - first + 1) * SEGMENT_BYTES
