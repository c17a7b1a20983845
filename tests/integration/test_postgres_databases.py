# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_databases against a real server: what each role can and cannot do is tried by logging in as it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from product import BACKUP, LOGINS, ODD, SERVICES, arguments, converged, denied, password, session
from servers import Server, postgres_server

from ansible_collections.nexanest.database.plugins.module_utils import _scram


@pytest.fixture(scope="module")
def empty() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def first_run(empty: Server) -> dict[str, Any]:
    return {"planned": converged(arguments(empty), check=True), "done": converged(arguments(empty))}


@pytest.fixture(scope="module")
def server(empty: Server, first_run: dict[str, Any]) -> Server:
    """The converged server, with a few objects that the migrator of auth has made."""
    assert first_run["done"]["changed"]
    with session(empty, "auth", "auth_migrator") as cursor:
        cursor.execute("CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)")
        cursor.execute("INSERT INTO users (name) VALUES ('first')")
        cursor.execute("CREATE SEQUENCE tickets")
        cursor.execute("CREATE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT 42'")
    return empty


def test_plan_for_no_server_equals_what_the_run_then_does(empty: Server, first_run: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "psycopg2.py").write_text("raise ImportError('not installed')\n")
    args = arguments(empty, login_host="nowhere.invalid", assume_empty=True)
    planned = converged(args, check=True, path=[str(tmp_path)])
    assert planned["objects"] == first_run["planned"]["objects"] == first_run["done"]["objects"]
    assert planned["diff"] == first_run["planned"]["diff"] == first_run["done"]["diff"]
    assert planned["queries"] == first_run["done"]["queries"]


def test_check_mode_lists_exactly_what_is_there_afterwards(server: Server, first_run: dict[str, Any]) -> None:
    planned = {(item["kind"], item["name"]) for item in first_run["planned"]["objects"] if item["action"] == "create"}
    roles = {("role", row[0]) for row in server.query("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> current_user")}
    databases = {("database", row[0]) for row in server.query("SELECT datname FROM pg_database WHERE datname !~ '^(postgres|template.)$'")} | {
        ("database", "nexanest")
    }
    inside = set()
    for name in SERVICES:
        inside |= {
            ("schema", f"{name}.{row[0]}") for row in server.query("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|info|public)'", database=name)
        }
        inside |= {("extension", f"{name}.{row[0]}") for row in server.query("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'", database=name)}
    assert {item for item in planned if item[0] in ("role", "database", "schema", "extension")} == roles | databases | inside


def test_second_run_changes_nothing(server: Server) -> None:
    verifiers = server.query("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    result = converged(arguments(server))
    assert (result["changed"], result["objects"], result["queries"], result["diff"]) == (False, [], [], {"before": "", "after": ""})
    assert server.query("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1") == verifiers
    assert not converged(arguments(server), check=True)["changed"]


def test_no_secret_in_any_result(first_run: dict[str, Any]) -> None:
    text = json.dumps(first_run, ensure_ascii=False)
    assert ODD[:6] not in text
    assert "SCRAM-SHA-256" not in text
    assert "PASSWORD '********'" in text


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("kind", LOGINS)
def test_right_password_opens_and_wrong_one_does_not(server: Server, name: str, kind: str) -> None:
    role = f"{name}_{kind}"
    with session(server, name, role) as cursor:
        cursor.execute("SELECT session_user")
        assert cursor.fetchone() == (role,)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        server.connect(name, user=role, password=password(role)[:-1])


@pytest.mark.parametrize("name", SERVICES)
def test_owner_is_nobodys_login(server: Server, name: str) -> None:
    with pytest.raises(psycopg2.OperationalError):
        server.connect(name, user=f"{name}_owner", password=password(name))


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("kind", LOGINS)
def test_role_enters_no_other_database(server: Server, name: str, kind: str) -> None:
    role = f"{name}_{kind}"
    for other in {*SERVICES, "postgres", "template1"} - {name}:
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            server.connect(other, user=role, password=password(role))


def test_what_the_migrator_makes_belongs_to_the_owner(server: Server) -> None:
    owners = server.query(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'auth'::regnamespace"
        " UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'auth'::regnamespace",
        database="auth",
    )
    assert owners == [("auth_owner",)]


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE auth.mine (id int)", "CREATE SCHEMA mine", "CREATE TEMP TABLE mine (id int)", "CREATE TABLE public.mine (id int)"]
)
def test_migrator_as_itself_can_make_nothing(server: Server, statement: str) -> None:
    assert "permission denied" in denied(server, "auth", "auth_migrator", f"SET ROLE NONE; {statement}")


def test_application_reads_and_writes_rows(server: Server) -> None:
    with session(server, "auth", "auth_app") as cursor:
        cursor.execute("INSERT INTO users (name) VALUES ('second') RETURNING id")
        cursor.execute("UPDATE users SET name = 'renamed' WHERE name = 'second'")
        cursor.execute("DELETE FROM users WHERE name = 'renamed'")
        cursor.execute("SELECT count(*), nextval('tickets') > 0, answer() FROM users")
        assert cursor.fetchone() == (1, True, 42)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE TEMP TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE users ADD x int",
        "DROP TABLE users",
        "TRUNCATE users",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE EXTENSION hstore",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "SET ROLE auth_owner",
        "SET SESSION AUTHORIZATION nexanest",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY users TO PROGRAM 'cat'",
        "ALTER ROLE auth_app SUPERUSER",
        "GRANT auth_owner TO auth_app",
        "ALTER DATABASE auth SET work_mem = '1GB'",
    ],
)
def test_application_changes_no_structure_and_no_right(server: Server, statement: str) -> None:
    assert any(words in denied(server, "auth", "auth_app", statement) for words in ("permission denied", "must be owner"))


@pytest.mark.parametrize("statement", ["INSERT INTO users (name) VALUES ('x')", "DELETE FROM users", "SELECT nextval('tickets')", "SELECT answer()"])
def test_readonly_cannot_write_even_without_its_guard_rail(server: Server, statement: str) -> None:
    with session(server, "auth", "auth_readonly") as cursor:
        cursor.execute("SELECT name FROM users")
        assert cursor.fetchall() == [("first",)]
        cursor.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)


def test_sessions_get_guard_rails_and_search_path(server: Server) -> None:
    with session(server, "auth", "auth_app") as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'), current_setting('search_path')")
        assert cursor.fetchone() == ("30s", "1min", "auth, public")


def test_backup_role_reads_past_row_security_and_large_objects(server: Server) -> None:
    with session(server, "auth", "auth_migrator") as cursor:
        cursor.execute("CREATE TABLE hidden AS SELECT 1 AS id")
        cursor.execute("ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
        cursor.execute("ALTER TABLE hidden FORCE ROW LEVEL SECURITY")
        cursor.execute("SELECT lo_from_bytea(0, 'large')")
        large = cursor.fetchall()[0][0]
    with session(server, "auth", BACKUP["name"], BACKUP["password"]) as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM hidden), convert_from(lo_get(%s), 'UTF8')", [large])
        assert cursor.fetchone() == (1, "large")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("DELETE FROM users")


def test_rotated_password_replaces_the_old_one(server: Server) -> None:
    args = arguments(server)
    args["passwords"] = {**args["passwords"], "auth_app": "new one"}
    result = converged(args)
    assert result["objects"] == [{"kind": "role", "name": "auth_app", "action": "update"}]
    assert result["diff"] == {"before": "role auth_app:\n  password: set\n", "after": "role auth_app:\n  password: changed\n"}
    assert result["queries"] == ["ALTER ROLE \"auth_app\" PASSWORD '********'"]
    with session(server, "auth", "auth_app", "new one"), pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        server.connect("auth", user="auth_app", password=password("auth_app"))
    assert not converged(args)["changed"]
    assert converged(arguments(server))["changed"]


@pytest.mark.parametrize(
    "secret", [ODD, "a", " ", "SCRAM-SHA-256$4096:x$y:z", "md5" + "0" * 32, "\u200b", "א1", "א1ב", "ª\u00adx", "\u0221", "x\x07ä", "€" * 200]
)
def test_verifier_is_the_servers_own(server: Server, secret: str) -> None:
    args = arguments(server)
    args["passwords"] = {**args["passwords"], "auth_app": secret}
    converged(args)
    with session(server, "auth", "auth_app", secret) as cursor:
        cursor.execute("SELECT 1")
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 WHERE %s !~ '^(md5|SCRAM)'", [secret])
        if cursor.fetchone():  # the server takes what looks like a verifier as one
            cursor.execute("ALTER ROLE auth_app PASSWORD %s", [secret])
            assert not converged(args)["changed"]


def test_every_character_is_prepared_as_the_server_does(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET scram_iterations = 1; CREATE TABLE prepared (secret text, verifier text); CREATE ROLE prepared")
        cursor.execute(
            """DO $$ DECLARE secret text; code int; BEGIN
                 FOR code IN SELECT generate_series(1, 1900) UNION ALL SELECT generate_series(8190, 8480) LOOP
                   COMMIT; -- else each change walks past all versions of the row before it
                   FOREACH secret IN ARRAY ARRAY[chr(code), 'x' || chr(code), 'א' || chr(code) || 'א'] LOOP
                     EXECUTE format('ALTER ROLE prepared PASSWORD %L', secret);
                     INSERT INTO prepared SELECT secret, rolpassword FROM pg_authid WHERE rolname = 'prepared';
                   END LOOP;
                 END LOOP; END $$"""
        )
        cursor.execute("SELECT secret, verifier FROM prepared")
        rows = cursor.fetchall()
        cursor.execute("DROP TABLE prepared; DROP ROLE prepared")
    assert [secret for secret, verifier in rows if not _scram.matches(verifier, secret)] == []
