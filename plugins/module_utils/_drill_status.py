# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Was a restore of the backups seen to work, and lately? From facts to a judgement, without asking anybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, PASSED, REFUSED, Record
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import RED, YELLOW, Problem
from ansible_collections.nexanest.database.plugins.module_utils._status_report import duration

SERVICE = "backups"
SHOWN = 300


@dataclass(frozen=True)
class Drills:
    """overdue: seconds that the last one that passed may be old; since: seconds since drills are scheduled, None where they are not.

    age, passed: seconds since the last one, and since the last one that passed; failed, message: of the last scheduled run, as of a backup's.
    """

    overdue: int
    last: Record | None = None
    age: int | None = None
    passed: int | None = None
    since: int | None = None
    failed: str = ""
    message: str = ""
    trouble: str = ""


def facts(records: Sequence[Record], overdue: int, now: datetime) -> Drills:
    """Of a stack's history, the oldest first."""
    last = records[-1] if records else None
    passed = next((record for record in reversed(records) if record.result == PASSED), None)
    age, since = (None if record is None else int(record.age(now).total_seconds()) for record in (last, passed))
    return Drills(overdue, last, age, since)


def problems(drills: Drills, verb: Callable[[str], str]) -> list[Problem]:
    """What is wrong, of a stack that has a set."""
    if drills.trouble:
        return [Problem(SERVICE, f"the history of restore drills cannot be read ({drills.trouble})", "make it readable for the user of this run", YELLOW)]
    return [*_last(drills, verb), *_overdue(drills, verb), *_content(drills)]


def described(drills: Drills) -> dict[str, Any]:
    """The same as data; null where no drill ever ran."""
    last = drills.last
    return {
        "scheduled": drills.since is not None,
        "last": None
        if last is None
        else {"age": drills.age, "result": last.result, "set": last.set, "content": last.content, "rto": last.rto, "rpo": last.rpo, "checks": last.checks},
    }


def _last(drills: Drills, verb: Callable[[str], str]) -> list[Problem]:
    last = drills.last
    if last is not None and last.result == FAILED:
        why = short("; ".join(last.problems) or "it does not say why")
        remedy = f"do not rely on that set: {verb('db-backup')} takes another, {verb('db-verify')} proves it (docs/restore_drill.md)"
        return [Problem(SERVICE, f"the last restore drill, {ago(drills.age)}, failed{f' on the set {last.set}' if last.set else ''}: {why}", remedy)]
    found = []
    if last is not None and last.result == REFUSED:
        what = f"the last restore drill, {ago(drills.age)}, was refused: {short('; '.join(last.problems))}"
        found.append(Problem(SERVICE, what, f"put right what it says, then {verb('db-verify')}", YELLOW))
    elif drills.failed:
        what = f"the last scheduled restore drill failed at {drills.failed}: {short(drills.message or 'it said nothing')}"
        found.append(Problem(SERVICE, what, f"put right what it says, then {verb('db-verify')}; the next scheduled one that succeeds clears this"))
    return found


def _overdue(drills: Drills, verb: Callable[[str], str]) -> list[Problem]:
    """A schedule is a promise: one that did not come is broken. Without one, somebody should know."""
    late = drills.passed is not None and drills.passed > drills.overdue
    level = RED if drills.since is not None and drills.since > drills.overdue else YELLOW
    remedy = f"{verb('db-verify')} runs one; " + (
        f"{verb('db-schedule')} lets them run by the clock" if drills.since is None else "see why the schedule ran none"
    )
    if drills.passed is None:
        promised = f", although they are scheduled for {duration(drills.since)}" if level == RED else ""
        return [Problem(SERVICE, f"no restore drill has ever passed{promised}: nobody has seen that the backups can be restored", remedy, level)]
    if late:
        what = f"the last restore drill that passed is {duration(drills.passed)} old, more than {duration(drills.overdue)}"
        return [Problem(SERVICE, what, remedy, level)]
    return []


def _content(drills: Drills) -> list[Problem]:
    if drills.last is None or drills.last.result != PASSED or drills.last.content:
        return []
    what = "the content of the backups is not proven: the last restore drill had no key that opens them, and compared checksums alone"
    return [Problem(SERVICE, what, "drill where the key is (docs/restore_drill.md)", YELLOW)]


def ago(seconds: int | None) -> str:
    """When, in words."""
    return f"{duration(seconds)} ago" if seconds is not None and seconds >= 0 else "dated in the future"


def short(text: str) -> str:
    """One line, not too long."""
    words = " ".join(text.split())
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"
