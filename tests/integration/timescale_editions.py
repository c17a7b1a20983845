# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tests can run on the edition of TimescaleDB that the image has, and one line that says how many did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from timescale import edition, image

MARKS = {"native": "timescale", "equivalent": "apache"}
FILES = "test_timescale"


def skip_others(items: Sequence[pytest.Item]) -> None:
    """Skip what needs the other edition. The image is looked at only where a test asks."""
    for item in items:
        for mark, needed in MARKS.items():
            if item.get_closest_marker(mark) and edition(image()) != needed:
                item.add_marker(pytest.mark.skip(reason=f"needs TimescaleDB's {needed} edition: name an image in TEST_TIMESCALEDB_IMAGE"))


def summary(reporter: Any) -> Iterator[str]:
    ran = _count(reporter, "passed") + _count(reporter, "failed")
    skipped = _count(reporter, "skipped")
    if ran + skipped:
        yield f"TimescaleDB: {ran} tests ran on the {edition(image())} edition ({image()}), {skipped} did not"


def _count(reporter: Any, outcome: str) -> int:
    return sum(FILES in report.nodeid for report in reporter.stats.get(outcome, ()))
