# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled jobs without a server: what is wanted, and the plan."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._jobs import Cron, Job, Row, desired, plan

ITEM = {"name": "tick", "database": "auth", "schedule": "@daily", "command": "SELECT 1", "username": "auth_migrator"}


def wanted(*items: dict[str, Any]) -> list[Job]:
    return desired(items, keep_days=14, database="postgres", administrator="admin")


def planned(jobs: list[Job], actual: Cron, *, check_mode: bool = False) -> list[str]:
    return [work.statement.text() for step in plan(jobs, actual, database="postgres", check_mode=check_mode) for work in step.work]


def row(jobid: int, job: Job, **changes: Any) -> Row:
    values = {"jobname": job.title, "schedule": job.schedule, "command": job.command, "database": job.database, "username": job.username, "active": job.active}
    return Row(jobid, **{**values, **changes})


def test_without_jobs_the_server_needs_no_pg_cron() -> None:
    assert wanted() == []
    assert planned([], Cron(offered=False, loaded=False)) == []
    assert planned([], Cron(offered=False, rows=())) == []


def test_first_job_brings_the_extension_and_the_broom() -> None:
    statements = planned(wanted(ITEM), Cron())
    assert statements[0] == 'CREATE EXTENSION IF NOT EXISTS "pg_cron"'
    assert statements[1] == "SELECT cron.schedule_in_database('auth/tick', '@daily', 'SELECT 1', 'auth', 'auth_migrator', True)"
    assert "interval ''14 days''" in statements[2]


def test_equal_jobs_need_nothing_and_foreign_ones_stay() -> None:
    jobs = wanted(ITEM)
    rows = [row(1, jobs[0]), row(2, jobs[1]), row(3, jobs[0], jobname=None), row(4, jobs[0], jobname="by hand"), row(5, jobs[0], database="other")]
    assert planned(jobs, Cron(rows=tuple(rows))) == []


def test_job_of_the_wanted_user_is_kept_among_twins() -> None:
    jobs = wanted(ITEM)
    rows = (row(1, jobs[0], username="other"), row(2, jobs[0]), row(3, jobs[1]))
    assert planned(jobs, Cron(rows=rows)) == ["SELECT cron.unschedule(1::bigint)"]


def test_without_pg_cron_in_the_image_jobs_are_refused_also_in_check_mode() -> None:
    for check_mode in (True, False):
        with pytest.raises(InputError, match="the server's image has no pg_cron, which the job 'auth/tick' needs"):
            planned(wanted(ITEM), Cron(offered=False, loaded=False), check_mode=check_mode)


def test_twins_are_refused() -> None:
    with pytest.raises(InputError, match="names 'auth/tick' twice"):
        wanted(ITEM, ITEM)


@pytest.mark.parametrize("schedule", ["@daily", "59 seconds", "*/5 0-6,22 $ jan-mar mon", "0 0 31 12 7"])
def test_schedules_that_can_be_read(schedule: str) -> None:
    assert wanted({**ITEM, "schedule": schedule})[0].schedule == schedule


@pytest.mark.parametrize("schedule", ["", "daily", "0 seconds", "60 seconds", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * foo *", "*/0 * * * *"])
def test_schedules_that_cannot_are_refused(schedule: str) -> None:
    with pytest.raises(InputError, match="schedule"):
        wanted({**ITEM, "schedule": schedule})
