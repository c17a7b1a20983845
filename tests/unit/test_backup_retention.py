# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sets are deleted, and that no clock and no policy takes the last good one."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._backup_retention import Policy, Set, decide

START = datetime(2025, 5, 31, 12, 34, 56, tzinfo=UTC)
NOTHING = Policy(minimum=0)


def history(count: int, step: timedelta, begin: datetime = START) -> list[Set]:
    """Sets 1 to `count`, one `step` apart."""
    return [Set(f"set{serial}", serial, begin + (serial - 1) * step) for serial in range(1, count + 1)]


def kept(sets: list[Set], policy: Policy) -> list[str]:
    return sorted(decide(sets, policy).kept, key=lambda name: int(name.removeprefix("set")))


def test_the_newest_of_each_day_is_kept() -> None:
    sets = history(40, timedelta(hours=6), datetime(2025, 5, 1, 0, 0, tzinfo=UTC))
    assert kept(sets, Policy(daily=3)) == ["set32", "set36", "set40"]


def test_each_rule_counts_periods_that_have_a_set() -> None:
    """A week in which the machine was off does not use up places."""
    sets = [*history(3, timedelta(days=1)), Set("set4", 4, START + timedelta(days=100))]
    assert kept(sets, Policy(daily=3)) == ["set2", "set3", "set4"]


def test_all_rules_together_keep_the_union_with_all_reasons() -> None:
    sets = history(24 * 120, timedelta(hours=1), datetime(2025, 1, 1, tzinfo=UTC))
    decision = decide(sets, Policy(hourly=6, daily=7, weekly=4, monthly=3))
    assert decision.kept["set2880"] == ("the newest set", "hourly", "daily", "weekly", "monthly")
    by_rule = {rule: sum(rule in rules for rules in decision.kept.values()) for rule in ("hourly", "daily", "weekly", "monthly")}
    assert by_rule == {"hourly": 6, "daily": 7, "weekly": 4, "monthly": 3}
    assert len(decision.kept) + len(decision.deleted) == 2880


def test_weeks_are_those_of_the_calendar_also_over_new_year() -> None:
    sets = history(5, timedelta(days=1), datetime(2024, 12, 29, tzinfo=UTC))  # a Sunday, then the first week of 2025
    assert kept(sets, Policy(weekly=9)) == ["set1", "set5"]


def test_all_counts_zero_delete_nothing_whatever_the_minimum() -> None:
    for minimum in (0, 1, 5):
        assert decide(history(10, timedelta(days=1)), Policy(minimum=minimum)).deleted == {}


def test_a_minimum_keeps_the_newest_others() -> None:
    sets = history(9, timedelta(minutes=1), datetime(2025, 5, 1, tzinfo=UTC))
    decision = decide(sets, Policy(monthly=1, minimum=4))
    assert sorted(decision.kept) == ["set6", "set7", "set8", "set9"]
    assert decision.kept["set6"] == ("minimum of 4",)


def test_what_cannot_be_read_is_neither_deleted_nor_counted() -> None:
    sets = [Set("set0", 0, None, whole=False), *history(3, timedelta(minutes=1), datetime(2025, 5, 1, tzinfo=UTC))]
    assert kept(sets, Policy(daily=1, minimum=2)) == ["set0", "set2", "set3"]


def test_the_newest_verified_set_stays_for_ever() -> None:
    sets = [Set("set1", 1, START, verified=True), Set("set2", 2, START + timedelta(days=1), verified=True), *(
        Set(f"set{serial}", serial, START + timedelta(days=serial)) for serial in range(3, 60)
    )]  # fmt: skip
    assert kept(sets, Policy(daily=1)) == ["set2", "set59"]


def test_a_set_from_the_future_takes_one_place_and_is_not_the_newest() -> None:
    sets = history(10, timedelta(days=1))
    sets[4] = Set("set5", 5, datetime(2099, 1, 1, tzinfo=UTC))
    assert kept(sets, Policy(daily=3)) == ["set8", "set9", "set10"]
    assert kept(sets[:6], Policy(daily=3)) == ["set4", "set5", "set6"]


def test_a_clock_set_back_does_not_make_the_newest_sets_look_old() -> None:
    sets = [*history(5, timedelta(days=1)), Set("set6", 6, datetime(1970, 1, 1, tzinfo=UTC)), Set("set7", 7, datetime(1970, 1, 2, tzinfo=UTC))]
    assert kept(sets, Policy(daily=3)) == ["set5", "set6", "set7"]


def test_a_machine_that_always_begins_in_1970_keeps_what_has_a_date() -> None:
    sets = [*history(5, timedelta(days=1)), *(Set(f"set{serial}", serial, datetime(1970, 1, 1, 0, serial, tzinfo=UTC)) for serial in range(6, 50))]
    assert kept(sets, Policy(daily=4)) == ["set3", "set4", "set5", "set49"]


def test_the_reason_of_a_deletion_says_what_is_left() -> None:
    decision = decide(history(3, timedelta(minutes=1), datetime(2025, 5, 1, tzinfo=UTC)), Policy(daily=1))
    assert decision.deleted == {"set1": "no rule keeps it, and 2 whole sets are newer", "set2": "no rule keeps it, and 1 whole set is newer"}


def test_no_sets_and_one_set() -> None:
    assert decide([], Policy(daily=1)).deleted == {}
    assert decide(history(1, timedelta(1)), Policy(hourly=1)).deleted == {}


def test_a_count_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="below zero"):
        Policy(daily=-1)


def random_history(chance: random.Random) -> list[Set]:
    """Serials with gaps, a clock that jumps both ways, some sets verified, some unreadable or without a date."""
    sets, serial, clock = [], 0, START
    for _number in range(chance.randrange(60)):
        serial += chance.choice((1, 1, 1, 2, 7))
        clock += timedelta(seconds=chance.choice((600, 3600, 86400, 864000)))
        if chance.random() < 0.1:
            clock = START + timedelta(days=chance.choice((-20000, -400, -3, 3, 400, 27000)))
        whole = chance.random() > 0.1
        created = clock if whole and chance.random() > 0.05 else None
        sets.append(Set(f"set{serial}", serial if whole else 0, created, whole, whole and chance.random() < 0.2))
    chance.shuffle(sets)
    return sets


@pytest.mark.parametrize("seed", range(300))
def test_invariants_hold_for_any_history(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  a history, no secret
    sets = random_history(chance)
    policy = Policy(*(chance.choice((0, 0, 1, 2, 5, 100)) for _count in range(5)))
    decision = decide(sets, policy)
    whole = sorted((one for one in sets if one.whole), key=lambda one: one.serial)
    remaining = [one for one in whole if one.id in decision.kept]

    assert set(decision.kept) | set(decision.deleted) == {one.id for one in sets}
    assert not set(decision.kept) & set(decision.deleted)
    assert all(one.id in decision.kept for one in sets if not one.whole)
    assert remaining[-1:] == whole[-1:]
    assert [one for one in remaining if one.verified][-1:] == [one for one in whole if one.verified][-1:]
    assert len(remaining) >= min(policy.minimum, len(whole))
    if policy == NOTHING or not policy.deletes:
        assert not decision.deleted
    # What was kept once is not deleted by the same policy again, and the order in which sets are listed does not matter.
    again = [one for one in sets if one.id in decision.kept]
    assert decide(again, policy).deleted == {}
    chance.shuffle(sets)
    assert decide(sets, policy) == decision
    # A wider policy never deletes more.
    wider = Policy(policy.hourly + 1, policy.daily + 1, policy.weekly + 1, policy.monthly + 1, policy.minimum + 1)
    if policy.deletes:
        assert set(decide(sets, wider).deleted) <= set(decision.deleted)


@pytest.mark.parametrize("seed", range(8))
def test_pruning_after_every_set_keeps_what_the_rules_promise(seed: int) -> None:
    """Half a year of sets at random times, pruned each time: the last seven days that have a set and the last three months are all there."""
    chance = random.Random(seed)  # noqa: S311
    policy = Policy(daily=7, monthly=3, minimum=2)
    sets: list[Set] = []
    days: dict[str, str] = {}
    months: dict[str, str] = {}
    clock = START
    for serial in range(1, 400):
        clock += timedelta(seconds=chance.randrange(60, 80000))
        sets.append(Set(f"set{serial}", serial, clock))
        days[f"{clock:%Y-%m-%d}"] = months[f"{clock:%Y-%m}"] = f"set{serial}"
        deleted = decide(sets, policy).deleted
        sets = [one for one in sets if one.id not in deleted]
    there = {one.id for one in sets}
    assert set(list(days.values())[-7:]) <= there
    assert set(list(months.values())[-3:]) <= there
    assert len(there) <= 10
