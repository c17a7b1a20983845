# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real clients through each door of a deployed stack, with right and wrong keys."""

from __future__ import annotations

import subprocess
import time

import psycopg2
import pytest
import redis
from clients import postgres, query, redis_client
from stack import Stack

SERVICES = ("nexanest", "auth", "portfolio", "analytics", "notifications")
ROLES = ("migrator", "app", "readonly")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_enters_its_own_database_only(stack: Stack, service: str, role: str) -> None:
    user = f"{service}_{role}"
    assert query(stack, "postgres", service, "SELECT current_database()", user=user) == [(service,)]
    for other in {*SERVICES, "postgres", "template1"} - {service}:
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            postgres(stack, "postgres", other, user=user)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        postgres(stack, "postgres", service, user=user, password="not this one")


@pytest.mark.parametrize("role", ROLES)
def test_each_role_of_timescale_enters(stack: Stack, role: str) -> None:
    assert query(stack, "timescaledb", "timescale", "SELECT 1", user=f"timescale_{role}") == [(1,)]


def test_the_administrator_opens_every_database_and_a_wrong_password_opens_none(stack: Stack) -> None:
    for service in SERVICES:
        assert query(stack, "postgres", service, "SELECT 1") == [(1,)]
    assert query(stack, "timescaledb", "timescale", "SELECT 1") == [(1,)]
    for server, database in (("postgres", "auth"), ("timescaledb", "timescale")):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            postgres(stack, server, database, password="not this one")


def test_psql_of_the_servers_image_enters_over_the_data_network(stack: Stack) -> None:
    image = subprocess.run(
        ["docker", "inspect", "--format", "{{.Config.Image}}", stack.container("postgres")], capture_output=True, text=True, check=True
    ).stdout.strip()
    script = "read -r PGPASSWORD; export PGPASSWORD; exec psql -h postgres -U auth_app -d auth -XAtc 'SELECT current_user'"
    done = subprocess.run(
        ["docker", "run", "--rm", "-i", "--network", f"{stack.name}-data", "--entrypoint", "sh", image, "-c", script],
        input=stack.secret("postgres/auth_app") + "\n", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "auth_app", done.stderr


def test_the_application_works_with_the_migrated_tables(stack: Stack) -> None:
    query(stack, "postgres", "auth", "SELECT auth.register_user('somebody@example.org', '$argon2id$v=19$x')", user="auth_app")
    assert query(stack, "postgres", "auth", "SELECT status FROM auth.find_account('somebody@example.org')", user="auth_app") == [("pending",)]
    # Nobody is set, so nobody's row is seen.
    assert query(stack, "postgres", "auth", "SELECT status FROM auth.users", user="auth_readonly") == []
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(stack, "postgres", "auth", "BEGIN READ WRITE; DELETE FROM auth.users", user="auth_readonly")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(stack, "postgres", "auth", "CREATE TABLE auth.mine (id int)", user="auth_app")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(stack, "postgres", "auth", "CREATE TABLE public.mine (id int)", user="auth_app")
    assert query(stack, "postgres", "auth", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'auth'") == [("auth_owner",)]


def test_ticks_go_into_the_hypertable_and_come_out(stack: Stack) -> None:
    insert = """
        INSERT INTO market_data.stock_prices (time, symbol, exchange, price, currency)
        SELECT now() - i * interval '1 hour', 'TEST', 'XNAS', 100 + i, 'USD' FROM generate_series(1, 48) i
    """
    query(stack, "timescaledb", "timescale", insert, user="timescale_app")
    rows = query(
        stack,
        "timescaledb",
        "timescale",
        "SELECT count(DISTINCT time_bucket('1 day', time)) FROM market_data.stock_prices WHERE symbol = 'TEST'",
        user="timescale_readonly",
    )
    assert rows[0][0] >= 2
    chunks = query(stack, "timescaledb", "timescale", "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'stock_prices'")
    assert chunks[0][0] >= 2


@pytest.mark.parametrize("database", [0, 1, 2])
def test_redis_serves_its_logical_databases(stack: Stack, database: int) -> None:
    client = redis_client(stack, database=database)
    client.set("clients:probe", str(database))
    assert client.get("clients:probe") == str(database)


@pytest.mark.parametrize("service", ["auth", "portfolio", "analytics", "notifications"])
def test_redis_users_reach_their_own_keys_only(stack: Stack, service: str) -> None:
    client = redis_client(stack, user=service)
    client.set(f"{service}:mine", "1")
    assert client.get(f"{service}:mine") == "1"
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.get("somebody-elses:key")
    for command in (["CONFIG", "GET", "*"], ["FLUSHALL"], ["ACL", "LIST"], ["KEYS", "*"], ["SHUTDOWN"]):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command)
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis_client(stack, user=service, password="not this one").ping()


def test_redis_without_a_login_serves_nothing(stack: Stack) -> None:
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(host="127.0.0.1", port=stack.ports.redis).get("clients:probe")


def test_a_keyspace_event_is_received(stack: Stack) -> None:
    listener = redis_client(stack, user="auth", database=2).pubsub()
    listener.psubscribe("__keyspace@2__:session:*")
    redis_client(stack, user="auth", database=2).set("session:event", "1", px=50)
    deadline = time.monotonic() + 10
    seen: set[tuple[str, str]] = set()
    expired = ("__keyspace@2__:session:event", "expired")
    while expired not in seen and time.monotonic() < deadline:
        message = listener.get_message(timeout=1)
        if message and message["type"] == "pmessage":
            seen.add((message["channel"], message["data"]))
    assert expired in seen
