# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definer's role of postgres_databases: functions that act past row security, given by migrations, and nobody's way in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from product import converged, password, refusal, session, single
from servers import Server, postgres_server

ROLE = (
    "SELECT rolcanlogin, rolbypassrls, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolpassword IS NULL FROM pg_authid WHERE rolname = 'auth_definer'"
)


def arguments(server: Server, **keys: Any) -> dict[str, Any]:
    return single(server, "auth", **{"definer": True, "schemas": ["auth", "more"], **keys})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as fresh:
        converged(single(fresh, "auth", schemas=["auth", "more"]))
        yield fresh


@pytest.fixture(scope="module")
def migrated(server: Server) -> Server:
    """The definer added to a database that was there, and a migration that uses it."""
    converged(arguments(server))
    with session(server, "auth", "auth_migrator", password("migrator")) as cursor:
        cursor.execute("CREATE TABLE accounts (email text, secret text)")
        cursor.execute("INSERT INTO accounts VALUES ('a@b', 'x')")
        cursor.execute("ALTER TABLE accounts ENABLE ROW LEVEL SECURITY; ALTER TABLE accounts FORCE ROW LEVEL SECURITY")
        cursor.execute(
            "CREATE FUNCTION secret_of(text) RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ \
            SELECT secret FROM auth.accounts WHERE email = $1 $$"
        )
        cursor.execute("ALTER FUNCTION secret_of(text) OWNER TO auth_definer")
    return server


def test_definer_is_added_to_a_database_that_is_there(server: Server) -> None:
    planned, done = converged(arguments(server), check=True), converged(arguments(server))
    assert planned["objects"] == done["objects"]
    assert planned["diff"] == done["diff"]
    assert {(item["kind"], item["name"], item["action"]) for item in done["objects"]} == {
        ("role", "auth_definer", "create"),
        ("role", "auth_owner", "update"),
        ("schema", "auth.auth", "update"),
        ("schema", "auth.more", "update"),
        ("schema", "auth.public", "update"),
    }
    assert not converged(arguments(server))["changed"]


def test_definer_is_nobodys_login_and_no_administrator(migrated: Server) -> None:
    assert migrated.query(ROLE) == [(False, True, False, False, False, False, True)]
    with pytest.raises(psycopg2.OperationalError):
        migrated.connect("auth", user="auth_definer", password="x")


def test_definers_function_needs_a_grant_on_what_it_reads(migrated: Server) -> None:
    assert "permission denied for table accounts" in denied_app(migrated, "SELECT secret_of('a@b')")
    with session(migrated, "auth", "auth_migrator", password("migrator")) as cursor:
        cursor.execute("GRANT SELECT ON accounts TO auth_definer")
    with session(migrated, "auth", "auth_app", password("app")) as cursor:
        cursor.execute("SELECT secret_of('a@b'), (SELECT count(*) FROM accounts)")
        assert cursor.fetchone() == ("x", 0)
    assert not converged(arguments(migrated))["changed"]


@pytest.mark.parametrize("statement", ["SET ROLE auth_definer", "GRANT auth_definer TO auth_app", "ALTER FUNCTION auth.secret_of(text) SECURITY INVOKER"])
def test_application_is_not_the_definer(migrated: Server, statement: str) -> None:
    assert any(words in denied_app(migrated, statement) for words in ("permission denied", "must be owner"))


def test_owner_has_none_of_its_rights_and_the_migrator_may_become_it(migrated: Server) -> None:
    rows = migrated.query(
        "SELECT member::regrole::text, inherit_option, set_option, admin_option FROM pg_auth_members WHERE roleid = 'auth_definer'::regrole AND member <> 10"
    )
    assert rows == [("auth_owner", False, True, False)]
    with session(migrated, "auth", "auth_migrator", password("migrator")) as cursor:
        cursor.execute("SET ROLE auth_definer")
        cursor.execute("SELECT current_user, has_schema_privilege('more', 'CREATE'), has_schema_privilege('public', 'CREATE')")
        assert cursor.fetchone() == ("auth_definer", True, False)


@pytest.mark.parametrize(
    "drift",
    [
        "ALTER ROLE auth_definer LOGIN PASSWORD 'x'",
        "ALTER ROLE auth_definer NOBYPASSRLS SUPERUSER",
        "GRANT auth_definer TO auth_app",
        "GRANT auth_definer TO auth_owner WITH INHERIT TRUE",
        "REVOKE auth_definer FROM auth_owner",
        "REVOKE CREATE ON SCHEMA auth FROM auth_definer",
        "GRANT CREATE ON SCHEMA public TO auth_definer",
        "GRANT pg_read_all_data TO auth_definer",
    ],
)
def test_drift_of_the_definer_is_repaired(migrated: Server, drift: str) -> None:
    migrated.query(drift, database="auth")
    planned, done = converged(arguments(migrated), check=True), converged(arguments(migrated))
    assert done["changed"]
    assert planned["diff"] == done["diff"]
    assert not converged(arguments(migrated))["changed"]
    assert migrated.query(ROLE) == [(False, True, False, False, False, False, True)]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"definer": "perhaps"}, "must be true or false"),
        ({"definr": True}, "did you mean 'definer'?"),
        ({"definer": False, "user_tokens": True}, "add definer: true"),
        ({"roles": {"definer": {"login": True}}}, "unknown key 'definer'"),
        ({"user_token": True}, "did you mean 'user_tokens'?"),
        ({"job": []}, "did you mean 'jobs'?"),
        ({"migration": "x"}, "did you mean 'migrations'?"),
    ],
)
def test_bad_keys_are_refused_by_name(server: Server, keys: dict[str, Any], words: str) -> None:
    assert words in refusal(single(server, "never", **keys))


def test_password_for_the_definer_is_refused(server: Server) -> None:
    args = arguments(server)
    args["passwords"]["auth_definer"] = "x"
    assert "which nobody logs in as" in refusal(args)


@pytest.mark.parametrize("name", ["we\"ird 'name", "ünï ☃", "semi;drop", "x" * 54])
def test_odd_names_have_a_definer_that_goes_with_the_database(server: Server, name: str) -> None:
    args = single(server, name, definer=True)
    converged(args)
    assert not converged(args)["changed"]
    with session(server, name, f"{name}_migrator", password("migrator")) as cursor:
        cursor.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        cursor.execute('ALTER FUNCTION f() OWNER TO "{}"'.format(f"{name}_definer".replace('"', '""')))
    dropped = converged({**server.login, "databases": [{"name": name, "state": "absent"}], "confirm_drop": [name]})
    assert len(dropped["objects"]) == 6
    assert not server.query("SELECT 1 FROM pg_roles WHERE rolname = %s", f"{name}_definer")


def denied_app(server: Server, statement: str) -> str:
    with session(server, "auth", "auth_app", password("app")) as cursor, pytest.raises(psycopg2.Error) as caught:
        cursor.execute(statement)
    return str(caught.value)
