# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From facts about a continuous backup to problems with remedies, and to a line in the status."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._archive_receivers import Receiver
from ansible_collections.nexanest.database.plugins.module_utils._archive_status import Facts, described, problems
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import Record
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import GREEN, RED, YELLOW, Problem, status
from ansible_collections.nexanest.database.plugins.module_utils._status_report import report

HOUR, DAY = 3600, 86400
NOW = 1748700000
LIMIT = 8 * DAY
GOOD = Facts(
    name="timescaledb",
    now=NOW,
    archiving=True,
    backups=(("20250529-020000F", "full", NOW - 2 * DAY), ("20250529-020000F_20250531-020000I", "incr", NOW - HOUR)),
    repository_of="7713",
    system_id="7713",
    archived_wal="0000000100000000000000A3",
    archived_age=41.5,
    streaming=True,
    lag_bytes=0,
    lag_seconds=0.2,
    slot="reserved",
    container="c",
    folder="/a",
    safe_bytes=4 << 30,
    keep_bytes=4 << 30,
)


def but(**parts: Any) -> Facts:
    return dataclasses.replace(GOOD, **parts)


def found_problems(facts: Facts) -> list[Problem]:
    return problems(facts, LIMIT, lambda name: f"make {name} STACK=shop")


def found(facts: Facts) -> list[tuple[str, str, str]]:
    return [(problem.level, problem.what, problem.remedy) for problem in found_problems(facts)]


@pytest.mark.parametrize(
    "facts",
    [
        GOOD,
        but(standbys="companion"),
        but(recovery=("promoted", "time x")),
        but(recovery=("undone", "time x")),
        but(failed_wal="0000000100000000000000A2", failed_age=90.0),
        but(safe_bytes=None, slot="reserved"),
        but(safe_bytes=2 << 30),
        but(keep_bytes=-1048576, slot="extended"),
        but(aside=("7700",)),
        but(disk_free=99 << 20, disk_total=9 << 30, full_stored=60 << 20),
        but(disk_free=99 << 20, disk_total=9 << 30),
        but(now=NOW + LIMIT - HOUR),
    ],
)
def test_an_archive_that_is_well_has_no_problem(facts: Facts) -> None:
    assert found(facts) == []


@pytest.mark.parametrize(
    ("facts", "level", "what", "remedy"),
    [
        (but(trouble="/a is missing"), RED, "the repository could not be asked: /a is missing", "make db-start STACK=shop makes what is missing"),
        (but(repository_of="7700"), RED, "the one of another cluster (7700), so nothing that is written now is archived", "keeps it aside"),
        (but(backups=()), RED, "there is no base backup", "make db-base-backup STACK=shop takes one"),
        (but(now=NOW + LIMIT), YELLOW, "is 8d 1h old, more than 8d 0h", "make db-base-backup STACK=shop"),
        (but(archiving=False), RED, "archive_mode is off", "site.yml"),
        (but(failed_wal="0A", failed_age=3.0), RED, "0A failed 3s ago; the server keeps its log", "a full disk, a missing folder"),
        (but(failed_wal="0A", failed_age=3.0, archived_wal=None, archived_age=None), RED, "segments do not arrive", "pgBackRest's reason"),
        (
            but(failed_wal="0A", failed_age=3.0, failure="[062]: stop file exists for stanza timescaledb"),
            RED,
            "0A failed 3s ago ([062]: stop file",
            "docker exec c pgbackrest",
        ),
        (but(streaming=False), YELLOW, "would be lost with the server", "make db-start STACK=shop starts it"),
        (but(disk_free=20 << 20, disk_total=9 << 30), RED, "is full: 20 MB of 9.0 GB are free at /a, and the server keeps all its log", "make room there"),
        (
            but(disk_free=99 << 20, disk_total=9 << 30, full_stored=80 << 20),
            YELLOW,
            "no room for the next full base backup: 99 MB of 9.0 GB",
            "make room there",
        ),
        (
            but(received=False),
            RED,
            "the folder of what the companion received is gone",
            "make db-start STACK=shop makes it; then make db-base-backup STACK=shop",
        ),
        (but(paused=True), RED, "switched off meanwhile", "make db-start"),
        (but(streaming=False, standbys="companion"), RED, "commits wait for it", "ARGS='-e wal_archive_synchronous=false'"),
        (but(slot="lost", safe_bytes=None), RED, "gave the companion's slot up", "starts the companion, which begins a new one"),
        (but(slot="extended"), YELLOW, "4096 MB more and it is given up", "starts the companion"),
        (but(safe_bytes=1 << 30), YELLOW, "1024 MB more", "starts the companion"),
        (but(slot="unreserved", safe_bytes=-5), YELLOW, "0 MB more", "starts the companion"),
        (but(recovery=("promoting", "time x")), RED, "a recovery to time x was cut off while promoting", "make db-pitr STACK=shop STATE=promoted finishes"),
        (but(recovery=("cut off", "time x")), YELLOW, "a recovery to time x was cut off, and its half copy takes disk", "STATE=cleaned removes it"),
        (but(recovery=("undoing", "time x")), RED, "cut off while undoing", "STATE=undone finishes"),
        (but(recovery=("ready", "time x")), YELLOW, "a side instance stands at time x", "make db-pitr STACK=shop STATE=promoted or STATE=cleaned"),
        (but(recovery=("unreadable", "/c/pitr.json cannot be read")), RED, "its journal is damaged", "/c/pitr.json cannot be read"),
    ],
)
def test_each_fault_is_one_problem(facts: Facts, level: str, what: str, remedy: str) -> None:
    ((told, words, advice),) = found(facts)
    assert told == level
    assert what in words
    assert remedy in advice


def test_of_a_server_that_is_silent_only_the_repository_is_judged() -> None:
    silent = Facts("timescaledb", silent="connection refused", now=NOW, backups=GOOD.backups, repository_of="7713")
    assert found(silent) == []
    assert [level for level, _what, _remedy in found(dataclasses.replace(silent, backups=()))] == [RED]


THERE = Receiver("receiver_b", streaming=True, lag_bytes=0, lag_seconds=0.1, slot="reserved")
AWAY = Receiver("receiver_b", slot="extended")
TWO, THREE = "ANY 2 (companion, receiver_b)", "ANY 2 (companion, receiver_b, receiver_c)"
IN_BUCKET = {"keep_hours": 72, "offsite": "s3://b", "copied_age": 60.0, "copied_until": 90.0}


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (but(receivers=(AWAY,), **IN_BUCKET), YELLOW, "receiver_b does not receive"),
        (but(receivers=(AWAY,), standbys=TWO, **IN_BUCKET), RED, "receiver_b does not receive, and commits wait for it"),
        (but(receivers=(AWAY, dataclasses.replace(THERE, name="receiver_c")), standbys=THREE, **IN_BUCKET), YELLOW, "receiver_b does not receive"),
        (but(receivers=(dataclasses.replace(AWAY, slot="lost"),), **IN_BUCKET), YELLOW, "gave the slot of receiver_b up"),
        (but(receivers=(THERE,), streaming=False, **IN_BUCKET), YELLOW, "is on another host alone"),
        (but(receivers=(THERE,), streaming=False, standbys=TWO, **IN_BUCKET), RED, "the companion does not receive, and commits wait for it"),
        (but(receivers=(THERE,)), YELLOW, "all base backups are on this one"),
        (but(receivers=(THERE,), standbys="companion", **IN_BUCKET), YELLOW, "commits wait for companion, and should for two of companion, receiver_b"),
        (but(standbys=TWO, receivers=()), RED, "commits wait for ANY 2 (companion, receiver_b), and should for companion"),
        (but(strangers=("receiver_old",)), YELLOW, "the server keeps log for receiver_old, which is no receiver"),
        (but(receivers=(THERE,), **{**IN_BUCKET, "copied_until": 73 * HOUR}), YELLOW, "ends before the 72 h of log that other hosts keep"),
    ],
)
def test_a_receiver_on_another_host_is_judged(facts: Facts, level: str, words: str) -> None:
    ((told, what, _remedy),) = found(facts)
    assert (told, words in what) == (level, True), what


@pytest.mark.parametrize(
    ("facts", "survives"),
    [
        (but(receivers=(THERE,), survives="volume", **IN_BUCKET), "host"),
        (but(receivers=(THERE,), survives="volume"), "volume"),
        (but(receivers=(THERE,), survives="volume", offsite="s3://b"), "volume"),
        (but(receivers=(AWAY,), survives="disk", **IN_BUCKET), "disk"),
        (but(receivers=(THERE,), survives="disk", **{**IN_BUCKET, "copied_until": 73 * HOUR}), "disk"),
        (but(survives="disk", **IN_BUCKET), "disk"),
    ],
)
def test_the_host_may_be_lost_where_another_has_the_log_and_a_bucket_the_rest(facts: Facts, survives: str) -> None:
    assert described(facts, [])["survives"] == survives


def test_who_receives_too_is_part_of_the_line() -> None:
    facts = but(receivers=(THERE, dataclasses.replace(AWAY, name="receiver_c")), streaming=False, **IN_BUCKET)
    text = report(status([], [], None, [described(facts, found_problems(facts))]))
    assert "received too by receiver_b (0s behind)" in text
    assert "until now (within about a second)" in text
    assert "receiver_c" in text


def test_several_faults_are_all_told() -> None:
    assert len(found(but(trouble="x", archiving=False, streaming=False, slot="lost", recovery=("ready", "y")))) == 5


@pytest.mark.parametrize(
    ("facts", "newest"),
    [(GOOD, 0.2), (but(lag_seconds=None), 0.0), (but(streaming=False), 41.5), (but(streaming=False, archived_age=None), None)],
)
def test_the_newest_moment_is_the_companions_or_the_archives(facts: Facts, newest: float | None) -> None:
    assert described(facts, [])["newest_age"] == newest


def test_ages_are_told_from_the_oldest_the_newest_and_the_last_full_backup() -> None:
    data = described(GOOD, [])
    assert (data["backups"], data["oldest_age"], data["last_backup_age"], data["last_full_age"]) == (2, 2 * DAY, HOUR, 2 * DAY)
    assert data["last_backup"] == "20250529-020000F_20250531-020000I"
    nothing = described(Facts("x"), [])
    assert (nothing["backups"], nothing["last_backup"], nothing["oldest_age"], nothing["last_backup_age"], nothing["last_full_age"]) == (
        0,
        "",
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("facts", "line", "level"),
    [
        (GOOD, "recoverable from 2d 0h ago until now (within about a second); base backup 1h 0m ago, full 2d 0h ago", GREEN),
        (but(standbys="companion"), "until now (every acknowledged commit)", GREEN),
        (but(lag_seconds=90.0), "until 1m 30s ago (within about a second)", GREEN),
        (but(streaming=False), "until 42s ago (to the last archived segment)", YELLOW),
        (but(streaming=False, archived_age=None), "until an unknown moment", YELLOW),
        (but(backups=()), "archive of timescaledb: no base backup", RED),
        (but(recovery=("promoted", "the latest moment")), "; recovered to the latest moment, what that replaced is kept until STATE=cleaned", GREEN),
        (but(survives="volume"), "full 2d 0h ago; survives the loss of the volume, not of its disk", GREEN),
        (but(survives="disk"), "full 2d 0h ago; survives the loss of the volume's disk, not of this host", GREEN),
        (but(survives="host"), "full 2d 0h ago; survives the loss of this host", GREEN),
        (but(recovery=("kept", "time x")), "; recovered to time x, what that replaced is kept (STATE=cleaned says how it is removed)", GREEN),
        (but(aside=("7700", "7711")), "full 2d 0h ago; kept aside: 7700, 7711", GREEN),
    ],
)
def test_the_status_has_a_line_about_each_archive_and_counts_its_problems(facts: Facts, line: str, level: str) -> None:
    wrong = problems(facts, LIMIT, lambda name: f"make {name}")
    whole = status([], [], archives=[described(facts, wrong)])
    assert whole["overall"] == level
    lines = report(whole).splitlines()
    assert any(line in one for one in lines), lines
    assert ("all is well" in lines) == (level == GREEN)
    assert all(f"{problem.level}: archive of timescaledb: {problem.what}" in lines for problem in wrong)


def test_a_stack_without_an_archive_has_no_line() -> None:
    whole = status([], [])
    assert whole["archives"] == []
    assert "archive" not in report(whole)


def drill(result: str, days: float, **more: Any) -> Record:
    at = datetime.fromtimestamp(NOW - days * DAY, tz=UTC).isoformat()
    return Record(at, "shop", result, source="archive timescaledb", content=True, **more)


@pytest.mark.parametrize(
    ("drills", "level", "words"),
    [
        ((), YELLOW, "nobody has seen a recovery work"),
        ((drill("passed", 9),), YELLOW, "9d"),
        ((drill("passed", 2), drill("failed", 1, problems=["segment X is damaged"])), RED, "segment X is damaged"),
        ((drill("passed", 2), drill("refused", 1, problems=["no room"])), YELLOW, "no room"),
    ],
)
def test_a_drill_that_failed_or_is_overdue_is_told(drills: tuple[Record, ...], level: str, words: str) -> None:
    (problem,) = problems(but(drills=drills), LIMIT, lambda name: f"make {name}", overdue=8 * DAY)
    assert problem.level == level
    assert words in problem.what


def test_a_drill_that_passed_lately_is_part_of_the_line() -> None:
    facts = but(drills=(drill("failed", 3, problems=["x"]), drill("passed", 2, rto=21.4, rpo=1)))
    assert problems(facts, LIMIT, str, overdue=8 * DAY) == []
    text = report(status([], [], None, [described(facts, [])]))
    assert "recovered in a drill 2d" in text
    assert "in 21s, with all but the last 1s" in text


COPIED = but(offsite="s3://b at AWS", copied_age=100.0, copied_until=160.0)


def test_a_copy_off_site_that_is_young_enough_is_shown() -> None:
    assert found(COPIED) == []
    assert "; off-site until 2m 40s ago" in report(status([], [], None, [described(COPIED, [])]))


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        (but(offsite="s3://b at AWS"), "s3://b at AWS is not known to have anything of it: it would be lost with this host"),
        (dataclasses.replace(COPIED, copied_age=2000.0), "what s3://b at AWS is known to have of it is 33m 20s old, more than 30m 0s"),
        (
            dataclasses.replace(COPIED, copied_age=2000.0, offsite_failure="the key\nis refused"),
            "what s3://b at AWS is known to have of it is 33m 20s old, more than 30m 0s; the last copy by the clock failed: the key is refused",
        ),
    ],
)
def test_a_copy_off_site_that_is_too_old_or_missing_is_yellow(facts: Facts, what: str) -> None:
    remedy = "make db-offsite STACK=shop copies it, or says why it cannot; make db-schedule STACK=shop lets that be done by the clock"
    assert found(facts) == [(YELLOW, what, remedy)]
