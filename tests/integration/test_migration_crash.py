# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever ends a run in its middle: a plain re-run ends right, and the catalog is the one of a fresh build."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from migrating import arguments, catalog, database_auth, in_ledger, migrate, warnings
from modules import start_module
from servers import Server, postgres_server

TABLE = ("0001_table.sql", "CREATE TABLE auth.t (id int PRIMARY KEY, what text);\nCREATE TABLE auth.u (id int REFERENCES auth.t);")
# As long as somebody holds the lock 7 it stands in the middle, with something done and something to do.
HALF = (
    "0002_half.sql",
    "CREATE TABLE auth.half (id int);\nALTER TABLE auth.t ADD COLUMN more int;\nSELECT pg_advisory_xact_lock(7);\nCREATE INDEX t_more ON auth.t (more);",
)
CONCURRENT = ("0003_concurrent.sql", "-- migration: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS t_what ON auth.t (what)")
VIEW = ("R_view.sql", "CREATE OR REPLACE VIEW auth.v AS SELECT id FROM auth.t")
FILES = (TABLE, HALF, CONCURRENT, VIEW)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server(prefix="ra", restarts=True) as started:
        yield started


@pytest.fixture
def auth(server: Server) -> Iterator[Server]:
    with database_auth(server):
        yield server


@pytest.fixture(scope="module")
def fresh(server: Server) -> Any:
    """The catalog of a build that nothing disturbed."""
    with database_auth(server):
        assert migrate(server, *FILES)["changed"]
        return catalog(server)


def ends_right(server: Server, fresh: Any) -> None:
    """A plain re-run, and a third that has nothing to do."""
    again = migrate(server, *FILES)
    assert not again["failed"], again
    assert in_ledger(server) == [name for name, _text in FILES[:3]]
    assert warnings(again) == []
    assert catalog(server) == fresh
    assert migrate(server, *FILES)["changed"] is False


@contextlib.contextmanager
def standing(server: Server, statement: str = "SELECT pg_advisory_lock(7)") -> Iterator[Callable[[], dict[str, Any]]]:
    """A run that stands in the middle of a file; what is yielded waits for its end."""
    with contextlib.closing(server.connect("auth")) as holder, ThreadPoolExecutor(1) as pool:
        holder.cursor().execute("SET statement_timeout = 0; " + statement)
        running = pool.submit(migrate, server, *FILES)
        until(lambda: waiting(server) != [], running)
        yield lambda: running.result(timeout=120)


def waiting(server: Server) -> list[int]:
    """Server processes of the collection that stand in the middle of something."""
    found = server.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'nexanest.database' AND wait_event_type = 'Lock'")
    return [row[0] for row in found]


def until(happened: Callable[[], bool], running: Any = None) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert running is None or not running.done(), running.result()
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def answers(server: Server) -> bool:
    try:
        server.connect("auth").close()
    except psycopg2.OperationalError:
        return False
    return True


@pytest.mark.parametrize("process", [pytest.param("postmaster", marks=pytest.mark.long), "backend"])
def test_the_server_is_killed_in_the_middle_of_a_file(auth: Server, fresh: Any, process: str) -> None:
    with standing(auth) as ended:
        pid = waiting(auth)[0] if process == "backend" else int(auth.query("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")[0][0])
        os.kill(host_pid(auth, pid), signal.SIGKILL)
        result = ended()
    assert "the connection was lost at line 3, `SELECT pg_advisory_xact_lock(7)`" in result["msg"]
    until(lambda: answers(auth))
    assert in_ledger(auth) == [TABLE[0]]
    ends_right(auth, fresh)


def test_the_connection_is_cut_in_the_middle_of_a_file(auth: Server, fresh: Any) -> None:
    with standing(auth) as ended:
        auth.query("SELECT pg_terminate_backend(%s)", waiting(auth)[0])
        result = ended()
    assert "the connection was lost at line 3" in result["msg"]
    ends_right(auth, fresh)


def test_the_connection_is_cut_in_the_middle_of_a_concurrent_index(auth: Server, fresh: Any) -> None:
    migrate(auth, TABLE, HALF)
    with standing(auth, "BEGIN; LOCK auth.t IN ROW EXCLUSIVE MODE") as ended:
        until(lambda: auth.query("SELECT FROM pg_index WHERE NOT indisvalid", database="auth") != [])
        auth.query("SELECT pg_terminate_backend(%s)", waiting(auth)[0])
        ended()
    ends_right(auth, fresh)


def test_two_runs_at_once(auth: Server, fresh: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = [future.result() for future in [pool.submit(migrate, auth, *FILES) for _run in range(2)]]
    assert [result["failed"] for result in results] == [False, False]
    assert sorted(len(result["applied"]["auth"]) for result in results) == [0, len(FILES)]
    ends_right(auth, fresh)


def test_the_module_is_killed_in_the_middle_of_a_file(auth: Server, fresh: Any) -> None:
    with contextlib.closing(auth.connect("auth")) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(7)")
        run = start_module("postgres_migrations", arguments(auth, *FILES))
        until(lambda: waiting(auth) != [])
        run.kill()
        run.communicate(timeout=60)
        # The server notices that nobody listens any more, although the lock is still held.
        until(lambda: waiting(auth) == [])
    assert in_ledger(auth) == [TABLE[0]]
    ends_right(auth, fresh)


def test_the_disk_is_full_in_the_middle_of_a_file(fresh: Any) -> None:
    with postgres_server(prefix="ra", settings=["max_wal_size=32MB", "min_wal_size=32MB"], disk="256m") as small, database_auth(small):
        filled = fill(small)
        half = (HALF[0], HALF[1] + "\nCREATE TABLE auth.rows AS SELECT repeat('x', 500) FROM generate_series(1, 200000);\nDROP TABLE auth.rows;")
        files = (TABLE, half, CONCURRENT, VIEW)
        result = migrate(small, *files)
        assert result["failed"]
        assert "No space left on device" in result["msg"]
        subprocess.run(["docker", "exec", small.container, "rm", filled], check=True, timeout=60)
        until(lambda: answers(small))
        assert in_ledger(small) == [TABLE[0]]
        again = migrate(small, *files)
        assert not again["failed"], again
        assert catalog(small) == fresh


def fill(server: Server) -> str:
    """A file that leaves 40 MB of the server's disk; its name."""
    name = "/data/filler"
    script = f"fallocate --length $(( ($(df --output=avail /data | tail -1) - 40000) * 1024 )) {name}"
    subprocess.run(["docker", "exec", server.container, "sh", "-c", script], check=True, timeout=60)
    return name


def host_pid(server: Server, pid: int) -> int:
    """The number that this host knows a process of the container by."""
    argv = ["docker", "top", server.container, "-eo", "pid"]
    pids = [int(line) for line in subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.split()[1:]]
    for candidate in pids:
        status = Path(f"/proc/{candidate}/status").read_text(encoding="utf-8").splitlines()
        inner = next(line.split()[-1] for line in status if line.startswith("NSpid"))
        if int(inner) == pid:
            return candidate
    raise AssertionError(f"process {pid} of {server.container} is not to be seen from here")
