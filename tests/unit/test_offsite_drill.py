# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills out of a bucket: which set is drilled, what there has to be room for, and what the status makes of their history."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._archive_drill_bucket import SPARE_BYTES, behind, crowded
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._backup_look import offsite_drills
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Encryption, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_status import Facts, described
from ansible_collections.nexanest.database.plugins.module_utils._drill_bucket import pick, vanished
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, OF_SETS, PASSED, REFUSED, History, Record
from ansible_collections.nexanest.database.plugins.module_utils._drill_origin import NoSet, Origin
from ansible_collections.nexanest.database.plugins.module_utils._drill_run import Drill
from ansible_collections.nexanest.database.plugins.module_utils._drill_run import Report as DrillReport
from ansible_collections.nexanest.database.plugins.module_utils._drill_set import SetSource
from ansible_collections.nexanest.database.plugins.module_utils._drill_status import Drills, facts
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import BucketError, Gone
from ansible_collections.nexanest.database.plugins.module_utils._offsite_drill_status import problems
from ansible_collections.nexanest.database.plugins.module_utils._offsite_plan import Stored
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import RED, YELLOW, status
from ansible_collections.nexanest.database.plugins.module_utils._status_report import report

NOW = datetime(2026, 5, 31, 12, tzinfo=UTC)
DAY = 86400
WHERE = "s3://backups/shop at AWS"
OPTIONS: dict[str, Any] = {"offsite": {"endpoint_url": "", "bucket": "backups", "prefix": "shop"}, "offsite_drill_overdue_after": "35d", "schedule": None}


def stored(name: str, serial: int, stack: str = "shop") -> Stored:
    """One that can be read, unless its serial is 0."""
    manifest = Manifest(name, serial, stack, "0.1.0", "host", "", "", Encryption("none", []))
    return Stored(name, manifest if serial else None, "", {}, "" if serial else "it is damaged")


# A machine that was set up anew counts from 1 again.
OLD, NEW, OTHER = stored("20250101_000000", 500), stored("20250601_000000", 3), stored("20250701_000000", 4, "other")


@pytest.mark.parametrize(
    ("sets", "name", "stack", "found"),
    [
        ([], "", "shop", None),
        ([OLD, NEW, OTHER], "", "shop", NEW),
        ([OLD, NEW, OTHER], "", "", OTHER),
        ([OLD, NEW, OTHER], OLD.id, "shop", OLD),
        ([OLD, NEW, OTHER], "20240101_000000", "shop", None),
        ([OTHER], "", "shop", None),
        ([stored("20250201_000000", 0), NEW, OLD], "", "shop", NEW),
    ],
)
def test_the_newest_set_of_the_stack_is_drilled_whatever_its_number(sets: list[Stored], name: str, stack: str, found: Stored | None) -> None:
    assert pick(sets, name, stack) == found


def test_a_newer_one_that_cannot_be_read_is_not_passed_over() -> None:
    unread = stored("20250801_000000", 0)
    assert pick([unread, OLD, NEW], "", "shop") == unread
    assert pick([unread], "", "shop") == unread


@pytest.mark.parametrize(
    ("lost", "name", "found", "told"),
    [
        (set(), "", NEW.id, ""),
        ({OLD.id}, "", NEW.id, ""),
        ({OLD.id, NEW.id}, "", "", NEW.id),
        ({NEW.id}, "", OLD.id, NEW.id),
        ({NEW.id}, NEW.id, "", NEW.id),
        ({NEW.id}, OLD.id, OLD.id, ""),
    ],
)
def test_a_set_that_was_there_and_would_have_been_taken_is_told(lost: set[str], name: str, found: str, told: str) -> None:
    assert vanished(lost, name, found) == told


def test_a_copy_that_ends_in_the_future_is_not_behind() -> None:
    assert behind("2026-05-31T11:59:00+00:00", NOW) == 60
    assert behind("2026-05-31T13:59:59+02:00", NOW) == 1
    assert behind("2026-05-31T13:00:00+00:00", NOW) == 0


@pytest.mark.parametrize(
    ("free", "together", "words"),
    [
        (100 + SPARE_BYTES, False, ""),
        (99 + SPARE_BYTES, False, "for the copy"),
        (100 + SPARE_BYTES, True, "for what is recovered"),
        (150 + SPARE_BYTES, True, ""),
    ],
)
def test_copy_and_recovery_need_room_where_they_are(free: int, together: bool, words: str) -> None:
    said = crowded(100, 50, free, together=together)
    assert words in said
    assert bool(said) == bool(words)


@pytest.mark.parametrize(
    ("error", "result"), [(BucketError("no answer"), REFUSED), (Gone("it is gone"), FAILED), (Damaged("a bit"), FAILED), (NoSet("removed"), REFUSED)]
)
def test_a_service_that_does_not_answer_says_nothing_of_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, result: str) -> None:
    def bring(*_: Any) -> None:
        raise error

    monkeypatch.setattr("ansible_collections.nexanest.database.plugins.module_utils._drill_run.remove_left", lambda _mark: None)
    drill = Drill({"backup_dir": str(tmp_path), "stack": "shop", "bucket": "", "progress_file": "", "jobs": 1}, None)
    drill.origin = cast(Origin, SimpleNamespace(where=WHERE, bring=bring))
    found = cast(SetSource, SimpleNamespace(chosen=None, content=True, manifest=NEW.manifest, rpo=lambda _now: 1))
    monkeypatch.setattr(Drill, "look", lambda _drill: (DrillReport(stack="shop", offsite=WHERE), found))
    done = drill.run()
    assert done.record is not None
    assert (done.record.result, done.record.problems) == (result, [str(error)])


def record(days: float = 1, result: str = PASSED, **more: Any) -> Record:
    at = (NOW - timedelta(days=days)).isoformat(timespec="seconds")
    return Record(at, "shop", result, **{"set": "20250531_123456", "serial": 7, "content": True, "rto": 41.2, "rpo": 9000, "offsite": WHERE, **more})


def test_a_history_is_that_of_one_bucket_and_one_kind(tmp_path: Path) -> None:
    history = History(tmp_path)
    here, there = record(offsite=""), record()
    for one in (here, there, record(offsite="s3://other at AWS"), record(source="archive timescaledb")):
        history.add(one)
    assert (history.of("shop"), history.of("shop", OF_SETS, WHERE)) == ([here], [there])
    line = json.loads(history.file.read_text(encoding="utf-8").splitlines()[0])
    assert history.of("shop", "archive timescaledb", WHERE) == [record(source="archive timescaledb")]
    assert line["offsite"] == ""


def judged(records: list[Record], service: str = "backups", **more: Any) -> list[tuple[str, str, str]]:
    drills = dataclasses.replace(facts(records, 35 * DAY, NOW), **more)
    return [(problem.level, problem.what, problem.remedy) for problem in problems(drills, service, lambda name: f"make {name}")]


@pytest.mark.parametrize(
    ("records", "more", "level", "words"),
    [
        ([record(2), record(1, FAILED, problems=["x is damaged"])], {}, RED, "failed on 20250531_123456: x is damaged"),
        ([record(2), record(1, REFUSED, problems=["no room"])], {}, YELLOW, "was refused: no room"),
        ([record(36)], {"since": 90 * DAY}, YELLOW, "is 36d 0h old, more than 35d 0h"),
        ([], {"since": 36 * DAY}, YELLOW, "never came"),
        ([record(1, content=False)], {}, YELLOW, "is not proven"),
        (
            [record(2)],
            {"failed": "2026-05-31 03:15 UTC", "message": "no host"},
            RED,
            "scheduled off-site restore drill failed at 2026-05-31 03:15 UTC: no host",
        ),
    ],
)
def test_what_is_wrong_is_told(records: list[Record], more: dict[str, Any], level: str, words: str) -> None:
    ((found, what, remedy),) = judged(records, **more)
    assert found == level
    assert words in what
    assert remedy


@pytest.mark.parametrize(
    ("records", "more"), [([], {}), ([record(99)], {}), ([], {"since": DAY}), ([record(36)], {"since": DAY}), ([record(3)], {"since": 90 * DAY})]
)
def test_nobody_has_to_drill_off_site_whom_no_schedule_promises_it(records: list[Record], more: dict[str, Any]) -> None:
    assert judged(records, **more) == []


def test_what_failed_is_made_anew_by_what_made_it_and_proven() -> None:
    ((_level, _what, remedy),) = judged([record(1, FAILED)])
    assert "else make db-backup. Then make db-verify OFFSITE=1" in remedy
    ((_level, _what, remedy),) = judged([record(1, FAILED)], "archive of timescaledb")
    assert "make db-base-backup TYPE=full" in remedy


def test_the_report_has_a_line_of_its_own() -> None:
    told = report(status([], [], described(Facts(sets=1, newest="x", age=1, size=1, offsite_drills=facts([record()], 35 * DAY, NOW)), [])))
    assert "off-site restore drill: the last one 1d 0h ago, 20250531_123456 proven in 41s" in told
    assert "off-site" not in report(status([], [], described(Facts(sets=1, newest="x", age=1, size=1), [])))


@pytest.mark.parametrize(("at", "kept"), [("2026-05-29T12:00:00+00:00", False), ("2026-05-31T11:00:00+00:00", True)])
def test_a_drill_by_hand_clears_what_the_clock_left_before_it(tmp_path: Path, at: str, kept: bool) -> None:
    History(tmp_path).add(record(1))
    clock = {"offsite_drill": {"since": "2026-01-01T00:00:00+00:00", "succeeded": None, "failure": {"at": at, "code": "2", "message": "no host"}}}
    options = {**OPTIONS, "dir": str(tmp_path), "schedule": clock}
    found = offsite_drills(options, "shop", NOW)
    assert found is not None
    assert (bool(found.failed), found.since) == (kept, 150 * DAY + DAY // 2)
    assert offsite_drills({**options, "offsite": None}, "shop", NOW) is None
    archive = offsite_drills(options, "shop", NOW, "archive timescaledb")
    assert archive == Drills(35 * DAY, since=found.since), "the clock's run is told once"
