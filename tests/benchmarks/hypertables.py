"""TimescaleDB, NexaNest's own tables and declarations on sample ticks: what a rollup or aggregate saves, what a refresh costs, what ingest costs.

Alone: python tests/benchmarks/hypertables.py [ROUNDS]   (BENCH_TICKS: how many, 2,000,000 by default; TEST_TIMESCALEDB_IMAGE: the image)
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("tests/integration", ".ansible_dev")]

import psycopg2.extensions  # noqa: E402
from servers import Server  # noqa: E402  beside the tests
from timescale import edition, image, timescale_server  # noqa: E402
from timescale_product import DATABASE, SETTINGS, build, done, hypertables, sow  # noqa: E402

TICKS = int(os.environ.get("BENCH_TICKS", "2000000"))
INGESTED = 500_000
BATCH = 10_000
DIRECT = """
    SELECT time_bucket('1 hour', time), symbol, currency, first(price, time), max(price), min(price), last(price, time), sum(volume)
    FROM market_data.stock_prices WHERE {} GROUP BY 1, 2, 3"""
WEEK = "{0} >= '{1}' AND {0} < '{2}'"
LATE = "INSERT INTO market_data.stock_prices VALUES (now() - interval '12 days' * random() - interval '2 days', 'SYM007', 'XNYS', 100, 1, 'USD')"
LATEST = "SELECT symbol, time, price FROM market_data.latest_stock_prices"
DISTINCT = "SELECT DISTINCT ON (symbol) symbol, time, price FROM market_data.stock_prices ORDER BY symbol, time DESC"
EXTRA = {
    "name": "market_data.bench_ticks",
    "chunk_time_interval": "1 day",
    "continuous_aggregates": [{"name": "market_data.bench_ticks_1h", "bucket": "1 hour", "group_by": ["symbol"], "columns": {"high": "max(price)"}}],
}


def rows(rounds: int, row: Callable[[str, list[float], list[float], str], str]) -> list[str]:
    """Lines of the benchmark; row: makes one of them."""
    with prepared() as server:
        what = f"{edition(image())}, {TICKS / 1e6:g}M ticks"
        # An application names its times; TimescaleDB leaves out chunks by constants while planning.
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        week = (now - timedelta(days=10), now - timedelta(days=3))
        hourly = "SELECT * FROM market_data.stock_prices_1h WHERE " + WEEK.format("bucket", *week)
        measured = {
            "hourly OHLC over a week": (*pair(server, hourly, DIRECT.format(WEEK.format("time", *week)), rounds), "raw rows"),
            "latest price of 200 symbols": (*pair(server, LATEST, DISTINCT, rounds), "DISTINCT ON"),
            # As drivers of applications do it: without parameters a prepared statement is planned once.
            "latest price of 200 symbols, prepared": (*pair(server, LATEST, DISTINCT, rounds, prepare=True), "DISTINCT ON, prepared"),
            "refresh without a change": (*refreshes(server, rounds), "aggregating all rows"),
            "refresh after a late row": (*refreshes(server, rounds, before=LATE), "aggregating all rows"),
            "ingest by COPY, 10,000 rows at a time": (*ingest(server, rounds), "a plain table"),
        }
        return [row(f"{name} ({what})", ours, theirs, against) for name, (ours, theirs, against) in measured.items()]


@contextlib.contextmanager
def prepared() -> Iterator[Server]:
    """A server with the sample ticks, all of them refreshed."""
    settings = (*SETTINGS, "shared_buffers=1GB", "work_mem=64MB", "max_wal_size=4GB", "wal_level=minimal", "max_wal_senders=0")
    with timescale_server(disk="9g", memory="11g", settings=settings) as server:
        build(server)
        sow(server, users=10, ticks=TICKS)
        query(server, "VACUUM ANALYZE market_data.stock_prices")
        refresh(server)
        query(server, "VACUUM ANALYZE")
        yield server


def query(server: Server, statement: str) -> None:
    server.query(statement, database=DATABASE)


def seconds(server: Server, statements: list[str]) -> float:
    """In one session that is open already; the server's work and the way of the rows, not the login."""
    with contextlib.closing(server.connect(DATABASE)) as session, session.cursor() as cursor:
        cursor.execute("SELECT 1")
        begin = time.perf_counter()
        for statement in statements:
            cursor.execute(statement)
        return time.perf_counter() - begin


def pair(server: Server, ours: str, theirs: str, rounds: int, *, prepare: bool = False) -> tuple[list[float], list[float]]:
    """In one session, as a pool keeps it: a new one reads the catalog of every chunk first."""
    found: tuple[list[float], list[float]] = ([], [])
    statements = [ours, theirs]
    with contextlib.closing(server.connect(DATABASE)) as session, session.cursor() as cursor:
        for number, statement in enumerate(statements):
            if prepare:
                cursor.execute(f"PREPARE measured_{number} AS {statement}")
                statements[number] = f"EXECUTE measured_{number}"
            of_server(cursor, statements[number])  # warm
        for _round in range(rounds):
            for statement, times in zip(statements, found, strict=True):
                times.append(of_server(cursor, statement))
    return found


def of_server(cursor: psycopg2.extensions.cursor, statement: str) -> float:
    """Seconds that the server takes for a query, planning and the text of the rows included, the way to the client left out."""
    cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, SERIALIZE TEXT, FORMAT JSON) {statement}")
    explained = cursor.fetchall()[0][0][0]
    return float(explained["Planning Time"] + explained["Execution Time"]) / 1000


def refresh(server: Server) -> float:
    if edition(image()) == "timescale":
        return seconds(server, ["CALL refresh_continuous_aggregate('market_data.stock_prices_1h', NULL, date_trunc('hour', now()) - interval '1 hour')"])
    return seconds(server, ["CALL _rollup.refresh('market_data.stock_prices_1h')"])


def refreshes(server: Server, rounds: int, *, before: str | None = None) -> tuple[list[float], list[float]]:
    ours: list[float] = []
    theirs: list[float] = []
    refresh(server)
    for _round in range(rounds):
        if before:
            query(server, before)
            time.sleep(0.3)  # the session has ended and counted
        ours.append(refresh(server))
        theirs.append(seconds(server, [DIRECT.format("true")]))
    return ours, theirs


def ingest(server: Server, rounds: int) -> tuple[list[float], list[float]]:
    """The same rows into a hypertable with an aggregate and into a table with the same constraints and index. A ratio of 1.05 is a speed of 0.95."""
    for name in ("bench_ticks", "bench_plain"):
        query(server, f"CREATE TABLE market_data.{name} (LIKE market_data.stock_prices INCLUDING CONSTRAINTS INCLUDING INDEXES INCLUDING DEFAULTS)")
        query(server, f"ALTER TABLE market_data.{name} OWNER TO timescale_owner")
    arguments = hypertables(server)
    arguments["databases"][0]["hypertables"] = [EXTRA]
    done("timescaledb_hypertables", arguments)
    batches = ["".join(_lines(first)) for first in range(0, INGESTED, BATCH)]
    ours: list[float] = []
    theirs: list[float] = []
    for _round in range(rounds + 1):
        for name, times in (("bench_ticks", ours), ("bench_plain", theirs)):
            query(server, f"TRUNCATE market_data.{name}")
            query(server, "CHECKPOINT")
            times.append(_copy(server, name, batches))
    return ours[1:], theirs[1:]


def _lines(first: int) -> Iterator[str]:
    for number in range(first, first + BATCH):
        minutes, milliseconds = divmod(number * 100, 60_000)
        moment = f"2026-01-05 {minutes // 60 % 24:02}:{minutes % 60:02}:{milliseconds / 1000:06.3f}+00"
        yield f"{moment}\tSYM{number % 200:03}\tXNYS\t{100 + number % 977 / 10}\t{number % 500}\tUSD\n"


def _copy(server: Server, name: str, batches: list[str]) -> float:
    with contextlib.closing(server.connect(DATABASE)) as session, session.cursor() as cursor:
        begin = time.perf_counter()
        for batch in batches:
            cursor.copy_expert(f"COPY market_data.{name} FROM STDIN", io.StringIO(batch))
        return time.perf_counter() - begin


def line(name: str, ours: list[float], theirs: list[float], against: str) -> str:
    """A ratio above 1: ours is slower."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    spread = f"{min(ours) * 1000:.1f}-{max(ours) * 1000:.1f} ms against {min(theirs) * 1000:.1f}-{max(theirs) * 1000:.1f} ms"
    return f"{name:<72} {mine / other:8.4f} x (1/{other / mine:.1f})   {against:<22} {spread}"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for one in rows(rounds, line):
        print(one)


if __name__ == "__main__":
    main()
