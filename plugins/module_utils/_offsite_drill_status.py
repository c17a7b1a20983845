# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Was what lies in the bucket seen to be of use, and lately? Of the sets and of each continuous backup, from facts to a judgement."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, PASSED, REFUSED
from ansible_collections.nexanest.database.plugins.module_utils._drill_status import Drills, ago, short
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import YELLOW, Problem
from ansible_collections.nexanest.database.plugins.module_utils._status_report import duration


def problems(drills: Drills | None, service: str, verb: Callable[[str], str]) -> list[Problem]:
    """What is wrong. Nobody has to drill off-site; who lets it be done by the clock is told when it was not."""
    if drills is None or drills.trouble:
        return []  # the drills of this machine stand in the same history, and tell the trouble
    return [*_last(drills, service, verb), *_overdue(drills, service, verb), *_content(drills, service)]


def _last(drills: Drills, service: str, verb: Callable[[str], str]) -> list[Problem]:
    last, again = drills.last, f"{verb('db-verify')} OFFSITE=1"
    if last is not None and last.result == FAILED:
        why = short("; ".join(last.problems) or "it does not say why")
        what = f"the last off-site restore drill, {ago(drills.age)}, failed{f' on {last.set}' if last.set else ''}: {why}"
        resent = f"an object that is damaged there is sent again by {verb('db-offsite')} when you have removed it from the bucket"
        return [Problem(service, what, f"do not rely on that copy: {resent}; else {_fresh(service, verb)}. Then {again} (docs/restore_drill.md)")]
    if last is not None and last.result == REFUSED:
        what = f"the last off-site restore drill, {ago(drills.age)}, was refused: {short('; '.join(last.problems))}"
        return [Problem(service, what, f"put right what it says, then {again}", YELLOW)]
    if drills.failed:
        what = f"the last scheduled off-site restore drill failed at {drills.failed}: {short(drills.message or 'it said nothing')}"
        return [Problem(service, what, f"put right what it says, then {again}; the next scheduled one that succeeds clears this")]
    return []


def _fresh(service: str, verb: Callable[[str], str]) -> str:
    """What makes another one. What is damaged in a bucket has the right size, so that no copy sends it again by itself."""
    return verb("db-backup") if service == "backups" else f"{verb('db-base-backup')} TYPE=full"


def _overdue(drills: Drills, service: str, verb: Callable[[str], str]) -> list[Problem]:
    if drills.since is None or min(drills.since, drills.since if drills.passed is None else drills.passed) <= drills.overdue:
        return []
    old = f"is {duration(drills.passed)} old, more than {duration(drills.overdue)}" if drills.passed is not None else "never came"
    what = f"the last off-site restore drill that passed {old}, although they are scheduled for {duration(drills.since)}"
    return [Problem(service, what, f"{verb('db-verify')} OFFSITE=1 runs one; see why the schedule ran none", YELLOW)]


def _content(drills: Drills, service: str) -> list[Problem]:
    if drills.last is None or drills.last.result != PASSED or drills.last.content:
        return []
    what = "the content of what is off-site is not proven: the last off-site restore drill had no key that opens it, and compared checksums alone"
    return [Problem(service, what, "drill where the key is (docs/restore_drill.md)", YELLOW)]
