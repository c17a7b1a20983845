# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases with what a dump does not carry by itself, or with what fights a restore: they come back whole, or it is said that they do not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from backups import BACKUP_ROLE, SHOP, Shop, shop
from containers import docker
from restoring import Restorer, picture

LOGINS = """
CREATE TABLE logins (who text);
CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO public.logins VALUES (session_user); END $$;
CREATE EVENT TRIGGER note ON login EXECUTE FUNCTION note();
"""
FOREIGN = """
CREATE EXTENSION postgres_fdw;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere', dbname 'x');
CREATE USER MAPPING FOR shop_app SERVER far OPTIONS (user 'a b', password 'p=q''s \\');
CREATE USER MAPPING FOR PUBLIC SERVER far;
"""
WORDS = "pg_restore: error: errors ignored on restore"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("odd")) as found:
        yield found


@pytest.fixture
def restorer(filled: Shop, tmp_path: Path) -> Iterator[Restorer]:
    one = Restorer(filled.server, filled.folder, tmp_path / "state", filled.identity)
    yield one
    one.cleaned()
    assert one.left() == []


def taken(filled: Shop) -> str:
    result = filled.backup()
    assert not result["failed"], result
    return str(result["set"]["id"])


def made(filled: Shop, name: str, statements: str = "") -> None:
    filled.server.query(f"CREATE DATABASE {name}")
    filled.server.query(f"GRANT CONNECT ON DATABASE {name} TO {BACKUP_ROLE}")
    if statements:
        filled.server.query(statements, database=name)


@pytest.mark.long
def test_a_trigger_on_logins_writes_into_no_copy(filled: Shop, restorer: Restorer) -> None:
    made(filled, "logged", LOGINS)
    name = taken(filled)
    restorer.restored(name, databases=["logged"])
    assert not restorer.restored(name, databases=["logged"])["changed"]
    filled.server.query("DROP DATABASE logged")


@pytest.mark.long
def test_a_table_that_is_called_like_an_error_stops_no_restore(filled: Shop, restorer: Restorer) -> None:
    filled.server.query(f'CREATE TABLE app."{WORDS}" (n int)', database=SHOP)
    before = picture(filled.server, SHOP)
    restorer.restored(taken(filled), databases=[SHOP])
    assert picture(filled.server, SHOP) == before


@pytest.mark.parametrize("words", ["IS_TEMPLATE true", "ALLOW_CONNECTIONS false"])
def test_a_database_that_is_not_in_the_set_is_told(filled: Shop, words: str) -> None:
    made(filled, "pattern", "CREATE TABLE t (n int)")
    filled.server.query(f"ALTER DATABASE pattern {words}")
    result = filled.backup()
    filled.server.query("ALTER DATABASE pattern IS_TEMPLATE false")
    filled.server.query("DROP DATABASE pattern")
    left = {one["name"]: one["data"] for one in filled.manifest(result["set"]["id"])["servers"]["postgres"]["left_out"]}
    assert left == {"pattern": True, "postgres": False}
    assert [text for text in result["notices"] if text.startswith("postgres/pattern is not in the set")], result


@pytest.mark.long
def test_passwords_on_foreign_servers_come_back(filled: Shop, restorer: Restorer) -> None:
    made(filled, "far", FOREIGN)
    mappings = "SELECT usename, (SELECT array_agg(o ORDER BY o) FROM unnest(umoptions) o) FROM pg_user_mappings ORDER BY 1"
    before = filled.server.query(mappings, database="far")
    assert before == [("public", None), ("shop_app", ["password=p=q's \\", "user=a b"])]
    name = taken(filled)
    for path in (filled.folder / name).rglob("*"):
        assert path.is_dir() or b"p=q" not in path.read_bytes()
    restorer.restored(name, databases=["far"])
    assert filled.server.query(mappings, database="far") == before
    filled.server.query("DROP DATABASE far")


@pytest.mark.long
def test_a_subscription_is_told_and_does_not_make_a_set_useless(filled: Shop, restorer: Restorer) -> None:
    made(filled, "fed", "CREATE TABLE t (n int); CREATE SUBSCRIPTION s CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)")
    result = filled.backup()
    assert result["notices"] == ["postgres/fed, its subscription s is not in the set: only a superuser can dump it, make it again after a restore"]
    name = result["set"]["id"]
    assert "fed has 1 subscriptions" in restorer.refused(name, databases=["fed"])
    filled.server.query("ALTER SUBSCRIPTION s SET (slot_name = NONE)", database="fed")
    filled.server.query("DROP SUBSCRIPTION s", database="fed")
    restorer.restored(name, databases=["fed"])
    restorer.cleaned()
    filled.server.query("DROP DATABASE fed")


@pytest.mark.long
def test_rules_of_a_collation_come_back(filled: Shop, restorer: Restorer) -> None:
    filled.server.query("CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en' ICU_RULES '& a < z'")
    filled.server.query(f"GRANT CONNECT ON DATABASE sorted TO {BACKUP_ROLE}")
    rules = "SELECT datlocprovider, datlocale, daticurules, 'z' < 'b' FROM pg_database WHERE datname = 'sorted'"
    before = filled.server.query(rules, database="sorted")
    assert before == [("i", "en", "& a < z", True)]
    restorer.restored(taken(filled), databases=["sorted"])
    assert filled.server.query(rules, database="sorted") == before
    filled.server.query("DROP DATABASE sorted")


def test_a_database_that_a_restore_did_not_make_is_in_the_set(filled: Shop) -> None:
    made(filled, "_restore_notes", "CREATE TABLE t (n int)")
    names = {database["name"] for database in filled.manifest(taken(filled))["servers"]["postgres"]["databases"]}
    filled.server.query("DROP DATABASE _restore_notes")
    assert "_restore_notes" in names


def test_a_database_that_sets_a_role_is_proven_as_the_administrator(filled: Shop, restorer: Restorer) -> None:
    made(filled, "acting", "CREATE TABLE t (n int); INSERT INTO t VALUES (1); ALTER TABLE t ENABLE ROW LEVEL SECURITY; GRANT SELECT ON t TO shop_app")
    filled.server.query("ALTER DATABASE acting SET role = 'shop_app'")
    restorer.restored(taken(filled), databases=["acting"])
    filled.server.query("DROP DATABASE acting")


@pytest.mark.long
def test_a_verifier_is_in_no_log(filled: Shop, restorer: Restorer) -> None:
    name = taken(filled)
    filled.server.query("ALTER SYSTEM SET log_statement = 'all'")
    filled.server.query("SELECT pg_reload_conf()")
    filled.server.query("ALTER ROLE shop_app RENAME TO former")
    restorer.restored(name)
    assert filled.server.query("SELECT count(*) FROM pg_authid WHERE rolname = 'shop_app' AND rolpassword LIKE 'SCRAM-SHA-256%'") == [(1,)]
    log = subprocess.run(["docker", "logs", filled.server.container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True, timeout=60).stdout.decode()
    assert "CREATE DATABASE" in log, "it logs statements"
    assert "CREATE ROLE" not in log
    assert "SCRAM-SHA-256$" not in log


@pytest.mark.long
def test_tablespaces_are_told_and_wanted_by_a_restore(filled: Shop, restorer: Restorer) -> None:
    for name in ("fast", "cold"):
        docker("exec", filled.server.container, "mkdir", f"/data/{name}")
        filled.server.query(f"CREATE TABLESPACE {name} LOCATION '/data/{name}'")
    filled.server.query("CREATE DATABASE spaced TABLESPACE fast")
    filled.server.query(f"GRANT CONNECT ON DATABASE spaced TO {BACKUP_ROLE}")
    filled.server.query("CREATE TABLE t (n int PRIMARY KEY) TABLESPACE cold; INSERT INTO t VALUES (1)", database="spaced")
    result = filled.backup()
    assert "postgres/spaced needs the tablespaces cold, fast: a restore wants them on its server too (CREATE TABLESPACE)" in result["notices"]
    name = str(result["set"]["id"])
    restorer.restored(name, databases=["spaced"], **{"as": "spaced_copy"})
    where = "SELECT (SELECT spcname FROM pg_tablespace WHERE oid = {}) {}"
    assert filled.server.query(where.format("dattablespace", "FROM pg_database WHERE datname = 'spaced_copy'")) == [("fast",)]
    assert filled.server.query(where.format("reltablespace", "FROM pg_class WHERE relname = 't'"), database="spaced_copy") == [("cold",)]
    filled.server.query("ALTER TABLESPACE cold RENAME TO elsewhere")
    assert "postgres/another needs the tablespace cold, which the server has not" in restorer.refused(name, databases=["spaced"], **{"as": "another"})
    filled.server.query("DROP DATABASE spaced")
