# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever happens to the rows, after the next refresh every aggregate equals the direct aggregation. On both editions.

Why: docs/decisions/rollups-without-a-licence.md.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from containers import docker
from sampling import one_in
from timescale import DIRECT, Market, market, timescale_server

ROWS = 20_000
LONG_ROWS = 5_000_000
KILL = 'for one in /proc/[0-9]*; do [ "$(cat $one/comm 2>/dev/null)" != postgres ] || kill -9 ${one#/proc/}; done'

# Each begins with all numbers right.
DISTURBANCES = {
    "late rows": ["INSERT INTO market.ticks SELECT now() - n * interval '7 hours 1 second', 'S3', 500, 3 FROM generate_series(1, 100) AS n"],
    "a row of a new symbol": ["INSERT INTO market.ticks VALUES (now() - interval '20 days 1 second', 'NEW', 1, 2)"],
    "an update": ["UPDATE market.ticks SET price = price + 1 WHERE time BETWEEN now() - interval '10 days' AND now() - interval '9 days 20 hours'"],
    "an update that moves rows to other buckets": [
        "UPDATE market.ticks SET time = time + interval '1 minute' "
        "WHERE time BETWEEN date_trunc('day', now()) - interval '180 hours' AND date_trunc('day', now()) - interval '170 hours'"
    ],
    "a delete": ["DELETE FROM market.ticks WHERE time BETWEEN now() - interval '15 days' AND now() - interval '14 days 20 hours' AND symbol < 'S2'"],
    "a delete of whole buckets": ["DELETE FROM market.ticks WHERE time BETWEEN now() - interval '25 days' AND now() - interval '22 days'"],
    "rows added and deleted again": [
        "INSERT INTO market.ticks VALUES (now() - interval '8 days 1 second', 'X', 1, 2), (now() - interval '8 days', 'X', 1, 2)",
        "DELETE FROM market.ticks WHERE symbol = 'X' AND time < now() - interval '8 days'",
    ],
    "a rolled-back insert": [
        "DO $$ BEGIN INSERT INTO market.ticks VALUES (now() - interval '8 days', 'X', 1, 2); RAISE 'no'; EXCEPTION WHEN OTHERS THEN END $$"
    ],
    "the most recent rows": ["INSERT INTO market.ticks SELECT now() - n * interval '1 minute 1 millisecond', 'S1', 7, 3 FROM generate_series(0, 300) AS n"],
    "a reset of all statistics": ["SELECT pg_stat_reset()", "INSERT INTO market.ticks VALUES (now() - interval '12 days 1 second', 'S4', 900, 9)"],
    "a reset of one chunk's statistics": [
        "SELECT pg_stat_reset_single_table_counters(chunk) "
        "FROM show_chunks('market.ticks', older_than => now() - interval '9 days', newer_than => now() - interval '13 days') AS chunk",
        "INSERT INTO market.ticks VALUES (now() - interval '11 days 1 second', 'S4', 900, 9)",
    ],
    "frozen rows": ["INSERT INTO market.ticks VALUES (now() - interval '16 days 3 seconds', 'S4', 900, 9)", "VACUUM (FREEZE) market.ticks"],
    "a rewritten table": ["DELETE FROM market.ticks WHERE symbol = 'S7' AND time < now() - interval '30 days'", "VACUUM FULL market.ticks"],
    "a delete in young chunks": ["DELETE FROM market.ticks WHERE symbol = 'S9' AND time > now() - interval '5 days'"],
    "a chunk emptied by hand": ["DO $$ BEGIN EXECUTE format('TRUNCATE %s', (SELECT show_chunks('market.ticks') ORDER BY 1 LIMIT 1)); END $$"],
    "TRUNCATE": [
        "TRUNCATE market.ticks",
        "INSERT INTO market.ticks VALUES (now() - interval '12 days', 'S4', 900, 9), (now() - interval '1 hour', 'S4', 901, 9)",
    ],
}
# The licensed edition tells nobody that a chunk was emptied behind its back.
EQUIVALENT_ONLY = {"a chunk emptied by hand"}


@pytest.fixture(scope="module")
def ticks() -> Iterator[Market]:
    with timescale_server(memory="1g") as server:
        found = market(server, "ticks")
        found.converge()
        found.fill(ROWS)
        found.refresh()
        yield found


@pytest.mark.parametrize("disturbance", one_in(2, DISTURBANCES))
def test_after_a_disturbance_the_numbers_are_right(ticks: Market, disturbance: str) -> None:
    if ticks.native and disturbance in EQUIVALENT_ONLY:
        pytest.skip("the licensed edition does not see it")
    if ticks.query("SELECT count(*) FROM market.ticks")[0][0] < ROWS / 2:
        ticks.fill(ROWS)
    ticks.refresh()
    assert ticks.differences() == {}
    for statement in DISTURBANCES[disturbance]:
        ticks.query(statement)
    ticks.refresh()
    assert ticks.differences() == {}


def test_a_row_that_was_committed_during_a_refresh_is_in_the_next(ticks: Market) -> None:
    with contextlib.closing(ticks.server.connect(ticks.database)) as writer, writer.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO market.ticks VALUES (now() - interval '9 days 2 seconds', 'S5', 950, 9)")
        ticks.refresh_these(*DIRECT)
        cursor.execute("COMMIT")
    ticks.refresh()
    assert ticks.differences() == {}


@pytest.mark.equivalent
def test_an_open_session_that_counts_late_is_noticed(ticks: Market) -> None:
    with contextlib.closing(ticks.server.connect(ticks.database)) as writer, writer.cursor() as cursor:
        for price in (960, 961):
            cursor.execute("INSERT INTO market.ticks VALUES (now() - interval '9 days 4 seconds', 'S6', %s, 9)", [price])
        deadline = time.monotonic() + 30
        while True:
            ticks.query("CALL _rollup.refresh_all()")
            if ticks.differences() == {}:
                break
            assert time.monotonic() < deadline, ticks.differences()
            time.sleep(1)


@pytest.mark.long
def test_writers_beside_refreshes_lose_nothing(ticks: Market) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()

    def write(number: int) -> None:
        try:
            with contextlib.closing(ticks.server.connect(ticks.database)) as session, session.cursor() as cursor:
                while not stop.is_set():
                    cursor.execute("INSERT INTO market.ticks VALUES (now() - random() * interval '40 days', %s, 100, 2)", [f"W{number}"])
                    if number == 0:
                        cursor.execute("DELETE FROM market.ticks WHERE symbol = 'W0' AND random() < 0.01")
        except BaseException as error:  # noqa: BLE001  (told by the main thread)
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _round in range(8):
            ticks.refresh_these(*DIRECT)
    finally:
        stop.set()
        for writer in writers:
            writer.join(30)
    assert not failures
    ticks.refresh()
    assert ticks.query("SELECT count(*) > 0 FROM market.ticks WHERE symbol = 'W1'") == [(True,)]
    assert ticks.differences() == {}


@pytest.mark.equivalent
def test_a_refresh_and_a_look_at_the_chunks_do_not_wait_in_a_circle(ticks: Market) -> None:
    """The second change of a row in one transaction checks its foreign keys, though they stay: that must not wait for a look, which waits for the row."""
    ticks.query("INSERT INTO market.ticks VALUES (now() - interval '9 days 5 seconds', 'S6', 970, 9)")
    with (
        contextlib.closing(ticks.server.connect(ticks.database)) as refresh,
        refresh.cursor() as piece,
        contextlib.closing(ticks.server.connect(ticks.database)) as look,
        look.cursor() as looking,
        ThreadPoolExecutor(max_workers=1) as beside,
    ):
        piece.execute("BEGIN")
        piece.execute("SELECT min(id) FROM _rollup.aggregates WHERE hypertable = 'market.ticks' AND parent IS NULL")
        aggregate = piece.fetchall()[0][0]
        piece.execute("SELECT _rollup.materialise(%s, 'empty')", [aggregate])
        looked = beside.submit(looking.execute, "SELECT _rollup.collect('market.ticks')")
        ticks.wait_for_lock("_rollup.collect")
        piece.execute("UPDATE _rollup.aggregates SET watermark = watermark WHERE id = %s", [aggregate])
        piece.execute("COMMIT")
        looked.result(30)
    ticks.refresh()
    assert ticks.differences() == {}


def test_a_crash_in_mid_refresh_and_one_after_a_commit_lose_nothing() -> None:
    with timescale_server(memory="1g", restarts=True) as server:
        ticks = market(server, "ticks")
        ticks.converge()
        ticks.fill(ROWS)
        _crash_in_refresh(ticks)
        ticks.refresh()
        assert ticks.differences() == {}
        # The counters of this row are lost with the server's memory.
        with contextlib.closing(server.connect(ticks.database)) as writer, writer.cursor() as cursor:
            cursor.execute("INSERT INTO market.ticks VALUES (now() - interval '13 days 1 second', 'S5', 970, 9)")
            _kill(ticks)
        ticks.refresh()
        assert ticks.differences() == {}


@pytest.mark.long
def test_the_same_at_five_million_rows() -> None:
    with timescale_server(memory="6g", disk="5g", restarts=True, settings=["shared_buffers=512MB", "work_mem=64MB", "max_wal_size=1GB"]) as server:
        ticks = market(server, "ticks")
        ticks.converge()
        ticks.fill(LONG_ROWS)
        ticks.query("CHECKPOINT")
        _crash_in_refresh(ticks)
        ticks.refresh()
        assert ticks.differences_at_once() == {}
        for name, statements in DISTURBANCES.items():
            if ticks.native and name in EQUIVALENT_ONLY:
                continue
            for statement in statements:
                ticks.query(statement)
            begin = time.monotonic()
            ticks.refresh()
            print(f"{name}: {time.monotonic() - begin:.2f} s", flush=True)
            assert ticks.differences_at_once() == {}, name


def _crash_in_refresh(ticks: Market) -> None:
    """Everything is due; the server is killed when a part of it is done."""

    def refresh() -> None:
        with contextlib.suppress(Exception):
            ticks.refresh()

    run = threading.Thread(target=refresh)
    run.start()
    time.sleep(0.3)
    _kill(ticks)
    run.join(60)


def _kill(ticks: Market) -> None:
    """SIGKILL to every process of the server, as when its container is killed; a backend alone would go on and hold the memory. It starts again."""
    docker("exec", ticks.server.container, "sh", "-c", KILL)
    deadline = time.monotonic() + 300
    while True:
        try:
            ticks.query("SELECT 1")
            return
        except Exception:  # noqa: BLE001  (whatever a starting server answers)
            assert time.monotonic() < deadline, "the server did not come back"
            time.sleep(0.2)
