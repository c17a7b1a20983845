# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills: what they need, their history, and what the status makes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _drill_status as drills
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Keys
from ansible_collections.nexanest.database.plugins.module_utils._backup_status import Facts, described, problems
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, PASSED, REFUSED, History, Record, parse, proven
from ansible_collections.nexanest.database.plugins.module_utils._drill_party import SPARE_MB, Needs, lacking, needed
from ansible_collections.nexanest.database.plugins.module_utils._drill_redis import differences
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import RED, YELLOW, status
from ansible_collections.nexanest.database.plugins.module_utils._status_report import report

NOW = datetime(2026, 5, 31, 12, tzinfo=UTC)
DAY = 86400


def record(days: float = 1, result: str = PASSED, **more: Any) -> Record:
    at = (NOW - timedelta(days=days)).isoformat(timespec="seconds")
    return Record(at, "shop", result, **{"set": "20250531_123456", "serial": 7, "content": True, "rto": 41.2, "rpo": 9000, "checks": 12, **more})


def test_needs_add_up_on_the_disk_and_not_in_memory() -> None:
    assert needed([Needs(10, 512), Needs(20, 1024)], 5) == Needs(35, 1024)
    assert needed([], 0) == Needs(0, 0)


@pytest.mark.parametrize(
    ("free", "available", "count"), [(100, 512 + SPARE_MB, 0), (99, 512 + SPARE_MB, 1), (100, 511 + SPARE_MB, 1), (0, 0, 2), (100, None, 0)]
)
def test_a_machine_that_lacks_something_is_told_what(free: int, available: int | None, count: int) -> None:
    assert len(lacking(Needs(100, 512), free, available)) == count


def test_history_is_appended_and_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    history = History(tmp_path)
    assert history.records() == []
    first, second = record(3), record(2, FAILED, problems=["ü"])
    history.add(first)
    with history.file.open("ab") as file:
        file.write(b'{"at": "2026-05-31T1')  # killed there
    history.add(second)
    history.add(Record(second.at, "other", PASSED))
    assert history.records() == [first, second, Record(second.at, "other", PASSED)]
    assert history.of("shop") == [first, second]
    assert history.file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"7", b"{}", b'{"at": "soon", "stack": "s", "result": "passed"}', b'{"at": "2026-05-31", "stack": "s", "result": "odd"}', b"\xff"]
)
def test_what_is_no_record_is_left_out(line: bytes) -> None:
    assert parse(line) is None


def test_a_record_of_a_newer_version_is_read() -> None:
    assert parse(json.dumps({"at": "2026-05-31T00:00:00+00:00", "stack": "s", "result": "passed", "more": 1}).encode()) is not None


@pytest.mark.parametrize(
    ("records", "content", "found"),
    [
        ([record(0.1)], True, True),
        ([record(2)], True, False),
        ([record(0.1), record(0.05, FAILED)], True, False),
        ([record(0.1, content=False)], True, False),
        ([record(0.1, content=False)], False, True),
        ([record(0.1, serial=8)], True, False),
        ([record(-1)], True, False),
        ([record(0.1), record(0.05, serial=8, result=FAILED)], True, True),
    ],
)
def test_a_set_is_proven_by_its_own_last_drill_alone(records: list[Record], content: bool, found: bool) -> None:
    assert (proven(records, 7, content=content, limit=timedelta(days=1), now=NOW) is not None) == found


def test_a_set_is_not_proven_by_another_one_with_its_number() -> None:
    records = [record(0.1)]
    assert proven(records, 7, content=True, limit=timedelta(days=1), now=NOW, name="20250531_123456") == records[0]
    assert proven(records, 7, content=True, limit=timedelta(days=1), now=NOW, name="20260601_000000") is None


def judged(records: list[Record], **more: Any) -> list[tuple[str, str]]:
    found = drills.facts(records, 8 * DAY, NOW)
    facts = Facts(sets=1, newest="20250531_123456", age=1, size=1, drills=drills.Drills(**{**found.__dict__, **more}))
    return [(problem.level, problem.what) for problem in problems(facts, DAY, lambda name: f"make {name}")]


@pytest.mark.parametrize(
    ("records", "more", "level", "what"),
    [
        ([record(1, FAILED, problems=["postgres/auth: x has 5 rows"])], {}, RED, "failed on the set 20250531_123456: postgres/auth: x has 5 rows"),
        ([], {}, YELLOW, "no restore drill has ever passed"),
        ([], {"since": DAY}, YELLOW, "no restore drill has ever passed"),
        ([], {"since": 9 * DAY}, RED, "although they are scheduled for 9d 0h"),
        ([record(9)], {"since": 30 * DAY}, RED, "the last restore drill that passed is 9d 0h old, more than 8d 0h"),
        ([record(9)], {}, YELLOW, "is 9d 0h old"),
        ([record(1, content=False)], {"since": 30 * DAY}, YELLOW, "the content of the backups is not proven"),
        ([record(3), record(1, REFUSED, problems=["no room"])], {"since": 30 * DAY}, YELLOW, "was refused: no room"),
        ([record(1)], {"failed": "2026-05-31 03:15 UTC", "message": "no host"}, RED, "scheduled restore drill failed at 2026-05-31 03:15 UTC: no host"),
        ([], {"trouble": "Permission denied"}, YELLOW, "cannot be read (Permission denied)"),
    ],
)
def test_what_is_wrong_with_drills_is_told(records: list[Record], more: dict[str, Any], level: str, what: str) -> None:
    found = judged(records, **more)
    assert found[0][0] == level
    assert what in found[0][1]


@pytest.mark.parametrize("more", [{}, {"since": DAY}, {"since": 30 * DAY}])
def test_one_that_passed_lately_is_no_problem(more: dict[str, Any]) -> None:
    assert judged([record(7, FAILED), record(1)], **more) == []


def test_a_refused_one_that_was_the_last_for_too_long_is_red() -> None:
    assert [level for level, _what in judged([record(9), record(1, REFUSED)], since=30 * DAY)] == [YELLOW, RED]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "restore drill: none yet"),
        ([record(1)], "1d 0h ago, 20250531_123456 proven in 41s (12 checks, data of 2h 30m before)"),
        ([record(1, content=False)], "checksums right, content not proven"),
        ([record(1, FAILED)], "FAILED"),
        ([record(1, REFUSED, set="")], "was refused (no set)"),
    ],
)
def test_the_status_has_a_line_about_it(records: list[Record], words: str) -> None:
    facts = Facts(sets=1, newest="x", age=1, size=1, drills=drills.facts(records, 8 * DAY, NOW))
    assert words in report(status([], [], described(facts, [])))
    assert "restore drill" not in report(status([], [], described(Facts(sets=1, newest="x", age=1, size=1), [])))


def test_keys_in_another_logical_database_are_seen() -> None:
    wanted = {"0": Keys(10, 4), "2": Keys(1, 0)}
    assert differences(wanted, {0: (6, 4), 2: (1, 0)}) == differences(wanted, {0: (6, 2)}) == differences(None, {0: (1, 1)}) == []
    assert len(differences(wanted, {0: (7, 4), 3: (1, 0)})) == 2
