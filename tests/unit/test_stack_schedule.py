# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a job should have run, and what is said about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._stack_schedule import Run, job_notice, partition_notice, period

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "longest"),
    [
        ("30 seconds", timedelta(seconds=30)),
        ("* * * * *", timedelta(hours=1)),
        ("*/5 * * * *", timedelta(hours=1)),
        ("17 3 * * *", timedelta(days=1)),
        ("0 0,12 * * *", timedelta(days=1)),
        ("0 3 * * mon", timedelta(days=7)),
        ("0 * * * 1-5", timedelta(days=7)),
        ("0 3 1 * *", timedelta(days=31)),
        ("0 3 $ * *", timedelta(days=31)),
        ("0 3 1 1 *", timedelta(days=366)),
        ("@hourly", timedelta(hours=1)),
        ("@reboot", timedelta(days=366)),
    ],
)
def test_the_longest_pause_of_a_schedule(schedule: str, longest: timedelta) -> None:
    assert period(schedule) == longest


def run(**changes: object) -> Run:
    usual = {"job": "shop/x", "schedule": "17 3 * * *", "status": None, "message": None, "started": None, "known": None, "clock": NOW}
    return Run(**{**usual, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (run(), None),
        (run(status="succeeded", started=NOW - timedelta(hours=30)), None),
        (run(status="succeeded", started=NOW - timedelta(days=3)), "has not run since 2026-04-28 12:00"),
        (run(status="running", started=NOW - timedelta(hours=1)), None),
        (run(status="failed", message="no\n  such table", started=NOW), "failed at 2026-05-01 12:00: no such table"),
        (run(known=NOW - timedelta(days=3)), "has never run"),
        (run(known=NOW - timedelta(hours=40)), None),
        # Its runs are forgotten sooner than it comes again.
        (run(schedule="0 3 1 * *", known=NOW - timedelta(days=90)), None),
        (run(schedule="0 3 1 * *", status="succeeded", started=NOW - timedelta(days=70)), "has not run since"),
    ],
)
def test_what_is_said_about_a_job(found: Run, words: str | None) -> None:
    notice = job_notice(found)
    assert notice is None if words is None else notice is not None and words in notice.what


def test_partitions_ahead() -> None:
    assert partition_notice("shop", "shop.visits", 2, NOW) is None
    one, none, never = (partition_notice("shop", "shop.visits", count, end) for count, end in ((1, NOW), (0, NOW), (0, None)))
    assert one is not None
    assert none is not None
    assert never is not None
    assert (one.urgent, none.urgent, "it has none at all" in never.what) == (False, True, True)
