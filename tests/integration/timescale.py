# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TimescaleDB servers for tests, of whichever edition the image has, and the question that all of them are asked: are the numbers right?

TEST_TIMESCALEDB_IMAGE names the image; else it is the newest nexanest-database/timescaledb.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from containers import docker, newest_image
from modules import run_module
from servers import Server, postgres_server

SETTINGS = (
    "timescaledb.telemetry_level=off",
    "max_worker_processes=30",
    "timezone=UTC",
)
OWNER = "market_owner"
OHLC = {"open": "first(price, time)", "high": "max(price)", "low": "min(price)", "close": "last(price, time)", "volume": "sum(volume)"}
FROM_OHLC = {"open": "first(open, bucket)", "high": "max(high)", "low": "min(low)", "close": "last(close, bucket)", "volume": "sum(volume)"}
TABLE = (
    "CREATE TABLE market.ticks (time timestamptz NOT NULL, symbol text NOT NULL, price numeric NOT NULL, volume numeric NOT NULL)",
    "CREATE INDEX ON market.ticks (symbol, time DESC)",
    f"ALTER TABLE market.ticks OWNER TO {OWNER}",
)
AGGREGATES: list[dict[str, Any]] = [
    {"name": "market.ticks_1h", "bucket": "1 hour", "group_by": ["symbol"], "columns": OHLC},
    {"name": "market.ticks_1d", "source": "market.ticks_1h", "bucket": "1 day", "group_by": ["symbol"], "columns": FROM_OHLC},
    # Weeks and months of another place cross chunks of a day.
    {"name": "market.ticks_1w", "bucket": "1 week", "group_by": ["symbol"], "columns": {"n": "count(*)", "mean": "avg(price)"}},
    {
        "name": "market.ticks_1mon",
        "bucket": "1 month",
        "timezone": "Europe/Berlin",
        "columns": {"n": "count(*)", "volume": "sum(volume)"},
        "where": "volume > 1",
    },
]
DIRECT = {
    "market.ticks_1h": f"SELECT time_bucket('1 hour', time), symbol, {', '.join(OHLC.values())} FROM market.ticks GROUP BY 1, 2",
    "market.ticks_1d": f"SELECT time_bucket('1 day', time), symbol, {', '.join(OHLC.values())} FROM market.ticks GROUP BY 1, 2",
    "market.ticks_1w": "SELECT time_bucket('1 week', time), symbol, count(*), avg(price) FROM market.ticks GROUP BY 1, 2",
    "market.ticks_1mon": "SELECT time_bucket('1 month', time, 'Europe/Berlin'), count(*), sum(volume) FROM market.ticks WHERE volume > 1 GROUP BY 1",
}

# The same from one look at many rows: all borders are borders of hours.
HOURS = f"""
    SELECT time_bucket('1 hour', time) AS hour, symbol, {", ".join(f"{expression} AS {name}" for name, expression in OHLC.items())},
           count(*) AS n, sum(price) AS total, count(*) FILTER (WHERE volume > 1) AS heavy, sum(volume) FILTER (WHERE volume > 1) AS heavy_volume
    FROM market.ticks GROUP BY 1, 2"""
FROM_HOURS = {
    "market.ticks_1h": f"SELECT hour, symbol, {', '.join(OHLC)} FROM hours",
    "market.ticks_1d": "SELECT time_bucket('1 day', hour), symbol, first(open, hour), max(high), min(low), last(close, hour), sum(volume) FROM hours "
    "GROUP BY 1, 2",
    "market.ticks_1w": "SELECT time_bucket('1 week', hour), symbol, sum(n)::bigint, sum(total) / sum(n) FROM hours GROUP BY 1, 2",
    "market.ticks_1mon": "SELECT time_bucket('1 month', hour, 'Europe/Berlin'), sum(heavy)::bigint, sum(heavy_volume) FROM hours WHERE heavy > 0 GROUP BY 1",
}


def image() -> str:
    return os.environ.get("TEST_TIMESCALEDB_IMAGE") or newest_image("timescaledb")


CRON = ("shared_preload_libraries=timescaledb,pg_cron", "cron.use_background_workers=on")
NO_CRON = ("shared_preload_libraries=timescaledb",)
LOOK = "id -u postgres; find / -xdev '(' -name 'timescaledb-tsl-*.so' -o -name pg_cron.so ')' 2>/dev/null; true"


@functools.cache
def contents(of_image: str) -> tuple[int, str, bool]:
    """The server's user in an image, its edition (timescale where it has the licensed library), and whether it has pg_cron."""
    uid, *files = docker("run", "--rm", "--network", "none", "--entrypoint", "sh", of_image, "-c", LOOK).split()
    return int(uid), "timescale" if any("timescaledb-tsl-" in file for file in files) else "apache", any("pg_cron" in file for file in files)


def edition(of_image: str) -> str:
    return contents(of_image)[1]


@dataclass(frozen=True)
class Market:
    """A database with ticks and their aggregates, its own on a shared server."""

    server: Server
    database: str

    @property
    def native(self) -> bool:
        return edition(image()) == "timescale"

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.server.query(statement, *values, database=self.database)

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """Of timescaledb_hypertables. changes: of the one hypertable."""
        hypertable = {"name": "market.ticks", "chunk_time_interval": "1 day", "continuous_aggregates": AGGREGATES, **changes}
        return {**self.server.login, "databases": [{"name": self.database, "hypertables": [hypertable]}]}

    def converge(self, *, check: bool = False, **changes: Any) -> dict[str, Any]:
        result = run_module("timescaledb_hypertables", self.arguments(**changes), check)
        assert not result["failed"], result
        return result

    def refused(self, *, check: bool = False, **changes: Any) -> str:
        result = run_module("timescaledb_hypertables", self.arguments(**changes), check)
        assert result["failed"], result
        return str(result["msg"])

    def fill(self, rows: int, *, days: int = 45) -> None:
        """Ticks of 20 symbols, evenly over the days up to now; no two at the same time."""
        self.query(
            "INSERT INTO market.ticks SELECT now() - n * (interval '1 day' * %s / %s), 'S' || n %% 20, round((100 + 20 * random())::numeric, 4), n %% 7 + 1 "
            "FROM generate_series(1, %s) AS n",
            days, rows, rows,
        )  # fmt: skip

    def refresh(self) -> None:
        """What the schedule would do, once every session has told its counters."""
        self.settle()
        if not self.native:
            self.query("CALL _rollup.refresh_all()")
            return
        self.refresh_these(*(aggregate["name"] for aggregate in AGGREGATES))

    def refresh_these(self, *names: str) -> None:
        """Without waiting for other sessions."""
        for name in names:
            self.query(f"CALL refresh_continuous_aggregate('{name}', NULL, NULL)" if self.native else f"CALL _rollup.refresh('{name}')")

    def settle(self) -> None:
        """Wait until the sessions before have ended: they count what they wrote at the latest then."""
        deadline = time.monotonic() + 20
        busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        while self.query(busy, self.database) != [(0,)]:
            assert time.monotonic() < deadline, "sessions of the database did not end"
            time.sleep(0.02)

    def wait_for_lock(self, statement: str) -> None:
        """Wait until a session that runs a statement with this text waits for a lock."""
        deadline = time.monotonic() + 20
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock' AND pid <> pg_backend_pid() AND strpos(query, %s) > 0"
        while self.query(waiting, self.database, statement) == [(0,)]:
            assert time.monotonic() < deadline, f"nobody waits in {statement}"
            time.sleep(0.02)

    def differences(self) -> dict[str, int]:
        """Rows in which an aggregate and the direct aggregation differ, by aggregate; empty when all are right."""
        return {name: count for name in DIRECT if (count := self.differences_of(name))}

    def differences_at_once(self) -> dict[str, int]:
        """The same for many rows."""
        parts = [
            f"SELECT '{name}', (SELECT count(*) FROM ((TABLE {name} EXCEPT ALL ({direct})) UNION ALL (({direct}) EXCEPT ALL TABLE {name})) AS x)"
            for name, direct in FROM_HOURS.items()
        ]
        return {name: count for name, count in self.query(f"WITH hours AS MATERIALIZED ({HOURS}) {' UNION ALL '.join(parts)}") if count}

    def differences_of(self, name: str) -> int:
        query = (
            f"WITH mine AS MATERIALIZED (SELECT * FROM {name}), direct AS MATERIALIZED ({DIRECT[name]}) "
            "SELECT count(*) FROM ((TABLE mine EXCEPT ALL TABLE direct) UNION ALL (TABLE direct EXCEPT ALL TABLE mine)) AS x"
        )
        return int(self.query(query)[0][0])


@contextlib.contextmanager
def timescale_server(**options: Any) -> Iterator[Server]:
    uid, _edition, cron = contents(image())
    settings = [*SETTINGS, *(CRON if cron else NO_CRON), *options.pop("settings", ())]
    with postgres_server(image=image(), uid=uid, prefix="timescale", settings=settings, **options) as server:
        yield server


def market(server: Server, database: str) -> Market:
    """An empty database with the table, its owner and nothing of ours."""
    if not server.query("SELECT FROM pg_roles WHERE rolname = %s", OWNER):
        server.query(f"CREATE ROLE {OWNER} LOGIN")
    server.query(f"CREATE DATABASE {database} OWNER {OWNER}")
    for statement in (
        "CREATE EXTENSION timescaledb",
        f"CREATE SCHEMA market AUTHORIZATION {OWNER}",
        *TABLE,
    ):
        server.query(statement, database=database)
    return Market(server, database)
