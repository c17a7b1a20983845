# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of development in production, where databases, roles and passwords are others: whatever named a role of the set names the one that it is mapped to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from modules import run_module, start_module
from product import LOGINS, converged, password, single
from psycopg2 import sql
from restoring import Restorer, picture
from servers import Server, postgres_server

# What is a quote to SQL, a separator of a list, and a keyword, on both sides.
OWNER, PROD_OWNER = 'dev "o\'wner", PUBLIC', 'order; "prod" -- TO x'
ROLES = {OWNER: PROD_OWNER, "dev_app": "user", "dev_ro": "dev_gone", "dev_definer": "prod definer", "dev_root": "prod_root"}
SHOP, PROD_SHOP = 'dev "shop"', "prod 'shop'"
CONTENT = """
CREATE EXTENSION pg_trgm;
REVOKE EXECUTE ON FUNCTION show_trgm(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION show_trgm(text) TO dev_app;
CREATE SCHEMA app AUTHORIZATION {owner};
CREATE FOREIGN DATA WRAPPER nothing;
ALTER FOREIGN DATA WRAPPER nothing OWNER TO dev_root;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
ALTER SERVER elsewhere OWNER TO {owner};
GRANT USAGE ON FOREIGN SERVER elsewhere TO dev_app;
CREATE USER MAPPING FOR dev_app SERVER elsewhere OPTIONS (who 'TO x;');
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere;
GRANT CREATE ON SCHEMA app TO dev_definer;
SET ROLE {owner};
CREATE DOMAIN app.price AS numeric(12, 2) CHECK (VALUE >= 0);
CREATE TYPE app.mood AS ENUM ('good', 'bad');
REVOKE USAGE ON TYPE app.mood FROM PUBLIC;
GRANT USAGE ON TYPE app.mood TO dev_app;
CREATE TABLE app.users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text NOT NULL, "TO" text, mood app.mood);
CREATE TABLE app.events (at timestamptz NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE app.events_1 PARTITION OF app.events FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE SEQUENCE app.numbers;
INSERT INTO app.users (owner, mood) SELECT CASE WHEN n % 2 = 0 THEN 'dev_app' ELSE 'dev_ro' END, 'good' FROM generate_series(1, 500) n;
INSERT INTO app.events SELECT timestamptz '2026-01-01' + n * interval '1 hour', 'event' FROM generate_series(1, 900) n;
ALTER TABLE app.users ENABLE ROW LEVEL SECURITY;
CREATE POLICY "mine TO" ON app.users AS RESTRICTIVE FOR SELECT TO dev_ro, {owner}, dev_app USING (owner <> 'a; TO b' AND owner <> E'c\\\\''d');
CREATE POLICY everybody ON app.users TO PUBLIC USING (true) WITH CHECK (owner = current_user);
CREATE POLICY here ON app.events_1 TO dev_app USING (true);
CREATE MATERIALIZED VIEW app.totals AS SELECT owner, count(*) FROM app.users GROUP BY 1;
CREATE VIEW app.seen AS SELECT id FROM app.users;
CREATE FUNCTION app.names() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$ SELECT 'dev_app TO dev_ro'::text $$;
CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM 1; END';
CREATE PROCEDURE app.work(what text) LANGUAGE sql BEGIN ATOMIC SELECT 1; END;
REVOKE ALL ON FUNCTION app.names() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.names() TO dev_app WITH GRANT OPTION;
GRANT USAGE ON SCHEMA app TO dev_app WITH GRANT OPTION;
GRANT USAGE ON SCHEMA app TO dev_ro;
GRANT SELECT, INSERT ON app.users TO dev_app WITH GRANT OPTION;
GRANT SELECT (id, "TO"), UPDATE ("TO") ON app.users TO dev_ro;
GRANT UPDATE (mood) ON app.users TO dev_app WITH GRANT OPTION;
GRANT SELECT ON app.totals, app.seen, app.events_1 TO dev_ro;
GRANT USAGE ON SEQUENCE app.numbers TO dev_app;
REVOKE DELETE, TRUNCATE ON app.users FROM {owner};
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO dev_ro;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT USAGE ON SEQUENCES TO dev_app WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
SET ROLE dev_app;
GRANT SELECT ON app.users TO dev_ro;
GRANT UPDATE (mood) ON app.users TO dev_ro;
GRANT EXECUTE ON FUNCTION app.names() TO dev_ro;
RESET ROLE;
ALTER DEFAULT PRIVILEGES FOR ROLE dev_definer GRANT ALL ON TYPES TO {owner};
ALTER FUNCTION app.names() OWNER TO dev_definer;
CREATE STATISTICS app.pair ON id, owner FROM app.users;
ALTER STATISTICS app.pair OWNER TO {owner};
CREATE COLLATION app.german FROM "de-x-icu";
ALTER COLLATION app.german OWNER TO {owner};
CREATE OPERATOR app.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
ALTER OPERATOR app.=== (int, int) OWNER TO {owner};
CREATE PUBLICATION changes FOR TABLE app.users;
ALTER PUBLICATION changes OWNER TO dev_root;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION app.watch();
ALTER EVENT TRIGGER watch OWNER TO dev_root;
SELECT lo_from_bytea(n, '\\x00ff10') FROM generate_series(41, 45) n;
ALTER LARGE OBJECT 41 OWNER TO {owner};
ALTER LARGE OBJECT 42 OWNER TO {owner};
GRANT SELECT ON LARGE OBJECT 41 TO dev_app;
GRANT SELECT ON LARGE OBJECT 42 TO dev_app;
GRANT UPDATE ON LARGE OBJECT 43 TO dev_ro;
"""
# Everything of roles that the server knows of a database, whatever kind of object it is.
INSIDE = """
SELECT classid::regclass::text, deptype::text, pg_get_userbyid(refobjid), count(*) FROM pg_shdepend
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
LARGE = "SELECT oid, pg_get_userbyid(lomowner), (SELECT array_agg(a ORDER BY a) FROM unnest(lomacl::text[]) a) FROM pg_largeobject_metadata ORDER BY 1"
RIGHTS = """
SELECT c.relname, a.* FROM pg_class c, LATERAL (SELECT pg_get_userbyid(grantor), pg_get_userbyid(grantee), privilege_type, is_grantable
  FROM aclexplode(c.relacl)) a WHERE c.relnamespace = 'app'::regnamespace ORDER BY 1, 2, 3, 4
"""


@dataclass
class Migration:
    """Two servers, and a set of the first one."""

    dev: Server
    prod: Server
    backups: Path
    set: str


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migration]:
    folder = tmp_path_factory.mktemp("mapping") / "backups"
    with postgres_server(prefix="md", settings=("wal_level=logical",)) as dev, postgres_server(prefix="mp", settings=("wal_level=logical",)) as prod:
        make_roles(dev, ROLES)
        make_roles(prod, ROLES.values())
        prod.query("CREATE ROLE dev_app LOGIN PASSWORD 'another one of that name'")
        make_shop(dev)
        converged(auth(dev, "auth"))
        tokens(dev, "auth")
        dev.query("CREATE DATABASE rows OWNER dev_app")
        dev.query("CREATE TABLE who (role regrole)", database="rows")
        with contextlib.closing(dev.connect("auth", user="auth_migrator", password=password("auth_migrator"))) as session, session.cursor() as cursor:
            cursor.execute("CREATE TABLE users AS SELECT 7 AS n")
        source = {"name": "postgres", "kind": "postgresql", "container": dev.container, **dev.login}
        made = run_module("backup_set", {"backup_dir": str(folder), "stack": "dev", "servers": [source], "encrypt": False})
        assert not made["failed"], made
        yield Migration(dev, prod, folder, str(made["set"]["id"]))


@pytest.fixture
def restorer(moved: Migration, tmp_path: Path) -> Iterator[Restorer]:
    one = Restorer(moved.prod, moved.backups, tmp_path / "state")
    yield one
    one.cleaned()
    assert one.left() == one.staging() == []
    with contextlib.closing(moved.prod.connect()) as session, session.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def auth(server: Server, name: str) -> dict[str, Any]:
    """A service of the collection's own kind, with passwords of its own. Its schema has the same name everywhere: the tables' SQL names it."""
    passwords = {f"{name}_{kind}": password(f"{name}_{kind}") for kind in LOGINS}
    keys = {"schemas": ["auth"], "settings": {"work_mem": "7MB"}, "comment": "Who is who", "definer": True, "extensions": ["pg_trgm"]}
    return {**single(server, name, **keys), "passwords": passwords, "backup_role": {"name": f"{name}_backup", "password": "b"}}


def tokens(server: Server, name: str) -> dict[str, Any]:
    """Its users are signed with a key of its own."""
    result = run_module("postgres_user_tokens", {**server.login, "databases": [{"name": name}], "keys": {name: f"key of {name} ".ljust(40, "x")}})
    assert not result["failed"], result
    return result


def make_roles(server: Server, names: Any) -> None:
    owner, app, *others = names
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        for name in (owner, app, *others):
            cursor.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD %s").format(sql.Identifier(app)), (f"of {app}",))
        cursor.execute(sql.SQL("ALTER ROLE {} SUPERUSER").format(sql.Identifier(others[-1])))


def make_shop(server: Server) -> None:
    shop, owner = sql.Identifier(SHOP), sql.Identifier(OWNER)
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(shop, owner))
        for statement in (
            "REVOKE ALL ON DATABASE {0} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {0} TO dev_app WITH GRANT OPTION",
            "GRANT TEMPORARY ON DATABASE {0} TO dev_ro",
            "ALTER ROLE dev_app IN DATABASE {0} SET statement_timeout = '7s'",
            "ALTER ROLE dev_ro IN DATABASE {0} SET search_path = app, public",
            "ALTER DATABASE {0} SET work_mem = '9MB'",
            "COMMENT ON DATABASE {0} IS 'of dev_app'",
        ):
            cursor.execute(sql.SQL(statement).format(shop))
        cursor.execute(sql.SQL("ALTER ROLE dev_app IN DATABASE {} SET role = {}").format(shop, sql.Literal(OWNER)))
    with contextlib.closing(server.connect(SHOP)) as connection, connection.cursor() as cursor:
        for statement in CONTENT.format(owner=owner.as_string(connection)).split(";\n"):
            if statement.strip():
                cursor.execute(statement)


def shown(server: Server, database: str) -> dict[str, Any]:
    """All of a database, with everything of roles that is in it."""
    queries = {"roles inside": INSIDE, "large objects' rights": LARGE, "relations' rights": RIGHTS}
    found = {**picture(server, database, name="shop"), **{what: server.query(query, database=database) for what, query in queries.items()}}
    for (kind, _title), properties in found["catalog"].items():
        if kind == "policy":
            properties["roles"] = sorted(properties["roles"])  # a dump keeps no order
    return found


@contextlib.contextmanager
def called_as_in_development(server: Server) -> Iterator[None]:
    """The roles of the target get the names of the source, by the server's own means: then all must be equal."""
    renamed = [("dev_app", "stranger"), *((there, f"{here}.") for here, there in ROLES.items()), *((f"{here}.", here) for here in ROLES)]
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        for before, after in renamed:
            cursor.execute(sql.SQL("ALTER ROLE {} RENAME TO {}").format(sql.Identifier(before), sql.Identifier(after)))
        yield
        for before, after in reversed(renamed):
            cursor.execute(sql.SQL("ALTER ROLE {} RENAME TO {}").format(sql.Identifier(after), sql.Identifier(before)))


SHOP_QUOTED = '"dev ""shop"""'


def wait_until_alone(server: Server, database: str) -> None:
    """Whoever is still on the way out may have written: then a database is restored again."""
    deadline = time.monotonic() + 20
    while server.query("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'", database) != [(0,)]:
        assert time.monotonic() < deadline, "sessions of the database did not end"
        time.sleep(0.02)


MAPPED: dict[str, Any] = {"databases": [SHOP], "database_map": {SHOP: PROD_SHOP}, "role_map": ROLES}


def test_everything_that_named_a_role_of_the_set_names_the_one_it_is_mapped_to(moved: Migration, restorer: Restorer) -> None:
    moved.prod.query("CREATE DATABASE \"prod 'shop'\"")
    moved.prod.query("CREATE TABLE mine AS SELECT 1 AS n", database=PROD_SHOP)
    roles = moved.prod.query("SELECT * FROM pg_authid ORDER BY oid"), moved.prod.query("SELECT * FROM pg_auth_members ORDER BY oid")
    result = restorer.restored(moved.set, **MAPPED)
    assert [(row["name"], row["action"]) for row in result["databases"]] == [(f"postgres/{PROD_SHOP}", "replace")]
    assert (moved.prod.query("SELECT * FROM pg_authid ORDER BY oid"), moved.prod.query("SELECT * FROM pg_auth_members ORDER BY oid")) == roles
    with called_as_in_development(moved.prod):
        found, expected = shown(moved.prod, PROD_SHOP), shown(moved.dev, SHOP)
    found["settings"] = [(role, [text.replace(PROD_OWNER, OWNER) for text in texts]) for role, texts in found["settings"]]
    assert found == expected
    assert any("function app.names() (dev_app, dev_ro)" in note for note in result["notes"]), result["notes"]
    assert moved.prod.query("SELECT datname FROM pg_database WHERE datname = %s", SHOP) == []
    wait_until_alone(moved.prod, PROD_SHOP)
    again = restorer.restored(moved.set, **MAPPED)
    assert (again["changed"], again["databases"][0]["action"], again["diff"]) == (False, "unchanged", {"before": "", "after": ""})
    other = {**MAPPED, "role_map": {**ROLES, "dev_app": "dev_app", "dev_ro": "user"}}
    assert restorer.run(set=moved.set, check=True, **other)["databases"][0]["action"] == "replace"
    restorer.undone()
    assert moved.prod.query("SELECT n FROM mine", database=PROD_SHOP) == [(1,)]


AUTH: dict[str, Any] = {
    "databases": ["auth"],
    "database_map": {"auth": "prod_auth"},
    "role_map": {f"auth_{kind}": f"prod_auth_{kind}" for kind in ("owner", "migrator", "app", "readonly", "definer", "backup")},
}


def test_the_inventory_of_the_target_finds_nothing_to_change_afterwards(moved: Migration, restorer: Restorer) -> None:
    wanted = auth(moved.prod, "prod_auth")
    converged(wanted)
    tokens(moved.prod, "prod_auth")
    restorer.restored(moved.set, **AUTH)
    result = converged(wanted)
    assert (result["changed"], result["objects"]) == (False, [])
    assert not tokens(moved.prod, "prod_auth")["changed"]
    for kind in LOGINS:
        login = moved.prod.connect("prod_auth", user=f"prod_auth_{kind}", password=password(f"prod_auth_{kind}"))
        with contextlib.closing(login), login.cursor() as cursor:
            cursor.execute("SELECT n FROM auth.users")
            assert cursor.fetchall() == [(7,)]
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            moved.prod.connect("prod_auth", user=f"prod_auth_{kind}", password=password(f"auth_{kind}"))
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            moved.prod.connect("prod_auth", user=f"auth_{kind}", password=password(f"auth_{kind}"))
    assert moved.prod.query(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'auth\_%'") == []
    wait_until_alone(moved.prod, "prod_auth")
    assert not restorer.restored(moved.set, **AUTH)["changed"]
    restorer.restored(moved.set, **{**AUTH, "database_map": {}, "as": "beside"})
    assert moved.prod.query("SELECT count(*) FROM session.keys", database="beside") == [(0,)], "nobody is let in with development's keys"


def test_check_mode_says_what_becomes_of_everything(moved: Migration, restorer: Restorer) -> None:
    result = restorer.run(set=moved.set, check=True, **MAPPED)
    assert not result["failed"], result["msg"]
    words = {(row["kind"], row["name"]): row["what"] for row in result["mapping"]}
    assert words["database", f"postgres/{SHOP}"] == f"becomes {PROD_SHOP}, which is made"
    assert words["role", f"postgres/{OWNER}"] == f"becomes {PROD_OWNER}"
    assert words["role", "postgres/nexanest"] == "is there under the same name and has what it has in the set"
    assert words["role", "postgres/auth_app"] == "is not needed and not made"
    assert ("user token keys", "postgres/auth") not in words
    assert {name for kind, name in words if kind == "role"} == {
        f"postgres/{row[0]}" for row in moved.dev.query("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'")
    }
    for name, what in (("role of the set postgres/dev_app", "becomes user"), ("role of the set postgres/auth_app", "is not needed and not made")):
        assert f"{name}:\n  here: {what}\n" in result["diff"]["after"]
    assert moved.prod.query("SELECT count(*) FROM pg_database WHERE datname !~ '^(postgres|template.)$'") == [(0,)]


def test_everything_that_is_wrong_with_a_mapping_is_said_at_once(moved: Migration, restorer: Restorer) -> None:
    before = moved.prod.query("SELECT oid FROM pg_database UNION ALL SELECT oid FROM pg_roles ORDER BY 1")
    for check in (True, False):
        databases = {SHOP: "auth", "rows": "x" * 64, "nothing": "x"}
        given = {OWNER: PROD_OWNER, "dev_app": "nowhere", "dev_ro": "user", "dev_definer": "user", "stranger": "user", "dev_root": "prod definer"}
        result = restorer.run(set=moved.set, check=check, database_map=databases, role_map={**given, "auth_app": "postgres"})
        assert result["failed"]
        said = "\n".join(result["problems"])
        assert "is 64 bytes long and would be cut" in said
        assert "database_map names nothing, and the set has no database of that name" in said
        assert f"auth and {SHOP} of the set would both be postgres/auth" in said
        assert "role_map names stranger, and the set has no role of that name" in said
        assert "has no role nowhere, to which role_map gives what dev_app has in the set" in said
        assert "dev_definer and dev_ro would both be user, with the rights of both" in said
        assert "dev_root is a superuser in the set, and prod definer is none on the server" in said
        assert "has no auth_backup, auth_definer, auth_migrator, auth_owner, auth_readonly, and the set gives them something" in said
    assert moved.prod.query("SELECT oid FROM pg_database UNION ALL SELECT oid FROM pg_roles ORDER BY 1") == before


def test_names_that_change_places_are_never_mixed(moved: Migration, restorer: Restorer) -> None:
    """What one role had the other has, and the other way round, though both are there."""
    moved.prod.query('ALTER ROLE dev_app RENAME TO stranger; ALTER ROLE "user" RENAME TO dev_app; CREATE ROLE dev_ro')
    try:
        swapped = {**ROLES, "dev_app": "dev_ro", "dev_ro": "dev_app"}
        restorer.restored(moved.set, **{**MAPPED, "role_map": swapped, "database_map": {SHOP: SHOP}})
        grants = "SELECT pg_get_userbyid(grantee), count(*) FROM pg_class c, aclexplode(relacl) WHERE relname = 'users' GROUP BY 1 ORDER BY 2 DESC, 1"
        there = dict(moved.dev.query(grants, database=SHOP))
        here = dict(moved.prod.query(grants, database=SHOP))
        assert (here["dev_ro"], here["dev_app"]) == (there["dev_app"], there["dev_ro"])
        assert there["dev_app"] != there["dev_ro"]
    finally:
        moved.prod.query(f"DROP DATABASE IF EXISTS {SHOP_QUOTED}")
        moved.prod.query('DROP ROLE dev_ro; ALTER ROLE dev_app RENAME TO "user"; ALTER ROLE stranger RENAME TO dev_app')


def test_a_restore_that_is_killed_leaves_nothing_that_a_repeat_does_not_clear(moved: Migration, restorer: Restorer) -> None:
    roles = moved.prod.query("SELECT * FROM pg_authid ORDER BY oid")
    ledger = moved.prod.query("SELECT to_regclass('_restore.databases') IS NOT NULL")
    moved.prod.query("CREATE SCHEMA IF NOT EXISTS _restore; ALTER TABLE IF EXISTS _restore.databases DROP COLUMN mapping")
    assert restorer.run(set=moved.set, check=True, **MAPPED)["changed"], f"a ledger of an older version can be read (there was one: {ledger})"
    run = start_module("restore", restorer.arguments(set=moved.set, **MAPPED))
    deadline = time.monotonic() + 60
    while not restorer.left():
        assert time.monotonic() < deadline, "no copy was made"
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait(30)
    restorer.restored(moved.set, **MAPPED)
    assert restorer.left() == restorer.staging() == []
    assert moved.prod.query("SELECT * FROM pg_authid ORDER BY oid") == roles
    assert moved.prod.query("SELECT count(*) FROM app.users", database=PROD_SHOP) == [(500,)]
    assert [json.loads(row[0]) for row in moved.prod.query("SELECT mapping FROM _restore.databases WHERE name = %s", PROD_SHOP)] == [ROLES]
    restorer.undone()


def test_a_set_in_whose_rows_roles_stand_is_refused(moved: Migration, restorer: Restorer) -> None:
    said = restorer.refused(moved.set, databases=["rows"], role_map={"dev_app": "user"})
    assert "the column public.who.role holds roles in its rows" in said
