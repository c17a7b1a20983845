# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spans of time as PostgreSQL writes and reads them, and the questions that a plan asks of them. No driver."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A unit in months, days, microseconds.
_UNITS = {
    "microsecond": (0, 0, 1),
    "millisecond": (0, 0, 1_000),
    "second": (0, 0, 1_000_000),
    "minute": (0, 0, 60_000_000),
    "hour": (0, 0, 3_600_000_000),
    "day": (0, 1, 0),
    "week": (0, 7, 0),
    "month": (1, 0, 0),
    "year": (12, 0, 0),
}
_SHORT = {"usec": "microsecond", "msec": "millisecond", "sec": "second", "min": "minute", "hr": "hour", "mon": "month", "yr": "year"}
_PART = re.compile(r"\s*(?:(\d+)\s*([a-z]+)|(\d+):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)\s*")
_DAY = 86_400_000_000


@dataclass(frozen=True)
class Span:
    """A positive interval. Months and days have no fixed length, so two spans are compared only where the answer is certain."""

    months: int = 0
    days: int = 0
    microseconds: int = 0

    @property
    def shortest(self) -> int:
        """Microseconds that it has at least: a year has 365 days, a month 28."""
        years, months = divmod(self.months, 12)
        return (years * 365 + months * 28 + self.days) * _DAY + self.microseconds

    @property
    def longest(self) -> int:
        years, months = divmod(self.months, 12)
        return (years * 366 + months * 31 + self.days) * _DAY + self.microseconds

    def within(self, other: Span) -> bool:
        """Whether it is certainly no longer than the other."""
        return self == other or self.longest <= other.shortest

    @property
    def whole_days(self) -> bool:
        """Whether it is made of days, weeks, months or years."""
        return not self.microseconds

    @property
    def fixed(self) -> Span:
        """The same with as many whole days as it has, of 24 hours each: what has a fixed length is compared like this."""
        days, microseconds = divmod(self.days * _DAY + self.microseconds, _DAY)
        return Span(self.months, days, microseconds)

    def nests_in(self, outer: Span) -> bool:
        """Whether buckets of `outer` are made of whole buckets of this one."""
        if outer.months:
            if outer.days or outer.microseconds:
                return False
            if self.months:
                return not (self.days or self.microseconds) and outer.months % self.months == 0
            return _DAY % (self.days * _DAY + self.microseconds) == 0
        if self.months:
            return False
        inner = self.days * _DAY + self.microseconds
        return (outer.days * _DAY + outer.microseconds) % inner == 0

    def __str__(self) -> str:
        years, months = divmod(self.months, 12)
        seconds, fraction = divmod(self.microseconds, 1_000_000)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        parts = [(years, "year"), (months, "month"), (self.days, "day"), (hours, "hour"), (minutes, "minute"), (seconds, "second"), (fraction, "microsecond")]
        return " ".join(f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts if number)


def span(text: str) -> Span:
    """A span from `90 days`, `1 hour 30 minutes` or the server's `1 mon 02:00:00`. Raises ValueError."""
    found = [0, 0, 0]
    position = 0
    written = text.strip().lower()
    while position < len(written):
        part = _PART.match(written, position)
        if part is None or part.end() == position:
            raise ValueError(text)
        for index, amount in enumerate(_amounts(part, text)):
            found[index] += amount
        position = part.end()
    if not any(found):
        raise ValueError(text)
    return Span(*found)


def _amounts(part: re.Match[str], text: str) -> tuple[int, int, int]:
    number, word, hours, minutes, seconds, fraction = part.groups()
    if word is None:
        whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)
        return 0, 0, whole * 1_000_000 + int((fraction or "0").ljust(6, "0"))
    singular = word.removesuffix("s") or word
    unit = _UNITS.get(_SHORT.get(singular, singular))
    if unit is None:
        raise ValueError(text)
    return unit[0] * int(number), unit[1] * int(number), unit[2] * int(number)
