# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_databases against a real server: what each role can and cannot do is tried by logging in as it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from modules import run_module, start_module
from servers import Server, postgres_server

from ansible_collections.nexanest.database.plugins.module_utils import _scram

SERVICES = ("nexanest", "auth", "portfolio", "analytics", "notifications")
LOGINS = ("app", "migrator", "readonly")
ODD = "p'ä\"s\\s $HOME %s %(x)s {{ y }} `id` ; -- \t ☃ \u00a0 ﬁ"
BACKUP = {"name": "nexanest_backup", "password": f"backup {ODD}"}


def password(role: str) -> str:
    return f"{role} {ODD}"


def arguments(server: Server, **changes: Any) -> dict[str, Any]:
    """The whole set of the test's product."""
    return {
        **server.login,
        "databases": [{"name": name, "comment": f"Service {name}", "extensions": ["pg_stat_statements"]} for name in SERVICES],
        "passwords": {f"{name}_{kind}": password(f"{name}_{kind}") for name in SERVICES for kind in LOGINS},
        "backup_role": BACKUP,
        **changes,
    }


def single(server: Server, name: str, **keys: Any) -> dict[str, Any]:
    """A set of one database, without the product's others."""
    passwords = {f"{keys.get('service', name)}_{kind}": password(kind) for kind in LOGINS}
    return {**server.login, "databases": [{"name": name, **keys}], "passwords": passwords}


def converged(args: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    result = run_module("postgres_databases", args, **options)
    assert not result["failed"], result
    return result


def refusal(args: Mapping[str, Any], **options: Any) -> str:
    result = run_module("postgres_databases", args, **options)
    assert result["failed"], result
    return str(result["msg"])


@contextlib.contextmanager
def session(server: Server, database: str, role: str, secret: str | None = None) -> Iterator[psycopg2.extensions.cursor]:
    with contextlib.closing(server.connect(database, user=role, password=secret or password(role))) as connection, connection.cursor() as cursor:
        yield cursor


def denied(server: Server, database: str, role: str, statement: str) -> str:
    """The words with which the server refuses `statement`."""
    with session(server, database, role) as cursor, pytest.raises(psycopg2.Error) as caught:
        cursor.execute(statement)
    return str(caught.value)


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
            """DO $$ DECLARE secret text; BEGIN
                 FOR code IN 1 .. 12543 LOOP
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


DRIFT = {
    "PUBLIC may connect": ("GRANT CONNECT ON DATABASE auth TO PUBLIC", "database", "auth"),
    "PUBLIC may connect to postgres": ("GRANT CONNECT ON DATABASE postgres TO PUBLIC", "database", "postgres"),
    "another service may connect": ("GRANT CONNECT ON DATABASE auth TO portfolio_app", "database", "auth"),
    "a stranger may connect": ("CREATE ROLE stranger; GRANT ALL ON DATABASE auth TO stranger", "database", "auth"),
    "a right with grant option": ("GRANT CONNECT ON DATABASE auth TO auth_app WITH GRANT OPTION", "database", "auth"),
    "a right that was passed on": (
        "GRANT CONNECT ON DATABASE auth TO auth_app WITH GRANT OPTION; SET ROLE auth_app; GRANT CONNECT ON DATABASE auth TO portfolio_app; RESET ROLE",
        "database",
        "auth",
    ),
    "a lost right": ("REVOKE CONNECT ON DATABASE auth FROM auth_app", "database", "auth"),
    "another owner": ("ALTER DATABASE auth OWNER TO nexanest", "database", "auth"),
    "another limit": ("ALTER DATABASE auth CONNECTION LIMIT 3", "database", "auth"),
    "another comment": ("COMMENT ON DATABASE auth IS 'x'", "database", "auth"),
    "another search_path": ("ALTER DATABASE auth SET search_path = public", "database", "auth"),
    "a foreign setting": ("ALTER DATABASE auth SET work_mem = '1GB'", "database", "auth"),
    "a lost guard rail": ("ALTER ROLE auth_app IN DATABASE auth RESET statement_timeout", "role settings", "auth_app in auth"),
    "a setting in another database": ("ALTER ROLE auth_app IN DATABASE portfolio SET work_mem = '1GB'", "role settings", "auth_app in portfolio"),
    "a setting everywhere": ("ALTER ROLE auth_app SET work_mem = '1GB'", "role", "auth_app"),
    "a superuser": ("ALTER ROLE auth_app SUPERUSER CREATEDB CREATEROLE BYPASSRLS REPLICATION", "role", "auth_app"),
    "an owner that logs in": ("ALTER ROLE auth_owner LOGIN PASSWORD 'x'", "role", "auth_owner"),
    "no login": ("ALTER ROLE auth_app NOLOGIN CONNECTION LIMIT 1 VALID UNTIL '2000-01-01'", "role", "auth_app"),
    "another password": ("ALTER ROLE auth_app PASSWORD 'x'", "role", "auth_app"),
    "an MD5 password": ("ALTER ROLE auth_app PASSWORD 'md500000000000000000000000000000000'", "role", "auth_app"),
    "membership of another service": ("GRANT auth_owner TO portfolio_app", "role", "portfolio_app"),
    "membership of the server's": ("GRANT pg_read_all_data TO auth_app", "role", "auth_app"),
    "a stranger as member": ("CREATE ROLE guest; GRANT auth_app TO guest", "role", "auth_app"),
    "membership with admin option": ("GRANT auth_owner TO auth_migrator WITH ADMIN TRUE", "role", "auth_migrator"),
    "membership by another grantor": (
        "GRANT auth_owner TO auth_migrator WITH ADMIN TRUE; GRANT auth_owner TO portfolio_app GRANTED BY auth_migrator",
        "role",
        "portfolio_app",
    ),
    "no membership": ("REVOKE auth_owner FROM auth_migrator", "role", "auth_migrator"),
}
INSIDE_DRIFT = {
    "another schema owner": ("ALTER SCHEMA auth OWNER TO nexanest", "schema", "auth.auth"),
    "PUBLIC in the schema": ("GRANT ALL ON SCHEMA auth TO PUBLIC", "schema", "auth.auth"),
    "another service in the schema": ("GRANT USAGE ON SCHEMA auth TO portfolio_app", "schema", "auth.auth"),
    "PUBLIC may create in public": ("GRANT CREATE ON SCHEMA public TO PUBLIC", "schema", "auth.public"),
    "the application may create": ("GRANT CREATE ON SCHEMA auth TO auth_app", "schema", "auth.auth"),
    "no schema public": ("DROP SCHEMA public CASCADE", "schema", "auth.public"),
    "no extension": ("DROP EXTENSION pg_stat_statements", "extension", "auth.pg_stat_statements"),
    "no default privileges": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner IN SCHEMA auth REVOKE ALL ON TABLES FROM auth_app",
        "default privileges",
        "auth.auth",
    ),
    "default privileges for PUBLIC": ("ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner GRANT SELECT ON TABLES TO PUBLIC", "default privileges", "auth"),
    "default EXECUTE for PUBLIC": ("ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC", "default privileges", "auth"),
}


@pytest.mark.parametrize("drift", [*DRIFT, *INSIDE_DRIFT])
def test_drift_is_seen_and_repaired(server: Server, drift: str) -> None:
    statement, kind, name = {**DRIFT, **INSIDE_DRIFT}[drift]
    rights_before = fingerprint(server)
    server.query(statement, database="auth" if drift in INSIDE_DRIFT else "postgres")
    seen = converged(arguments(server), check=True)
    repaired = converged(arguments(server))
    assert {(item["kind"], item["name"]) for item in repaired["objects"]} >= {(kind, name)}
    assert (seen["objects"], seen["diff"]) == (repaired["objects"], repaired["diff"])
    assert repaired["diff"]["before"] != repaired["diff"]["after"]
    again = converged(arguments(server))
    assert (again["changed"], again["queries"]) == (False, [])
    assert fingerprint(server) == rights_before


def fingerprint(server: Server) -> list[Any]:
    """All that a drift can touch, but for the strangers themselves and the salts."""
    return [
        server.query(
            "SELECT datname, pg_get_userbyid(datdba), datconnlimit, (SELECT array_agg(a ORDER BY a) FROM unnest(datacl::text[]) a) FROM pg_database ORDER BY 1"
        ),
        server.query(
            "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication, rolcanlogin, rolconnlimit, rolpassword IS NULL"
            " FROM pg_authid WHERE rolname NOT IN ('stranger', 'guest') ORDER BY 1"
        ),
        server.query("SELECT roleid::regrole::text, member::regrole::text, admin_option, inherit_option, set_option FROM pg_auth_members ORDER BY 1, 2"),
        server.query(
            "SELECT setdatabase, setrole::regrole::text, (SELECT array_agg(a ORDER BY a) FROM unnest(setconfig) a) FROM pg_db_role_setting ORDER BY 1, 2"
        ),
        server.query("SELECT extname, extnamespace::regnamespace::text FROM pg_extension ORDER BY 1", database="auth"),
        server.query(
            "SELECT nspname, pg_get_userbyid(nspowner), p.* FROM pg_namespace CROSS JOIN LATERAL (SELECT grantee::regrole::text, privilege_type"
            " FROM aclexplode(nspacl) WHERE grantee <> nspowner) p WHERE nspname IN ('auth', 'public') ORDER BY 1, 3, 4",
            database="auth",
        ),
        server.query(
            "SELECT defaclnamespace::regnamespace::text, defaclobjtype::text, p.grantee::regrole::text, p.privilege_type FROM pg_default_acl"
            " CROSS JOIN LATERAL aclexplode(defaclacl) p ORDER BY 1, 2, 3, 4",
            database="auth",
        ),
    ]


def test_rights_that_migrations_gave_a_definer_role_stay(server: Server) -> None:
    server.query("CREATE ROLE definer; GRANT USAGE ON SCHEMA auth TO definer", database="auth")
    assert not converged(arguments(server))["changed"]
    server.query("DROP OWNED BY definer; DROP ROLE definer", database="auth")


def test_check_mode_touches_nothing(server: Server) -> None:
    before = fingerprint(server)
    args = arguments(server)
    args["databases"][1] |= {"conn_limit": 7, "settings": {"work_mem": "5MB"}, "schemas": ["auth", "more"]}
    assert converged(args, check=True)["changed"]
    assert fingerprint(server) == before


@pytest.mark.parametrize(
    "name", ["we\"ird 'name", "ünï çødé ☃", "a=b dbname=postgres", "postgresql://x", "Upper", "%s {} $1", "select", "x" * 54, "back\\slash", "semi;drop"]
)
def test_odd_names_work(server: Server, name: str) -> None:
    args = single(server, name, comment="it's \\ 100 %", extensions=["pg_stat_statements"], roles={"app": {"conn_limit": 5}})
    planned = converged(args, check=True)
    assert planned["objects"] == converged(args)["objects"]
    again = converged(args)
    assert (again["changed"], again["queries"]) == (False, [])
    with session(server, name, f"{name}_migrator", password("migrator")) as cursor:
        cursor.execute("CREATE TABLE here (id int)")
    with session(server, name, f"{name}_app", password("app")) as cursor:
        cursor.execute("INSERT INTO here VALUES (1)")
        cursor.execute("SELECT current_schema(), current_database()")
        assert cursor.fetchone() == (name, name)
    dropped = converged({**server.login, "databases": [{"name": name, "state": "absent"}], "confirm_drop": [name]})
    assert len(dropped["objects"]) == 5
    assert not server.query("SELECT FROM pg_roles WHERE rolname LIKE %s", "%" + name.replace("\\", "\\\\").replace("_", "\\_") + "%")


def test_absent_needs_the_explicit_word(server: Server) -> None:
    args = single(server, "doomed")
    converged(args)
    absent = {**server.login, "databases": [{"name": "doomed", "state": "absent"}]}
    assert "add its name to confirm_drop" in refusal(absent)
    assert server.query("SELECT datname FROM pg_database WHERE datname = 'doomed'")
    with contextlib.closing(server.connect("doomed", user="doomed_app", password=password("app"))):
        assert converged({**absent, "confirm_drop": ["doomed"]})["changed"]
    assert not converged(absent)["changed"]


def test_databases_of_one_service_share_its_roles(server: Server) -> None:
    names = ("orders", "orders_archive")
    passwords = {f"orders_{kind}": password(kind) for kind in LOGINS}
    args = {**server.login, "databases": [{"name": name, "service": "orders"} for name in names], "passwords": passwords}
    converged(args)
    for name in names:
        with session(server, name, "orders_migrator", password("migrator")) as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == ("orders_owner",)
    args["databases"][1]["state"] = "absent"
    result = converged({**args, "confirm_drop": ["orders_archive"]})
    assert result["objects"] == [{"kind": "database", "name": "orders_archive", "action": "delete"}]


def test_database_that_is_there_already_is_taken_over(server: Server) -> None:
    server.query("CREATE DATABASE adopted TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'")
    args = single(server, "adopted")
    assert {"kind": "database", "name": "adopted", "action": "update"} in converged(args)["objects"]
    assert not converged(args)["changed"]
    args["databases"][0]["locale"] = "C.UTF-8"
    assert "has the locale 'C', not 'C.UTF-8', and cannot change it" in refusal(args)


def test_locales_and_options_of_a_new_database(server: Server) -> None:
    for provider, locale in (("libc", "C"), ("icu", "de-DE"), ("builtin", "C")):
        args = single(
            server,
            f"locale_{provider}",
            encoding="UTF8",
            locale=locale,
            locale_provider=provider,
            settings={"TimeZone": "UTC", "search_path": ["a b", "public"], "my.own": 1, "jit": False},
            extensions=[{"name": "citext", "schema": "a b", "version": "1.6"}, "plpgsql"],
            schemas=["a b"],
            roles={"owner": {"login": True}, "app": {"settings": {"statement_timeout": None, "work_mem": "8MB"}}},
        )
        converged(args)
        again = converged(args)
        assert (again["changed"], again["queries"]) == (False, [])
        with session(server, f"locale_{provider}", f"locale_{provider}_app", password("app")) as cursor:
            cursor.execute("SELECT current_setting('statement_timeout'), current_setting('work_mem'), current_setting('my.own'), 'A'::citext = 'a'")
            assert cursor.fetchone() == ("0", "8MB", "1", True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extensions": ["no_such"]}, "wants the extension 'no_such', which the server does not have"),
        ({"settings": {"wrok_mem": "1MB"}}, "the server would refuse the setting wrok_mem = '1MB': unrecognized configuration parameter"),
        ({"roles": {"app": {"settings": {"statement_timeout": "30 lemons"}}}}, "invalid value for parameter"),
    ],
)
def test_what_the_server_would_refuse_is_found_before_any_change(server: Server, changes: dict[str, Any], words: str) -> None:
    for check in (True, False):
        assert words in refusal(single(server, "never", **changes), check=check)
    assert not server.query("SELECT FROM pg_roles WHERE rolname ~ '^never'")


def test_login_failures_are_one_sentence(server: Server) -> None:
    args = arguments(server)
    for changes, words in (
        ({"login_password": "wrong"}, "password authentication failed"),
        ({"login_port": 1}, "Connection refused"),
        ({"login_db": "no such"}, "does not exist"),
    ):
        message = refusal({**args, **changes})
        assert words in message
        assert "\n" not in message
    message = refusal({**args, "login_user": "nexanest_backup", "login_password": BACKUP["password"], "backup_role": None})
    assert "is no superuser" in message


def test_half_dropped_and_closed_databases_are_named(server: Server) -> None:
    args = single(server, "broken")
    converged(args)
    server.query("ALTER DATABASE broken ALLOW_CONNECTIONS false")
    assert "lets nobody in" in refusal(args)
    server.query("ALTER DATABASE broken ALLOW_CONNECTIONS true")
    server.query("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'")
    assert "was dropped half-way" in refusal(args)
    converged({**server.login, "databases": [{"name": "broken", "state": "absent"}], "confirm_drop": ["broken"]})
    converged(args)
    assert not converged(args)["changed"]


def test_killed_run_is_completed_by_the_next(empty: Server) -> None:
    with postgres_server() as fresh:
        for delay in (0.25, 0.35, 0.5, 0.65, 0.8):
            run = start_module("postgres_databases", arguments(fresh))
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(timeout=delay)
            run.kill()
            run.communicate()
            with contextlib.suppress(psycopg2.OperationalError):
                fresh.connect("auth", user="portfolio_app", password=password("portfolio_app")).close()
                pytest.fail("a stranger could enter a half-made database")
        converged(arguments(fresh))
        assert not converged(arguments(fresh))["changed"]


def test_server_killed_in_between_is_one_sentence() -> None:
    with postgres_server() as fresh:
        run = start_module("postgres_databases", arguments(fresh))
        time.sleep(0.6)
        subprocess.run(["docker", "kill", fresh.container], check=True, capture_output=True)
        output, _errors = run.communicate(timeout=60)
        result = json.loads(output)
        assert not result.get("failed") or "\n" not in result["msg"]


def test_two_runs_at_once_both_end_right() -> None:
    with postgres_server() as fresh:
        results: list[dict[str, Any]] = []
        runs = [threading.Thread(target=lambda: results.append(run_module("postgres_databases", arguments(fresh)))) for _run in range(3)]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
        assert sorted(result["changed"] for result in results) == [False, False, True]
        assert not any(result["failed"] for result in results)


def test_change_by_someone_else_in_between_is_coped_with() -> None:
    with postgres_server() as fresh:
        run = start_module("postgres_databases", arguments(fresh))
        with contextlib.closing(fresh.connect()) as connection, connection.cursor() as cursor:
            for name in SERVICES:  # as a colleague by hand would
                with contextlib.suppress(psycopg2.Error):
                    cursor.execute(f"CREATE ROLE {name}_owner")
                    cursor.execute(f"CREATE DATABASE {name}")
        output, _errors = run.communicate(timeout=60)
        assert not json.loads(output).get("failed"), output
        assert not converged(arguments(fresh))["changed"]
