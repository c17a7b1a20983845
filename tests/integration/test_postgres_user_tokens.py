# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_user_tokens against a real server: who a session's user is, whatever a service, or who injects SQL into it, tries."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from modules import run_module
from product import converged, denied, password, session
from servers import Server, postgres_server
from token_server import ANNA, BERT, KEYS, databases, signed, token, tokens

from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import mint

Cursor = psycopg2.extensions.cursor


@pytest.fixture(scope="module")
def empty() -> Iterator[Server]:
    with postgres_server(settings=["log_statement=all", "log_min_duration_statement=0", "shared_preload_libraries=pg_stat_statements"]) as server:
        yield server


@pytest.fixture(scope="module")
def first_run(empty: Server) -> dict[str, Any]:
    without_databases = signed(tokens(empty), check=True)
    converged(databases(empty))
    return {"without_databases": without_databases, "planned": signed(tokens(empty), check=True), "done": signed(tokens(empty))}


@pytest.fixture(scope="module")
def server(empty: Server, first_run: dict[str, Any]) -> Server:
    """The converged server, with notes that belong to users."""
    assert first_run["done"]["changed"]
    with session(empty, "auth", "auth_migrator") as cursor:
        cursor.execute("CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id uuid NOT NULL, text text)")
        cursor.execute("INSERT INTO notes (user_id, text) SELECT u, 'of ' || u FROM unnest(%s::uuid[]) u", [[ANNA, BERT]])
        cursor.execute("INSERT INTO notes (user_id) SELECT %s FROM generate_series(1, 5000)", [BERT])
        cursor.execute("CREATE INDEX ON notes (user_id); ALTER TABLE notes ENABLE ROW LEVEL SECURITY; ALTER TABLE notes FORCE ROW LEVEL SECURITY")
        cursor.execute("CREATE POLICY own ON notes USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()))")
    return empty


@pytest.fixture
def app(server: Server) -> Iterator[Cursor]:
    """A session of the application, in a transaction."""
    with contextlib.closing(server.connect("auth", user="auth_app", password=password("auth_app"))) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            yield cursor


def set_user(cursor: Cursor, text: str | None) -> Any:
    cursor.execute("SELECT session.set_user(%s)::text", [text])
    return cursor.fetchall()[0][0]


def user(cursor: Cursor) -> Any:
    cursor.execute("SELECT session.user_id()::text")
    return cursor.fetchall()[0][0]


def visible(cursor: Cursor) -> int:
    cursor.execute("SELECT count(*) FROM notes")
    return int(cursor.fetchall()[0][0])


def refused(cursor: Cursor, text: str | None) -> str:
    with pytest.raises(psycopg2.Error) as caught:
        set_user(cursor, text)
    assert caught.value.pgcode == "28000"
    cursor.connection.rollback()
    assert user(cursor) is None
    return str(caught.value)


def test_plans_equal_what_the_run_then_does(empty: Server, first_run: dict[str, Any]) -> None:
    for_nothing = signed(tokens(empty, assume_empty=True, login_host="nowhere.invalid"), check=True)
    for planned in (for_nothing, first_run["without_databases"], first_run["planned"]):
        assert {key: planned[key] for key in ("objects", "diff", "queries")} == {key: first_run["done"][key] for key in ("objects", "diff", "queries")}
    assert {"kind": "function", "name": "auth.session.user_id()", "action": "create"} in first_run["done"]["objects"]


def test_second_run_changes_nothing(server: Server) -> None:
    for check in (True, False):
        result = signed(tokens(server), check=check)
        assert (result["changed"], result["objects"], result["queries"], result["diff"]) == (False, [], [], {"before": "", "after": ""})
    assert not converged(databases(server))["changed"]


def test_no_key_in_results_logs_or_statistics(server: Server, first_run: dict[str, Any]) -> None:
    signed(tokens(server, keys={**tokens(server)["keys"], "auth": {"current": KEYS["auth"], "previous": "p" * 40}}))
    signed(tokens(server))
    logs = subprocess.run(["docker", "logs", server.container], capture_output=True, text=True, check=True, timeout=60)
    server.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    statistics = server.query("SELECT string_agg(query, ' ') FROM pg_stat_statements")[0][0]
    text = json.dumps(first_run, ensure_ascii=False) + logs.stdout + logs.stderr + statistics
    assert "session.keys" in text
    for secret in (*KEYS.values(), "p" * 40):
        assert secret not in text
        assert secret.encode().hex() not in text
    assert "********" in json.dumps(first_run)


def test_valid_token_says_who_the_user_is(app: Cursor) -> None:
    assert (user(app), visible(app)) == (None, 0)
    assert set_user(app, token()) == ANNA
    assert (user(app), visible(app)) == (ANNA, 1)
    app.execute("INSERT INTO notes (user_id) VALUES (%s)", [ANNA])
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        app.execute("INSERT INTO notes (user_id) VALUES (%s)", [BERT])


def test_another_valid_token_changes_the_user(app: Cursor) -> None:
    set_user(app, token(ANNA))
    set_user(app, token(BERT))
    assert user(app) == BERT


@pytest.mark.parametrize(
    ("made", "words"),
    [
        pytest.param(lambda: token(life=-1), "has expired", id="expired"),
        pytest.param(lambda: token(life=86400), "more than 900 seconds ahead", id="too far ahead"),
        pytest.param(lambda: token(key="x" * 40), "is not valid", id="wrong key"),
        pytest.param(lambda: token(key=KEYS["portfolio"]), "is not valid", id="another database's key"),
        pytest.param(lambda: token(key=""), "is not valid", id="no key"),
        pytest.param(lambda: token().replace(ANNA, BERT), "is not valid", id="another user"),
        pytest.param(lambda: token()[:-1], "is not valid", id="truncated"),
        pytest.param(lambda: token() + "0", "is not valid", id="longer"),
        pytest.param(lambda: token().upper(), "is not valid", id="upper case"),
        pytest.param(lambda: " " + token(), "is not valid", id="a blank before it"),
        pytest.param(lambda: token() + "\n", "is not valid", id="a line's end after it"),
        pytest.param(lambda: "v2" + token()[2:], "is not valid", id="another version"),
        pytest.param(lambda: token("nobody"), "a user who is no uuid", id="no uuid"),
        pytest.param(lambda: token("☃'; SELECT 1 --"), "a user who is no uuid", id="SQL"),
        pytest.param(lambda: token("a" * 2000), "is not valid", id="very long"),
        pytest.param(lambda: "v1.." + "0" * 64, "is not valid", id="empty parts"),
        pytest.param(lambda: mint(KEYS["auth"], ANNA, 10**13), "is not valid", id="a date that no clock has"),
        pytest.param(lambda: "", "is not valid", id="empty"),
        pytest.param(lambda: "garbage", "is not valid", id="garbage"),
        pytest.param(lambda: None, "is not valid", id="NULL"),
    ],
)
def test_bad_token_is_refused_and_leaves_nobody(app: Cursor, made: Callable[[], str | None], words: str) -> None:
    """Minted when it is used: collecting a long run of tests takes longer than a token lives."""
    assert words in refused(app, made())


def test_changed_expiry_is_refused(app: Cursor) -> None:
    version, who, expires, mac = token().split(".")
    assert "is not valid" in refused(app, ".".join([version, who, str(int(expires) + 1), mac]))


def test_token_that_expires_during_the_transaction_serves_to_its_end(app: Cursor) -> None:
    set_user(app, token(life=2))
    time.sleep(2.5)
    assert user(app) == ANNA
    assert "has expired" in refused(app, token(life=-1))


def test_user_ends_with_the_transaction(app: Cursor) -> None:
    for end in (app.connection.commit, app.connection.rollback):
        set_user(app, token())
        end()
        assert (user(app), visible(app)) == (None, 0)


def test_without_a_transaction_the_user_ends_with_the_statement(server: Server) -> None:
    with session(server, "auth", "auth_app") as cursor:
        assert set_user(cursor, token()) == ANNA
        assert user(cursor) is None


def test_refused_token_takes_the_earlier_user_away_with_the_transaction(app: Cursor) -> None:
    set_user(app, token())
    refused(app, token(BERT, key="x" * 40))


def test_savepoint_brings_back_who_was_the_user(app: Cursor) -> None:
    app.execute("SAVEPOINT first")
    set_user(app, token(ANNA))
    app.execute("SAVEPOINT second")
    set_user(app, token(BERT))
    app.execute("ROLLBACK TO second")
    assert user(app) == ANNA
    app.execute("ROLLBACK TO first")
    assert user(app) is None


@pytest.mark.parametrize("begin", ["SET TRANSACTION READ ONLY", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"])
def test_read_only_transaction_has_a_user(app: Cursor, begin: str) -> None:
    app.execute(begin)
    set_user(app, token())
    assert (user(app), visible(app)) == (ANNA, 1)


def test_readonly_role_has_a_user(server: Server) -> None:
    with contextlib.closing(server.connect("auth", user="auth_readonly", password=password("auth_readonly"))) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        set_user(cursor, token())
        assert visible(cursor) == 1


@pytest.mark.parametrize("value", [ANNA, "x", "", f"{'0' * 64}.{ANNA}", "\\x00", "☃" * 100, f"{'0' * 64}.garbage"])
@pytest.mark.parametrize("is_local", [True, False])
def test_value_that_was_not_set_by_a_token_is_nobody(app: Cursor, value: str, is_local: bool) -> None:
    app.execute("SELECT set_config('session.user', %s, %s)", [value, is_local])
    assert (user(app), visible(app)) == (None, 0)


def test_value_kept_over_the_end_of_the_transaction_is_nobody(app: Cursor) -> None:
    set_user(app, token())
    app.execute("SELECT set_config('session.user', current_setting('session.user'), false)")
    assert user(app) == ANNA
    app.connection.commit()
    app.execute("SELECT current_setting('session.user')")
    assert ANNA in app.fetchall()[0][0]
    assert (user(app), visible(app)) == (None, 0)


def test_value_kept_over_a_commit_inside_one_message_is_no_other_user(app: Cursor) -> None:
    set_user(app, token())
    app.execute("SELECT set_config('session.user', current_setting('session.user'), false); COMMIT; BEGIN; SELECT session.user_id()::text")
    assert app.fetchall() == [(None,)]


def test_value_with_the_user_exchanged_is_nobody(app: Cursor) -> None:
    set_user(app, token())
    app.execute("SELECT set_config('session.user', replace(current_setting('session.user'), %s, %s), true)", [ANNA, BERT])
    assert user(app) is None


def test_value_copied_to_another_backend_is_nobody(server: Server, app: Cursor) -> None:
    set_user(app, token())
    app.execute("SELECT current_setting('session.user')")
    value = app.fetchall()[0][0]
    with session(server, "auth", "auth_app") as cursor:
        cursor.execute("SELECT set_config('session.user', %s, false)", [value])
        assert user(cursor) is None
        cursor.execute("BEGIN")
        assert user(cursor) is None


def test_setting_of_the_role_is_nobody(server: Server) -> None:
    server.query('ALTER ROLE auth_app SET session."user" = %s', ANNA)
    try:
        with session(server, "auth", "auth_app") as cursor:
            assert user(cursor) is None
    finally:
        server.query("ALTER ROLE auth_app RESET ALL")


def test_parallel_query_sees_the_users_rows_alone(app: Cursor) -> None:
    set_user(app, token(BERT))
    app.execute(
        "SET LOCAL debug_parallel_query = on; SET LOCAL max_parallel_workers_per_gather = 2; SET LOCAL parallel_setup_cost = 0;"
        "SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;"
        "SET LOCAL enable_indexonlyscan = off"
    )
    app.execute("EXPLAIN (ANALYZE, COSTS OFF) SELECT sum(length(text)) FROM notes")
    steps = "\n".join(row[0] for row in app.fetchall())
    assert "Gather" in steps
    assert "Workers Launched: 0" not in steps
    assert visible(app) == 5001
    assert user(app) == BERT


@pytest.mark.parametrize(
    "setup",
    [
        "CREATE FUNCTION trap.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$",
        "CREATE FUNCTION trap.same(bytea, bytea) RETURNS boolean LANGUAGE sql AS 'SELECT true';"
        "CREATE OPERATOR trap.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = trap.same)",
        "CREATE FUNCTION trap.encode(bytea, text) RETURNS text LANGUAGE sql AS $$ SELECT repeat('0', 64) $$",
        "CREATE FUNCTION trap.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$",
        "CREATE TABLE trap.keys AS SELECT 1::smallint AS key_id, ''::bytea AS secret, ''::bytea AS inner_pad, ''::bytea AS outer_pad;"
        "GRANT SELECT ON trap.keys TO PUBLIC",
        "CREATE TYPE trap.uuid AS ENUM ('nobody')",
    ],
)
def test_objects_of_the_same_name_before_in_the_search_path_change_nothing(server: Server, setup: str) -> None:
    with contextlib.closing(server.connect("auth")) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        cursor.execute(f"CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC; {setup}")
        cursor.execute("SET LOCAL search_path = trap, session, pg_temp, pg_catalog; SET LOCAL ROLE auth_app")
        cursor.execute("SAVEPOINT before")
        for bad in (token(key="x" * 40), token(life=-1), "garbage"):
            with pytest.raises(psycopg2.errors.InvalidAuthorizationSpecification):
                set_user(cursor, bad)
            cursor.execute("ROLLBACK TO before")
        cursor.execute("SELECT set_config('session.user', %s, true)", [f"{'0' * 64}.{BERT}"])
        assert user(cursor) is None
        assert set_user(cursor, token()) == ANNA
        assert user(cursor) == ANNA


def test_temporary_table_does_not_stand_in_for_the_keys(server: Server) -> None:
    with contextlib.closing(server.connect("auth")) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        cursor.execute("CREATE TEMP TABLE keys AS SELECT 1::smallint AS key_id, ''::bytea AS secret, ''::bytea AS inner_pad, ''::bytea AS outer_pad")
        cursor.execute("GRANT SELECT ON keys TO PUBLIC; SET LOCAL ROLE auth_app")
        with pytest.raises(psycopg2.errors.InvalidAuthorizationSpecification):
            set_user(cursor, token(key=""))


@pytest.mark.parametrize("role", ["auth_app", "auth_readonly"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM session.keys",
        "SELECT secret FROM session.keys",
        "SELECT count(*) FROM session.keys",
        "COPY session.keys TO STDOUT",
        "SET transaction_read_only = off; INSERT INTO session.keys SELECT 2, '', '', ''",
        "SET transaction_read_only = off; UPDATE session.keys SET secret = ''",
        "SET transaction_read_only = off; DELETE FROM session.keys",
        "SET transaction_read_only = off; TRUNCATE session.keys",
        "SET transaction_read_only = off; CREATE OR REPLACE FUNCTION session.user_id() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
        "SET transaction_read_only = off; CREATE FUNCTION session.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SET transaction_read_only = off; ALTER FUNCTION session.user_id() SECURITY INVOKER",
        "SET transaction_read_only = off; DROP FUNCTION session.set_user(text)",
        "SET transaction_read_only = off; CREATE TABLE session.mine (id int)",
        "SET ROLE auth_definer",
        "SET ROLE auth_owner",
    ],
)
def test_service_reads_no_key_and_changes_no_function(server: Server, role: str, statement: str) -> None:
    refusal = denied(server, "auth", role, statement)
    assert "permission denied" in refusal or "must be owner" in refusal


def test_no_definition_or_statistic_shows_a_key(server: Server, app: Cursor) -> None:
    server.query("ANALYZE session.keys", database="auth")
    app.execute(
        "SELECT string_agg(pg_get_functiondef(p.oid), ' ') || coalesce((SELECT string_agg(s::text, ' ') FROM pg_stats s WHERE schemaname = 'session'), '')"
        " FROM pg_proc p WHERE pronamespace = 'session'::regnamespace"
    )
    text = app.fetchall()[0][0]
    assert "session.keys" in text
    assert KEYS["auth"].encode().hex() not in text


def test_other_service_has_no_way_in(server: Server) -> None:
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        server.connect("auth", user="portfolio_app", password=password("portfolio_app"))
    rows = server.query(
        "SELECT DISTINCT grantee FROM information_schema.role_routine_grants WHERE routine_schema = 'session' AND grantee <> current_user ORDER BY 1",
        database="auth",
    )
    assert [row[0] for row in rows] == ["auth_app", "auth_definer", "auth_migrator", "auth_owner", "auth_readonly"]


def test_rotation_accepts_both_keys_then_the_new_one_alone(server: Server, app: Cursor) -> None:
    new = "a new key of at least thirty-two characters"
    try:
        assert set_user(app, token()) == ANNA
        both = signed(tokens(server, keys={**tokens(server)["keys"], "auth": {"current": new, "previous": KEYS["auth"]}}))
        assert {(item["kind"], item["name"], item["action"]) for item in both["objects"]} == {
            ("user token key", "auth current", "update"),
            ("user token key", "auth previous", "create"),
        }
        assert user(app) == ANNA  # the transaction that was under way goes on
        for key in (new, KEYS["auth"]):
            assert set_user(app, token(BERT, key=key)) == BERT
        app.connection.rollback()
        alone = signed(tokens(server, keys={**tokens(server)["keys"], "auth": {"current": new}}))
        assert [item["action"] for item in alone["objects"]] == ["delete"]
        assert set_user(app, token(key=new)) == ANNA
        assert "is not valid" in refused(app, token())
    finally:
        signed(tokens(server))


@pytest.mark.parametrize(
    ("drift", "database_object"),
    [
        ("CREATE OR REPLACE FUNCTION session.user_id() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT gen_random_uuid() $$", "auth.session.user_id()"),
        ("ALTER FUNCTION session.user_id() SECURITY INVOKER", "auth.session.user_id()"),
        ("ALTER FUNCTION session.user_id() RESET search_path", "auth.session.user_id()"),
        ("ALTER FUNCTION session.user_id() PARALLEL SAFE", "auth.session.user_id()"),
        ("ALTER FUNCTION session.set_user(text) STRICT", "auth.session.set_user(text)"),
        ("ALTER FUNCTION session.set_user(text) OWNER TO auth_owner", "auth.session.set_user(text)"),
        ("GRANT EXECUTE ON FUNCTION session.set_user(text) TO PUBLIC", "auth.session.set_user(text)"),
        ("REVOKE EXECUTE ON FUNCTION session.user_id() FROM auth_app", "auth.session.user_id()"),
        ("DROP FUNCTION session.set_user(text)", "auth.session.set_user(text)"),
        ("GRANT SELECT ON session.keys TO auth_app", "auth.session.keys"),
        ("GRANT SELECT (secret) ON session.keys TO auth_readonly", "auth.session.keys"),
        ("REVOKE SELECT ON session.keys FROM auth_definer", "auth.session.keys"),
        ("GRANT CREATE ON SCHEMA session TO auth_owner", "auth.session"),
        ("GRANT USAGE ON SCHEMA session TO PUBLIC", "auth.session"),
        ("REVOKE USAGE ON SCHEMA session FROM auth_app", "auth.session"),
        ("UPDATE session.keys SET outer_pad = ''", "auth current"),
        ("DELETE FROM session.keys", "auth current"),
        ("INSERT INTO session.keys SELECT 7, secret, inner_pad, outer_pad FROM session.keys", "auth 7"),
    ],
)
def test_what_was_altered_by_hand_is_repaired(server: Server, app: Cursor, drift: str, database_object: str) -> None:
    server.query(drift, database="auth")
    planned = signed(tokens(server), check=True)
    done = signed(tokens(server))
    assert planned["diff"] == done["diff"]
    assert [item["name"] for item in done["objects"]] == [database_object]
    assert not signed(tokens(server))["changed"]
    assert (set_user(app, token()), user(app), visible(app)) == (ANNA, ANNA, 1)
    assert "permission denied" in denied(server, "auth", "auth_app", "SELECT FROM session.keys")
    app.connection.rollback()
    assert user(app) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keys": {"auth": "k" * 32}}, "keys of database 'portfolio': there are none"),
        ({"keys": {"auht": {"current": "k" * 32}}}, "did you mean 'auth'?"),
        ({"keys": {"auth": {"curent": "k" * 32}}}, "did you mean 'current'?"),
        ({"keys": {"auth": {"current": "hunter2"}}}, "at least 32 characters"),
        ({"user_id_type": "bigint"}, "policies depend on it"),
        ({"databases": [{"name": "nowhere"}], "keys": {"nowhere": {"current": "k" * 32}}}, "the server lacks nowhere, nowhere_app"),
        ({"databases": [{"name": "auth"}, {"name": "auth"}]}, "names 'auth' twice"),
        ({"databases": [{"name": "a" * 64}], "keys": {"a" * 64: {"current": "k" * 32}}}, "has 64 bytes"),
    ],
)
def test_bad_input_is_refused_by_name_and_without_a_key(server: Server, changes: dict[str, Any], words: str) -> None:
    result = run_module("postgres_user_tokens", {**tokens(server), **changes})
    assert result["failed"]
    assert words in result["msg"]
    assert "hunter2" not in result["msg"]


def test_schema_of_the_services_own_is_refused(server: Server) -> None:
    other = {"name": "own", "definer": True, "schemas": ["session"]}
    secrets = {f"own_{kind}": "x" for kind in ("app", "migrator", "readonly")}
    converged({**server.login, "databases": [other], "passwords": secrets})
    result = run_module("postgres_user_tokens", tokens(server, databases=[{"name": "own"}], keys={"own": {"current": "k" * 32}}))
    assert "the schema is kept for user tokens" in result["msg"]


@pytest.mark.parametrize(("kind", "good", "bad"), [("bigint", 9223372036854775807, "1e3"), ("text", "a.b.☃ c", "")])
def test_other_types_of_user_ids(server: Server, kind: str, good: object, bad: str) -> None:
    converged(
        {**server.login, "databases": [{"name": kind, "definer": True}], "passwords": {f"{kind}_{role}": "x" for role in ("app", "migrator", "readonly")}}
    )
    key = "k" * 32
    args = tokens(server, databases=[{"name": kind}], keys={kind: {"current": key}}, user_id_type=kind)
    assert signed(args)["changed"]
    assert not signed(args)["changed"]
    with contextlib.closing(server.connect(kind, user=f"{kind}_app", password="x")) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        assert set_user(cursor, token(good, key=key)) == str(good)
        assert user(cursor) == str(good)
        refused(cursor, token(bad, key=key))
