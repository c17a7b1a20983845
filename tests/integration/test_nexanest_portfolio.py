# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NexaNest's portfolios: a journal that nobody changes, holdings that follow from it, weights that add up."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from nexanest_server import ANNA, BERT, SERVICES, NexaNest
from servers import postgres_server

BUY = """
INSERT INTO portfolio.transactions (user_id, portfolio_id, kind, symbol, quantity, price, amount, currency, occurred_at, idempotency_key)
VALUES (%s, %s, %s, 'AAPL', %s, 100.5, %s, 'USD', now(), %s) RETURNING transaction_id
"""
RULES = "INSERT INTO portfolio.allocation_rules (user_id, portfolio_id, asset_class, weight) VALUES (%s, %s, %s, %s)"


@pytest.fixture(scope="module")
def nexanest() -> Iterator[NexaNest]:
    with postgres_server(prefix="tnexc") as server:
        product = NexaNest(server)
        product.build()
        yield product


@pytest.fixture
def portfolio(nexanest: NexaNest) -> str:
    """A fresh portfolio of Anna's."""
    return portfolio_of(nexanest, ANNA)


def portfolio_of(nexanest: NexaNest, user: str) -> str:
    insert = "INSERT INTO portfolio.portfolios (user_id, name, base_currency) VALUES (%s, %s, 'USD') RETURNING portfolio_id"
    return str(nexanest.run("portfolio", insert, user, secrets.token_hex(4), user=user)[0][0])


def trade(nexanest: NexaNest, portfolio: str, quantity: str, *, key: str = "", user: str = ANNA) -> str:
    pieces = Decimal(quantity)
    values = (user, portfolio, "buy" if pieces > 0 else "sell", pieces, -pieces * Decimal("100.5"), key or secrets.token_hex(8))
    return str(nexanest.run("portfolio", BUY, *values, user=user)[0][0])


def holding(nexanest: NexaNest, portfolio: str) -> tuple[Any, ...]:
    return nexanest.run("portfolio", "SELECT quantity, invested FROM portfolio.holdings WHERE portfolio_id = %s", portfolio, user=ANNA)[0]


def test_holdings_are_the_sum_of_the_transactions(nexanest: NexaNest, portfolio: str) -> None:
    for quantity in ("10.5", "0.0000000001", "-4"):
        trade(nexanest, portfolio, quantity)
    assert holding(nexanest, portfolio)[0] == Decimal("6.5000000001")
    sums = "SELECT sum(quantity), -sum(amount) FROM portfolio.transactions WHERE portfolio_id = %s"
    assert [holding(nexanest, portfolio)] == nexanest.run("portfolio", sums, portfolio, user=ANNA)
    with pytest.raises(psycopg2.errors.CheckViolation, match="holdings_not_short"):
        trade(nexanest, portfolio, "-7")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        nexanest.run("portfolio", "UPDATE portfolio.holdings SET quantity = 1000", user=ANNA)


def test_purchases_at_the_same_time_are_all_counted(nexanest: NexaNest, portfolio: str) -> None:
    threads = [threading.Thread(target=trade, args=(nexanest, portfolio, "1")) for _purchase in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert holding(nexanest, portfolio)[0] == 12


def test_the_same_request_twice_is_one_transaction(nexanest: NexaNest, portfolio: str) -> None:
    trade(nexanest, portfolio, "3", key="request 1")
    with pytest.raises(psycopg2.errors.UniqueViolation, match="transactions_idempotency_key"):
        trade(nexanest, portfolio, "3", key="request 1")
    again = BUY.replace("RETURNING transaction_id", "ON CONFLICT (user_id, idempotency_key) DO NOTHING RETURNING transaction_id")
    assert nexanest.run("portfolio", again, ANNA, portfolio, "buy", 3, -301.5, "request 1", user=ANNA) == []
    assert holding(nexanest, portfolio)[0] == 3
    # Another user's key is their own.
    trade(nexanest, portfolio_of(nexanest, BERT), "3", key="request 1", user=BERT)


@pytest.mark.parametrize("statement", ["UPDATE portfolio.transactions SET note = 'x'", "DELETE FROM portfolio.transactions"])
def test_the_journal_is_changed_neither_by_the_service_nor_by_the_owner(nexanest: NexaNest, portfolio: str, statement: str) -> None:
    trade(nexanest, portfolio, "1")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        nexanest.run("portfolio", statement, user=ANNA)
    with pytest.raises(psycopg2.errors.RestrictViolation, match="append-only"):
        nexanest.run("portfolio", statement, user=ANNA, kind="migrator")
    for unstoppable in (statement, "TRUNCATE portfolio.transactions CASCADE"):
        with pytest.raises(psycopg2.errors.RestrictViolation, match="append-only"):
            nexanest.admin("portfolio", unstoppable)


def test_a_portfolio_with_a_journal_stays(nexanest: NexaNest, portfolio: str) -> None:
    trade(nexanest, portfolio, "1")
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        nexanest.run("portfolio", "DELETE FROM portfolio.portfolios WHERE portfolio_id = %s", portfolio, user=ANNA)


def test_a_reversal_undoes_a_transaction_exactly_and_once(nexanest: NexaNest, portfolio: str) -> None:
    wrong = trade(nexanest, portfolio, "5")
    trade(nexanest, portfolio, "2")
    reverse = "SELECT portfolio.reverse_transaction(%s, %s, 'typed twice')"
    done = nexanest.run("portfolio", reverse, wrong, "undo" + wrong, user=ANNA)[0][0]
    assert holding(nexanest, portfolio) == (2, 201)
    opposite = "SELECT quantity, amount, reverses::text FROM portfolio.transactions WHERE transaction_id = %s"
    assert nexanest.run("portfolio", opposite, done, user=ANNA) == [(-5, Decimal("502.5"), wrong)]
    with pytest.raises(psycopg2.errors.UniqueViolation, match="transactions_reversed_once"):
        nexanest.run("portfolio", reverse, wrong, "undo again" + wrong, user=ANNA)
    with pytest.raises(psycopg2.errors.CheckViolation, match="it is a reversal itself"):
        nexanest.run("portfolio", reverse, done, "undo the undoing" + wrong, user=ANNA)


def test_nobody_reverses_what_is_another_s_or_something_else(nexanest: NexaNest, portfolio: str) -> None:
    anna_s = trade(nexanest, portfolio, "5")
    assert nexanest.run("portfolio", "SELECT portfolio.reverse_transaction(%s, 'x')", anna_s, user=BERT) == [(None,)]
    insert = BUY.replace("idempotency_key)", "idempotency_key, reverses)").replace("%s) RETURNING", "%s, %s) RETURNING")
    with pytest.raises(psycopg2.errors.ForeignKeyViolation, match="there is no such transaction"):
        nexanest.run("portfolio", insert, BERT, portfolio_of(nexanest, BERT), "buy", -5, 502.5, "theirs", anna_s, user=BERT)
    with pytest.raises(psycopg2.errors.CheckViolation, match="exact opposite"):
        nexanest.run("portfolio", insert, ANNA, portfolio, "buy", -4, 402, "less" + portfolio, anna_s, user=ANNA)


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"kind": "buy", "amount": -1}, "transactions_trade_complete"),
        ({"kind": "buy", "amount": -1, "symbol": "X", "quantity": -1, "price": 1}, "transactions_quantity_sign"),
        ({"kind": "sell", "amount": 1, "symbol": "X", "quantity": 1, "price": 1}, "transactions_quantity_sign"),
        ({"kind": "deposit", "amount": -1}, "transactions_amount_sign"),
        ({"kind": "withdrawal", "amount": 1}, "transactions_amount_sign"),
        ({"kind": "gift", "amount": -1}, "transactions_kind_known"),
        ({"kind": "deposit", "amount": 1, "currency": "usd"}, "currency_code_form"),
        ({"kind": "dividend", "amount": 1, "symbol": "aapl"}, "symbol_form"),
        ({"kind": "buy", "amount": -1, "symbol": "X", "quantity": 1, "price": 0}, "price_positive"),
        ({"kind": "deposit", "amount": 1, "occurred_at": "2999-01-01"}, "transactions_not_in_the_future"),
    ],
)
def test_a_transaction_that_makes_no_sense_is_refused(nexanest: NexaNest, portfolio: str, columns: dict[str, Any], constraint: str) -> None:
    row = {"user_id": ANNA, "portfolio_id": portfolio, "currency": "USD", "occurred_at": "2020-01-01", "idempotency_key": secrets.token_hex(8), **columns}
    insert = f"INSERT INTO portfolio.transactions ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"
    with pytest.raises(psycopg2.errors.CheckViolation, match=constraint):
        nexanest.run("portfolio", insert, *row.values(), user=ANNA)


def test_weights_add_up_at_the_commit(nexanest: NexaNest, portfolio: str) -> None:
    with nexanest.session("portfolio", user=ANNA) as cursor:
        for asset_class, weight in (("equity", "0.6"), ("bond", "0.300001"), ("cash", "0.099999")):
            cursor.execute(RULES, (ANNA, portfolio, asset_class, weight))
    for change in (
        "UPDATE portfolio.allocation_rules SET weight = 0.5 WHERE portfolio_id = %s AND asset_class = 'equity'",
        "DELETE FROM portfolio.allocation_rules WHERE portfolio_id = %s AND asset_class = 'cash'",
    ):
        with pytest.raises(psycopg2.errors.CheckViolation, match=r"add up to 0\.9"):
            nexanest.run("portfolio", change, portfolio, user=ANNA)
    nexanest.run("portfolio", "DELETE FROM portfolio.allocation_rules WHERE portfolio_id = %s", portfolio, user=ANNA)
    with pytest.raises(psycopg2.errors.CheckViolation, match=r"add up to 0\.5"):
        nexanest.run("portfolio", RULES, ANNA, portfolio, "bond", "0.5", user=ANNA)


def test_weights_add_up_though_another_user_is_set_at_the_commit(nexanest: NexaNest, portfolio: str) -> None:
    def half() -> None:
        with nexanest.session("portfolio", user=ANNA) as cursor:
            cursor.execute(RULES, (ANNA, portfolio, "bond", "0.5"))
            cursor.execute("SELECT session.set_user(%s)", (nexanest.token("portfolio", BERT),))

    with pytest.raises(psycopg2.errors.CheckViolation, match=r"add up to 0\.5"):
        half()


@pytest.mark.parametrize("level", [psycopg2.extensions.ISOLATION_LEVEL_READ_COMMITTED, psycopg2.extensions.ISOLATION_LEVEL_REPEATABLE_READ])
def test_two_transactions_at_once_cannot_add_up_to_two(nexanest: NexaNest, portfolio: str, level: int) -> None:
    with contextlib.ExitStack() as stack:
        connections = []
        for asset_class in ("equity", "bond"):
            connection = nexanest.server.connect("portfolio", user="portfolio_app", password=nexanest.password("portfolio_app"))
            stack.enter_context(contextlib.closing(connection))
            connection.autocommit = False
            connection.set_session(isolation_level=level)
            cursor = connection.cursor()
            cursor.execute("SELECT session.set_user(%s)", (nexanest.token("portfolio", ANNA),))
            cursor.execute(RULES, (ANNA, portfolio, asset_class, 1))
            connections.append(connection)
        first, second = connections
        first.commit()
        with pytest.raises((psycopg2.errors.CheckViolation, psycopg2.errors.SerializationFailure)):
            second.commit()


def test_views_tell_of_cash_and_value(nexanest: NexaNest, portfolio: str) -> None:
    deposit = "INSERT INTO portfolio.transactions (user_id, portfolio_id, kind, amount, currency, occurred_at, idempotency_key)"
    deposit += " VALUES (%s, %s, 'deposit', 5000, 'USD', now(), %s)"
    nexanest.run("portfolio", deposit, ANNA, portfolio, secrets.token_hex(8), user=ANNA)
    trade(nexanest, portfolio, "10")
    snapshot = "INSERT INTO portfolio.portfolio_snapshots VALUES (%s, %s, '2026-01-31', 1100, 3995, 5000, 'USD')"
    nexanest.run("portfolio", snapshot, ANNA, portfolio, user=ANNA)
    assert nexanest.run("portfolio", "SELECT cash FROM portfolio.cash_balances WHERE portfolio_id = %s", portfolio, user=ANNA) == [(3995,)]
    overview = "SELECT positions, gain FROM portfolio.portfolio_overview WHERE portfolio_id = %s"
    assert nexanest.run("portfolio", overview, portfolio, user=ANNA) == [(1, 95)]
    assert nexanest.run("portfolio", overview, portfolio, user=BERT) == []


def test_a_price_wakes_each_alert_once_and_tells_no_more_than_whose_it_is(nexanest: NexaNest) -> None:
    for user, threshold in ((ANNA, 100), (BERT, 120)):
        with nexanest.session("portfolio", user=user) as cursor:
            cursor.execute("INSERT INTO portfolio.watchlists (user_id, name) VALUES (%s, 'w') RETURNING watchlist_id", (user,))
            watchlist = cursor.fetchone()[0]
            cursor.execute("INSERT INTO portfolio.watchlist_items (user_id, watchlist_id, symbol) VALUES (%s, %s, 'ZZZ')", (user, watchlist))
            cursor.execute(
                "INSERT INTO portfolio.watchlist_alerts (user_id, watchlist_id, symbol, direction, threshold, currency)"
                " VALUES (%s, %s, 'ZZZ', 'above', %s, 'USD')",
                (user, watchlist, threshold),
            )
    claim = "SELECT user_id::text FROM portfolio.claim_alerts('ZZZ', 'USD', %s)"
    assert nexanest.run("portfolio", claim, 99) == []
    assert nexanest.run("portfolio", claim, 110) == [(ANNA,)]
    assert nexanest.run("portfolio", claim, 130) == [(BERT,)]
    assert nexanest.run("portfolio", claim, 130) == []


def test_a_user_is_erased_by_the_owner_alone(nexanest: NexaNest) -> None:
    user = "e0000000-0000-4000-8000-00000000000e"
    trade(nexanest, portfolio_of(nexanest, user), "1", user=user)
    nexanest.admin("nexanest", "INSERT INTO nexanest.feature_flags (flag_name, description) VALUES ('erased', 'x')")
    nexanest.run("nexanest", "INSERT INTO nexanest.feature_flag_overrides (user_id, flag_name, enabled) VALUES (%s, 'erased', true)", user, user=user)
    for name in SERVICES:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            nexanest.run(name, f"SELECT {name}.erase_user(%s)", user, user=user)
        nexanest.run(name, f"SELECT {name}.erase_user(%s)", user, kind="migrator")
    left = "SELECT (SELECT count(*) FROM portfolio.transactions WHERE user_id = %s) + (SELECT count(*) FROM portfolio.portfolios WHERE user_id = %s)"
    assert nexanest.admin("portfolio", left, user, user) == [(0,)]
    assert nexanest.admin("nexanest", "SELECT count(*) FROM nexanest.feature_flag_overrides WHERE user_id = %s", user) == [(0,)]
    with pytest.raises(psycopg2.errors.RestrictViolation):
        nexanest.admin("portfolio", "DELETE FROM portfolio.transactions")
