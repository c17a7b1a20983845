# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small product of the access proof's tests: two services, users' rows behind row security in every shape, tokens."""

from __future__ import annotations

from typing import Any

from modules import run_module
from servers import Server

SERVICES = ("shop", "depot")
LOGINS = ("app", "migrator", "readonly")
ODD = "p'ä\"s\\s $HOME %s {y}"
KEYS = {name: f"{name} key {'k' * 32}" for name in SERVICES}
ALICE, BOB = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"

GUARD = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON {table} USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
"""

SHOP = f"""
SET ROLE shop_owner;
CREATE TABLE shop.users (user_id uuid PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE shop.orders (
    order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id uuid NOT NULL REFERENCES shop.users,
    placed_at timestamptz NOT NULL, article text NOT NULL, UNIQUE (order_id, user_id));
CREATE TABLE shop.lines (
    line_id bigserial PRIMARY KEY, order_id bigint NOT NULL, user_id uuid NOT NULL, FOREIGN KEY (order_id, user_id) REFERENCES shop.orders (order_id, user_id));
CREATE TABLE shop.wishes (wish_id bigserial PRIMARY KEY, user_id uuid NOT NULL, article text NOT NULL);
CREATE TABLE shop.visits (user_id uuid, seen_at timestamptz NOT NULL, page text) PARTITION BY RANGE (seen_at);
CREATE TABLE shop.visits_2020 PARTITION OF shop.visits FOR VALUES FROM ('2020-01-01') TO ('2099-01-01');
CREATE TABLE shop.articles (article text PRIMARY KEY);
REVOKE ALL ON shop.visits_2020 FROM shop_app, shop_readonly;
{"".join(GUARD.format(table=f"shop.{table}") for table in ("users", "orders", "lines", "wishes", "visits"))}
CREATE VIEW shop.my_orders WITH (security_invoker = true) AS SELECT * FROM shop.orders;
CREATE FUNCTION shop.orders_of() RETURNS SETOF shop.orders LANGUAGE sql STABLE AS 'SELECT * FROM shop.orders';
CREATE FUNCTION shop.find_user(wanted text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT user_id FROM shop.users WHERE email = wanted';
GRANT SELECT ON shop.users TO shop_definer;
ALTER FUNCTION shop.find_user(text) OWNER TO shop_definer;
RESET ROLE;
INSERT INTO shop.articles VALUES ('lamp');
INSERT INTO shop.users VALUES ('{ALICE}', 'alice@example.com'), ('{BOB}', 'bob@example.com');
INSERT INTO shop.orders (user_id, placed_at, article) SELECT user_id, now(), 'lamp' FROM shop.users, generate_series(1, 5);
INSERT INTO shop.lines (order_id, user_id) SELECT order_id, user_id FROM shop.orders;
INSERT INTO shop.visits SELECT user_id, now(), '/' FROM shop.users;
ANALYZE;
"""

DEPOT = f"""
SET ROLE depot_owner;
CREATE TABLE depot.parcels (parcel_id bigserial PRIMARY KEY, user_id uuid NOT NULL);
{GUARD.format(table="depot.parcels")}
RESET ROLE;
INSERT INTO depot.parcels (user_id) VALUES ('{ALICE}'), ('{BOB}');
"""


def password(role: str) -> str:
    return f"{role} {ODD}"


def passwords() -> dict[str, str]:
    return {f"{name}_{kind}": password(f"{name}_{kind}") for name in SERVICES for kind in LOGINS}


def keys() -> dict[str, dict[str, str]]:
    return {name: {"current": key} for name, key in KEYS.items()}


def build(server: Server) -> None:
    """Both services, with rows."""
    databases = [{"name": name, "definer": True, "extensions": ["pg_stat_statements"]} for name in SERVICES]
    done = run_module("postgres_databases", {**server.login, "databases": databases, "passwords": passwords()})
    assert not done["failed"], done
    done = run_module("postgres_user_tokens", {**server.login, "databases": [{"name": name} for name in SERVICES], "keys": keys()})
    assert not done["failed"], done
    server.query(SHOP, database="shop")
    server.query(DEPOT, database="depot")


def arguments(server: Server, **changes: Any) -> dict[str, Any]:
    """Arguments of postgres_access_info."""
    databases = [{"name": name} for name in SERVICES]
    return {**server.login, "databases": databases, "passwords": passwords(), "user_token_keys": keys(), **changes}


def report(server: Server, **changes: Any) -> dict[str, Any]:
    """A run of postgres_access_info."""
    found = run_module("postgres_access_info", arguments(server, **changes))
    assert not found["failed"], found
    return found


def failures(found: dict[str, Any]) -> list[str]:
    """Role, place and what of each attempt that ended otherwise than it should."""
    return [f"{row['role']} {row['place']} {row['what']}: {row['seen']}" for row in found["attempts"] if not row["ok"]]
