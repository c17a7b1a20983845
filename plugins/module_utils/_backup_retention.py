# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup sets are kept, grandfather-father-son: the newest of each of the last hours, days, weeks and months.

Sets are ordered by their serial number, which grows whatever the clock says; a date only says which period a set stands for.
So a set dated 2099 takes one place of each rule and no more, and a clock that was set back makes no old set look new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# The option of the modules; the documentation fragment `retention` explains it.
OPTION: dict[str, Any] = {
    "type": "dict",
    "default": {},
    "apply_defaults": True,
    "options": {**{name: {"type": "int", "default": 0} for name in ("hourly", "daily", "weekly", "monthly")}, "minimum": {"type": "int", "default": 3}},
}


@dataclass(frozen=True)
class Set:
    """One set. created: None where it is not known; whole: its manifest can be read; verified: its bytes were read again and found right."""

    id: str
    serial: int
    created: datetime | None
    whole: bool = True
    verified: bool = False


@dataclass(frozen=True)
class Policy:
    """How many hours, days, weeks and months keep their newest set, and how many whole sets remain in any case. All counts zero: nothing is deleted."""

    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    minimum: int = 1

    def __post_init__(self) -> None:
        if min(self.hourly, self.daily, self.weekly, self.monthly, self.minimum) < 0:
            raise ValueError("the retention of backups has a count below zero: set it to zero or more")

    @property
    def deletes(self) -> bool:
        return any((self.hourly, self.daily, self.weekly, self.monthly))


@dataclass(frozen=True)
class Decision:
    """kept: for which rules, by id; deleted: why, by id, the oldest first."""

    kept: dict[str, tuple[str, ...]]
    deleted: dict[str, str]


def decide(sets: Iterable[Set], policy: Policy) -> Decision:
    """What the policy makes of these sets. Every set is in exactly one of the two answers."""
    every = list(sets)
    newest_first = sorted((one for one in every if one.whole), key=_order, reverse=True)
    kept: dict[str, list[str]] = {one.id: ["its manifest cannot be read, so it is not ours to judge"] for one in every if not one.whole}
    for one, rule in _reasons(newest_first, policy):
        kept.setdefault(one.id, []).append(rule)
    _fill(kept, newest_first, policy.minimum)
    deleted = {one.id: _why(newer) for newer, one in reversed(list(enumerate(newest_first))) if one.id not in kept}
    return Decision({identity: tuple(rules) for identity, rules in kept.items()}, deleted)


def _reasons(newest_first: Sequence[Set], policy: Policy) -> list[tuple[Set, str]]:
    """Each whole set that a rule keeps, with the rule."""
    if not policy.deletes:
        return [(one, "nothing is deleted: all counts are zero") for one in newest_first]
    found = [(one, "the newest set") for one in newest_first[:1]]
    found += [(one, "the newest verified set") for one in [one for one in newest_first if one.verified][:1]]
    for rule, count, period in (
        ("hourly", policy.hourly, _hour),
        ("daily", policy.daily, _day),
        ("weekly", policy.weekly, _week),
        ("monthly", policy.monthly, _month),
    ):
        found += [(one, rule) for one in _newest_of_each(newest_first, count, period)]
    # A set without a date stands for no period, so that no rule could ever keep it.
    return found + [(one, "its date is not known") for one in newest_first if one.created is None]


def _newest_of_each(newest_first: Sequence[Set], count: int, period: Callable[[datetime], str]) -> list[Set]:
    seen: dict[str, Set] = {}
    for one in newest_first:
        if len(seen) >= count:
            break
        if one.created is not None:
            seen.setdefault(period(one.created.astimezone(UTC)), one)
    return list(seen.values())


def _fill(kept: dict[str, list[str]], newest_first: Sequence[Set], minimum: int) -> None:
    """Add the newest of the others until the minimum of whole sets is there."""
    missing = minimum - sum(one.id in kept for one in newest_first)
    for one in [one for one in newest_first if one.id not in kept][: max(0, missing)]:
        kept[one.id] = [f"minimum of {minimum}"]


def _why(newer: int) -> str:
    return f"no rule keeps it, and {newer} whole {'set is' if newer == 1 else 'sets are'} newer"


def _order(one: Set) -> tuple[int, str]:
    return (one.serial, one.id)


def _hour(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H")


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _week(moment: datetime) -> str:
    return moment.strftime("%G-%V")


def _month(moment: datetime) -> str:
    return moment.strftime("%Y-%m")
