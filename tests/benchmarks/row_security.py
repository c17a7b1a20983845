"""Row security on one million transactions of 10,000 users, as a service meets it, against the same query with the user in its WHERE as a role that
row security does not hold. Three shapes: one row by its key, a list of 100, an aggregate over one user; each alone, and as a whole transaction.

Alone: python tests/benchmarks/row_security.py [ROUNDS]
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("tests/integration", ".ansible_dev")]

from modules import run_module  # noqa: E402  beside the tests
from nexanest_server import NexaNest, seed_of  # noqa: E402
from servers import postgres_server  # noqa: E402

from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import mint  # noqa: E402

USERS = 10_000
BATCH = 1_000
LIFE = 600
ROW = "SELECT transaction_id, kind, symbol, quantity, price, amount, currency, occurred_at FROM portfolio.transactions WHERE {} transaction_id = '{}'"
LIST = "SELECT transaction_id, kind, symbol, quantity, price, amount, currency, occurred_at FROM portfolio.transactions {} ORDER BY occurred_at DESC LIMIT 100"
SUM = "SELECT currency, count(*), sum(amount) FROM portfolio.transactions {} GROUP BY currency"
AGAINST = "the user in the WHERE, without row security"


def user_id(number: int) -> str:
    return str(uuid.UUID(hashlib.md5(f"sample user {number}".encode(), usedforsecurity=False).hexdigest()))


def statements(shape: str, number: int) -> tuple[str, str]:
    """The query under row security and the one that names the user."""
    user = user_id(number)
    if shape == "one row":
        key = uuid.UUID(hashlib.md5(f"sample transaction {number} 1 9".encode(), usedforsecurity=False).hexdigest())
        return ROW.format("", key), ROW.format(f"user_id = '{user}' AND", key)
    template = LIST if shape == "list of 100" else SUM
    return template.format(""), template.format(f"WHERE user_id = '{user}'")


def rows(rounds: int, row: Callable[[str, list[float], list[float], str], str]) -> list[str]:
    """Lines of the benchmark; row: makes one of them."""
    found = []
    with prepared() as product:
        for shape in ("one row", "list of 100", "sum over a user"):
            for whole in (False, True):
                ours, theirs = measure(product, shape, whole=whole, rounds=rounds)
                what = "transaction with set_user" if whole else "query"
                found.append(row(f"row security, 1M rows: {shape}, {what}", ours, theirs, AGAINST))
    return found


@contextlib.contextmanager
def prepared() -> Iterator[NexaNest]:
    """A server with a million transactions, and the role `plain`, which row security does not hold."""
    settings = ("shared_buffers=1GB", "max_wal_size=4GB", "wal_level=minimal", "max_wal_senders=0")
    with postgres_server(prefix="benchrls", disk="6g", memory="8g", settings=settings) as server:
        product = NexaNest(server)
        product.build()
        seed = {**seed_of("portfolio"), "session_role": "portfolio_owner"}
        result = run_module("postgres_seed", {**server.login, "databases": [seed], "users": USERS})
        if result["failed"]:
            raise SystemExit(result["msg"])
        product.admin("portfolio", "VACUUM ANALYZE portfolio.transactions")
        for statement in (
            "CREATE ROLE plain LOGIN PASSWORD 'plain' BYPASSRLS",
            "GRANT CONNECT ON DATABASE portfolio TO plain",
            "GRANT USAGE ON SCHEMA portfolio TO plain",
            "GRANT SELECT ON portfolio.transactions TO plain",
        ):
            product.admin("portfolio", statement)
        yield product


def measure(product: NexaNest, shape: str, *, whole: bool, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds for BATCH queries on each side. The sides alternate query by query, so that what disturbs one disturbs the other."""
    ours: list[float] = []
    theirs: list[float] = []
    guarded = product.server.connect("portfolio", user="portfolio_app", password=product.password("portfolio_app"))
    plain = product.server.connect("portfolio", user="plain", password="plain")
    with contextlib.closing(guarded), contextlib.closing(plain), guarded.cursor() as mine, plain.cursor() as other:
        for _round in range(rounds + 1):
            pairs = [_pair(product, mine, other, shape, whole=whole) for _query in range(BATCH)]
            ours.append(BATCH * statistics.median(pair[0] for pair in pairs))
            theirs.append(BATCH * statistics.median(pair[1] for pair in pairs))
    return ours[1:], theirs[1:]  # the first one fills the caches


def _pair(product: NexaNest, mine: Any, other: Any, shape: str, *, whole: bool) -> tuple[float, float]:
    """One query of a random user on both sides. Whole: with BEGIN, set_user in the same round trip, and COMMIT; else these are not counted."""
    number = random.randint(1, USERS)  # noqa: S311  which user is no secret
    guarded, plain = statements(shape, number)
    begin = f"BEGIN; SELECT session.set_user('{mint(product.key('portfolio'), user_id(number), int(time.time()) + LIFE)}')"
    if whole:
        return _seconds(mine, f"{begin}; {guarded}", "COMMIT"), _seconds(other, f"BEGIN; {plain}", "COMMIT")
    theirs = _seconds(other, plain)
    mine.execute(begin)
    ours = _seconds(mine, guarded)
    mine.execute("COMMIT")
    return ours, theirs


def _seconds(cursor: Any, query: str, *more: str) -> float:
    begin = time.perf_counter()
    cursor.execute(query)
    cursor.fetchall()
    for statement in more:
        cursor.execute(statement)
    return time.perf_counter() - begin


def _line(name: str, ours: list[float], theirs: list[float], against: str) -> str:
    each = f"{statistics.median(ours) / BATCH * 1000:.3f} ms against {statistics.median(theirs) / BATCH * 1000:.3f} ms"
    return f"{name:<72} {statistics.median(ours) / statistics.median(theirs):5.2f} x   {each}   ({against})"


if __name__ == "__main__":
    print("\n".join(rows(int(sys.argv[1]) if len(sys.argv) > 1 else 3, _line)))
