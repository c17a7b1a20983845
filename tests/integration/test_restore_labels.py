# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security labels come back: those of objects, which a dump has, and those of the database and of roles, which it has not."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from modules import run_module
from restoring import Restorer
from servers import Server, postgres_server

SOURCE = Path(__file__).with_name("label_provider.c")
LABELS = """
SELECT objtype, CASE objtype WHEN 'database' THEN '' ELSE objname END, provider, label FROM pg_seclabels
WHERE objtype <> 'database' OR objname = current_database() ORDER BY 1, 2
"""
CONTENT = """
CREATE SCHEMA app;
CREATE TABLE app.t (a int);
INSERT INTO app.t VALUES (1);
CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM 1; END$$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION app.watch();
CREATE EXTENSION citext;
SELECT lo_create(77);
SECURITY LABEL FOR test ON TABLE app.t IS 'it''s "secret" ü';
SECURITY LABEL ON COLUMN app.t.a IS 'of a column';
SECURITY LABEL ON SCHEMA app IS 'of a schema';
SECURITY LABEL ON FUNCTION app.watch() IS 'of a function';
SECURITY LABEL ON EVENT TRIGGER watch IS 'of an event trigger';
SECURITY LABEL ON LARGE OBJECT 77 IS 'of a large object';
CREATE TYPE app.pair AS (x int);
SECURITY LABEL ON DATABASE shop IS 'of a database';
SECURITY LABEL ON ROLE keeper IS 'of a role';
"""
# Objects that are PostgreSQL's own or an extension's, and columns of types: pg_dump leaves their labels out.
UNDUMPED = """
SECURITY LABEL FOR test ON FUNCTION pg_catalog.lower(text) IS 'x';
SECURITY LABEL ON SCHEMA pg_catalog IS 'x';
SECURITY LABEL ON FUNCTION citext_eq(citext, citext) IS 'x';
SECURITY LABEL ON COLUMN app.pair.x IS 'x';
"""
KINDS = ["column", "database", "event trigger", "function", "large object", "role", "schema", "table"]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("provider") / "label_provider.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-nostdlib", "-Os", "-o", str(library), str(SOURCE)], check=True, timeout=60)
    return library


def install(server: Server, library: Path) -> None:
    subprocess.run(["docker", "cp", str(library), f"{server.container}:/usr/lib/postgresql/17/lib/label_provider.so"], check=True, timeout=60)


def provide(server: Server, library: Path) -> None:
    """New sessions have it."""
    install(server, library)
    server.query("ALTER SYSTEM SET session_preload_libraries = 'label_provider'")
    server.query("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 30
    while server.query("SHOW session_preload_libraries") != [("label_provider",)]:
        assert time.monotonic() < deadline, "the server did not reload"
        time.sleep(0.05)


def fill(server: Server, settings: str = "") -> None:
    """The database, its role, and a label of each kind."""
    server.query("CREATE ROLE keeper")
    server.query("CREATE DATABASE shop OWNER keeper")
    if settings:
        server.query(f"ALTER DATABASE shop SET {settings}")
    server.query(CONTENT, database="shop")


def backup(server: Server, folder: Path) -> str:
    """The id of a set of it."""
    source = {"name": "postgres", "kind": "postgresql", "container": server.container, **server.login}
    made = run_module("backup_set", {"backup_dir": str(folder), "stack": "shop", "servers": [source], "encrypt": False})
    assert not made["failed"], made
    return str(made["set"]["id"])


@pytest.fixture(scope="module")
def labelled(provider: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Restorer, str, list[Any]]]:
    folder = tmp_path_factory.mktemp("labels")
    with postgres_server(prefix="tl") as server:
        provide(server, provider)
        fill(server)
        there = server.query(LABELS, database="shop")
        assert [row[0] for row in there] == KINDS
        yield Restorer(server, folder / "backups", folder / "state"), backup(server, folder / "backups"), there


def test_they_come_back_and_one_that_is_changed_is_a_change(labelled: tuple[Restorer, str, list[Any]]) -> None:
    restorer, made, there = labelled
    restorer.server.query("DROP DATABASE shop")
    restorer.restored(made)
    assert restorer.server.query(LABELS, database="shop") == there
    assert not restorer.restored(made)["changed"]
    restorer.server.query("SECURITY LABEL ON DATABASE shop IS 'another'")
    restorer.server.query("SECURITY LABEL ON TABLE app.t IS NULL", database="shop")
    assert restorer.restored(made)["changed"]
    assert restorer.server.query(LABELS, database="shop") == there
    restorer.restored(made, **{"as": "shop_copy"})
    assert restorer.server.query(LABELS, database="shop_copy") == there


def test_labels_that_no_dump_holds_keep_no_set_from_coming_back(labelled: tuple[Restorer, str, list[Any]]) -> None:
    restorer, _made, _there = labelled
    restorer.server.query(UNDUMPED, database="shop")
    restorer.restored(backup(restorer.server, restorer.backups), **{"as": "another_copy"}, databases=["shop"])


def test_a_provider_that_one_database_loads_is_enough(provider: Path, tmp_path: Path) -> None:
    """On the server that made the set and on the one that gets it: both have the library, and no setting of their own."""
    with postgres_server(prefix="tl") as server, postgres_server(prefix="tl") as bare:
        for one in (server, bare):
            install(one, provider)
        fill(server, "session_preload_libraries = 'label_provider'")
        Restorer(bare, tmp_path / "backups", tmp_path / "state").restored(backup(server, tmp_path / "backups"))
        assert bare.query(LABELS, database="shop") == server.query(LABELS, database="shop")


def test_a_server_without_their_provider_is_told_what_it_lacks_and_left_as_it_is(
    labelled: tuple[Restorer, str, list[Any]], provider: Path, tmp_path: Path
) -> None:
    restorer, made, there = labelled
    with postgres_server(prefix="tl") as bare:
        one = Restorer(bare, restorer.backups, tmp_path / "state")
        said = one.refused(made)
        assert "what is in use is what it was before" in said
        assert 'security label provider "test" is not loaded: the server needs its library' in said
        assert bare.query("SELECT datname FROM pg_database WHERE datname NOT LIKE 'template_'") == [("postgres",)]
        assert bare.query("SELECT FROM pg_roles WHERE rolname = 'keeper'") == []
        provide(bare, provider)
        one.restored(made)
        assert bare.query(LABELS, database="shop") == there
