# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the Apache edition to the licensed one and back: one licensed image, whose licence is set to apache first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from containers import docker
from modules import run_module
from timescale import AGGREGATES, Market, market, timescale_server

pytestmark = pytest.mark.native

# Retention has taken the first 25 of 45 days.
OPTIONS: dict[str, Any] = {
    "retention": {"drop_after": "20 days"},
    "columnstore": {"segmentby": ["symbol"], "orderby": ["time DESC"]},
    "continuous_aggregates": [{**one, "start_offset": "18 days"} for one in AGGREGATES[:2]],
}


@pytest.fixture
def ticks() -> Iterator[Market]:
    with timescale_server(memory="1g", restarts=True) as server:
        _licence(Market(server, "postgres"), "apache")
        found = market(server, "ticks")
        found.fill(20_000)
        found.converge(migrate_data=True, **OPTIONS)
        found.query("CALL _rollup.retain('market.ticks')")
        found.query("CALL _rollup.refresh_all()")
        yield found


def test_the_same_run_makes_rollups_native_and_keeps_their_history(ticks: Market) -> None:
    views = ("market.ticks_1h", "market.ticks_1d")
    before = {view: ticks.query(f"SELECT * FROM {view} ORDER BY bucket, symbol") for view in views}
    columns = "SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum"
    shapes = {view: ticks.query(columns, view) for view in views}
    ticks.query("GRANT SELECT ON market.ticks_1d TO pg_monitor")
    assert ticks.query("SELECT count(*) < 12000 FROM market.ticks") == [(True,)]
    _licence(ticks, "timescale")
    predicted = ticks.converge(check=True, **OPTIONS)
    done = ticks.converge(**OPTIONS)
    assert predicted["objects"] == done["objects"]
    assert ticks.converge(**OPTIONS)["changed"] is False
    assert ticks.query("SELECT view_name FROM timescaledb_information.continuous_aggregates ORDER BY 1") == [("ticks_1d",), ("ticks_1h",)]
    for view in views:
        assert ticks.query(columns, view) == shapes[view]
        assert ticks.query(f"SELECT * FROM {view} ORDER BY bucket, symbol") == before[view]
    assert ticks.query("SELECT has_table_privilege('pg_monitor', 'market.ticks_1d', 'SELECT')") == [(True,)]
    assert ticks.query(
        "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE nspname = '_rollup' AND relname LIKE 'rows%%'"
    ) == [(0,)]
    # What the policies do later takes nothing away, and late rows within the window come in.
    ticks.query("INSERT INTO market.ticks VALUES (now() - interval '10 days', 'S1', 5000, 1000)")
    for job in ticks.query(
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name LIKE 'policy_ref%%' OR proc_name = 'policy_retention' ORDER BY job_id"
    ):
        ticks.query("CALL run_job(%s)", job[0])
    assert ticks.query("SELECT max(high) FROM market.ticks_1h") == [(5000,)]
    history = [row for row in before["market.ticks_1d"] if row[0] < ticks.query("SELECT date_trunc('day', now() - interval '19 days')")[0][0]]
    assert history
    assert ticks.query("SELECT * FROM market.ticks_1d ORDER BY bucket, symbol")[: len(history)] == history


def test_a_move_that_was_killed_is_completed_by_the_next_run(ticks: Market) -> None:
    before = ticks.query("SELECT * FROM market.ticks_1d ORDER BY bucket, symbol")
    _licence(ticks, "timescale")
    # The first half of it: what stands aside, half filled.
    statements = ticks.converge(check=True, **OPTIONS)["queries"]
    for statement in [one for one in statements if one.startswith("CREATE MATERIALIZED VIEW")]:
        ticks.query(statement)
    ticks.query("ALTER MATERIALIZED VIEW market.ticks_1h__moving OWNER TO market_owner")
    ticks.query("ALTER MATERIALIZED VIEW market.ticks_1d__moving OWNER TO market_owner")
    ticks.converge(**OPTIONS)
    assert ticks.converge(**OPTIONS)["changed"] is False
    assert ticks.query("SELECT * FROM market.ticks_1d ORDER BY bucket, symbol") == before


def test_the_way_back_is_refused_where_it_loses_rows(ticks: Market) -> None:
    _licence(ticks, "timescale")
    ticks.converge(**OPTIONS)
    ticks.query("SELECT compress_chunk(chunk) FROM show_chunks('market.ticks', older_than => interval '10 days') AS chunk")
    _licence(ticks, "apache")
    result = run_module("timescaledb_hypertables", ticks.arguments(**OPTIONS))
    assert result["failed"]
    assert "reads as if their rows were not there" in result["msg"]


def _licence(ticks: Market, licence: str) -> None:
    """Another licence, which the server takes at its start."""
    ticks.query(f"ALTER SYSTEM SET timescaledb.license = '{licence}'")
    docker("exec", ticks.server.container, "pg_ctl", "-D", "/data/pgdata", "-m", "fast", "-W", "stop")
    deadline = time.monotonic() + 60
    while True:
        try:
            assert ticks.query("SELECT current_setting('timescaledb.license')") == [(licence,)]
            return
        except Exception:  # noqa: BLE001  (whatever a starting server answers)
            assert time.monotonic() < deadline, "the server did not come back"
            time.sleep(0.2)
