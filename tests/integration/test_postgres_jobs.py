# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_jobs against a real server with pg_cron: jobs run as the service's owner, in its database, and only our own are touched."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from modules import run_module
from product import converged, session, single
from servers import Server, postgres_server

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._jobs import check_schedule

CRON = [
    "shared_preload_libraries=pg_stat_statements,pg_cron",
    "cron.database_name=postgres",
    "cron.use_background_workers=on",
    "cron.max_running_jobs=3",
    "cron.timezone=UTC",
]
ROWS = "SELECT jobname, schedule, command, database, username, active FROM cron.job ORDER BY jobid"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server(settings=CRON) as fresh:
        converged(single(fresh, "auth"))
        with session(fresh, "auth", "auth_migrator", single(fresh, "auth")["passwords"]["auth_migrator"]) as cursor:
            cursor.execute("CREATE TABLE ticks (who name, login name, base name)")
        yield fresh


def job(**changes: Any) -> dict[str, Any]:
    command = "INSERT INTO ticks SELECT current_user, session_user, current_database()"
    return {"name": "tick", "database": "auth", "schedule": "1 second", "command": command, "username": "auth_migrator", **changes}


def jobs(server: Server, *wanted: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
    return run_module("postgres_jobs", {**server.login, "jobs": list(wanted), **options}, check)


def scheduled(server: Server, *wanted: dict[str, Any], **options: Any) -> dict[str, Any]:
    result = jobs(server, *wanted, **options)
    assert not result["failed"], result
    return result


def until(server: Server, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
    """The rows of a query that has none at first; twenty seconds at most."""
    deadline = time.monotonic() + 20
    while True:
        rows = server.query(query, database=database)
        if rows:
            return rows
        assert time.monotonic() < deadline, f"no row within 20 s: {query}"
        time.sleep(0.2)


def test_without_jobs_nothing_is_made(server: Server) -> None:
    assert not scheduled(server)["changed"]
    assert not server.query("SELECT FROM pg_extension WHERE extname = 'pg_cron'")


def test_plan_for_no_server_equals_what_the_run_then_does(server: Server) -> None:
    for_nothing = scheduled(server, job(), check=True, assume_empty=True, login_host="nowhere.invalid")
    planned, done = scheduled(server, job(), check=True), scheduled(server, job())
    assert for_nothing == {**planned, "invocation": for_nothing["invocation"]}
    assert {key: planned[key] for key in ("objects", "diff", "queries")} == {key: done[key] for key in ("objects", "diff", "queries")}
    assert [(item["kind"], item["name"], item["action"]) for item in done["objects"]] == [
        ("extension", "postgres.pg_cron", "create"),
        ("job", "auth/tick", "create"),
        ("job", "postgres/forget_old_runs", "create"),
    ]


def test_job_runs_as_the_owner_in_its_database(server: Server) -> None:
    scheduled(server, job())
    assert until(server, "SELECT DISTINCT who, login, base FROM auth.ticks", "auth") == [("auth_owner", "auth_migrator", "auth")]
    assert until(server, "SELECT DISTINCT status, username, database FROM cron.job_run_details WHERE status NOT IN ('starting', 'running')") == [
        ("succeeded", "auth_migrator", "auth")
    ]


def test_second_run_changes_nothing(server: Server) -> None:
    scheduled(server, job())
    for check in (True, False):
        result = scheduled(server, job(), check=check)
        assert (result["changed"], result["queries"], result["diff"]) == (False, [], {"before": "", "after": ""})
    assert not converged(single(server, "auth"))["changed"]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"schedule": "*/5 * * * mon-fri"}, "  schedule: */5 * * * mon-fri\n"),
        ({"command": "SELECT 'it''s', 1 % 2"}, "  command: SELECT 'it''s', 1 % 2\n"),
        ({"active": False}, "  active: false\n"),
        ({"username": "auth_app"}, "  username: auth_app\n"),
    ],
)
def test_change_is_one_update_of_the_same_job(server: Server, change: dict[str, Any], shown: str) -> None:
    scheduled(server, job())
    before = server.query("SELECT jobid FROM cron.job ORDER BY 1")
    planned, done = scheduled(server, job(**change), check=True), scheduled(server, job(**change))
    assert planned["diff"] == done["diff"]
    assert [(item["name"], item["action"]) for item in done["objects"]] == [("auth/tick", "update")]
    assert done["diff"]["after"] == f"job auth/tick:\n{shown}"
    assert server.query("SELECT jobid FROM cron.job ORDER BY 1") == before
    assert not scheduled(server, job(**change))["changed"]
    scheduled(server, job())


def test_job_changed_by_hand_is_repaired(server: Server) -> None:
    scheduled(server, job())
    right = server.query(ROWS)
    server.query("SELECT cron.alter_job(jobid, schedule => '0 0 1 1 *', active => false) FROM cron.job WHERE jobname = 'auth/tick'")
    assert [item["action"] for item in scheduled(server, job())["objects"]] == ["update"]
    assert server.query(ROWS) == right


def test_two_jobs_of_one_name_become_one(server: Server) -> None:
    scheduled(server, job())
    right = server.query(ROWS)
    server.query("SELECT cron.schedule_in_database('auth/tick', '* * * * *', 'SELECT 1', 'auth', 'auth_app')")
    assert [item["action"] for item in scheduled(server, job())["objects"]] == ["delete"]
    assert server.query(ROWS) == right


def test_removed_job_goes_and_those_of_others_stay(server: Server) -> None:
    scheduled(server, job(), job(name="second", schedule="@daily"))
    server.query("SELECT cron.schedule_in_database('by hand', '0 0 1 1 *', 'SELECT 1', 'auth', 'auth_app')")
    server.query("SELECT cron.schedule('0 0 1 1 *', 'SELECT 2')")
    result = scheduled(server, job())
    assert [(item["name"], item["action"]) for item in result["objects"]] == [("auth/second", "delete")]
    assert [row[0] for row in server.query(ROWS)] == ["auth/tick", "postgres/forget_old_runs", "by hand", None]
    assert {item["name"] for item in scheduled(server)["objects"]} == {"auth/tick", "postgres/forget_old_runs"}
    assert [row[0] for row in server.query(ROWS)] == ["by hand", None]
    server.query("SELECT cron.unschedule(jobid) FROM cron.job")


def test_old_runs_are_forgotten(server: Server) -> None:
    scheduled(server, job(active=False), keep_runs=3)
    server.query("INSERT INTO cron.job_run_details (jobid, runid, start_time) VALUES (0, -1, now() - interval '4 days'), (0, -2, now() - interval '2 days')")
    command = server.query("SELECT command FROM cron.job WHERE jobname = 'postgres/forget_old_runs'")[0][0]
    server.query(command)
    assert server.query("SELECT runid FROM cron.job_run_details WHERE jobid = 0") == [(-2,)]


def test_jobs_of_a_dropped_database_fail_alone_and_go_with_the_next_run(server: Server) -> None:
    converged(single(server, "gone"))
    scheduled(server, job(), job(database="gone", username="gone_migrator", command="SELECT 1"))
    until(server, "SELECT FROM cron.job_run_details WHERE database = 'gone' AND status = 'succeeded'")
    converged({**server.login, "databases": [{"name": "gone", "state": "absent"}], "confirm_drop": ["gone"]})
    until(server, "SELECT FROM cron.job_run_details WHERE database = 'gone' AND status = 'failed' AND return_message LIKE '%does not exist%'")
    server.query("TRUNCATE auth.ticks", database="auth")
    until(server, "SELECT FROM auth.ticks", "auth")
    assert [(item["name"], item["action"]) for item in scheduled(server, job())["objects"]] == [("gone/tick", "delete")]


def test_schedules_are_judged_as_the_server_does(server: Server) -> None:
    scheduled(server, job())
    fields = [
        "*",
        "0",
        "5",
        "7",
        "8",
        "12",
        "13",
        "23",
        "24",
        "31",
        "32",
        "59",
        "60",
        "1-3",
        "3-1",
        "*/2",
        "*/0",
        "1,2",
        "1-5/2",
        "jan",
        "mon",
        "$",
        "x",
        "-1",
        "",
    ]
    texts = [" ".join([field if i == at else "*" for i in range(5)]) for at in range(5) for field in fields]
    texts += ["1 seconds", "1 second", "59 seconds", "60 seconds", "0 seconds", "01 seconds", "5 minutes", "@daily", "@hourly", "@never", "* * * * * *"]
    texts += ["* * * JAN-mar Mon,FRI", "0 0 1 1 7", "30  4 \t* * *"]
    wrong = []
    for text in texts:
        try:
            ours = bool(check_schedule(text, "schedule"))
        except InputError:
            ours = False
        if ours and not accepted(server, text):
            wrong.append(text)
        elif not ours and accepted(server, text):
            wrong.append(f"refused: {text}")
    # The server drops a sixth field without a word.
    assert wrong == ["refused: 01 seconds", "refused: * * * * * *"]


def accepted(server: Server, schedule: str) -> bool:
    try:
        server.query("DO $$ BEGIN PERFORM cron.schedule('judged', %s, 'SELECT 1'); RAISE division_by_zero; END $$", schedule)
    except psycopg2.errors.DivisionByZero:
        return True
    except psycopg2.Error:
        return False
    raise AssertionError("the block ends with an error of its own")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schedule": "61 seconds"}, "write five fields"),
        ({"schedule": "* * * *"}, "write five fields"),
        ({"schedule": "60 * * * *"}, "write five fields"),
        ({"shedule": "@daily"}, "did you mean 'schedule'?"),
        ({"command": ""}, "job 'tick' has no command"),
        ({"database": "d" * 64}, "has 64 bytes"),
        ({"active": "perhaps"}, "must be true or false"),
    ],
)
def test_bad_job_is_refused_by_name_before_any_change(server: Server, change: dict[str, Any], words: str) -> None:
    scheduled(server, job())
    before = server.query(ROWS)
    for check in (True, False):
        result = jobs(server, job(name="first"), job(**change), check=check)
        assert result["failed"]
        assert words in result["msg"]
    assert server.query(ROWS) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [({"database": "nowhere"}, 'database "nowhere" does not exist'), ({"username": "nobody"}, 'role "nobody" does not exist')],
)
def test_what_the_server_refuses_leaves_all_jobs_as_they_were(server: Server, change: dict[str, Any], words: str) -> None:
    scheduled(server, job())
    before = server.query(ROWS)
    result = jobs(server, job(name="first"), job(**change))
    assert words in result["msg"]
    assert server.query(ROWS) == before


def test_planned_job_may_want_a_database_that_is_not_there_yet(server: Server) -> None:
    assert scheduled(server, job(database="later", username="later_migrator"), check=True)["changed"]


def test_server_that_did_not_load_it_is_named() -> None:
    with postgres_server() as plain:
        assert not scheduled(plain)["changed"]
        assert "put pg_cron into shared_preload_libraries" in jobs(plain, job())["msg"]
        # The restart that loads it comes before the jobs: the plan counts on it.
        assert scheduled(plain, job(), check=True)["changed"]


def test_server_that_keeps_jobs_elsewhere_is_named(server: Server) -> None:
    result = run_module("postgres_jobs", {**server.login, "login_db": "auth", "jobs": [job()]})
    assert "in the database 'postgres' (cron.database_name), not in 'auth'" in result["msg"]
