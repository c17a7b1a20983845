# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled jobs inside the server (pg_cron): what they shall be, and the plan from what is there. No driver."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _databases_checks as checks
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Statement, name, statement, value
from ansible_collections.nexanest.database.plugins.module_utils._databases_steps import Phase, Step, Work, step

KEYS = ("name", "database", "schedule", "command", "username", "active")
LIBRARY = "pg_cron"

_FORGET = "DELETE FROM cron.job_run_details WHERE start_time < now() - interval {}"

_SECONDS = re.compile(r"([1-9]|[1-5][0-9]) seconds?")
_WORDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# minute, hour, day of the month, month, day of the week: least, most, words for the numbers from the least on
_FIELDS = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 7, _DAYS))
_PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>\d+))?")


@dataclass(frozen=True)
class Job:
    """A job as it shall be; database and name together are its name in the server."""

    database: str
    name: str
    schedule: str
    command: str
    username: str
    active: bool = True

    @property
    def title(self) -> str:
        return f"{self.database}/{self.name}"


@dataclass(frozen=True)
class Row:
    """A row of cron.job."""

    jobid: int
    jobname: str | None
    schedule: str
    command: str
    database: str
    username: str
    active: bool

    @property
    def ours(self) -> bool:
        """Whether its name is one that this module gives."""
        return self.jobname is not None and self.jobname.startswith(f"{self.database}/")


@dataclass(frozen=True)
class Cron:
    """What the server has of pg_cron. offered: can be created; loaded: since the server's start; rows: None without the extension."""

    offered: bool = True
    loaded: bool = True
    database: str | None = "postgres"
    rows: tuple[Row, ...] | None = None


def desired(items: Iterable[Any], *, keep_days: int, database: str, administrator: str) -> list[Job]:
    """The jobs, and where there are any, one that forgets old runs. Raises InputError."""
    jobs = [_job(item, index) for index, item in enumerate(items)]
    titles = [job.title for job in jobs]
    twins = sorted({title for title in titles if titles.count(title) > 1})
    if twins:
        raise InputError(f"jobs names {twins[0]!r} twice: keep one")
    forget = statement(_FORGET, value(f"{keep_days} days")).text()
    return [*jobs, Job(database, "forget_old_runs", "17 3 * * *", forget, administrator)] if jobs else []


def plan(wanted: Sequence[Job], actual: Cron, *, database: str, check_mode: bool) -> list[Step]:
    """What to do. Raises InputError."""
    if not wanted and not actual.rows:
        return []
    _refuse_missing(wanted, actual, database=database, check_mode=check_mode)
    steps = [] if actual.rows is not None else _extension_step(database)
    rows = [row for row in actual.rows or () if row.ours]
    kept: set[int] = set()
    for job in wanted:
        same = sorted((row for row in rows if row.jobname == job.title), key=lambda row: (row.username != job.username, row.jobid))
        kept |= {row.jobid for row in same[:1]}
        steps += _job_step(job, same[0] if same else None)
    return [*steps, *(found for row in rows if row.jobid not in kept for found in _removal_step(row))]


def check_schedule(text: str, where: str) -> str:
    """The schedule, if pg_cron can read it."""
    if _SECONDS.fullmatch(text) or text in _WORDS:
        return text
    fields = text.split()
    # `$` is the month's last day.
    readable = [*fields[:2], "1" if fields[2] == "$" else fields[2], *fields[3:]] if len(fields) == len(_FIELDS) else []
    if readable and all(map(_is_field, readable, _FIELDS)):
        return text
    raise InputError(f"{where} is {text!r}: write five fields as in '10 3 * * *' (minute, hour, day, month, day of the week), or '30 seconds' (1 to 59)")


def _is_field(text: str, field: tuple[int, int, tuple[str, ...]]) -> bool:
    return all(_is_part(part, field) for part in text.split(","))


def _is_part(text: str, field: tuple[int, int, tuple[str, ...]]) -> bool:
    least, most, words = field
    found = _PART.fullmatch(text)
    if found is None or (found["step"] is not None and int(found["step"]) == 0):
        return False
    numbers = [_number(part, least, words) for part in (found["first"], found["last"]) if part not in (None, "*")]
    if found["first"] == "*":
        return found["last"] is None
    return all(number is not None and least <= number <= most for number in numbers)


def _number(text: str, least: int, words: Sequence[str]) -> int | None:
    if text.isdigit():
        return int(text)
    return words.index(text.lower()) + least if text.lower() in words else None


def _job(item: Any, index: int) -> Job:
    title = item.get("name") if isinstance(item, Mapping) else None
    where = f"job {title!r}" if title else f"jobs[{index}]"
    data = checks.keys(item, KEYS, where)
    for key in ("name", "database", "schedule", "command", "username"):
        if not data.get(key):
            raise InputError(f"{where} has no {key}: add one")
    return Job(
        database=checks.identifier(data["database"], f"{where}: database"),
        name=checks.text(data["name"], f"{where}: name"),
        schedule=check_schedule(checks.text(data["schedule"], f"{where}: schedule").strip(), f"{where}: schedule"),
        command=checks.text(data["command"], f"{where}: command").strip(),
        username=checks.identifier(data["username"], f"{where}: username"),
        active=checks.flag(data["active"], f"{where}: active") if data.get("active") is not None else True,
    )


def _refuse_missing(wanted: Sequence[Job], actual: Cron, *, database: str, check_mode: bool) -> None:
    if not actual.offered:
        raise InputError(
            f"the server's image has no pg_cron, which the job {wanted[0].title!r} needs: "
            "use the image that the collection builds (images_source), or leave the key jobs out"
        )
    if not actual.loaded:
        if not check_mode:  # the restart that loads it comes before the jobs
            raise InputError("the server has pg_cron but did not load it at its start: put pg_cron into shared_preload_libraries and restart the server")
    elif actual.database != database:
        raise InputError(f"pg_cron keeps its jobs in the database {actual.database!r} (cron.database_name), not in {database!r}: log in to that one (login_db)")


def _extension_step(database: str) -> list[Step]:
    create = statement("CREATE EXTENSION IF NOT EXISTS {}", name(LIBRARY))
    return step("extension", f"{database}.{LIBRARY}", before=None, after={"schema": "pg_catalog"}, work=_work([create]))


def _job_step(job: Job, row: Row | None) -> list[Step]:
    values: tuple[str | int, ...] = (job.schedule, job.command, job.database, job.username, job.active)
    after = _shown(job)
    if row is None:
        create = statement("SELECT cron.schedule_in_database({}, {}, {}, {}, {}, {})", value(job.title), *(value(one) for one in values))
        return step("job", job.title, before=None, after=after, work=_work([create]))
    same = values == (row.schedule, row.command, row.database, row.username, row.active)
    alter = statement("SELECT cron.alter_job({}, {}, {}, {}, {}, {})", value(row.jobid), *(value(one) for one in values))
    return step("job", job.title, before=_shown(row), after=after, work=_work([] if same else [alter]))


def _removal_step(row: Row) -> list[Step]:
    remove = statement("SELECT cron.unschedule({}::bigint)", value(row.jobid))
    return step("job", str(row.jobname), before=_shown(row), after=None, work=_work([remove]))


def _shown(job: Job | Row) -> dict[str, Any]:
    return {"schedule": job.schedule, "command": job.command, "database": job.database, "username": job.username, "active": job.active}


def _work(statements: Iterable[Statement]) -> list[Work]:
    return [Work(Phase.CLUSTER, found) for found in statements]
