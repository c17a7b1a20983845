# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The target of a recovery: understood, refused, and the backup to begin with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import BaseBackup
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import (
    LATEST,
    Lineage,
    Reach,
    RestorePoint,
    Target,
    TargetError,
    choose,
    lineage_of,
    log_bytes,
    refuse_late,
    target_of,
)

NOON = datetime(2025, 5, 31, 12, tzinfo=UTC)
HISTORY = "1\t0/8000028\tbefore 2025-05-31 11:00:00+00\n\n# a remark\n2\t0/C0000A0\tno recovery target specified\n"


def backup(label: str, end: datetime, *, place: int = 4, timeline: int = 1, damaged: bool = False) -> BaseBackup:
    stop, segment = int(end.timestamp()), f"{timeline:08X}{0:08X}{place:08X}"
    return BaseBackup(label, "full", stop - 5, stop, f"0/{place:X}000028", f"0/{place:X}000100", segment, segment, 100, 10, damaged)


MORNING, LATER = backup("morning", NOON - timedelta(hours=6), place=4), backup("later", NOON - timedelta(hours=1), place=9)
REACH = Reach((MORNING, LATER), NOON, alive=True)
POINTS = [RestorePoint("early", "0/5000000", NOON), RestorePoint("late", "0/9000100", NOON)]


def asked(**given: str) -> Target:
    return target_of({f"recovery_target_{kind}": value for kind, value in given.items()})


@pytest.mark.parametrize(
    ("given", "target", "options"),
    [
        ({}, "the latest moment", ["--type=standby", "--target-timeline=3"]),
        ({"lsn": "0/4034fd0"}, "lsn 0/4034FD0", ["--type=lsn", "--target=0/4034FD0", "--target-action=pause", "--target-timeline=3"]),
        ({"xid": " 747 "}, "xid 747", ["--type=xid", "--target=747", "--target-action=pause", "--target-timeline=3"]),
        ({"name": "before-clean-up"}, "name before-clean-up", ["--type=name", "--target=before-clean-up", "--target-action=pause", "--target-timeline=3"]),
    ],
)
def test_a_target_becomes_the_options_of_a_recovery_that_waits_there(given: dict[str, str], target: str, options: list[str]) -> None:
    found = asked(**given)
    assert str(found) == target
    assert found.options("3") == options


@pytest.mark.parametrize(
    "text",
    [
        "2025-05-31 14:34:55+02:00",
        "2025-05-31 14:34:55+02",
        "2025-05-31T12:34:55Z",
        "2025-05-31 12:34:55 UTC",
        "20250531T123455+0000",
        "2025-05-31 12:34:55.000000+00:00",
    ],
)
def test_one_moment_in_many_spellings(text: str) -> None:
    found = asked(time=text)
    assert found.moment == datetime(2025, 5, 31, 12, 34, 55, tzinfo=UTC)
    assert found.value == "2025-05-31 12:34:55.000000+00"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"time": "2025-05-31 12:34:55"}, "add the zone"),
        ({"time": "2025-05-31"}, "add the zone"),
        ({"time": "yesterday"}, "is no time"),
        ({"time": "2025-05-32 12:34:55+00"}, "is no time"),
        ({"lsn": "4034FD0"}, "such as 0/4034FD0"),
        ({"lsn": "0/4034FD0'"}, "such as 0/4034FD0"),
        ({"xid": "-1"}, "it is a number"),
        ({"xid": "7", "name": "x"}, "recovery_target_xid and recovery_target_name are two targets"),
    ],
)
def test_what_is_no_target_is_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(TargetError, match=words):
        asked(**given)


@pytest.mark.parametrize(
    ("target", "label"),
    [
        (asked(), "later"),
        (asked(time="2025-05-31 11:30:00+00"), "later"),
        (asked(time="2025-05-31 11:00:00+00"), "morning"),
        (asked(time="2025-05-31 06:00:01+00"), "morning"),
        (asked(lsn="0/9000101"), "later"),
        (asked(lsn="0/9000100"), "morning"),
        (asked(lsn="1/0"), "later"),
        (asked(name="early"), "morning"),
        (asked(name="late"), "later"),
        (asked(xid="747"), "morning"),
    ],
)
def test_the_backup_is_the_newest_that_ended_before_the_target(target: Target, label: str) -> None:
    """Of a transaction one cannot know that; the oldest backup is before it, if any is."""
    assert choose(target, REACH, POINTS).label == label


@pytest.mark.parametrize("target", [asked(time="2025-05-31 06:00:00+00"), asked(lsn="0/4000100")])
def test_a_target_before_the_first_backup_is_refused_with_what_is_possible(target: Target) -> None:
    with pytest.raises(TargetError, match="from 2025-05-31 06:00:00 UTC on a recovery is possible"):
        choose(target, REACH, POINTS)


def test_a_name_that_nobody_noted_is_refused_with_those_that_are() -> None:
    with pytest.raises(TargetError, match=r"no restore point never .*there are: early, late"):
        choose(asked(name="never"), REACH, POINTS)


def test_the_last_note_of_a_name_counts() -> None:
    assert choose(asked(name="early"), REACH, [*POINTS, RestorePoint("early", "0/A000000", NOON)]).label == "later"
    with pytest.raises(TargetError, match="no restore point begun is noted"):
        choose(asked(name="begun"), REACH, [*POINTS, RestorePoint("begun", "", NOON)])


def test_a_damaged_backup_is_passed_over() -> None:
    reach = Reach(
        (backup("first", NOON - timedelta(hours=9), damaged=True), MORNING, backup("later", NOON - timedelta(hours=1), damaged=True)), NOON, alive=True
    )
    assert choose(asked(), reach, []).label == "morning"
    assert reach.oldest == NOON - timedelta(hours=6)
    with pytest.raises(TargetError, match="there is no base backup later; there are morning"):
        choose(asked(), reach, [], "later")


def test_without_a_whole_backup_nothing_can_be_recovered() -> None:
    for backups in ((), (backup("x", NOON, damaged=True),)):
        with pytest.raises(TargetError, match="make db-base-backup"):
            choose(asked(), Reach(backups, NOON, alive=True), [])


def test_the_operator_may_name_the_backup() -> None:
    assert choose(asked(), REACH, [], "morning").label == "morning"
    assert choose(asked(name="made-by-hand"), REACH, [], "morning").label == "morning"


@pytest.mark.parametrize(("alive", "words"), [(True, "that is in the future"), (False, "nothing is known of it")])
def test_a_time_after_the_end_of_the_log_is_refused_with_what_is_possible(alive: bool, words: str) -> None:
    reach = Reach((MORNING,), NOON, alive=alive)
    refuse_late(asked(time="2025-05-31 12:00:00+00"), reach)
    refuse_late(asked(lsn="F/0"), reach)
    refuse_late(Target(LATEST), reach)
    with pytest.raises(TargetError, match=f"{words}. Possible is 2025-05-31 06:00:00 UTC to 2025-05-31 12:00:00 UTC"):
        refuse_late(asked(time="2025-05-31 12:00:00.1+00"), reach)


@pytest.mark.parametrize(
    ("first", "newest", "count"),
    [
        ("000000010000000000000003", "000000010000000000000003", 1),
        ("000000010000000000000003", "000000010000000000000005", 3),
        ("0000000100000000000000FE", "000000010000000100000001", 4),
        ("0000000100000001000000FF", "000000020000000300000000", 258),
        ("000000010000000000000009", "000000010000000000000003", 0),
        ("000000010000000000000003", "", 0),
    ],
)
def test_the_log_is_counted_across_the_ends_of_its_files(first: str, newest: str, count: int) -> None:
    one = BaseBackup("x", "full", 0, 0, "0/0", "0/0", first, first, 0, 0)
    assert log_bytes(one, newest) == count * 16 * 1024 * 1024


def test_a_history_says_where_each_timeline_was_left() -> None:
    assert lineage_of("3", HISTORY) == Lineage(3, {1: 0x8000028, 2: 0xC0000A0})
    assert lineage_of("1", "") == Lineage(1, {})
    assert lineage_of("latest", HISTORY) == Lineage()


@pytest.mark.parametrize(
    ("lineage", "labels"),
    [
        (lineage_of("3", HISTORY), ["1 before", "2 before", "3"]),
        (lineage_of("1", ""), ["1 before", "1 after"]),
        (lineage_of("2", HISTORY.splitlines()[0]), ["1 before", "2 before", "2 after"]),
        (lineage_of("3", ""), ["1 before", "1 after", "2 before", "2 after", "3"]),
        (Lineage(), ["1 before", "1 after", "2 before", "2 after", "3", "4"]),
    ],
)
def test_a_backup_that_was_taken_on_another_branch_leads_nowhere(lineage: Lineage, labels: list[str]) -> None:
    """As after a mistake, a base backup, and a recovery to the moment before both."""
    places = {"1 before": (1, 4), "1 after": (1, 9), "2 before": (2, 0xA), "2 after": (2, 0xD), "3": (3, 0xE), "4": (4, 0xF)}
    backups = [backup(label, NOON, timeline=timeline, place=place) for label, (timeline, place) in places.items()]
    assert [one.label for one in lineage.of_use(backups)] == labels


def test_a_segment_of_another_timeline_is_no_end_of_this_one() -> None:
    names = ["00000001000000000000000A", "000000010000000100000000", "0000000200000009000000FF"]
    assert Lineage(1).newest(names) == names[1]
    assert Lineage(2).newest(names) == names[2]
    assert Lineage(3).newest(names) == ""
    assert Lineage().newest(names) == names[2]
    assert Lineage().newest([]) == ""


def test_options_that_are_not_given_are_no_target() -> None:
    given: dict[str, Any] = {"recovery_target_time": "", "recovery_target_lsn": None}
    assert target_of(given).kind == LATEST
