# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a stack's backups are, and what to do about what is wrong: from facts to a judgement, without asking anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _drill_status as drill_status
from ansible_collections.nexanest.database.plugins.module_utils import _offsite_drill_status as offsite_drill_status
from ansible_collections.nexanest.database.plugins.module_utils._drill_status import Drills
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import RED, YELLOW, Problem
from ansible_collections.nexanest.database.plugins.module_utils._status_report import duration

SERVICE = "backups"
# A clock that is set right by this much makes no set one from the future.
TOLERANCE = 600
# Of the message of a failed run, as much is shown.
SHOWN = 300


@dataclass(frozen=True)
class Schedule:
    """since: seconds since it was installed, None where none is; failed: when the last run failed, "" where it did not; message: what it said."""

    since: int | None = None
    failed: str = ""
    message: str = ""


@dataclass(frozen=True)
class Offsite:
    """What the last copies noted. where: the bucket; newest: the newest set of the folder that it has, "" for none; behind: seconds to the newest set."""

    where: str
    newest: str = ""
    behind: int = 0


@dataclass(frozen=True)
class Facts:
    """What was found out. sets: that can be read; newest, age, size: of the last one, age in seconds; unreadable: why, by id.

    journal: the restore that has begun and not ended, ""; trouble: why the folder could not be read, ""; offsite: None where there is to be no copy.
    drills: None where nobody asked for them; offsite_drills: of what was fetched out of the bucket, None as well where there is to be no copy.
    """

    sets: int = 0
    newest: str = ""
    age: int | None = None
    size: int | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)
    journal: str = ""
    trouble: str = ""
    offsite: Offsite | None = None
    drills: Drills | None = None
    offsite_drills: Drills | None = None


def problems(facts: Facts, max_age: int, verb: Callable[[str], str]) -> list[Problem]:
    """What is wrong. max_age: seconds that the newest set may be old; verb: the command for one of make's targets."""
    drilled = drill_status.problems(facts.drills, verb) if facts.drills is not None and facts.sets else []
    found = [*_restore(facts), *_runs(facts.schedule, verb), *_sets(facts, max_age, verb), *drilled, *_copies(facts, max_age, verb)]
    return [*found, *offsite_drill_status.problems(facts.offsite_drills, SERVICE, verb), *_unreadable(facts)]


def described(facts: Facts, found: list[Problem]) -> dict[str, Any]:
    """The same as data."""
    return {
        "sets": facts.sets,
        "newest": facts.newest,
        "age": facts.age,
        "size": facts.size,
        "scheduled": facts.schedule.since is not None,
        "copied": None if facts.offsite is None else facts.offsite.newest,
        "drills": None if facts.drills is None else drill_status.described(facts.drills),
        "offsite_drills": None if facts.offsite_drills is None else drill_status.described(facts.offsite_drills),
        "problems": [{"what": problem.what, "remedy": problem.remedy, "level": problem.level} for problem in found],
    }


def _restore(facts: Facts) -> list[Problem]:
    if not facts.journal:
        return []
    what = f"a restore has begun and not ended: {facts.journal}. The servers may be in between"
    return [Problem(SERVICE, what, "if none runs now, run the restore again: it finishes what was begun, or undoes it")]


def _runs(schedule: Schedule, verb: Callable[[str], str]) -> list[Problem]:
    if schedule.since is None or not schedule.failed:
        return []
    said = " ".join(schedule.message.split()) or "it said nothing"
    what = f"the last scheduled backup failed at {schedule.failed}: {said if len(said) <= SHOWN else f'…{said[-SHOWN:]}'}"
    return [Problem(SERVICE, what, f"put right what it says, then {verb('db-backup')}; the next scheduled one that succeeds clears this")]


def _sets(facts: Facts, max_age: int, verb: Callable[[str], str]) -> list[Problem]:
    """Is there a set that is young enough? A schedule is a promise, so that without a set it is broken."""
    since = facts.schedule.since
    if facts.trouble:
        return [Problem(SERVICE, f"the sets could not be looked at ({facts.trouble})", "make the folder readable for the user of this run", YELLOW)]
    if facts.age is None:
        broken = since is not None and since > max_age
        promised = f", although a schedule is installed for {duration(since)}" if broken else ""
        remedy = f"{verb('db-backup')} takes one"
        return [Problem(SERVICE, f"there is no whole set: none was taken, or none can be read{promised}", remedy, RED if broken else YELLOW)]
    if facts.age < -TOLERANCE:
        what = f"the newest set, {facts.newest}, is dated {duration(-facts.age)} in the future, so that nobody sees when it becomes too old"
        return [Problem(SERVICE, what, f"set the clock right, then {verb('db-backup')}", YELLOW)]
    if facts.age > max_age:
        then = "see why the schedule took none" if since is not None else f"{verb('db-schedule')} takes them by the clock"
        remedy = f"{verb('db-backup')} takes one; {then}"
        what = f"the newest set, {facts.newest}, is {duration(facts.age)} old, more than {duration(max_age)}"
        return [Problem(SERVICE, what, remedy, YELLOW if since is None else RED)]
    return []


def _copies(facts: Facts, max_age: int, verb: Callable[[str], str]) -> list[Problem]:
    """A copy that is too far behind does not survive the machine."""
    found = facts.offsite
    if found is None or not facts.sets:
        return []
    if found.newest and found.behind <= max_age:
        return []
    known = f"the newest set that is known to be there, {found.newest}, is {duration(found.behind)} older than {facts.newest}"
    what = f"the off-site copy in {found.where} is behind: {known if found.newest else 'no set of this machine is known to be there'}"
    return [Problem(SERVICE, what, f"{verb('db-offsite')} copies what is missing, or says why it cannot", YELLOW)]


def _unreadable(facts: Facts) -> list[Problem]:
    remedy = "it is never removed by itself: put it right, or remove its folder"
    return [Problem(SERVICE, f"the set {identity} cannot be used: {why}", remedy, YELLOW) for identity, why in sorted(facts.unreadable.items())]
