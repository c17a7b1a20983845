# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From facts about backups to problems with remedies, and to a line in the status."""

from __future__ import annotations

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._backup_schedule import Failure, failure
from ansible_collections.nexanest.database.plugins.module_utils._backup_status import Facts, Offsite, Schedule, described, problems
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import GREEN, RED, YELLOW, status
from ansible_collections.nexanest.database.plugins.module_utils._status_report import report

HOUR = 3600
LIMIT = 26 * HOUR
NONE = Schedule()
LONG = Schedule(since=100 * HOUR)


def good(age: int = HOUR, schedule: Schedule = NONE, offsite: Offsite | None = None) -> Facts:
    return Facts(sets=9, newest="20250531_123456", age=age, size=5 * 1024**2, schedule=schedule, offsite=offsite)


def found(facts: Facts) -> list[tuple[str, str, str]]:
    return [(problem.level, problem.what, problem.remedy) for problem in problems(facts, LIMIT, lambda name: f"make {name} STACK=shop")]


@pytest.mark.parametrize("schedule", [NONE, LONG, Schedule(since=0), Schedule(since=-5)])
@pytest.mark.parametrize("age", [0, LIMIT, -60])
def test_a_young_set_is_no_problem(age: int, schedule: Schedule) -> None:
    assert found(good(age, schedule)) == []


@pytest.mark.parametrize(
    ("facts", "level", "what", "remedy"),
    [
        (Facts(), YELLOW, "there is no whole set: none was taken, or none can be read", "make db-backup STACK=shop takes one"),
        (Facts(schedule=Schedule(since=HOUR)), YELLOW, "there is no whole set", "make db-backup"),
        (Facts(schedule=LONG), RED, "although a schedule is installed for 4d 4h", "make db-backup"),
        (good(LIMIT + 1), YELLOW, "20250531_123456, is 1d 2h old, more than 1d 2h", "make db-schedule STACK=shop takes them by the clock"),
        (good(LIMIT + 1, LONG), RED, "is 1d 2h old", "see why the schedule took none"),
        (good(-HOUR), YELLOW, "is dated 1h 0m in the future", "set the clock right"),
        (good(schedule=Schedule(5, "2025-05-31 03:15 UTC", "a\n b")), RED, "failed at 2025-05-31 03:15 UTC: a b", "put right what it says"),
        (good(schedule=Schedule(5, "2025-05-31 03:15 UTC")), RED, "it said nothing", "put right"),
        (
            Facts(sets=1, newest="x", age=1, size=1, unreadable={"20240101_000000": "damaged"}),
            YELLOW,
            "the set 20240101_000000 cannot be used: damaged",
            "folder",
        ),
        (
            Facts(sets=1, newest="x", age=1, size=1, journal="the set 1 on postgres"),
            RED,
            "a restore has begun and not ended: the set 1 on postgres",
            "undoes it",
        ),
        (good(offsite=Offsite("s3://b at AWS")), YELLOW, "s3://b at AWS is behind: no set of this machine is known to be there", "make db-offsite STACK=shop"),
        (good(offsite=Offsite("s3://b", "x", LIMIT + 1)), YELLOW, "the newest set that is known to be there, x, is 1d 2h older than 2025", "make db-offsite"),
        (Facts(trouble="/x: Permission denied"), YELLOW, "could not be looked at (/x: Permission denied)", "readable"),
    ],
)
def test_each_fault_is_one_problem(facts: Facts, level: str, what: str, remedy: str) -> None:
    ((told, words, advice),) = found(facts)
    assert told == level
    assert what in words
    assert remedy in advice


@pytest.mark.parametrize("behind", [0, LIMIT, -HOUR])
def test_a_copy_that_is_not_far_behind_is_no_problem(behind: int) -> None:
    assert found(good(offsite=Offsite("s3://b", "x", behind))) == []


def test_without_a_set_nothing_can_be_copied() -> None:
    assert len(found(Facts(offsite=Offsite("s3://b")))) == 1


def test_a_failure_of_a_schedule_that_is_gone_is_forgotten() -> None:
    assert found(good(schedule=Schedule(None, "2025-05-31", "x"))) == []


def test_the_end_of_a_long_message_is_shown() -> None:
    ((_level, what, _remedy),) = found(good(schedule=Schedule(5, "now", "x" * 1000 + " the disk is full")))
    assert what.endswith("the disk is full")
    assert len(what) < 400


def test_several_faults_are_told_the_worst_first() -> None:
    facts = Facts(unreadable={"b": "y", "a": "x"}, schedule=Schedule(LIMIT + 1, "now", "bad"), journal="j")
    assert [level for level, _what, _remedy in found(facts)] == [RED, RED, RED, YELLOW, YELLOW]


@pytest.mark.parametrize(
    ("facts", "line", "level"),
    [
        (good(), "backups: the last one 1h 0m ago (20250531_123456, 5.0 MB), 9 sets, by hand alone", GREEN),
        (Facts(sets=1, newest="x", age=HOUR, size=1, schedule=LONG), "backups: the last one 1h 0m ago (x, 1 B), one set, by the clock", GREEN),
        (good(offsite=Offsite("s3://b", "x")), "backups: the last one 1h 0m ago (20250531_123456, 5.0 MB), 9 sets, by hand alone, off-site up to x", GREEN),
        (good(offsite=Offsite("s3://b")), "backups: the last one 1h 0m ago (20250531_123456, 5.0 MB), 9 sets, by hand alone, none off-site", YELLOW),
        (Facts(), "backups: none, by hand alone", YELLOW),
        (good(LIMIT + 1, LONG), "backups: the last one 1d 2h ago", RED),
        (good(-HOUR), "backups: the last one in the future", YELLOW),
    ],
)
def test_the_status_has_a_line_about_backups_and_counts_their_problems(facts: Facts, line: str, level: str) -> None:
    wrong = problems(facts, LIMIT, lambda name: f"make {name}")
    whole = status([], [], described(facts, wrong))
    assert whole["overall"] == level
    lines = report(whole).splitlines()
    assert any(one.startswith(line) for one in lines)
    assert ("all is well" in lines) == (level == GREEN)
    assert all(f"{problem.level}: backups: {problem.what}" in lines for problem in wrong)


def test_without_a_question_the_status_says_nothing_about_backups() -> None:
    whole = status([], [])
    assert whole["backups"] is None
    assert "backups" not in report(whole)


@pytest.mark.parametrize(
    ("note", "read"),
    [
        ("2025-05-31T03:15:00+00:00\n7\none\ntwo\n", Failure("2025-05-31T03:15:00+00:00", "7", "one\ntwo")),
        ("2025-05-31T03:15:00+00:00\n7\n", Failure("2025-05-31T03:15:00+00:00", "7", "")),
        ("", Failure("", "", "")),
    ],
)
def test_a_note_that_is_cut_short_is_a_failure_all_the_same(note: str, read: Failure) -> None:
    assert failure(note) == read
