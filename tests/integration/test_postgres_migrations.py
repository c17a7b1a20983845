# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations applied to a real server, and what they leave when they fail."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from modules import ROOT, run_module
from sampling import one_in
from servers import Server, postgres_server

USERS = ("0001_users.sql", "CREATE TABLE users (id int PRIMARY KEY);\n")
TOKENS = ("0002_tokens.sql", "CREATE TABLE tokens (id int PRIMARY KEY);\nINSERT INTO tokens VALUES (1);\n")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server(prefix="tc") as started:
        yield started


@pytest.fixture
def auth(server: Server) -> Iterator[Server]:
    """The server with an empty database `auth` that belongs to auth_owner."""
    server.query("CREATE ROLE auth_owner NOLOGIN")
    server.query("CREATE DATABASE auth OWNER auth_owner")
    server.query("ALTER DATABASE auth SET statement_timeout = '300ms'")
    yield server
    server.query("DROP DATABASE IF EXISTS auth WITH (FORCE)")
    server.query("DROP ROLE auth_owner")


def migrate(server: Server, *files: tuple[str, str], check: bool = False, **options: Any) -> dict[str, Any]:
    item = {"name": "auth", "directory": "/unused", "session_role": "auth_owner", "files": [{"name": name, "text": text} for name, text in files]}
    return run_module("postgres_migrations", {**server.login, "databases": [item], "collection_version": "0.1.0", **options}, check)


def tables(server: Server) -> dict[str, str]:
    return dict(server.query("SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public'", database="auth"))


def in_ledger(server: Server) -> list[str]:
    if server.query("SELECT to_regclass('_ledger.migrations') IS NULL", database="auth") == [(True,)]:
        return []
    return [row[0] for row in server.query("SELECT file FROM _ledger.migrations ORDER BY id", database="auth")]


def test_files_are_applied_once_each_and_belong_to_the_session_role(auth: Server) -> None:
    first = migrate(auth, USERS, TOKENS)
    second = migrate(auth, USERS, TOKENS)
    assert first["applied"] == {"auth": [USERS[0], TOKENS[0]]}
    assert (first["changed"], second["changed"], second["applied"]) == (True, False, {"auth": []})
    assert tables(auth) == {"users": "auth_owner", "tokens": "auth_owner"}
    rows = auth.query("SELECT id, applied_by, collection_version, duration > '0' FROM _ledger.migrations ORDER BY id", database="auth")
    assert rows == [(1, "nexanest", "0.1.0", True), (2, "nexanest", "0.1.0", True)]


def test_check_mode_lists_what_the_run_then_does_and_touches_nothing(auth: Server) -> None:
    planned = migrate(auth, USERS, TOKENS, check=True)
    assert tables(auth) == {}
    assert in_ledger(auth) == []
    done = migrate(auth, USERS, TOKENS)
    assert planned["objects"] == done["objects"] == [{"kind": "migration", "name": f"auth/{name}", "action": "create"} for name in (USERS[0], TOKENS[0])]
    assert done["diff"]["after"].startswith(planned["diff"]["after"])
    assert migrate(auth, USERS, TOKENS, check=True)["changed"] is False


def test_check_mode_plans_for_a_database_and_for_a_server_that_are_not_there(server: Server) -> None:
    absent = migrate(server, USERS, check=True)
    assert absent["applied"] == {"auth": [USERS[0]]}
    nowhere = migrate(server, USERS, check=True, assume_empty=True, login_port=1)
    assert nowhere["objects"] == absent["objects"]


def test_a_missing_database_or_role_is_refused_before_anything_is_applied(server: Server, auth: Server) -> None:
    item = {"name": "auth", "directory": "/unused", "files": [{"name": USERS[0], "text": USERS[1]}]}
    result = run_module("postgres_migrations", {**server.login, "databases": [item, {**item, "name": "nowhere", "session_role": "nobody"}]})
    assert "database nowhere does not exist" in result["msg"]
    assert "role nobody does not exist" in result["msg"]
    assert in_ledger(auth) == []


def test_nothing_is_applied_to_any_database_when_one_has_a_problem(server: Server, auth: Server) -> None:
    item = {"name": "auth", "directory": "/unused", "files": [{"name": USERS[0], "text": USERS[1]}]}
    bad = {"name": "postgres", "directory": "/unused", "files": [{"name": USERS[0], "text": "\\c auth"}]}
    result = run_module("postgres_migrations", {**server.login, "databases": [item, bad]})
    assert result["failed"]
    assert "postgres/0001_users.sql: line 1: `\\c auth` is a command of psql" in result["msg"]
    assert tables(auth) == {}


def test_a_changed_file_is_refused_and_nothing_after_it_is_applied(auth: Server) -> None:
    migrate(auth, USERS)
    result = migrate(auth, (USERS[0], USERS[1] + "-- later\n"), TOKENS)
    assert result["failed"]
    assert "was changed after it was applied" in result["msg"]
    assert list(tables(auth)) == ["users"]


def test_a_failing_file_is_rolled_back_and_named_with_line_statement_and_reason(auth: Server) -> None:
    bad = "CREATE TABLE half (id int);\n\nINSERT INTO half\n  VALUES ('x');\n"
    result = migrate(auth, USERS, ("0002_bad.sql", bad), ("0003_late.sql", "SELECT 1"))
    assert result["failed"]
    assert "auth/0002_bad.sql failed at line 4, `INSERT INTO half VALUES ('x')`: invalid input syntax for type integer" in result["msg"]
    assert result["applied"] == {"auth": [USERS[0]]}
    assert list(tables(auth)) == ["users"]
    assert in_ledger(auth) == [USERS[0]]


def test_an_error_without_position_is_named_by_its_statement(auth: Server) -> None:
    result = migrate(auth, ("0001_x.sql", "CREATE TABLE x (id int PRIMARY KEY);\nINSERT INTO x VALUES (1);\nINSERT INTO x VALUES (1);"))
    assert "failed at line 3, `INSERT INTO x VALUES (1)`: duplicate key value" in result["msg"]


def test_a_deferred_constraint_fails_the_file_that_broke_it(auth: Server) -> None:
    text = "CREATE TABLE p (id int PRIMARY KEY);\nCREATE TABLE c (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO c VALUES (7);"
    result = migrate(auth, ("0001_x.sql", text))
    assert "deferred constraints" in result["msg"]
    assert (tables(auth), in_ledger(auth)) == ({}, [])


def test_a_trigger_deferred_to_the_commit_does_not_run_as_the_administrator(auth: Server) -> None:
    text = """
    CREATE TABLE seen (who text);
    CREATE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (current_user); RETURN NULL; END $$;
    CREATE TABLE t (id int);
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION peek();
    INSERT INTO t VALUES (1);
    """
    migrate(auth, ("0001_x.sql", text))
    assert auth.query("SELECT who FROM seen", database="auth") == [("auth_owner",)]


def test_the_owner_cannot_write_the_ledger_and_a_ledger_that_it_made_is_refused(auth: Server) -> None:
    result = migrate(auth, USERS, ("0002_forge.sql", "INSERT INTO _ledger.migrations SELECT * FROM _ledger.migrations"))
    assert "permission denied for table migrations" in result["msg"]
    auth.query("DROP SCHEMA _ledger CASCADE", database="auth")
    auth.query("CREATE SCHEMA _ledger AUTHORIZATION auth_owner", database="auth")
    assert "belongs to auth_owner, which is no superuser" in migrate(auth, USERS)["msg"]


def test_a_file_starts_in_a_fresh_session_without_the_database_s_guard_rails(auth: Server) -> None:
    first = ("0001_leave.sql", "CREATE SCHEMA x; SET search_path = x; CREATE TEMP TABLE left_over (id int); SET ROLE nexanest; SELECT pg_sleep(0.5);")
    result = migrate(auth, first, ("0002_users.sql", USERS[1]), ("0003_temp.sql", "CREATE TABLE left_over (id int)"))
    assert result["applied"] == {"auth": ["0001_leave.sql", "0002_users.sql", "0003_temp.sql"]}
    assert tables(auth) == {"users": "auth_owner", "left_over": "auth_owner"}


def test_what_a_file_leaves_reaches_neither_the_ledger_nor_the_next_file(auth: Server) -> None:
    cursor = "DECLARE c CURSOR WITH HOLD FOR SELECT 1"
    done = migrate(auth, ("0001_one.sql", cursor), ("0002_two.sql", f"{cursor}; SET default_transaction_read_only = on; SET statement_timeout = '50ms'"))
    assert done["applied"] == {"auth": ["0001_one.sql", "0002_two.sql"]}, done
    assert done["failed"] is False, done


def test_numbers_below_zero_are_refused_and_not_taken_for_done(auth: Server) -> None:
    result = migrate(auth, USERS, lock_retries=-1, lock_wait=-2)
    assert "lock_retries is -1; write 0 or more; lock_wait is -2; write 0 or more" in result["msg"]
    assert (result["failed"], tables(auth), in_ledger(auth)) == (True, {}, [])


def test_a_time_that_the_server_refuses_is_no_fault_of_a_statement(auth: Server) -> None:
    assert "auth/0001_users.sql failed at its start, before its first statement: invalid value" in migrate(auth, USERS, lock_timeout="99999999999999s")["msg"]


@pytest.mark.parametrize("check", [True, False])
def test_a_database_that_can_only_be_read_is_refused_in_words(auth: Server, check: bool) -> None:
    migrate(auth, USERS)
    auth.query("ALTER DATABASE auth SET default_transaction_read_only = on")
    assert migrate(auth, USERS, check=check)["failed"] is False
    refused = migrate(auth, USERS, TOKENS, check=check)
    assert "no migration was applied: auth can only be read: its server is a standby, or default_transaction_read_only is on" in refused["msg"]
    assert refused["applied"] == {"auth": []}


def test_a_run_does_not_wait_for_those_who_read_the_ledger(auth: Server) -> None:
    migrate(auth, USERS)
    with contextlib.closing(auth.connect("auth")) as reader, reader.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; BEGIN; SELECT * FROM _ledger.migrations")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(migrate, auth, USERS, TOKENS).result(timeout=60)["applied"] == {"auth": [TOKENS[0]]}


def test_the_databases_of_a_long_run_do_not_end_the_sessions_that_wait(server: Server, auth: Server) -> None:
    auth.query("ALTER DATABASE auth SET idle_session_timeout = '300ms'")
    slow = {"name": "postgres", "directory": "/unused", "files": [{"name": "0001_slow.sql", "text": "SELECT pg_sleep(1)"}]}
    item = {"name": "auth", "directory": "/unused", "files": [{"name": USERS[0], "text": USERS[1]}]}
    try:
        result = run_module("postgres_migrations", {**server.login, "databases": [slow, item]})
        assert result["applied"] == {"postgres": ["0001_slow.sql"], "auth": [USERS[0]]}, result
    finally:
        server.query("DROP SCHEMA IF EXISTS _ledger CASCADE")


def test_percent_signs_and_odd_text_reach_the_server_as_they_are(auth: Server) -> None:
    migrate(auth, ("0001_x.sql", "CREATE TABLE notes AS SELECT '100 %s %(x)s {{ y }} ü'::text AS note"))
    assert auth.query("SELECT note FROM notes", database="auth") == [("100 %s %(x)s {{ y }} ü",)]


def test_two_runs_at_once_both_end_right(auth: Server) -> None:
    files = (
        USERS,
        ("0002_slow.sql", "SELECT pg_sleep(2)"),
        ("0003_index.sql", "-- migration: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON users (id)"),
    )
    with ThreadPoolExecutor(2) as pool:
        results = [future.result() for future in [pool.submit(migrate, auth, *files) for _run in range(2)]]
    assert [result["failed"] for result in results] == [False, False]
    assert sorted(len(result["applied"]["auth"]) for result in results) == [0, 3]
    assert len(in_ledger(auth)) == 3


def test_a_run_that_waits_for_another_one_too_long_says_so(auth: Server) -> None:
    with contextlib.closing(auth.connect("auth")) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7020664726153081)")
        result = migrate(auth, USERS, lock_wait=1)
        pid = holder.info.backend_pid
    assert f"another run has been applying for 1 s (server process {pid})" in result["msg"]


def test_a_busy_table_is_tried_again_and_never_queued_for(auth: Server) -> None:
    migrate(auth, USERS)
    with contextlib.closing(auth.connect("auth")) as busy, busy.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; BEGIN; SELECT * FROM users")
        failed = migrate(auth, USERS, ("0002_alter.sql", "ALTER TABLE users ADD a int"), lock_timeout="100ms", lock_retries=1)
        assert "Tried 2 times: a lock was not free within lock_timeout" in failed["msg"]
        threading.Timer(2.5, auth.query, ["SELECT pg_terminate_backend(%s)", busy.info.backend_pid]).start()
        done = migrate(auth, USERS, ("0002_alter.sql", "ALTER TABLE users ADD a int"), lock_timeout="100ms", lock_retries=5)
        assert done["applied"] == {"auth": ["0002_alter.sql"]}


def test_an_invalid_index_is_dropped_when_its_build_fails_and_before_it_is_tried_again(auth: Server) -> None:
    twins = ("0001_twins.sql", "CREATE TABLE twins (id int); INSERT INTO twins VALUES (1), (1)")
    index = ("0002_index.sql", "-- migration: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS twins_id ON twins (id)")
    result = migrate(auth, twins, index)
    assert "could not create unique index" in result["msg"]
    assert auth.query("SELECT indexrelid FROM pg_index WHERE NOT indisvalid", database="auth") == []
    with pytest.raises(Exception, match="could not create unique index"):  # a crash leaves it
        auth.query(index[1], database="auth")
    auth.query("DELETE FROM twins", database="auth")
    assert migrate(auth, twins, index)["applied"] == {"auth": [index[0]]}
    assert auth.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'twins_id'::regclass", database="auth") == [(True,)]


@pytest.mark.parametrize("name", ["-- its name:\n twins_id", "t" * 70])
def test_an_invalid_index_is_found_whatever_its_statement_looks_like(auth: Server, name: str) -> None:
    twins = ("0001_twins.sql", "CREATE TABLE twins (id int); INSERT INTO twins VALUES (1), (1)")
    index = ("0002_index.sql", f"-- migration: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {name} ON twins (id)")
    for _run in range(2):
        assert "could not create unique index" in migrate(auth, twins, index)["msg"]
        assert auth.query("SELECT indexrelid FROM pg_index WHERE NOT indisvalid", database="auth") == []
    assert in_ledger(auth) == [twins[0]]


def test_a_statement_that_needs_no_transaction_is_told_how(auth: Server) -> None:
    assert "`-- migration: no-transaction`" in migrate(auth, ("0001_x.sql", "VACUUM"))["msg"]


def test_a_cut_connection_leaves_nothing_half_done_and_the_next_run_completes(auth: Server) -> None:
    slow = ("0002_slow.sql", "CREATE TABLE half (id int); SELECT pg_sleep(20)")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(migrate, auth, USERS, slow)
        deadline = time.monotonic() + 15
        while not auth.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(20)%%' AND pid <> pg_backend_pid()"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        result = running.result()
    assert "the connection was lost at line 1, `SELECT pg_sleep(20)`" in result["msg"]
    assert (list(tables(auth)), in_ledger(auth)) == (["users"], [USERS[0]])
    done = migrate(auth, USERS, (slow[0], slow[1].replace("20", "0")))
    assert done["applied"] == {"auth": [slow[0]]}


def test_a_foreign_table_in_the_ledger_s_place_is_an_answer_and_no_traceback(auth: Server) -> None:
    auth.query("CREATE SCHEMA _ledger", database="auth")
    auth.query("CREATE TABLE _ledger.migrations (version int)", database="auth")
    assert 'the ledger or the catalog could not be read or written: column "id" does not exist' in migrate(auth, USERS)["msg"]


def test_the_action_plugin_reads_the_files_beside_the_inventory(auth: Server, tmp_path: Path) -> None:
    directory = tmp_path / "inventory" / "migrations" / "auth"
    directory.mkdir(parents=True)
    (directory / USERS[0]).write_text(USERS[1], encoding="utf-8")
    (directory / "README.md").write_text("not a migration", encoding="utf-8")
    done = play(auth, tmp_path, "migrations/auth")
    assert "changed=1" in done, done
    assert auth.query("SELECT file, collection_version FROM _ledger.migrations", database="auth") == [(USERS[0], collection_version())]
    assert "changed=0" in play(auth, tmp_path, str(directory))


def test_the_action_plugin_names_what_it_cannot_read(auth: Server, tmp_path: Path) -> None:
    missing = play(auth, tmp_path, "migrations/nowhere")
    assert f"there is no directory {tmp_path}/inventory/migrations/nowhere or {tmp_path}/migrations/nowhere on the controller" in " ".join(missing.split())
    directory = tmp_path / "latin"
    directory.mkdir()
    (directory / USERS[0]).write_bytes(b"SELECT '\xe9'")
    assert "0001_users.sql is not UTF-8 text (byte 8)" in " ".join(play(auth, tmp_path, str(directory)).split())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    one_in(
        3,
        [
            (None, b"", "auth: its directory holds no migration (NNNN_what.sql)"),
            ("0001_link.sql", None, "cannot read the migrations of auth: [Errno 2] No such file or directory"),
            ("0001_bom.sql", b"\xef\xbb\xbfSELECT 1;", "auth/0001_bom.sql: it starts with a byte-order mark (BOM); save it as UTF-8 without one"),
            ("0001_crlf.sql", b"SELECT 1;\r\nSELECT 2;\r\n", "auth/0001_crlf.sql: line 1: it has Windows line ends (CR LF); convert it with"),
            ("0001_utf16.sql", "SELECT 1;".encode("utf-16"), "0001_utf16.sql is not UTF-8 text (byte 0); save it as UTF-8"),
            ("0001_psql.sql", b"SELECT 1;\n\\c other\n", "auth/0001_psql.sql: line 2: `\\c other` is a command of psql, not SQL"),
            ("R_copy.sql", b"COPY t FROM PROGRAM 'id'", "auth/R_copy.sql: line 1: `COPY t FROM PROGRAM 'id'` runs a program on the server"),
        ],
    ),
)
def test_bad_input_gets_a_clear_answer(auth: Server, tmp_path: Path, name: str | None, content: bytes | None, said: str) -> None:
    directory = tmp_path / "files"
    directory.mkdir()
    if name and content is None:
        (directory / name).symlink_to("nowhere")
    elif name and content is not None:
        (directory / name).write_bytes(content)
    assert said in " ".join(play(auth, tmp_path, str(directory)).split())
    assert in_ledger(auth) == []


def collection_version() -> str:
    found = re.search(r"^version: (\S+)", (ROOT / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1]


def play(server: Server, folder: Path, directory: str) -> str:
    """The output of a playbook that calls the module by its name."""
    inventory = folder / "inventory"
    inventory.mkdir(exist_ok=True)
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (inventory / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"here": host}}}), encoding="utf-8")
    arguments = {**server.login, "databases": [{"name": "auth", "directory": directory, "session_role": "auth_owner"}]}
    tasks = [{"name": "Apply", "nexanest.database.postgres_migrations": arguments}]
    (folder / "play.yml").write_text(json.dumps([{"name": "Migrate", "hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory / "hosts.yml"), str(folder / "play.yml")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "COLUMNS": "300"})
    return done.stdout + done.stderr
