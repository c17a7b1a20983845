# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever asks sees the rows of the user who was set by a token, and no others: in every table, view and partition of NexaNest's databases."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator

import psycopg2
import pytest
from nexanest_server import ANNA, SERVICES, NexaNest
from servers import postgres_server

USERS = 10


def sample_user(number: int) -> str:
    return str(uuid.UUID(hashlib.md5(f"sample user {number}".encode(), usedforsecurity=False).hexdigest()))


ONE, TWO = sample_user(1), sample_user(2)

OWNED = """
SELECT current_database() || '.' || c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped
WHERE c.relnamespace = to_regnamespace(current_database()) AND c.relkind IN ('r', 'p', 'v', 'm') ORDER BY 1
"""


@pytest.fixture(scope="module")
def nexanest() -> Iterator[NexaNest]:
    with postgres_server(prefix="tnexa") as server:
        product = NexaNest(server)
        product.build()
        result = product.seed(USERS)
        assert not result["failed"], result
        yield product


def owned(nexanest: NexaNest, database: str) -> list[str]:
    """Everything in a database that has a column user_id."""
    return [row[0] for row in nexanest.admin(database, OWNED)]


def seen(nexanest: NexaNest, database: str, relation: str, *, user: str | None, kind: str = "app") -> set[str] | None:
    """The users whose rows are seen; None where the role may not read the relation at all."""
    try:
        return {str(row[0]) for row in nexanest.run(database, f"SELECT DISTINCT user_id FROM {relation}", user=user, kind=kind)}
    except psycopg2.errors.InsufficientPrivilege:
        return None


@pytest.mark.parametrize("database", SERVICES)
def test_a_user_sees_their_own_rows_alone_in_every_table_view_and_partition(nexanest: NexaNest, database: str) -> None:
    relations = owned(nexanest, database)
    assert relations
    closed = []
    for relation in relations:
        everybody = {str(row[0]) for row in nexanest.admin(database, f"SELECT DISTINCT user_id FROM {relation}")}
        for kind in ("app", "readonly"):
            mine = seen(nexanest, database, relation, user=ONE, kind=kind)
            if mine is None:
                closed.append(relation)
            else:
                assert mine == everybody & {ONE}, relation
    # Only partitions are closed to all: they are read through their parent.
    assert [name for name in closed if not name.startswith("auth.login_attempts_")] == []
    assert bool(closed) == (database == "auth")


@pytest.mark.parametrize("database", SERVICES)
@pytest.mark.parametrize("kind", ["app", "readonly", "migrator"])
def test_nobody_sees_anything_without_a_token(nexanest: NexaNest, database: str, kind: str) -> None:
    assert {relation: seen(nexanest, database, relation, user=None, kind=kind) or set() for relation in owned(nexanest, database)} == {
        relation: set() for relation in owned(nexanest, database)
    }


@pytest.mark.parametrize("database", SERVICES)
def test_two_users_together_see_no_row_twice(nexanest: NexaNest, database: str) -> None:
    for relation in owned(nexanest, database):
        both = [seen(nexanest, database, relation, user=user) or set() for user in (ONE, TWO)]
        assert not both[0] & both[1], relation


def test_the_user_is_gone_with_the_transaction_on_a_pooled_connection(nexanest: NexaNest) -> None:
    with nexanest.session("portfolio", user=ONE) as cursor:
        cursor.execute("SELECT count(*) FROM portfolio.portfolios")
        assert cursor.fetchone() == (2,)
        stolen = "SELECT current_setting('session.user')"
        cursor.execute(stolen)
        value = cursor.fetchone()[0]
        cursor.connection.commit()
        cursor.execute("SELECT count(*) FROM portfolio.portfolios")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT set_config('session.user', %s, false)", (value,))
        cursor.execute("SELECT count(*) FROM portfolio.portfolios")
        assert cursor.fetchone() == (0,)


def test_rows_of_others_cannot_be_written_moved_or_referred_to(nexanest: NexaNest) -> None:
    mine = nexanest.run("portfolio", "SELECT portfolio_id FROM portfolio.portfolios ORDER BY 1", user=ONE)[0][0]
    theirs = nexanest.run("portfolio", "SELECT portfolio_id FROM portfolio.portfolios ORDER BY 1", user=TWO)[0][0]
    goal = "INSERT INTO portfolio.portfolio_goals (user_id, portfolio_id, name, target_amount, currency) VALUES (%s, %s, 'x', 1, 'EUR')"
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
        nexanest.run("portfolio", goal, TWO, theirs, user=ONE)
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        nexanest.run("portfolio", goal, ONE, theirs, user=ONE)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
        nexanest.run("portfolio", "UPDATE portfolio.portfolio_goals SET user_id = %s, portfolio_id = %s", TWO, theirs, user=ONE)
    with nexanest.session("portfolio", user=ONE) as cursor:
        cursor.execute("UPDATE portfolio.portfolio_goals SET name = 'mine now' WHERE user_id = %s", (TWO,))
        assert cursor.rowcount == 0
    assert nexanest.run("portfolio", "SELECT count(*) FROM portfolio.portfolios WHERE portfolio_id = %s", mine, user=TWO) == [(0,)]


# Each reference that starts in a user's row and ends in another user's: the same user stands in both keys, so it cannot be expressed.
CROSS = """
SELECT conrelid::regclass::text, conname FROM pg_constraint f
WHERE contype = 'f' AND connamespace = to_regnamespace(current_database()) AND conparentid = 0
  AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = confrelid AND attname = 'user_id')
  AND NOT EXISTS (SELECT FROM unnest(conkey, confkey) k (mine, theirs)
    JOIN pg_attribute m ON m.attrelid = conrelid AND m.attnum = k.mine JOIN pg_attribute t ON t.attrelid = confrelid AND t.attnum = k.theirs
    WHERE m.attname = 'user_id' AND t.attname = 'user_id')
"""
UNGUARDED = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped
WHERE c.relnamespace = to_regnamespace(current_database()) AND c.relkind IN ('r', 'p') AND NOT (
  c.relrowsecurity AND c.relforcerowsecurity
  AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indpred IS NULL)
  AND (SELECT array_agg((p.polcmd, p.polpermissive, pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid))::text)
    FROM pg_policy p WHERE p.polrelid = c.oid)
    = ARRAY[('*'::"char", true, '(user_id = ( SELECT session.user_id() AS user_id))', '(user_id = ( SELECT session.user_id() AS user_id))')::text])
"""
WITHOUT_KEY = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = to_regnamespace(current_database()) AND c.relkind IN ('r', 'p')
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p')
"""
WITHOUT_COMMENT = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = to_regnamespace(current_database()) AND c.relkind IN ('r', 'p', 'v', 'm')
AND obj_description(c.oid, 'pg_class') IS NULL
UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE p.pronamespace = to_regnamespace(current_database()) AND obj_description(p.oid, 'pg_proc') IS NULL
"""
UNINDEXED = """
SELECT f.conrelid::regclass::text, f.conname FROM pg_constraint f WHERE f.contype = 'f' AND f.connamespace = to_regnamespace(current_database())
AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = f.conrelid AND i.indpred IS NULL
  AND (SELECT array_agg(k ORDER BY k) FROM unnest((i.indkey::int2[])[0:cardinality(f.conkey) - 1]) k)
    = (SELECT array_agg(k ORDER BY k) FROM unnest(f.conkey) k))
"""
LEAKING_VIEWS = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = to_regnamespace(current_database())
AND (c.relkind = 'm' OR c.relkind = 'v' AND NOT coalesce(c.reloptions @> '{security_invoker=true}', false))
"""
LOOSE_FUNCTIONS = """
SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
WHERE p.pronamespace = to_regnamespace(current_database()) AND (
  NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)
  OR p.prosecdef <> (r.rolname = current_database() || '_definer')
  OR EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
    WHERE g.grantee::regrole::text NOT IN (current_database() || '_app', current_database() || '_owner', current_database() || '_definer')))
"""
WITH_TRUNCATE = """
SELECT c.oid::regclass::text FROM pg_class c, aclexplode(c.relacl) g
WHERE c.relnamespace = to_regnamespace(current_database()) AND g.privilege_type IN ('TRUNCATE', 'TRIGGER', 'REFERENCES', 'MAINTAIN') AND g.grantee <> c.relowner
"""


@pytest.mark.parametrize("database", SERVICES)
@pytest.mark.parametrize(
    "query",
    [CROSS, UNGUARDED, WITHOUT_KEY, WITHOUT_COMMENT, UNINDEXED, LEAKING_VIEWS, LOOSE_FUNCTIONS, WITH_TRUNCATE],
    ids=["cross-tenant key", "row security", "primary key", "comment", "index for each foreign key", "views", "functions", "truncate"],
)
def test_the_catalog_has_no_exception_to(nexanest: NexaNest, database: str, query: str) -> None:
    assert nexanest.admin(database, query) == []


@pytest.mark.parametrize("database", SERVICES)
def test_the_application_can_empty_no_table(nexanest: NexaNest, database: str) -> None:
    for relation in [row[0] for row in nexanest.admin(database, OWNED.replace("'v', 'm'", "'x'").replace("a.attname = 'user_id'", "a.attnum = 1"))]:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            nexanest.run(database, f"TRUNCATE {relation} CASCADE", user=ONE)


def test_no_function_returns_rows_of_others(nexanest: NexaNest) -> None:
    """Those that act for all users return keys alone; what stands in the rows is read as each user."""
    returned = {
        (database, *row)
        for database in SERVICES
        for row in nexanest.admin(
            database,
            "SELECT p.proname, coalesce((SELECT string_agg(n, ',' ORDER BY o) FROM unnest(p.proargnames, p.proargmodes) WITH ORDINALITY a (n, m, o)"
            " WHERE m = 't'),"
            " p.prorettype::regtype::text) FROM pg_proc p WHERE p.pronamespace = to_regnamespace(current_database()) AND p.prosecdef"
            " AND has_function_privilege(current_database() || '_app', p.oid, 'EXECUTE') AND p.prorettype <> 'trigger'::regtype",
        )
    }
    assert returned == {
        ("auth", "end_session", "boolean"),
        ("auth", "rotate_refresh_token", "outcome,user_id,session_id"),
        ("auth", "find_api_key", "user_id,key_id,scopes"),
        ("auth", "revoke_api_key", "boolean"),
        ("auth", "register_user", "uuid"),
        ("auth", "find_account", "user_id,status"),
        ("auth", "reset_password", "uuid"),
        ("auth", "verify_email", "uuid"),
        ("auth", "change_password", "void"),
        ("auth", "begin_login", "attempt_id,allowed,retry_after,user_id,password_hash,status"),
        ("auth", "confirm_login", "boolean"),
        ("portfolio", "claim_alerts", "user_id,alert_id"),
        ("analytics", "claim_runs", "user_id,run_id"),
        ("notifications", "claim_messages", "user_id,message_id,lease_id,attempt"),
        ("notifications", "finish_message", "text"),
        ("nexanest", "record_action", "void"),
    }


def test_hashes_can_be_read_by_no_role_of_the_service(nexanest: NexaNest) -> None:
    hashes = nexanest.admin(
        "auth", "SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attname LIKE '%%hash' AND attrelid IN"
        " (SELECT oid FROM pg_class WHERE relnamespace = 'auth'::regnamespace AND relkind IN ('r', 'p'))",
    )  # fmt: skip
    assert len(hashes) >= 6
    for table, column in hashes:
        for kind in ("app", "readonly"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                nexanest.run("auth", f"SELECT {column} FROM {table}", user=ONE, kind=kind)


def test_the_backup_s_and_the_owner_s_view_differ(nexanest: NexaNest) -> None:
    """FORCE: the owner is held by the policies as well."""
    assert nexanest.run("portfolio", "SELECT current_user, count(*) FROM portfolio.transactions", kind="migrator") == [("portfolio_owner", 0)]
    assert nexanest.run("portfolio", "SELECT count(*) FROM portfolio.transactions", kind="migrator", user=ONE) == [(101,)]
    assert nexanest.run("portfolio", "SELECT count(*) FROM portfolio.transactions", kind="migrator", user=ANNA) == [(0,)]
