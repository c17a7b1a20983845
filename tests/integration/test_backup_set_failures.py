# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real things break while a set is made: no part of it ever passes for a whole, and earlier sets stay as they were."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest
from backups import ODD, SHOP, Shop, shop
from containers import docker
from modules import start_module


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("sets"), restarts=True) as found:
        assert not found.backup()["failed"]
        yield found


@pytest.fixture(autouse=True)
def whole(filled: Shop) -> Iterator[None]:
    """Whatever a test did: each set is whole, a plain run makes one more, and nothing else is left."""
    before = sets(filled)
    yield
    wait(lambda: answers(filled), "the server answers")
    assert before <= sets(filled)
    result = filled.backup(id=free_id(filled))
    assert not result["failed"], result
    assert sorted(path.name for path in filled.folder.iterdir() if path.name not in sets(filled)) == [".lock"]
    assert bulk_containers(filled) == []


def sets(shop_: Shop) -> set[str]:
    return {path.name for path in shop_.folder.iterdir() if path.name[0].isdigit()}


def free_id(shop_: Shop) -> str:
    """Later than every set."""
    following = datetime.strptime(max(sets(shop_)), "%Y%m%d_%H%M%S") + timedelta(seconds=1)
    return following.strftime("%Y%m%d_%H%M%S")


def bulk_containers(shop_: Shop) -> list[str]:
    return docker("ps", "--all", "--filter", f"label=nexanest.database.bulk={shop_.folder}", "--format", "{{.Names}}").split()


def kill_dumps(shop_: Shop) -> None:
    """Those that run. The one that waits for a table does; one of another database may end meanwhile by itself."""
    killed = [name for name in bulk_containers(shop_) if subprocess.run(["docker", "kill", name], capture_output=True, check=False, timeout=60).returncode == 0]
    assert killed


def answers(shop_: Shop) -> bool:
    try:
        shop_.server.connect().close()
        return True
    except psycopg2.OperationalError:
        return False


def wait(until: Callable[[], object], what: str, limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not until():
        assert time.monotonic() < deadline, f"waited {limit:.0f} s in vain: {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def stalled(shop_: Shop, database: str = SHOP) -> Iterator[subprocess.Popen[str]]:
    """A backup in the middle of a database, whose pg_dump waits for somebody who wants to change a table.

    The backup waits for one who has the table; another one asks for it next; then the first lets it go.
    """
    table = "app.users" if database == SHOP else "t"
    with contextlib.closing(shop_.server.connect(database)) as first, contextlib.closing(shop_.server.connect(database)) as second:
        first.cursor().execute(f"BEGIN; LOCK TABLE {table}")
        run = start_module("backup_set", shop_.arguments(id=free_id(shop_)))
        wait(lambda: waiting(shop_, database) == ["nexanest.database"], "the backup waits for the table")
        asking = threading.Thread(target=ask, args=(second, table), daemon=True)
        asking.start()
        wait(lambda: len(waiting(shop_, database)) == 2, "somebody else asks for the table")
        first.close()
        wait(lambda: "pg_dump" in waiting(shop_, database), "pg_dump waits")
        yield run
        with contextlib.suppress(psycopg2.Error):  # the test may have broken the session as well
            second.cancel()
        asking.join(timeout=30)
    assert not asking.is_alive()


def ask(session: psycopg2.extensions.connection, table: str) -> None:
    with contextlib.suppress(psycopg2.Error):
        session.cursor().execute(f"BEGIN; LOCK TABLE {table}; ROLLBACK")


def waiting(shop_: Shop, database: str) -> list[str]:
    return [row[0] for row in shop_.server.query("SELECT application_name FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'", database)]


def test_a_killed_run_leaves_no_set(filled: Shop) -> None:
    before = sets(filled)
    with stalled(filled) as run:
        run.kill()
        run.wait(timeout=30)
    assert sets(filled) == before


@pytest.mark.long
def test_a_run_that_is_asked_to_end_tidies_up_at_once(filled: Shop) -> None:
    before = sets(filled)
    with stalled(filled) as run:
        run.terminate()
        run.wait(timeout=60)
    assert {path.name for path in filled.folder.iterdir()} == before | {".lock"}
    assert bulk_containers(filled) == []


def test_a_run_that_is_killed_while_it_encrypts_leaves_no_set(filled: Shop) -> None:
    before = sets(filled)
    run = start_module("backup_set", filled.arguments(id=free_id(filled)))
    wait(lambda: list(filled.folder.glob(".partial-*/postgres/*/*.age")), "the first file is encrypted")
    run.kill()
    run.wait(timeout=30)
    assert sets(filled) == before


def test_a_killed_dump_fails_the_run_that_names_it(filled: Shop) -> None:
    before = sets(filled)
    with stalled(filled) as run:
        kill_dumps(filled)
        output = run.communicate(timeout=120)[0]
    assert '"failed": true' in output
    assert f"postgres/{SHOP}: pg_dump failed" in output
    assert sets(filled) == before


def test_every_database_is_tried_and_the_failed_one_is_named(filled: Shop) -> None:
    with stalled(filled, ODD) as run:
        kill_dumps(filled)
        wait(lambda: bulk_containers(filled), "the next database is dumped all the same")
        output = run.communicate(timeout=120)[0]
    assert "pg_dump failed" in output
    assert f"postgres/{SHOP}" not in output


def test_a_server_that_dies_in_the_middle_fails_the_run(filled: Shop) -> None:
    before = sets(filled)
    with stalled(filled) as run:
        pid = int(docker("exec", filled.server.container, "sh", "-c", "head -n 1 /data/pgdata/postmaster.pid"))
        docker("exec", filled.server.container, "sh", "-c", f"kill -9 {pid}")
        output = run.communicate(timeout=120)[0]
    assert f"postgres/{SHOP}" in output
    assert sets(filled) == before


def test_a_database_that_is_dropped_meanwhile_is_named(filled: Shop) -> None:
    filled.server.query("CREATE DATABASE aa_short")
    filled.server.query("GRANT CONNECT ON DATABASE aa_short TO stack_backup")
    filled.server.query("CREATE TABLE t (n int)", database="aa_short")
    before = sets(filled)
    with stalled(filled, "aa_short") as run:
        filled.server.query("DROP DATABASE aa_short WITH (FORCE)")
        output = run.communicate(timeout=120)[0]
    assert "postgres/aa_short" in output
    assert f"postgres/{SHOP}" not in output
    assert sets(filled) == before


@pytest.mark.long
def test_who_wants_to_change_a_table_is_let_in_and_the_dump_begins_anew(filled: Shop) -> None:
    with stalled(filled) as run:
        wait(lambda: waiting(filled, SHOP) == [], "the dump lets the table go")
    output = run.communicate(timeout=120)[0]
    assert '"changed": true' in output


def test_a_disk_that_fills_up_meanwhile_leaves_the_earlier_sets(filled: Shop, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", str(small)], check=True, timeout=30)
    try:
        there = filled.arguments(backup_dir=str(small))
        first = start_module("backup_set", there).communicate(timeout=120)[0]
        assert '"changed": true' in first
        before = {path: path.stat().st_mtime_ns for path in small.rglob("*") if "_" in path.parent.name}
        run = start_module("backup_set", {**there, "id": "20990101_000000"})
        wait(lambda: list(small.glob(".partial-*")), "the set is begun")
        fill_up(small / "other")
        output = run.communicate(timeout=120)[0]
        assert '"failed": true' in output
        assert "No space left" in output
        assert not list(small.glob(".[ps]*-*"))
        assert {path: path.stat().st_mtime_ns for path in small.rglob("*") if "_" in path.parent.name} == before
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True, timeout=30)


def fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))


def test_a_disk_without_room_is_refused_before_anything_is_written(filled: Shop, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=True, timeout=30)
    try:
        result = filled.backup(backup_dir=str(small))
        assert result["failed"]
        assert "MB free, and the set may need" in result["msg"]
        assert [path.name for path in small.iterdir()] == [".lock"]
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True, timeout=30)


@pytest.mark.long
def test_a_second_run_says_who_is_at_work(filled: Shop) -> None:
    with stalled(filled) as run:
        second = filled.backup()
        assert second["failed"]
        assert f"process {run.pid}, a backup of shop" in second["msg"]
    assert '"changed": true' in run.communicate(timeout=120)[0]


@pytest.mark.long
def test_a_second_run_that_waits_makes_its_set_afterwards(filled: Shop) -> None:
    with stalled(filled) as run:
        second = start_module("backup_set", filled.arguments(id="20300101_000000", lock_wait=120))
        time.sleep(1)
    assert '"changed": true' in run.communicate(timeout=120)[0]
    assert '"changed": true' in second.communicate(timeout=120)[0]


def test_a_backup_of_a_server_that_is_stopped_is_refused(filled: Shop) -> None:
    docker("pause", filled.server.container)
    try:
        result = filled.backup(servers=[{**filled.arguments()["servers"][0], "connect_timeout": 3}])
    finally:
        docker("unpause", filled.server.container)
    assert result["failed"]
    assert "no backup was made" in result["msg"]


@pytest.mark.long
def test_a_run_whose_lock_file_is_old_is_not_stopped_by_it(filled: Shop) -> None:
    (filled.folder / ".lock").write_text('{"pid": 1, "what": "a backup", "since": "long ago"}')
    assert not filled.backup(id=free_id(filled))["failed"]


def test_rows_that_are_written_meanwhile_are_counted_as_they_are_dumped(filled: Shop) -> None:
    stop = threading.Event()
    writer = threading.Thread(target=write, args=(filled, stop))
    writer.start()
    try:
        result = filled.backup(id=free_id(filled))
    finally:
        stop.set()
        writer.join()
    assert not result["failed"], result
    databases = filled.manifest(result["set"]["id"])["servers"]["postgres"]["databases"]
    counted = {table["name"]: table["rows"] for database in databases if database["name"] == ODD for table in database["tables"]}
    file = data_file(filled, result["set"]["id"])
    plain = subprocess.run(["age", "--decrypt", "--identity", str(filled.key), file], check=True, capture_output=True, timeout=60)
    rows = subprocess.run(["zstd", "--decompress", "--stdout"], input=plain.stdout, check=True, capture_output=True, timeout=60).stdout.splitlines()
    assert len([row for row in rows if row and row != b"\\."]) == counted["t"]


def data_file(shop_: Shop, name: str) -> str:
    """Of the one table in the database of the odd name."""
    manifest = shop_.manifest(name)
    folder = next(database["path"] for database in manifest["servers"]["postgres"]["databases"] if database["name"] == ODD)
    (found,) = (shop_.folder / name / folder).glob("*.dat.zst.age")
    return str(found)


def write(shop_: Shop, stop: threading.Event) -> None:
    with contextlib.closing(shop_.server.connect(ODD)) as session, session.cursor() as cursor:
        while not stop.is_set():
            cursor.execute("INSERT INTO t SELECT generate_series(1, 100)")
