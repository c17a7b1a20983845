# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Months of login attempts on a server whose clock is really moved: two years ahead a login works, and the jobs put things in order."""

from __future__ import annotations

import datetime
import subprocess
import time
from collections.abc import Iterator

import psycopg2
import pytest
from nexanest_server import PHC, NexaNest, entries
from servers import postgres_image, postgres_server

TAG = "tnexf-postgres-clock:test"
# Everything in the container reads its clock from a file, and asks the file again each second.
DOCKERFILE = """
FROM {image}
USER root
RUN apt-get update -q && apt-get install -qy --no-install-recommends libfaketime && apt-get clean && echo +0d >/clock && chmod 0666 /clock
ENV LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 FAKETIME_TIMESTAMP_FILE=/clock FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1
USER 999:999
"""
PARTITIONS = "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'auth.login_attempts'::regclass ORDER BY 1"
UNGUARDED = """
SELECT c.relname FROM pg_class c WHERE c.relname LIKE 'login_attempts%%' AND c.relkind IN ('r', 'p') AND NOT (
  c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)
  AND (c.relkind = 'p' OR NOT EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee <> c.relowner)))
"""


@pytest.fixture(scope="module")
def nexanest() -> Iterator[NexaNest]:
    build = ["docker", "build", "--quiet", "--tag", TAG, "-"]
    done = subprocess.run(build, input=DOCKERFILE.format(image=postgres_image()), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    try:
        with postgres_server(prefix="tnexf", image=TAG) as server:
            product = NexaNest(server)
            product.build()
            yield product
    finally:
        subprocess.run(["docker", "image", "rm", "--force", TAG], capture_output=True, check=False, timeout=60)


def set_clock(nexanest: NexaNest, days: int) -> datetime.datetime:
    """Move the server's clock to `days` from the real one; returns what it says then."""
    subprocess.run(["docker", "exec", nexanest.server.container, "sh", "-c", f"echo +{days}d >/clock"], check=True, timeout=30)
    deadline = time.monotonic() + 30
    while True:
        now = nexanest.admin("auth", "SELECT clock_timestamp()")[0][0]
        ahead = now - datetime.datetime.now(tz=datetime.UTC)
        if abs(ahead - datetime.timedelta(days=days)) < datetime.timedelta(hours=1):
            return now
        assert time.monotonic() < deadline, f"the server's clock is {ahead} ahead, not {days} days"
        time.sleep(0.5)


def months(nexanest: NexaNest) -> list[str]:
    return [row[0].removeprefix("login_attempts_") for row in nexanest.admin("auth", PARTITIONS)]


def months_from(moment: datetime.datetime, *, count: int) -> list[str]:
    first = moment.astimezone(datetime.UTC).year * 12 + moment.astimezone(datetime.UTC).month - 1
    return [f"{number // 12:04d}_{number % 12 + 1:02d}" for number in range(first, first + count)]


def run_jobs(nexanest: NexaNest) -> list[int]:
    """The jobs that the inventory declares, as the role that runs them."""
    jobs = next(entry["jobs"] for entry in entries() if entry["name"] == "auth")
    return [nexanest.run("auth", job["command"], kind="migrator")[0][0] for job in jobs]


def log_in(nexanest: NexaNest, email: str) -> bool:
    """The whole way of a login, with a token that is valid by the server's clock."""
    attempt, allowed, user = nexanest.run("auth", "SELECT attempt_id, allowed, user_id::text FROM auth.begin_login(%s, '192.0.2.1')", email)[0]
    return bool(allowed and nexanest.run("auth", "SELECT auth.confirm_login(%s)", attempt, user=user) == [(True,)])


@pytest.mark.long
def test_two_years_ahead_a_login_works_and_the_jobs_put_things_in_order(nexanest: NexaNest) -> None:
    now = set_clock(nexanest, 0)
    assert months(nexanest) == [*months_from(now, count=4), "default"]
    assert nexanest.run("auth", "SELECT auth.register_user('anna@example.org', %s)", PHC)[0][0]
    assert log_in(nexanest, "anna@example.org")
    user = str(nexanest.run("auth", "SELECT user_id FROM auth.find_account('anna@example.org')")[0][0])

    later = set_clock(nexanest, 731)
    assert log_in(nexanest, "anna@example.org")
    assert nexanest.admin("auth", "SELECT count(*) FROM auth.login_attempts_default") == [(1,)]
    # The rate limit holds there as well, and the row is as guarded as in a month of its own.
    assert [log_in(nexanest, "nobody@example.org") for _attempt in range(2)] == [False, False]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        nexanest.run("auth", "SELECT user_id FROM auth.login_attempts_default", user=user)

    assert run_jobs(nexanest) == [4, 4]
    assert months(nexanest) == [*months_from(later, count=4), "default"]
    assert nexanest.admin("auth", "SELECT count(*) FROM auth.login_attempts_default") == [(0,)]
    assert nexanest.run("auth", "SELECT outcome FROM auth.login_attempts", user=user) == [("succeeded",)]
    assert nexanest.admin("auth", UNGUARDED) == []
    assert log_in(nexanest, "anna@example.org")
    assert run_jobs(nexanest) == [0, 0]


def test_a_partition_asked_directly_shows_nothing_of_anybody(nexanest: NexaNest) -> None:
    for name in [row[0] for row in nexanest.admin("auth", PARTITIONS)]:
        for kind in ("app", "readonly"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                nexanest.run("auth", f"SELECT count(*) FROM auth.{name}", kind=kind)
        # The owner is held by the policy: no token, no row.
        assert nexanest.run("auth", f"SELECT count(*) FROM auth.{name}", kind="migrator") == [(0,)]


def test_retention_keeps_what_the_rate_limit_needs(nexanest: NexaNest) -> None:
    with pytest.raises(psycopg2.errors.RaiseException, match="the rate limit needs at least a day"):
        nexanest.run("auth", "SELECT auth.drop_login_partitions('0')", kind="migrator")
