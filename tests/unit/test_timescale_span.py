# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._timescale_span import Span, span


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90 days", Span(days=90)),
        ("1 hour", Span(microseconds=3_600_000_000)),
        ("1 hour 30 minutes", Span(microseconds=5_400_000_000)),
        ("2 years", Span(months=24)),
        ("1 week", Span(days=7)),
        # As the server writes them.
        ("01:00:00", Span(microseconds=3_600_000_000)),
        ("1 mon 2 days 00:00:01.5", Span(1, 2, 1_500_000)),
        ("2 yrs", Span(months=24)),
        ("24:00:00", Span(microseconds=86_400_000_000)),
    ],
)
def test_spans_are_read_as_people_and_as_the_server_write_them(text: str, expected: Span) -> None:
    assert span(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-1 day", "90", "1 fortnight", "0 days", "1 day ago", "days"])
def test_what_is_no_positive_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        span(text)


@pytest.mark.parametrize("text", ["90 days", "1 hour 30 minutes", "2 years 1 month", "15 seconds 7 microseconds"])
def test_a_span_is_written_so_that_it_is_read_as_the_same(text: str) -> None:
    assert span(str(span(text))) == span(text)


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ("85 days", "90 days", True),
        ("3 months", "3 months", True),
        ("3 months", "90 days", False),
        ("700 days", "2 years", True),
        ("91 days", "90 days", False),
    ],
)
def test_one_span_is_within_another_only_where_that_is_certain(inner: str, outer: str, expected: bool) -> None:
    assert span(inner).within(span(outer)) is expected


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ("1 hour", "1 day", True),
        ("1 day", "1 week", True),
        ("1 day", "1 month", True),
        ("1 hour", "1 month", True),
        ("1 month", "1 year", True),
        ("1 week", "1 month", False),
        ("7 hours", "1 day", False),
        ("1 day", "1 hour", False),
        ("1 month", "1 week", False),
        ("2 days", "1 month", False),
    ],
)
def test_buckets_nest_or_not(inner: str, outer: str, expected: bool) -> None:
    assert span(inner).nests_in(span(outer)) is expected
