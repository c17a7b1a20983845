# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access proof of a PostgreSQL server: green on a sound product, red when any single protection is missing, and without a trace."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from access_product import ALICE, KEYS, arguments, build, failures, password, passwords, report
from modules import run_module
from sampling import one_in
from servers import Server, postgres_server

TRUSTING_SETTER = """CREATE OR REPLACE FUNCTION session.set_user(token text) RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$ BEGIN PERFORM set_config('session.user', split_part(token, '.', 2), true); RETURN NULL; END $$"""
TRUSTING_READER = """CREATE OR REPLACE FUNCTION session.user_id() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$ SELECT right(nullif(current_setting('session.user', true), ''), 36)::uuid $$"""
# Accepts what set_user wrote, whoever it says the user is.
UNBOUND_READER = """CREATE OR REPLACE FUNCTION session.user_id() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT right(stored, 36)::uuid FROM current_setting('session.user', true) stored
    WHERE stored ~ '^[0-9a-f]{64}[.]' AND left(stored, 9) <> '000000000' $$"""
LEAKING_FUNCTION = """GRANT SELECT ON shop.orders TO shop_definer; SET ROLE shop_owner; CREATE FUNCTION shop.leak() RETURNS SETOF shop.orders LANGUAGE sql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT * FROM shop.orders'; ALTER FUNCTION shop.leak() OWNER TO shop_definer; RESET ROLE"""
OPEN_POLICY = "ALTER POLICY own_rows ON shop.orders USING (true)"
OWN = "(user_id = (SELECT session.user_id()))"

# name: (what removes the protection, what restores it, an attempt that must be red)
MUTATIONS = {
    "drop FORCE": (
        "ALTER TABLE shop.orders NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE shop.orders FORCE ROW LEVEL SECURITY",
        r"shop_migrator shop read the table shop\.orders as nobody: rows",
    ),
    "drop FORCE of an empty table": (
        "ALTER TABLE shop.wishes NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE shop.wishes FORCE ROW LEVEL SECURITY",
        r"row security guards shop\.wishes: it is not FORCEd",
    ),
    "drop a policy": (
        "DROP POLICY own_rows ON shop.orders",
        f"CREATE POLICY own_rows ON shop.orders USING {OWN} WITH CHECK {OWN}",
        r"row security guards shop\.orders: it has no policy",
    ),
    "a policy that lets everybody read": (
        OPEN_POLICY,
        f"ALTER POLICY own_rows ON shop.orders USING {OWN}",
        r"shop_app shop read others' rows of the table shop\.orders as one user: rows",
    ),
    "a policy that lets everybody write": (
        "ALTER POLICY own_rows ON shop.orders WITH CHECK (true)",
        f"ALTER POLICY own_rows ON shop.orders WITH CHECK {OWN}",
        r"shop_app shop insert another user's row into the table shop\.orders: not for want of rights",
    ),
    "a policy that lets everybody delete": (
        "CREATE POLICY extra ON shop.orders FOR DELETE USING (true)",
        "DROP POLICY extra ON shop.orders",
        r"shop_app shop delete rows of the table shop\.orders as a user without rows: rows",
    ),
    "disable row security": (
        "ALTER TABLE shop.orders DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY",
        r"shop_readonly shop read the table shop\.orders as nobody: rows",
    ),
    "CONNECT to PUBLIC": (
        "GRANT CONNECT ON DATABASE shop TO PUBLIC",
        "REVOKE CONNECT ON DATABASE shop FROM PUBLIC",
        r"depot_app shop log in to shop: allowed",
    ),
    "CONNECT to another service": (
        "GRANT CONNECT ON DATABASE shop TO depot_readonly",
        "REVOKE CONNECT ON DATABASE shop FROM depot_readonly",
        r"depot_readonly shop log in to shop: allowed",
    ),
    "CONNECT on postgres": (
        "GRANT CONNECT ON DATABASE postgres TO PUBLIC",
        "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
        r"shop_app postgres log in to postgres: allowed",
    ),
    "a leaking view": (
        "CREATE VIEW shop.leak AS SELECT * FROM shop.orders; GRANT SELECT ON shop.leak TO shop_app",
        "DROP VIEW shop.leak",
        r"shop_app shop read the view shop\.leak as nobody: rows",
    ),
    "a leaking view without the user column": (
        "CREATE VIEW shop.leak AS SELECT article FROM shop.orders; GRANT SELECT ON shop.leak TO shop_app",
        "DROP VIEW shop.leak",
        r"the view shop\.leak shows nobody else's rows: it reads as nexanest",
    ),
    "a leaking view behind a harmless one": (
        "CREATE VIEW shop.leak AS SELECT article FROM shop.orders; GRANT SELECT ON shop.leak TO shop_owner; SET ROLE shop_owner;"
        "CREATE VIEW shop.fine AS SELECT * FROM shop.leak; RESET ROLE",
        "DROP VIEW shop.leak CASCADE",
        r"the view shop\.leak shows nobody else's rows: it reads as nexanest",
    ),
    "a materialised view": (
        "CREATE MATERIALIZED VIEW shop.leak AS SELECT * FROM shop.orders; GRANT SELECT ON shop.leak TO shop_readonly",
        "DROP MATERIALIZED VIEW shop.leak",
        r"shop_readonly shop read the materialised view shop\.leak as nobody: rows",
    ),
    "a grant on a partition": (
        "GRANT SELECT ON shop.visits_2020 TO shop_app",
        "REVOKE SELECT ON shop.visits_2020 FROM shop_app",
        r"shop_app shop read the partition shop\.visits_2020 as nobody: rows",
    ),
    "a function that shows all": (
        LEAKING_FUNCTION,
        "DROP FUNCTION shop.leak(); REVOKE ALL ON shop.orders FROM shop_definer",
        r"shop_app shop call shop\.leak\(\) as nobody: rows",
    ),
    "a definer function without search_path": (
        "ALTER FUNCTION shop.find_user(text) RESET search_path",
        "ALTER FUNCTION shop.find_user(text) SET search_path = pg_catalog, pg_temp",
        r"find_user\(wanted text\) is pinned, and nobody's: its search_path is not pinned",
    ),
    "EXECUTE of a definer function to PUBLIC": (
        "GRANT EXECUTE ON FUNCTION shop.find_user(text) TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION shop.find_user(text) FROM PUBLIC",
        r"find_user\(wanted text\) is pinned, and nobody's: PUBLIC may call it",
    ),
    "a definer that can log in": (
        "ALTER ROLE shop_definer LOGIN",
        "ALTER ROLE shop_definer NOLOGIN",
        r"shop_definer server the role has no power .*: can log in",
    ),
    "membership in the owner": (
        "GRANT shop_owner TO shop_app",
        "REVOKE shop_owner FROM shop_app",
        r"shop_app shop SET ROLE shop_owner: allowed",
    ),
    "membership in another service's owner": (
        "GRANT depot_owner TO shop_migrator",
        "REVOKE depot_owner FROM shop_migrator",
        r"shop_migrator shop SET ROLE depot_owner: allowed",
    ),
    "BYPASSRLS": (
        "ALTER ROLE shop_app BYPASSRLS",
        "ALTER ROLE shop_app NOBYPASSRLS",
        r"shop_app shop read others' rows of the table shop\.orders as one user: rows",
    ),
    "SUPERUSER": ("ALTER ROLE depot_app SUPERUSER", "ALTER ROLE depot_app NOSUPERUSER", r"depot_app depot COPY … TO PROGRAM: allowed"),
    "CREATEROLE": ("ALTER ROLE depot_app CREATEROLE", "ALTER ROLE depot_app NOCREATEROLE", r"depot_app depot CREATE ROLE: allowed"),
    "CREATEDB": ("ALTER ROLE depot_app CREATEDB", "ALTER ROLE depot_app NOCREATEDB", r"depot_app depot CREATE DATABASE: not for want of rights"),
    "REPLICATION": (
        "ALTER ROLE depot_app REPLICATION",
        "ALTER ROLE depot_app NOREPLICATION",
        r"depot_app depot open a logical replication connection: allowed",
    ),
    "programs": (
        "GRANT pg_execute_server_program TO shop_readonly",
        "REVOKE pg_execute_server_program FROM shop_readonly",
        r"shop_readonly shop COPY … TO PROGRAM: allowed",
    ),
    "files": (
        "GRANT pg_read_server_files TO shop_migrator",
        "REVOKE pg_read_server_files FROM shop_migrator",
        r"shop_migrator shop SET ROLE pg_read_server_files: allowed",
    ),
    "signals": (
        "GRANT pg_signal_backend TO shop_app",
        "REVOKE pg_signal_backend FROM shop_app",
        r"shop_app shop end a session of another service: allowed",
    ),
    "pg_read_file": (
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO shop_app",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM shop_app",
        r"shop_app shop pg_read_file: allowed",
    ),
    "pg_reload_conf": (
        "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM PUBLIC",
        r"shop_app shop pg_reload_conf: allowed",
    ),
    "verifiers": ("GRANT SELECT ON pg_authid TO shop_app", "REVOKE SELECT ON pg_authid FROM shop_app", r"shop_app shop pg_authid.*: allowed"),
    "others' queries": ("GRANT pg_read_all_stats TO shop_app", "REVOKE pg_read_all_stats FROM shop_app", r"shop_app shop texts of others' queries in pg_stat"),
    "a setting": (
        "GRANT SET ON PARAMETER session_replication_role TO shop_app",
        "REVOKE SET ON PARAMETER session_replication_role FROM shop_app",
        r"shop_app shop SET session_replication_role.*: allowed",
    ),
    "CREATE on public": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        r"shop_app shop create a table in public: allowed",
    ),
    "CREATE on the own schema": (
        "GRANT CREATE ON SCHEMA shop TO shop_app",
        "REVOKE CREATE ON SCHEMA shop FROM shop_app",
        r"shop_app shop create a function in shop: allowed",
    ),
    "temporary objects": (
        "GRANT TEMPORARY ON DATABASE shop TO shop_app",
        "REVOKE TEMPORARY ON DATABASE shop FROM shop_app",
        r"shop_app shop create a temporary table.*: allowed",
    ),
    "a table of the application's": (
        "GRANT CREATE ON SCHEMA shop TO shop_app; ALTER TABLE shop.lines OWNER TO shop_app; REVOKE CREATE ON SCHEMA shop FROM shop_app",
        "ALTER TABLE shop.lines OWNER TO shop_owner; REVOKE ALL ON shop.lines FROM shop_app; GRANT SELECT, INSERT, UPDATE, DELETE ON shop.lines TO shop_app",
        r"shop_app shop turn row security of shop\.lines off: allowed",
    ),
    "TRUNCATE": (
        "GRANT TRUNCATE ON shop.orders TO shop_app",
        "REVOKE TRUNCATE ON shop.orders FROM shop_app",
        r"shop_app shop no right .*: TRUNCATE on shop\.orders",
    ),
    "a writing reader": (
        "GRANT UPDATE (article) ON shop.orders TO shop_readonly",
        "REVOKE UPDATE (article) ON shop.orders FROM shop_readonly",
        r"shop_readonly shop no right on .*: UPDATE on shop\.orders",
    ),
    "token keys": (
        "GRANT SELECT ON session.keys TO shop_app",
        "REVOKE SELECT ON session.keys FROM shop_app",
        r"shop_app shop read the token keys: allowed",
    ),
    "pads of the token keys": (
        "GRANT SELECT (outer_pad) ON session.keys TO shop_readonly",
        "REVOKE SELECT (outer_pad) ON session.keys FROM shop_readonly",
        r"shop_readonly shop read outer_pad of the token keys: allowed",
    ),
    "a condition that anybody can make true": (
        f"ALTER POLICY own_rows ON shop.orders USING (user_id = nullif(current_setting('shop.user', true), '')::uuid OR {OWN})",
        f"ALTER POLICY own_rows ON shop.orders USING {OWN}",
        r"row security guards shop\.orders: the policy own_rows lets pass more",
    ),
    "an open policy on an empty table": (
        "ALTER POLICY own_rows ON shop.wishes USING (user_id IS NOT NULL)",
        f"ALTER POLICY own_rows ON shop.wishes USING {OWN}",
        r"row security guards shop\.wishes: the policy own_rows lets pass more",
    ),
    "a right on one of several functions of a name": (
        "GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint) TO shop_app",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint) FROM shop_app",
        r"all shop no right on the system's .*: shop_app has EXECUTE on pg_read_file\(text,bigint,bigint\)",
    ),
    "a right on a column of the catalog": (
        "GRANT SELECT (stxdmcv) ON pg_statistic_ext_data TO PUBLIC",
        "REVOKE SELECT (stxdmcv) ON pg_statistic_ext_data FROM PUBLIC",
        r"all shop no right on the system's .*: PUBLIC has SELECT on pg_statistic_ext_data\.stxdmcv",
    ),
    "a setting of a role that turns triggers off": (
        "ALTER ROLE shop_app SET session_replication_role = replica",
        "ALTER ROLE shop_app RESET session_replication_role",
        r"no setting of a role .*: session_replication_role is set for shop_app",
    ),
    "triggers that do not fire": (
        "ALTER TABLE shop.lines DISABLE TRIGGER ALL",
        "ALTER TABLE shop.lines ENABLE TRIGGER ALL",
        r"every trigger fires: shop\.lines: its foreign keys",
    ),
    "a leakproof function": (
        "ALTER FUNCTION shop.find_user(text) LEAKPROOF",
        "ALTER FUNCTION shop.find_user(text) NOT LEAKPROOF",
        r"no function of its own is leakproof: .*: shop\.find_user",
    ),
    "a key from one user's row to another's": (
        "ALTER TABLE shop.lines ADD CONSTRAINT loose FOREIGN KEY (order_id) REFERENCES shop.orders",
        "ALTER TABLE shop.lines DROP CONSTRAINT loose",
        r"foreign keys between users' tables stay with one user: loose of shop\.lines",
    ),
    "statistics": (
        "GRANT SELECT ON pg_statistic TO shop_app",
        "REVOKE SELECT ON pg_statistic FROM shop_app",
        r"shop_app shop pg_statistic, samples of values: allowed",
    ),
}


def touched(name: str) -> set[str]:
    """What would hide another mutation's effect: the objects (the system's count as one, as a line names the first few), the role whose power changes."""
    statement = MUTATIONS[name][0]
    power = re.findall(r"^GRANT \w+ TO (\w+)|^ALTER ROLE (\w+)", statement)
    system = {"system"} if re.search(r" ON (FUNCTION )?pg_", statement) else set()
    return {*re.findall(r"shop\.\w+", statement), *(role for pair in power for role in pair if role), *system}


def batches() -> list[list[str]]:
    """Mutations that can be told apart in one report, first fit."""
    found: list[list[str]] = []
    for name in MUTATIONS:
        fitting = [batch for batch in found if not any(touched(name) & touched(other) for other in batch)]
        if fitting:
            fitting[0].append(name)
        else:
            found.append([name])
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server(prefix="access", settings=["shared_preload_libraries=pg_stat_statements"]) as started:
        build(started)
        yield started


def trace(server: Server) -> list[Any]:
    """All that an attempt could have left: objects, rights, rows, sequences, roles, settings."""
    found: list[Any] = [
        server.query("SELECT rolname, rolsuper, rolbypassrls, rolpassword FROM pg_authid ORDER BY 1"),
        server.query("SELECT roleid, member FROM pg_auth_members ORDER BY 1, 2"),
        server.query("SELECT datname, datacl::text FROM pg_database ORDER BY 1"),
        server.query("SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2"),
        server.query("SELECT name, setting FROM pg_file_settings ORDER BY 1, 2"),
        server.query("SELECT pg_ls_dir(current_setting('data_directory')) ORDER BY 1"),
    ]
    for database in ("shop", "depot", "postgres"):
        found += [
            server.query("SELECT oid, relname, relfilenode, relrowsecurity, relacl::text FROM pg_class WHERE relkind <> 't' ORDER BY 1", database=database),
            server.query("SELECT oid, proname, proacl::text FROM pg_proc ORDER BY 1", database=database),
            server.query("SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2", database=database),
            server.query("SELECT count(*) FROM pg_largeobject_metadata", database=database),
            server.query("SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp' ORDER BY 1", database=database),
        ]
    tables = ("users", "orders", "lines", "wishes", "visits", "articles")
    return found + [server.query(f"SELECT t.*, t.ctid, t.xmin FROM shop.{table} t ORDER BY t.ctid", database="shop") for table in tables]


def test_a_sound_product_passes_and_nothing_is_left_behind(server: Server) -> None:
    before = trace(server)
    found = report(server)
    assert failures(found) == []
    assert trace(server) == before
    assert found["summary"]["attempts"] > 500
    assert set(found["summary"]["groups"]) == {"logins", "files", "server", "secrets", "changes", "roles", "tokens", "rows", "catalog"}
    assert not found["changed"]


def test_a_plan_is_the_same_as_a_run(server: Server) -> None:
    found = run_module("postgres_access_info", arguments(server), check=True)
    assert (found["changed"], found["summary"]["failed"]) == (False, 0)
    assert found["summary"]["attempts"] > 500


def test_an_empty_table_proves_nothing_and_says_so(server: Server) -> None:
    rows = [row for row in report(server)["attempts"] if row["what"] == "read the table shop.wishes as nobody"]
    assert {row["seen"] for row in rows} == {"nothing, and no rows to hide"}
    assert not any(row["proves"] for row in rows)


@contextlib.contextmanager
def removed(server: Server, names: list[str]) -> Iterator[None]:
    """Without these protections."""
    try:
        for name in names:
            server.query(MUTATIONS[name][0], database="shop")
        yield
    finally:
        for name in reversed(names):
            server.query(MUTATIONS[name][1], database="shop")


# A report each takes minutes: here several are removed at once, and each must be named; in make test-long each alone.
@pytest.mark.parametrize("names", batches(), ids=lambda names: names[0])
def test_missing_protections_are_each_named(server: Server, names: list[str]) -> None:
    with removed(server, names):
        seen = failures(report(server))
    assert [name for name in names if not any(re.search(MUTATIONS[name][2], line) for line in seen)] == [], seen


@pytest.mark.long
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_missing_protection_is_named(server: Server, name: str) -> None:
    with removed(server, [name]):
        seen = failures(report(server))
    assert [line for line in seen if re.search(MUTATIONS[name][2], line)], seen


def test_with_every_protection_back_it_passes(server: Server) -> None:
    assert failures(report(server)) == []


# A migrator's own: what the administrator would run with it.
TRAP = """CREATE FUNCTION shop.trap() RETURNS uuid LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
            PERFORM pg_catalog.set_config('default_transaction_read_only', 'off', false);
            BEGIN
                ALTER ROLE shop_migrator SUPERUSER;
            EXCEPTION WHEN read_only_sql_transaction THEN
                NULL;
            END;
        END IF;
        RETURN NULL;
    END $$"""
BAITS = {
    "a view": ("CREATE VIEW shop.bait WITH (security_invoker = true) AS SELECT shop.trap() AS user_id", "DROP VIEW shop.bait"),
    "a type": (
        "CREATE TYPE shop.kind AS ENUM ('a'); CREATE FUNCTION shop.told(shop.kind) RETURNS text LANGUAGE sql AS 'SELECT shop.trap()::text';"
        "CREATE CAST (shop.kind AS text) WITH FUNCTION shop.told(shop.kind);"
        "CREATE TABLE shop.bait (user_id shop.kind); INSERT INTO shop.bait VALUES ('a')",
        "DROP TABLE shop.bait; DROP TYPE shop.kind CASCADE",
    ),
    "a function that fits better than the system's": (
        "CREATE FUNCTION shop.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT shop.trap()::text UNION ALL SELECT pg_catalog.unnest($1)'",
        "DROP FUNCTION shop.unnest(text[])",
    ),
}


@pytest.mark.parametrize("bait", BAITS)
def test_the_administrator_runs_nothing_of_a_migrator_s(server: Server, bait: str) -> None:
    put, take = BAITS[bait]
    with contextlib.closing(server.connect("shop", user="shop_migrator", password=password("shop_migrator"))) as migrator, migrator.cursor() as cursor:
        cursor.execute(f"{TRAP}; {put}")
        try:
            report(server)
            converged = run_module("postgres_user_tokens", {**server.login, "databases": [{"name": "shop"}], "keys": {"shop": {"current": KEYS["shop"]}}})
            assert not converged["failed"], converged
            assert server.query("SELECT rolsuper FROM pg_roles WHERE rolname = 'shop_migrator'") == [(False,)]
        finally:
            server.query("ALTER ROLE shop_migrator NOSUPERUSER")
            cursor.execute(f"{take}; DROP FUNCTION IF EXISTS shop.trap()")


@pytest.mark.parametrize(
    ("function", "source", "named"),
    one_in(
        3,
        [
            ("set_user(text)", TRUSTING_SETTER, r"shop_app shop show a token with a false signature: allowed"),
            ("user_id()", UNBOUND_READER, r"shop_app shop be another user by exchanging the id behind a valid signature: rows"),
            ("user_id()", TRUSTING_READER, r"shop_app shop set session\.user by hand to the user's id: rows"),
        ],
    ),
)
def test_a_trusting_token_function_is_named(server: Server, function: str, source: str, named: str) -> None:
    [(sound,)] = server.query(f"SELECT pg_get_functiondef('session.{function}'::regprocedure)", database="shop")
    server.query(source, database="shop")
    try:
        seen = failures(report(server))
    finally:
        server.query(sound, database="shop")
    assert [line for line in seen if re.search(named, line)], seen
    assert failures(report(server)) == []


def hba(server: Server, script: str) -> None:
    subprocess.run(["docker", "exec", server.container, "sh", "-c", script], check=True, timeout=30)
    server.query("SELECT pg_reload_conf()")


def test_a_login_without_a_password_is_named(server: Server) -> None:
    hba(server, "cp $PGDATA/pg_hba.conf /tmp/sound && sed -i '1i host all shop_app all trust' $PGDATA/pg_hba.conf")
    try:
        seen = failures(report(server))
    finally:
        hba(server, "cat /tmp/sound >$PGDATA/pg_hba.conf")
    assert "shop_app shop log in without a password: allowed" in seen
    assert "shop_app shop log in with a wrong password: allowed" in seen
    assert failures(report(server)) == []


def test_a_password_that_does_not_open_is_named(server: Server) -> None:
    wrong = {**passwords(), "shop_app": "another"}
    seen = failures(report(server, passwords=wrong))
    assert any(line.startswith("shop_app shop log in to shop: refused") for line in seen)


def test_the_backup_role_reads_and_does_nothing_else(server: Server) -> None:
    server.query(
        "CREATE ROLE keeper LOGIN BYPASSRLS PASSWORD 'kept'; GRANT pg_read_all_data TO keeper;"
        "GRANT CONNECT ON DATABASE shop, depot, postgres, template1 TO keeper"
    )
    backup = {"name": "keeper", "password": "kept"}
    try:
        sound = report(server, backup_role=backup)
        server.query("GRANT pg_write_all_data TO keeper")
        seen = failures(report(server, backup_role=backup))
    finally:
        server.query("REVOKE ALL ON DATABASE shop, depot, postgres, template1 FROM keeper; DROP ROLE keeper")
    assert failures(sound) == []
    assert {row["group"] for row in sound["attempts"] if row["role"] == "keeper"} == {"logins", "files", "server", "changes", "roles", "secrets", "catalog"}
    assert "keeper shop delete rows of shop.lines: allowed" in [re.sub(r"shop\.\w+", "shop.lines", line) for line in seen]
    assert any(line.startswith("keeper shop SET ROLE pg_write_all_data: allowed") for line in seen)


def test_the_replication_role_receives_the_log_and_opens_nothing_else(server: Server) -> None:
    role = {"name": "receiver", "password": "kept"}
    # The database's name `all` means no replication: a line of its own, as the role postgres writes it.
    hba(server, "echo 'host replication receiver all scram-sha-256' >>$PGDATA/pg_hba.conf")
    server.query("CREATE ROLE receiver LOGIN REPLICATION PASSWORD 'kept'")
    try:
        sound = report(server, replication_role=role)
        server.query("GRANT CONNECT ON DATABASE shop TO receiver; GRANT pg_read_all_data TO receiver")
        seen = failures(report(server, replication_role=role))
    finally:
        server.query("REVOKE ALL ON DATABASE shop FROM receiver; DROP ROLE receiver")
        hba(server, "sed -i '$ d' $PGDATA/pg_hba.conf")
    assert failures(sound) == []
    assert {row["what"] for row in sound["attempts"] if row["role"] == "receiver"} >= {"log in to shop", "open a physical replication connection"}
    assert {"receiver shop log in to shop: allowed", "receiver shop open a logical replication connection: allowed"} <= set(seen)
    assert any("receives the log, and no more: is a member of pg_read_all_data" in line for line in seen)


def test_what_cannot_be_tried_is_no_pass(server: Server) -> None:
    server.query("ALTER ROLE depot_app CONNECTION LIMIT 0")
    try:
        found = report(server)
    finally:
        server.query("ALTER ROLE depot_app CONNECTION LIMIT -1")
    untried = [row for row in found["attempts"] if not row["tried"]]
    assert found["summary"]["not_tried"] == len(untried) > 50
    assert {(row["role"], row["ok"]) for row in untried if "another service" not in row["what"]} == {("depot_app", False)}


def test_a_session_that_was_cut_is_no_pass_and_the_rest_is_tried(server: Server) -> None:
    # A function of the administrator's ends the session that reads the view.
    function = "CREATE FUNCTION shop.cut() RETURNS boolean LANGUAGE sql SECURITY DEFINER AS 'SELECT pg_terminate_backend(pg_backend_pid())'"
    view = "CREATE VIEW shop.cut AS SELECT user_id FROM shop.orders WHERE session_user <> 'nexanest' AND shop.cut()"
    server.query(f"{function}; {view}; GRANT SELECT ON shop.cut TO shop_app; GRANT EXECUTE ON FUNCTION shop.cut() TO shop_app", database="shop")
    try:
        found = report(server)
    finally:
        server.query("DROP VIEW shop.cut; DROP FUNCTION shop.cut()", database="shop")
    cut = [row for row in found["attempts"] if row["what"] == "read the view shop.cut as nobody" and not row["tried"]]
    assert cut, failures(found)
    after = [row for row in found["attempts"] if row["role"] == cut[0]["role"] and "pg_stats" in row["what"]]
    assert all(row["tried"] for row in after)


def test_no_secret_and_no_value_of_a_row_is_told(server: Server) -> None:
    server.query("GRANT shop_owner TO shop_app; ALTER TABLE shop.orders DISABLE ROW LEVEL SECURITY; GRANT SELECT ON pg_authid TO shop_app", database="shop")
    try:
        told = json.dumps(report(server), ensure_ascii=False)
    finally:
        server.query(
            "REVOKE shop_owner FROM shop_app; ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY; REVOKE SELECT ON pg_authid FROM shop_app", database="shop"
        )
    secrets = [*passwords().values(), *KEYS.values(), server.password, ALICE, "alice@example.com", "SCRAM-SHA-256$"]
    assert [secret for secret in secrets if secret in told] == []


def test_input_that_cannot_be_is_refused_without_a_secret(server: Server) -> None:
    few = {role: secret for role, secret in passwords().items() if role != "shop_app"}
    refused = run_module("postgres_access_info", arguments(server, passwords=few))
    assert "passwords lacks shop_app" in refused["msg"]
    refused = run_module("postgres_access_info", arguments(server, user_token_keys={"nowhere": "x"}))
    assert "user_token_keys names nowhere" in refused["msg"]
    refused = run_module("postgres_access_info", arguments(server, databases=[{"name": "nowhere", "service": "shop"}], user_token_keys={}))
    assert "no database nowhere" in refused["msg"]
    refused = run_module("postgres_access_info", arguments(server, login_password="wrong"))
    assert "could not log in" in refused["msg"]
