# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap: clients stop it or are disconnected, nobody gets into a copy, roles that exist keep their passwords."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from backups import BACKUP_ROLE, ODD, SHOP, Shop, paced, shop
from modules import start_module
from restoring import Restorer, picture
from servers import postgres_server

COUNT = "SELECT count(*) FROM app.orders"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, str]]:
    with shop(tmp_path_factory.mktemp("shop"), restarts=True) as found:
        result = found.backup()
        assert not result["failed"], result
        yield found, str(result["set"]["id"])


@pytest.fixture
def restorer(made: tuple[Shop, str], tmp_path: Path) -> Iterator[Restorer]:
    found = made[0]
    one = Restorer(found.server, found.folder, tmp_path / "state", found.identity)
    yield one
    one.cleaned()
    assert one.left() == []


def test_a_connected_client_stops_the_swap_and_is_named(made: tuple[Shop, str], restorer: Restorer) -> None:
    found, name = made
    before = picture(found.server, SHOP)
    with contextlib.closing(found.server.connect(SHOP, user="shop_app", password="app")) as client, client.cursor() as cursor:
        cursor.execute("SET application_name = 'till 7'")
        assert "shop_app from" in restorer.refused(name, databases=[SHOP])
        said = restorer.run(set=name, databases=[SHOP], check=True)
        assert said["changed"]
        assert "till 7" in said["connected"][0]
        assert "till 7" in said["notes"][0]
        cursor.execute("SELECT 1")  # it was not disturbed
    assert picture(found.server, SHOP) == before
    assert restorer.left() == []


def test_a_client_that_comes_while_the_copy_is_made_stops_the_swap(made: tuple[Shop, str], restorer: Restorer) -> None:
    found, name = made
    with paced(found.server, 0.004):
        run = start_module("restore", restorer.arguments(set=name, databases=[SHOP]))
        wait_for_copy(restorer)
    with contextlib.closing(found.server.connect(SHOP)):
        stdout, _stderr = run.communicate(timeout=120)
    assert "a client is connected to" in stdout
    assert restorer.left() == []
    assert found.server.query(COUNT, database=SHOP) == [(5000,)]
    assert found.server.query("SELECT datallowconn FROM pg_database WHERE datname = %s", SHOP) == [(True,)]


def test_clients_are_disconnected_where_that_was_asked_for(made: tuple[Shop, str], restorer: Restorer) -> None:
    found, name = made
    found.server.query("INSERT INTO app.events VALUES ('2026-02-02', 'late')", database=SHOP)
    with contextlib.closing(found.server.connect(SHOP)) as client, client.cursor() as cursor:
        result = restorer.restored(name, databases=[SHOP], disconnect=True)
        assert len(result["connected"]) == 1
        with pytest.raises(psycopg2.Error):
            cursor.execute("SELECT 1")
    assert found.server.query("SELECT count(*) FROM app.events WHERE what = 'late'", database=SHOP) == [(0,)]
    with pytest.raises(psycopg2.OperationalError, match="not currently accepting"):
        found.server.connect(result["kept"][0].partition("/")[2])


def test_what_was_written_to_a_restored_database_is_kept_by_an_undo(made: tuple[Shop, str], restorer: Restorer) -> None:
    found, name = made
    found.server.query("INSERT INTO app.events VALUES ('2026-02-03', 'before')", database=SHOP)
    restorer.restored(name, databases=[SHOP])
    found.server.query("INSERT INTO app.events VALUES ('2026-02-03', 'after')", database=SHOP)
    assert restorer.restored(name, databases=[SHOP])["changed"], "it was written to since"
    restorer.undone()
    assert found.server.query("SELECT what FROM app.events WHERE what IN ('before', 'after')", database=SHOP) == [("after",)]


def test_a_copy_beside_the_live_database(made: tuple[Shop, str], restorer: Restorer) -> None:
    found, name = made
    before = picture(found.server, SHOP)
    predicted = restorer.run(set=name, databases=[SHOP], check=True, **{"as": "shop_copy"})
    result = restorer.restored(name, databases=[SHOP], **{"as": "shop_copy"})
    assert [(row["name"], row["action"]) for row in result["databases"]] == [("postgres/shop_copy", "create")]
    assert predicted["diff"] == result["diff"]
    assert not restorer.restored(name, databases=[SHOP], **{"as": "shop_copy"})["changed"]
    assert picture(found.server, SHOP) == before
    assert found.server.query(COUNT, database="shop_copy") == [(5000,)]
    assert result["kept"] == []
    restorer.undone()
    assert found.server.query("SELECT count(*) FROM pg_database WHERE datname = 'shop_copy'") == [(0,)]


def test_nobody_gets_into_a_copy_before_it_is_in_use(made: tuple[Shop, str], restorer: Restorer) -> None:
    found, name = made
    with paced(found.server, 0.004):
        run = start_module("restore", restorer.arguments(set=name, databases=[SHOP], **{"as": "closed_copy"}))
        side = wait_for_copy(restorer)
    with pytest.raises(psycopg2.OperationalError, match=r"too many connections|permission denied"):
        found.server.connect(side, user="shop_app", password="app")
    stdout, _stderr = run.communicate(timeout=120)
    assert '"failed": true' not in stdout
    found.server.connect("closed_copy", user="shop_app", password="app").close()
    restorer.undone()


def test_a_bare_server_gets_the_roles_and_one_that_has_them_keeps_its_own(made: tuple[Shop, str], tmp_path: Path) -> None:
    found, name = made
    with postgres_server(prefix="bare") as bare:
        bare.query("CREATE ROLE shop_app LOGIN PASSWORD 'of the inventory' CONNECTION LIMIT 3")
        one = Restorer(bare, found.folder, tmp_path / "state", found.identity)
        predicted = one.run(set=name, check=True)
        assert predicted["roles"] == {"postgres": ["shop_owner", BACKUP_ROLE]}
        assert bare.query("SELECT count(*) FROM pg_roles WHERE rolname = 'shop_owner'") == [(0,)]
        result = one.restored(name)
        assert (result["roles"], result["diff"]) == (predicted["roles"], predicted["diff"])
        bare.connect(SHOP, user="shop_app", password="of the inventory").close()
        bare.connect(SHOP, user=BACKUP_ROLE, password=found.password).close()
        assert bare.query("SELECT rolconnlimit, rolconfig FROM pg_roles WHERE rolname = 'shop_app'") == [(3, None)]
        assert bare.query("SELECT rolconfig FROM pg_roles WHERE rolname = %s", BACKUP_ROLE) == [(["lo_compat_privileges=on"],)]
        assert picture(bare, SHOP)["catalog"] == picture(found.server, SHOP)["catalog"]
        assert bare.query("SELECT count(*) FROM t", database=ODD) == [(10,)]
        assert not one.restored(name)["changed"]


@pytest.mark.parametrize("what", ["run", "tool", "server"])
def test_a_kill_while_the_copy_is_made_leaves_the_live_database_whole_and_the_next_run_tidies_up(made: tuple[Shop, str], restorer: Restorer, what: str) -> None:
    found, name = made
    before = picture(found.server, SHOP)
    with paced(found.server, 0.2):
        run = start_module("restore", restorer.arguments(set=name, databases=[SHOP], disconnect=True))
        wait_for_copy(restorer)
    if what == "run":
        os.kill(run.pid, signal.SIGKILL)
    elif what == "tool":
        subprocess.run(["docker", "kill", *tools(restorer.backups)], check=False, capture_output=True, timeout=60)
    else:
        subprocess.run(["docker", "exec", found.server.container, "sh", "-c", "kill -9 $(head -1 /data/pgdata/postmaster.pid)"], check=True, timeout=60)
    stdout, _stderr = run.communicate(timeout=180)
    if what != "run":
        assert "what is in use is what it was before" in stdout
    wait_for_server(found)
    assert picture(found.server, SHOP) == before
    if what == "tool":
        assert restorer.left() == []
    restorer.restored(name, databases=[SHOP], disconnect=True)
    assert found.server.query(COUNT, database=SHOP) == [(5000,)]
    assert tools(restorer.backups) == []
    restorer.undone()
    restorer.cleaned()
    assert restorer.left() == []
    assert restorer.staging() == []


def test_a_cleanup_that_was_cut_off_leaves_nothing_that_an_undo_could_take_out_of_use(made: tuple[Shop, str], restorer: Restorer) -> None:
    found, name = made
    result = restorer.restored(name, databases=[SHOP])
    note = restorer.state / "restores" / f"{result['restore']}.json"
    text = note.read_text(encoding="utf-8")
    restorer.cleaned()
    note.write_text(text, encoding="utf-8")  # killed before the journal forgot it
    said = restorer.run(state="undone")
    assert found.server.query("SELECT datallowconn FROM pg_database WHERE datname = %s", SHOP) == [(True,)]
    assert said["failed"]
    assert "nothing was touched" in said["msg"]
    assert f"({result['kept'][0].partition('/')[2]}) is gone" in said["msg"]


def test_a_restore_without_a_journal_ends_before_the_swap(made: tuple[Shop, str], restorer: Restorer, tmp_path: Path) -> None:
    found, name = made
    found.server.query("INSERT INTO app.events VALUES ('2026-02-04', 'before')", database=SHOP)
    oids = found.server.query("SELECT oid FROM pg_database WHERE datname = %s", SHOP)
    (tmp_path / "file").write_text("", encoding="utf-8")
    said = restorer.refused(name, databases=[SHOP], state_dir=str(tmp_path / "file" / "state"))
    assert "what is in use is what it was before" in said
    assert "cannot be written" in said
    assert "undo it" not in said, "an undo would put back what an earlier restore replaced"
    assert found.server.query("SELECT oid FROM pg_database WHERE datname = %s", SHOP) == oids
    assert restorer.left() == []


def wait_for_copy(restorer: Restorer) -> str:
    """The name of the copy, once a tool fills it with the users."""
    deadline = time.monotonic() + 60
    while not (found := restorer.server.query("SELECT datname FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX users_paced%'")):
        assert time.monotonic() < deadline, "no copy was begun"
        time.sleep(0.02)
    return str(found[0][0])


def wait_for_server(found: Shop) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            found.server.query("SELECT 1")
            return
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline, "the server did not come back"
            time.sleep(0.2)


def tools(backups: Path) -> list[str]:
    """Containers in which tools run for this folder of sets."""
    done = subprocess.run(
        ["docker", "ps", "--quiet", "--filter", f"label=nexanest.database.bulk={backups}"], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()
