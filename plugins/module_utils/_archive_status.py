# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the continuous backup of a server is, and what to do about what is wrong: from facts to a judgement, without asking anybody."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _receivers_status
from ansible_collections.nexanest.database.plugins.module_utils._archive_failure import remedy
from ansible_collections.nexanest.database.plugins.module_utils._archive_receivers import Receiver, waited_for
from ansible_collections.nexanest.database.plugins.module_utils._disks import HOST
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, PASSED, REFUSED, Record
from ansible_collections.nexanest.database.plugins.module_utils._drill_status import Drills
from ansible_collections.nexanest.database.plugins.module_utils._drill_status import described as described_drills
from ansible_collections.nexanest.database.plugins.module_utils._offsite_drill_status import problems as offsite_drill_problems
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import YELLOW, Problem
from ansible_collections.nexanest.database.plugins.module_utils._status_report import duration, size
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import COMPANION, FULL_BYTES

# The slot's log is this full (of what the server keeps for it) when the status warns.
SLOT_WARNING = 0.75
# Seconds since the last copy off-site, where nobody says how often there is to be one.
OFFSITE_AGE = 1800
# Of the message of a failed run, as much is shown.
SHOWN = 300


@dataclass(frozen=True)
class Facts:
    """What was found out; ages in seconds, None where it is not known.

    trouble: why the repository could not be asked; silent: why the server could not; backups: (label, type, end since the epoch), the oldest first;
    segment: what the server writes now; archived_*, failed_*: of the last segment that did or did not arrive in the repository; slot: wal_status of the
    companion's; safe_bytes: how much may still be written before the slot is given up, of keep_bytes; aside: clusters whose archives are kept;
    recovery: phase and target; drills: the oldest first.
    folder: of the archives, disk_*: of its file system; full_stored: bytes that the largest full backup takes there; received: whether the companion's folder
    is there; survives: the loss of what (_disks); failure: pgBackRest's words about the last segment that did not arrive; paused: it was off, and there is no
    base backup since.
    standbys: synchronous_standby_names; receivers: those on other hosts, which keep the log of keep_hours; strangers: slots of such that there shall not be.
    offsite: the bucket that is to have a copy, "" for none; copied_age: since that was last brought up to date; copied_until: since its newest segment came;
    offsite_failure: how the last copy by the clock failed; offsite_drills: of that copy, None where they are nobody's matter.
    """

    name: str
    trouble: str = ""
    silent: str = ""
    now: float = 0
    archiving: bool = False
    backups: tuple[tuple[str, str, int], ...] = ()
    repository_of: str = ""
    system_id: str = ""
    segment: str = ""
    archived_wal: str | None = None
    archived_age: float | None = None
    failed_wal: str | None = None
    failed_age: float | None = None
    streaming: bool = False
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    slot: str | None = None
    safe_bytes: int | None = None
    keep_bytes: int | None = None
    standbys: str = ""
    receivers: tuple[Receiver, ...] = ()
    strangers: tuple[str, ...] = ()
    keep_hours: int = 0
    aside: tuple[str, ...] = ()
    recovery: tuple[str, str] = ("", "")
    drills: tuple[Record, ...] = ()
    container: str = ""
    folder: str = ""
    disk_free: int | None = None
    disk_total: int | None = None
    full_stored: int | None = None
    received: bool = True
    survives: str = ""
    failure: str = ""
    paused: bool = False
    offsite: str = ""
    copied_age: float | None = None
    copied_until: float | None = None
    offsite_failure: str = ""
    offsite_drills: Drills | None = None

    @property
    def last_drill(self) -> Record | None:
        return self.drills[-1] if self.drills else None

    @property
    def proven_age(self) -> int | None:
        """Seconds since a drill passed."""
        passed = [record for record in self.drills if record.result == PASSED]
        return round(passed[-1].age(datetime.fromtimestamp(self.now, tz=UTC)).total_seconds()) if passed else None

    @property
    def newest_age(self) -> float | None:
        """Seconds between now and the newest moment that would survive the loss of the server."""
        lags = [self.lag_seconds or 0.0] if self.streaming else []
        lags += [receiver.lag_seconds or 0.0 for receiver in self.receivers if receiver.streaming]
        return min(lags, default=self.archived_age)

    @property
    def receiving(self) -> int:
        """How many have what is written, the companion among them."""
        return int(self.streaming) + sum(receiver.streaming for receiver in self.receivers)

    @property
    def synchronous(self) -> bool:
        """Whether commits wait for somebody."""
        return bool(self.standbys)

    @property
    def waiting(self) -> bool:
        """Whether commits wait for somebody who does not come."""
        number, names = waited_for(self.standbys)
        here = [*([COMPANION] if self.streaming else []), *(receiver.name for receiver in self.receivers if receiver.streaming)]
        return len(set(here) & set(names)) < number

    @property
    def asked(self) -> tuple[int, set[str]]:
        """How many of whom commits should wait for, where they wait: with receivers of any two."""
        return (2 if self.receivers else 1), {COMPANION, *(receiver.name for receiver in self.receivers)}

    @property
    def covers(self) -> str:
        """The loss that the archive survives: of the host where another one receives the log, and a bucket has what that continues."""
        elsewhere = any(receiver.streaming for receiver in self.receivers) and self.copied_until is not None
        return HOST if elsewhere and not self.gap else self.survives

    @property
    def gap(self) -> bool:
        """Whether what the bucket has ends before what the receivers keep begins."""
        return bool(self.receivers) and self.copied_until is not None and self.copied_until >= self.keep_hours * 3600

    @property
    def failing(self) -> bool:
        """Whether the last segment did not arrive in the repository."""
        return self.failed_age is not None and (self.archived_age is None or self.failed_age < self.archived_age)

    @property
    def last_full(self) -> int | None:
        """When the last full backup ended."""
        return max((stop for _label, kind, stop in self.backups if kind == "full"), default=None)


def problems(facts: Facts, max_age: int, verb: Callable[[str], str], overdue: int | None = None, offsite_max_age: int = OFFSITE_AGE) -> list[Problem]:
    """What is wrong. max_age: seconds that the newest base backup may be old; verb: the command for one of make's targets.

    overdue: seconds that the last drill that passed may be old; None where drills are nobody's matter. offsite_max_age: seconds since the last copy off-site.
    """
    found = [*_recovery(facts, verb), *_disk(facts), *_repository(facts, max_age, verb), *_received(facts, verb), *_drills(facts, overdue, verb)]
    found += [*_offsite(facts, offsite_max_age, verb), *offsite_drill_problems(facts.offsite_drills, _service(facts), verb)]
    if facts.silent:
        return found
    found += [*_archiver(facts), *_companion(facts, verb), *_slot(facts, verb)]
    return found + _receivers_status.problems(_service(facts), facts, verb)


def described(facts: Facts, found: list[Problem]) -> dict[str, Any]:
    """The same as data."""
    return {
        "name": facts.name,
        "backups": len(facts.backups),
        "last_backup": facts.backups[-1][0] if facts.backups else "",
        "last_backup_age": round(facts.now - facts.backups[-1][2]) if facts.backups else None,
        "last_full_age": round(facts.now - facts.last_full) if facts.last_full else None,
        "oldest_age": round(facts.now - facts.backups[0][2]) if facts.backups else None,
        "newest_age": facts.newest_age,
        "archived_wal": facts.archived_wal or "",
        "archived_age": facts.archived_age,
        "streaming": facts.streaming,
        "lag_bytes": facts.lag_bytes,
        "lag_seconds": facts.lag_seconds,
        "synchronous": facts.synchronous,
        "receivers": [dataclasses.asdict(receiver) for receiver in facts.receivers],
        "survives": facts.covers,
        "aside": list(facts.aside),
        "disk_free": facts.disk_free,
        "disk_total": facts.disk_total,
        "drill": None if facts.last_drill is None else _drilled(facts, facts.last_drill),
        "offsite": None if not facts.offsite else {"where": facts.offsite, "age": facts.copied_age, "until_age": facts.copied_until},
        "offsite_drills": None if facts.offsite_drills is None else described_drills(facts.offsite_drills),
        "recovery": {"phase": facts.recovery[0], "target": facts.recovery[1]},
        "problems": [{"what": problem.what, "remedy": problem.remedy, "level": problem.level} for problem in found],
    }


def _drilled(facts: Facts, last: Record) -> dict[str, Any]:
    return {"result": last.result, "rto": last.rto, "rpo": last.rpo, "passed_age": facts.proven_age}


def _service(facts: Facts) -> str:
    return f"archive of {facts.name}"


def _recovery(facts: Facts, verb: Callable[[str], str]) -> list[Problem]:
    phase, target = facts.recovery
    if phase == "unreadable":
        return [Problem(_service(facts), "nobody knows how far a recovery is, as its journal is damaged", target)]
    if phase in ("promoting", "undoing"):
        remedy = f"{verb('db-pitr')} STATE={'undone' if phase == 'undoing' else 'promoted'} finishes what was begun"
        return [Problem(_service(facts), f"a recovery to {target} was cut off while {phase}", remedy)]
    if phase == "cut off":
        what = f"a recovery to {target} was cut off, and its half copy takes disk beside the live data"
        return [Problem(_service(facts), what, f"{verb('db-pitr')} again, or STATE=cleaned removes it", YELLOW)]
    if phase == "ready":
        remedy = f"look at it, then {verb('db-pitr')} STATE=promoted or STATE=cleaned"
        return [Problem(_service(facts), f"a side instance stands at {target} and takes memory and disk", remedy, YELLOW)]
    return []


def _repository(facts: Facts, max_age: int, verb: Callable[[str], str]) -> list[Problem]:
    service = _service(facts)
    if facts.trouble:
        return [Problem(service, f"the repository could not be asked: {facts.trouble}", f"put right what it says; {verb('db-start')} makes what is missing")]
    if facts.repository_of and facts.system_id and facts.repository_of != facts.system_id:
        what = f"the repository is the one of another cluster ({facts.repository_of}), so nothing that is written now is archived"
        return [Problem(service, what, f"{verb('db-start')} keeps it aside and begins a new one")]
    if facts.paused:
        what = "it was switched off meanwhile, and there is no base backup since: nothing that was written after that can be recovered"
        return [Problem(service, what, f"{verb('db-start')} takes one")]
    if not facts.backups:
        return [Problem(service, "there is no base backup, without which the archived log is worth nothing", f"{verb('db-base-backup')} takes one")]
    age = round(facts.now - facts.backups[-1][2])
    if age > max_age:
        what = f"the newest base backup is {duration(age)} old, more than {duration(max_age)}: a recovery would have all the log since then to go through"
        return [Problem(service, what, f"{verb('db-base-backup')} takes one; {verb('db-schedule')} takes them by the clock", YELLOW)]
    return []


def _disk(facts: Facts) -> list[Problem]:
    if facts.disk_free is None or facts.disk_total is None:
        return []
    room = f"{size(facts.disk_free)} of {size(facts.disk_total)} are free at {facts.folder}"
    if facts.disk_free < FULL_BYTES:
        what = f"the disk of the archive is full: {room}, and the server keeps all its log until there is room"
        return [Problem(_service(facts), what, "make room there or enlarge it: all goes on by itself then; remove nothing from repository/ by hand")]
    if facts.full_stored and facts.disk_free < facts.full_stored + FULL_BYTES:
        what = f"the disk of the archive has no room for the next full base backup: {room}, and the last one took {size(facts.full_stored)}"
        return [Problem(_service(facts), what, "make room there or enlarge it; older base backups go only when the new one is there", YELLOW)]
    return []


def _received(facts: Facts, verb: Callable[[str], str]) -> list[Problem]:
    if facts.received or facts.trouble:
        return []
    what = "the folder of what the companion received is gone: what is in no archived segment yet would be lost with the server"
    return [Problem(_service(facts), what, f"{verb('db-start')} makes it; then {verb('db-base-backup')}")]


def _drills(facts: Facts, overdue: int | None, verb: Callable[[str], str]) -> list[Problem]:
    """A base backup was taken; was a recovery seen to work, and lately?"""
    if overdue is None or not facts.backups:
        return []
    last = facts.last_drill
    if last is not None and last.result == FAILED:
        why = "; ".join(last.problems)[:300] or "it does not say why"
        remedy = f"do not rely on it: put right what it says, {verb('db-base-backup')} TYPE=full, then {verb('db-verify')}"
        return [Problem(_service(facts), f"the last restore drill failed: {why}", remedy)]
    if last is not None and last.result == REFUSED:
        what = f"the last restore drill was refused: {'; '.join(last.problems)[:300]}"
        return [Problem(_service(facts), what, f"put right what it says, then {verb('db-verify')}", YELLOW)]
    if facts.proven_age is None:
        return [
            Problem(
                _service(facts),
                "no restore drill has ever passed: nobody has seen a recovery work",
                f"{verb('db-verify')} runs one, beside that of the newest set",
                YELLOW,
            )
        ]
    if facts.proven_age > overdue:
        what = f"the last restore drill that passed is {duration(facts.proven_age)} old, more than {duration(overdue)}"
        return [Problem(_service(facts), what, f"{verb('db-verify')} runs one; {verb('db-schedule')} lets them run by the clock", YELLOW)]
    return []


def _offsite(facts: Facts, max_age: int, verb: Callable[[str], str]) -> list[Problem]:
    """What is on this host alone is lost with it."""
    if not facts.offsite or not facts.backups:
        return []
    if facts.copied_age is not None and facts.copied_age <= max_age:
        return []
    old = f"what {facts.offsite} is known to have of it is {duration(round(facts.copied_age or 0))} old, more than {duration(max_age)}"
    what = old if facts.copied_age is not None else f"{facts.offsite} is not known to have anything of it: it would be lost with this host"
    said = " ".join(facts.offsite_failure.split())
    why = f"; the last copy by the clock failed: {said if len(said) <= SHOWN else f'…{said[-SHOWN:]}'}" if said else ""
    remedy = f"{verb('db-offsite')} copies it, or says why it cannot; {verb('db-schedule')} lets that be done by the clock"
    return [Problem(_service(facts), f"{what}{why}", remedy, YELLOW)]


def _archiver(facts: Facts) -> list[Problem]:
    if not facts.archiving:
        return [Problem(_service(facts), "the server does not archive (archive_mode is off)", "run site.yml: its configuration says otherwise")]
    if not facts.failing:
        return []
    since, why = duration(round(facts.failed_age or 0)), f" ({facts.failure})" if facts.failure else ""
    what = f"segments do not arrive in the repository: {facts.failed_wal} failed {since} ago{why}; the server keeps its log until they do"
    if facts.failure:
        return [Problem(_service(facts), what, remedy(facts.failure, container=facts.container, stanza=facts.name, folder=facts.folder))]
    return [Problem(_service(facts), what, "see the server's log for pgBackRest's reason: a full disk, a missing folder, another cluster's repository")]


def _companion(facts: Facts, verb: Callable[[str], str]) -> list[Problem]:
    if facts.streaming:
        return []
    if facts.waiting:
        what = "the companion does not receive, and commits wait for it"
        remedy = f"{verb('db-start')} starts it; to go on without it, ARGS='-e wal_archive_synchronous=false' as well"
        return [Problem(_service(facts), what, remedy)]
    where = "is on another host alone" if facts.receiving else "would be lost with the server"
    what = f"the companion does not receive: what is not in an archived segment yet {where}"
    return [Problem(_service(facts), what, f"{verb('db-start')} starts it, or says why it cannot", YELLOW)]


def _slot(facts: Facts, verb: Callable[[str], str]) -> list[Problem]:
    if facts.slot == "lost":
        what = "the server gave the companion's slot up, because too much log had gathered for it; the companion has a gap, which the archive fills"
        return [Problem(_service(facts), what, f"{verb('db-start')} starts the companion, which begins a new one")]
    if facts.safe_bytes is None or not facts.keep_bytes or facts.keep_bytes < 0:
        return []
    used = 1 - facts.safe_bytes / facts.keep_bytes
    if facts.slot == "reserved" and used < SLOT_WARNING:
        return []
    what = f"the server keeps much log for the companion, {max(0, facts.safe_bytes) >> 20} MB more and it is given up"
    return [Problem(_service(facts), what, f"{verb('db-start')} starts the companion", YELLOW)]
