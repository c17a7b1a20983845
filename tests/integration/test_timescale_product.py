# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NexaNest's database timescale: its aggregates, the latest prices, and the door to users' data. On both editions."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from servers import Server
from timescale import timescale_server
from timescale_product import DATABASE, KEY, SETTINGS, build, done, hypertables, sow

from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import mint

ANNA, BERT = (str(uuid.UUID(int=number)) for number in (0xA, 0xB))
PRICES = "symbol, currency, max(price), min(price), sum(volume), count(*) FROM market_data.stock_prices GROUP BY 1, 2, 3"
RATES = "pair, first(rate, time), max(rate), min(rate), last(rate, time) FROM market_data.currency_rates GROUP BY 1, 2"
INDICES = "index_code, first(value, time), max(value), min(value), last(value, time) FROM market_data.market_indices GROUP BY 1, 2"
AGGREGATES = {
    "market_data.stock_prices_1h": f"SELECT time_bucket('1 hour', time), {PRICES}",
    "market_data.stock_prices_1d": f"SELECT time_bucket('1 day', time), {PRICES}",
    "market_data.market_indices_1d": f"SELECT time_bucket('1 day', time), {INDICES}",
    "market_data.currency_rates_1h": f"SELECT time_bucket('1 hour', time), {RATES}",
    "market_data.currency_rates_1d": f"SELECT time_bucket('1 day', time), {RATES}",
    "events.system_events_1h": "SELECT time_bucket('1 hour', time), service, severity, count(*) FROM events.system_events GROUP BY 1, 2, 3",
    "events.trading_events_1d": "SELECT time_bucket('1 day', time), exchange, event, count(*) FROM events.trading_events GROUP BY 1, 2, 3",
}
# Several exchanges may report at the same microsecond: open and close are then any of them.
SHOWN = dict.fromkeys(("market_data.stock_prices_1h", "market_data.stock_prices_1d"), "bucket, symbol, currency, high, low, volume, ticks")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with timescale_server(memory="1g", settings=SETTINGS) as started:
        build(started)
        sow(started, users=20, ticks=20_000)
        yield started


def query(server: Server, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    return server.query(statement, *values, database=DATABASE)


@contextlib.contextmanager
def session(server: Server, kind: str, user: str | None = None) -> Iterator[psycopg2.extensions.cursor]:
    """A transaction as one of the service's roles, for a user where one is named."""
    role = f"timescale_{kind}"
    with contextlib.closing(server.connect(DATABASE, user=role, password=f"password of {role}")) as connection:
        connection.autocommit = False
        with connection, connection.cursor() as cursor:
            if user:
                # By the server's clock, which may not be ours.
                cursor.execute("SELECT extract(epoch FROM now())::bigint")
                cursor.execute("SELECT session.set_user(%s)", [mint(KEY, user, int(cursor.fetchall()[0][0]) + 300)])
            yield cursor


def test_a_second_run_changes_nothing(server: Server) -> None:
    assert not done("timescaledb_hypertables", hypertables(server))["changed"]


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_each_aggregate_equals_the_direct_aggregation(server: Server, aggregate: str) -> None:
    if not query(server, "SELECT FROM _rollup.aggregates WHERE native"):
        query(server, "CALL _rollup.refresh_all()")
    else:
        for name in AGGREGATES:
            query(server, f"CALL refresh_continuous_aggregate('{name}', NULL, now() - interval '1 day')")
    mine, direct = f"SELECT {SHOWN.get(aggregate, '*')} FROM {aggregate}", AGGREGATES[aggregate]
    assert query(server, f"SELECT count(*) > 20 FROM {aggregate}") == [(True,)]
    assert query(server, f"SELECT count(*) FROM (({mine} EXCEPT ALL {direct}) UNION ALL ({direct} EXCEPT ALL {mine})) AS x") == [(0,)]


def test_the_latest_price_of_each_symbol_is_the_last(server: Server) -> None:
    direct = "SELECT DISTINCT ON (symbol) symbol, time FROM market_data.stock_prices ORDER BY symbol, time DESC"
    assert query(server, "SELECT symbol, time FROM market_data.latest_stock_prices ORDER BY symbol") == query(server, direct)
    with session(server, "readonly") as cursor:
        cursor.execute("SELECT count(*) FROM market_data.latest_stock_prices")
        assert cursor.fetchall() == [(200,)]


def test_the_writer_writes_and_the_reader_reads(server: Server) -> None:
    with session(server, "app") as cursor:
        cursor.execute("INSERT INTO market_data.stock_prices VALUES (now(), 'SYM001', 'XNYS', 10, 1, 'USD')")
        cursor.execute("SELECT high FROM market_data.stock_prices_1d WHERE symbol = 'SYM001' ORDER BY bucket DESC LIMIT 1")
        assert cursor.fetchall()
        cursor.connection.rollback()
    with session(server, "readonly") as cursor:
        cursor.execute("SELECT count(*) FROM market_data.stock_prices_1h")
        cursor.execute("SELECT count(*) FROM _rollup.status")
        cursor.execute("SELECT count(*) FROM timescaledb_information.chunks")
        with pytest.raises(psycopg2.Error, match=r"permission denied|read-only"):
            cursor.execute("DELETE FROM market_data.stock_prices")


@pytest.mark.parametrize("table", ["portfolio_snapshots", "risk_metrics"])
@pytest.mark.parametrize("kind", ["app", "readonly", "migrator"])
def test_users_data_is_closed_without_a_user(server: Server, table: str, kind: str) -> None:
    assert query(server, f"SELECT count(*) > 0 FROM analytics_ts.{table}") == [(True,)]
    with session(server, kind) as cursor:
        cursor.execute(f"SELECT count(*) FROM analytics_ts.{table}")
        assert cursor.fetchall() == [(0,)]


def test_a_user_sees_and_writes_own_rows_alone(server: Server) -> None:
    insert = "INSERT INTO analytics_ts.portfolio_snapshots (user_id, portfolio_id, time, value, currency) VALUES (%s, gen_random_uuid(), now(), 1, 'USD')"
    for user in (ANNA, BERT):
        with session(server, "app", user) as cursor:
            cursor.execute(insert, [user])
    with session(server, "app", ANNA) as cursor:
        cursor.execute("SELECT DISTINCT user_id::text FROM analytics_ts.portfolio_snapshots")
        assert cursor.fetchall() == [(ANNA,)]
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(insert, [BERT])


def test_no_relation_that_a_role_can_read_holds_users_rows_without_row_security(server: Server) -> None:
    """Chunks, rollups and views are relations like others: whatever has a user_id keeps users apart by itself."""
    leaks = """
        SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND NOT c.relrowsecurity AND c.relnamespace <> 'pg_catalog'::regnamespace
          AND (has_table_privilege('timescale_app', c.oid, 'SELECT') OR has_table_privilege('timescale_readonly', c.oid, 'SELECT'))"""
    assert query(server, leaks) == []
    assert query(server, "SELECT hypertable_schema FROM timescaledb_information.hypertables WHERE hypertable_schema = 'analytics_ts'") == []


def test_old_risk_metrics_of_all_users_are_forgotten_by_the_job_alone(server: Server) -> None:
    old = "INSERT INTO analytics_ts.risk_metrics VALUES (%s, gen_random_uuid(), 'volatility', now() - interval '3 years', 1)"
    for user in (ANNA, BERT):
        with session(server, "app", user) as cursor:
            cursor.execute(old, [user])
    with session(server, "app", ANNA) as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("SELECT analytics_ts.forget_risk_metrics()")
    with session(server, "migrator") as cursor:
        cursor.execute("SELECT analytics_ts.forget_risk_metrics()")
        assert cursor.fetchall() == [(2,)]
    assert query(server, "SELECT count(*) FROM analytics_ts.risk_metrics WHERE time < now() - interval '2 years'") == [(0,)]


@pytest.mark.equivalent
def test_the_tasks_of_all_aggregates_run_as_the_owner(server: Server) -> None:
    deadline = time.monotonic() + 150
    while query(server, "SELECT count(*) FROM _rollup.status WHERE last_failed IS FALSE")[0][0] < len(AGGREGATES):
        assert time.monotonic() < deadline, query(server, "SELECT task, last_failed, last_message FROM _rollup.status")
        time.sleep(1)
    assert query(server, "SELECT task, last_message FROM _rollup.status WHERE last_failed") == []
