# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NexaNest's other services: an outbox that workers share, report runs, an audit trail, feature flags; and sample data."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from nexanest_server import ANNA, BERT, SERVICES, NexaNest
from servers import postgres_server

MESSAGE = "INSERT INTO notifications.outbox (user_id, topic, idempotency_key, max_attempts) VALUES (%s, 'price_alert', %s, %s) RETURNING message_id::text"
CLAIM = "SELECT user_id::text, message_id::text, lease_id::text, attempt FROM notifications.claim_messages(%s, %s::interval)"
FINISH = "SELECT notifications.finish_message(%s, %s, %s)"


@pytest.fixture(scope="module")
def nexanest() -> Iterator[NexaNest]:
    with postgres_server(prefix="tnexd") as server:
        product = NexaNest(server)
        product.build()
        yield product


@pytest.fixture
def outbox(nexanest: NexaNest) -> Iterator[NexaNest]:
    yield nexanest
    nexanest.admin("notifications", "TRUNCATE notifications.outbox CASCADE")


def claim(nexanest: NexaNest, batch: int = 20, lease: str = "2 minutes") -> list[tuple[Any, ...]]:
    return nexanest.run("notifications", CLAIM, batch, lease)


def passed(nexanest: NexaNest) -> None:
    """All leases are over."""
    nexanest.admin("notifications", "UPDATE notifications.outbox SET next_attempt_at = now()")


@pytest.mark.parametrize("lease", ["infinity", "100 years", "0 seconds", "-1 hour", None])
def test_a_lease_is_never_for_good_nor_over_at_once(outbox: NexaNest, lease: str | None) -> None:
    outbox.run("notifications", MESSAGE, ANNA, "m", 8, user=ANNA)
    assert len(outbox.run("notifications", CLAIM, None, lease)) == 1
    within = "SELECT next_attempt_at BETWEEN now() + interval '2 s' AND now() + interval '1 hour' FROM notifications.outbox"
    assert outbox.admin("notifications", within) == [(True,)]
    assert claim(outbox) == []


def test_the_last_of_many_attempts_can_be_ended(outbox: NexaNest) -> None:
    """The pauses double, and stop at a day before the number has no room."""
    message = outbox.run("notifications", MESSAGE, ANNA, "m", 100, user=ANNA)[0][0]
    outbox.admin("notifications", "UPDATE notifications.outbox SET attempts = 98")
    (mine,) = claim(outbox)
    assert outbox.run("notifications", FINISH, message, mine[2], "down", user=ANNA) == [("waiting",)]
    about_a_day = "SELECT next_attempt_at - now() BETWEEN interval '23 hours' AND interval '29 hours' FROM notifications.outbox"
    assert outbox.admin("notifications", about_a_day) == [(True,)]


def test_workers_share_the_outbox_and_each_message_has_one(outbox: NexaNest) -> None:
    sent = {outbox.run("notifications", MESSAGE, user, f"m{n}", 8, user=user)[0][0] for n in range(20) for user in (ANNA, BERT)}
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _worker: claim(outbox, 7), range(8)))
    claimed = [row[1] for batch in batches for row in batch]
    assert len(claimed) == len(set(claimed))
    assert set(claimed) <= sent
    assert len(claimed) + sum(len(claim(outbox)) for _again in range(3)) == 40


def test_a_failure_is_tried_again_later_and_given_up_in_the_end(outbox: NexaNest) -> None:
    message = outbox.run("notifications", MESSAGE, ANNA, "m", 2, user=ANNA)[0][0]
    (first,) = claim(outbox)
    assert outbox.run("notifications", FINISH, message, first[2], "provider is down", user=BERT) == [(None,)]
    assert outbox.run("notifications", FINISH, message, first[2], "provider is down", user=ANNA) == [("waiting",)]
    wait = "SELECT next_attempt_at - now() > interval '20 s', last_error, attempts FROM notifications.outbox"
    assert outbox.run("notifications", wait, user=ANNA) == [(True, "provider is down", 1)]
    assert claim(outbox) == []
    outbox.admin("notifications", "UPDATE notifications.outbox SET next_attempt_at = now()")
    (second,) = claim(outbox)
    assert second[3] == 2
    assert outbox.run("notifications", FINISH, message, second[2], "still down", user=ANNA) == [("dead",)]
    assert claim(outbox) == []


def test_a_silent_worker_loses_its_message_and_cannot_finish_it_later(outbox: NexaNest) -> None:
    message = outbox.run("notifications", MESSAGE, ANNA, "m", 2, user=ANNA)[0][0]
    (slow,) = claim(outbox)
    passed(outbox)
    (other,) = claim(outbox)
    passed(outbox)
    assert other[2] != slow[2]
    assert outbox.run("notifications", FINISH, message, slow[2], None, user=ANNA) == [(None,)]
    # Two workers were silent: nobody gets it any more.
    assert [row[2] for row in claim(outbox)] == [None]
    assert outbox.run("notifications", "SELECT state, last_error FROM notifications.outbox", user=ANNA) == [("dead", "its worker did not report")]
    assert outbox.run("notifications", FINISH, message, other[2], None, user=ANNA) == [(None,)]


def test_a_sent_message_is_not_claimed_again_and_its_state_is_not_the_service_s_to_write(outbox: NexaNest) -> None:
    message = outbox.run("notifications", MESSAGE, ANNA, "m", 8, user=ANNA)[0][0]
    (mine,) = claim(outbox)
    assert outbox.run("notifications", FINISH, message, mine[2], None, user=ANNA) == [("sent",)]
    assert claim(outbox) == []
    with pytest.raises(psycopg2.errors.UniqueViolation, match="outbox_idempotency_key"):
        outbox.run("notifications", MESSAGE, ANNA, "m", 8, user=ANNA)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        outbox.run("notifications", "UPDATE notifications.outbox SET state = 'waiting'", user=ANNA)


def test_a_report_runs_once_and_again_when_its_worker_died(nexanest: NexaNest) -> None:
    with nexanest.session("analytics", user=ANNA) as cursor:
        cursor.execute("INSERT INTO analytics.report_definitions (user_id, name, kind) VALUES (%s, 'r', 'risk') RETURNING report_id", (ANNA,))
        report = cursor.fetchone()[0]
        cursor.execute("INSERT INTO analytics.report_runs (user_id, report_id) VALUES (%s, %s) RETURNING run_id::text", (ANNA, report))
        run = cursor.fetchone()[0]
    claim_runs = "SELECT user_id::text, run_id::text FROM analytics.claim_runs()"
    assert nexanest.run("analytics", claim_runs) == [(ANNA, run)]
    assert nexanest.run("analytics", claim_runs) == []
    nexanest.admin("analytics", "UPDATE analytics.report_runs SET lease_until = now() - interval '1 s'")
    assert nexanest.run("analytics", claim_runs) == [(ANNA, run)]
    finish = "UPDATE analytics.report_runs SET state = 'done', lease_until = NULL, finished_at = now(), result = '{\"var\": 0.1}' WHERE run_id = %s"
    nexanest.run("analytics", finish, run, user=ANNA)
    overview = "SELECT name, state FROM analytics.report_overview"
    assert nexanest.run("analytics", overview, user=ANNA) == [("r", "done")]
    assert nexanest.run("analytics", overview, user=BERT) == []


def test_a_metric_s_period_begins_where_periods_begin(nexanest: NexaNest) -> None:
    insert = "INSERT INTO analytics.metric_aggregates (user_id, metric, period, period_start, value, unit) VALUES (%s, 'return', 'month', %s, 0.1, 'ratio')"
    nexanest.run("analytics", insert, ANNA, "2026-02-01", user=ANNA)
    with pytest.raises(psycopg2.errors.CheckViolation, match="metric_aggregates_period_starts"):
        nexanest.run("analytics", insert, ANNA, "2026-02-02", user=ANNA)


def test_the_audit_trail_says_who_was_set_and_is_not_changed_by_anybody(nexanest: NexaNest) -> None:
    nexanest.run("nexanest", "SELECT nexanest.record_action('report.exported', 'report/7')", user=ANNA)
    nexanest.run("nexanest", "SELECT nexanest.record_action('cleanup.done', 'cache')")
    rows = "SELECT user_id::text, login_role, action FROM nexanest.audit_trail WHERE action IN ('report.exported', 'cleanup.done') ORDER BY audit_id"
    assert nexanest.admin("nexanest", rows) == [(ANNA, "nexanest_app", "report.exported"), (None, "nexanest_app", "cleanup.done")]
    assert nexanest.run("nexanest", rows, user=BERT) == []
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        nexanest.run("nexanest", "INSERT INTO nexanest.audit_trail (user_id, login_role, action, subject) VALUES (%s, 'x', 'x', 'x')", BERT, user=ANNA)
    for statement in ("UPDATE nexanest.audit_trail SET action = 'x'", "DELETE FROM nexanest.audit_trail", "TRUNCATE nexanest.audit_trail"):
        with pytest.raises(psycopg2.errors.RestrictViolation, match="append-only"):
            nexanest.admin("nexanest", statement)


def test_a_changed_flag_leaves_its_trace_and_an_override_is_the_user_s_own(nexanest: NexaNest) -> None:
    nexanest.run("nexanest", "INSERT INTO nexanest.feature_flags (flag_name, description) VALUES ('beta', 'x')", user=ANNA)
    nexanest.run("nexanest", "UPDATE nexanest.feature_flags SET enabled = true WHERE flag_name = 'beta'", user=ANNA)
    trace = "SELECT user_id::text, action, details -> 'after' ->> 'enabled' FROM nexanest.audit_trail WHERE subject = 'feature_flags/beta' ORDER BY audit_id"
    assert nexanest.run("nexanest", trace, user=ANNA) == [(ANNA, "insert", "false"), (ANNA, "update", "true")]
    override = "INSERT INTO nexanest.feature_flag_overrides (user_id, flag_name, enabled) VALUES (%s, 'beta', false)"
    nexanest.run("nexanest", override, ANNA, user=ANNA)
    enabled = "SELECT nexanest.feature_enabled('beta'), nexanest.feature_enabled('unknown')"
    assert [nexanest.run("nexanest", enabled, user=user) for user in (ANNA, BERT, None)] == [[(False, False)], [(True, False)], [(True, False)]]


def test_shared_texts_are_written_by_migrations_alone(nexanest: NexaNest) -> None:
    for database, statement in (("notifications", "UPDATE notifications.templates SET body = 'x'"), ("portfolio", "DELETE FROM portfolio.benchmarks")):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            nexanest.run(database, statement, user=ANNA)


def test_a_service_that_takes_another_s_name_is_in_the_audit_trail(nexanest: NexaNest) -> None:
    nexanest.run("nexanest", "INSERT INTO nexanest.services (service_name, base_url, version) VALUES ('harmless', 'http://192.0.2.9', '1')")
    nexanest.run("nexanest", "UPDATE nexanest.services SET service_name = 'billing' WHERE service_name = 'harmless'")
    last = "SELECT action, subject, details -> 'before' ->> 'service_name' FROM nexanest.audit_trail ORDER BY audit_id DESC LIMIT 1"
    assert nexanest.admin("nexanest", last) == [("update", "services/billing", "harmless")]


def test_the_migrations_are_applied_once(nexanest: NexaNest) -> None:
    assert nexanest.migrate()["changed"] is False


# The catalog of row security, which seeding lifts inside its transaction.
FORCED = "SELECT array_agg(oid::regclass::text ORDER BY 1) FROM pg_class WHERE relrowsecurity AND relforcerowsecurity AND relkind IN ('r', 'p')"


def test_sample_data_is_refused_where_somebody_s_rows_are(nexanest: NexaNest) -> None:
    nexanest.run("auth", "SELECT auth.register_user('real@example.org', '$argon2id$real')")
    for check in (True, False):
        result = nexanest.seed(5, check=check)
        assert result["failed"]
        assert "auth: there are rows that no seed made in auth.users" in result["msg"]
        assert nexanest.admin("notifications", "SELECT count(*) FROM notifications.channels") == [(0,)]


def test_sample_data_is_made_once_the_same_in_all_databases_and_for_nobody_to_log_in_with() -> None:
    with postgres_server(prefix="tnexe") as server:
        product = NexaNest(server)
        product.build()
        assert product.seed(30, check=True)["changed"]
        assert product.admin("auth", "SELECT count(*) FROM auth.users") == [(0,)]
        forced = {name: product.admin(name, FORCED) for name in SERVICES}
        first = product.seed(30)
        assert (first["failed"], first["changed"], len(first["objects"])) == (False, True, len(SERVICES)), first
        assert "users: 30" in first["diff"]["after"]
        assert product.seed(30)["changed"] is False
        other = product.seed(31)
        assert "portfolio was seeded with 30 users, not with 31" in other["msg"]
        # What was made: consistent, harmless, and with row security as before.
        users = set(product.admin("auth", "SELECT user_id FROM auth.users"))
        assert len(users) == 30
        for database, table in (("portfolio", "portfolios"), ("notifications", "channels"), ("analytics", "report_definitions")):
            assert set(product.admin(database, f"SELECT DISTINCT user_id FROM {database}.{table}")) == users
        assert product.admin("auth", "SELECT DISTINCT password_hash FROM auth.users") == [("$unusable$sample",)]
        assert product.admin("notifications", "SELECT count(*) FROM notifications.outbox WHERE state IN ('waiting', 'sending')") == [(0,)]
        after = {name: product.admin(name, FORCED)[0][0] for name in SERVICES}
        assert all(set(forced[name][0][0]) <= set(after[name]) for name in SERVICES)
        assert product.admin("auth", "SELECT count(*) FROM auth.login_attempts_default") == [(0,)]
        sums = (
            "SELECT count(*) FROM portfolio.holdings h WHERE quantity <> (SELECT sum(quantity) FROM portfolio.transactions t WHERE (t.user_id, t.portfolio_id,"
        )
        sums += " t.symbol, t.currency) = (h.user_id, h.portfolio_id, h.symbol, h.currency))"
        assert product.admin("portfolio", sums) == [(0,)]
