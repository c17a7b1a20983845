# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of backups share: a server with everything a database can hold, keys, and a set of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modules import run_module
from psycopg2 import sql
from servers import Server, postgres_server

BACKUP_ROLE = "stack_backup"
# Names that a shell, a URL, a file system or libpq could stumble over.
ODD = 'odd "name" %2F/\'ä=1 host=x'
SHOP = "shop"

CONTENT = """
CREATE SCHEMA app;
CREATE DOMAIN app.price AS numeric(12, 2) CHECK (VALUE >= 0);
CREATE TYPE app.mood AS ENUM ('good', 'bad');
CREATE TABLE app.users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, mood app.mood DEFAULT 'good',
  short text GENERATED ALWAYS AS (left(email, 3)) STORED);
CREATE TABLE app.orders (id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES app.users, total app.price NOT NULL, placed date NOT NULL);
CREATE TABLE app.events (at timestamptz NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE app.events_1 PARTITION OF app.events FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE app.events_2 PARTITION OF app.events FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
INSERT INTO app.users (email) SELECT 'user' || n || '@example.org' FROM generate_series(1, 500) n;
INSERT INTO app.orders (user_id, total, placed) SELECT 1 + n % 500, n % 97, date '2026-01-01' + n % 300 FROM generate_series(1, 5000) n;
INSERT INTO app.events SELECT timestamptz '2026-01-01' + n * interval '4 hours', 'event ' || n FROM generate_series(1, 2000) n;
ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.orders FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON app.orders USING (user_id = (SELECT nullif(current_setting('app.user', true), '')::bigint));
CREATE MATERIALIZED VIEW app.totals AS SELECT placed, sum(total) AS total FROM app.orders GROUP BY 1;
CREATE INDEX totals_placed ON app.totals (placed);
CREATE FUNCTION app.twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
CREATE FUNCTION app.paced(n bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$BEGIN
  PERFORM pg_sleep(nullif(current_setting('app.pace', true), '')::float8); RETURN n; END$$;
CREATE INDEX users_paced ON app.users (app.paced(id));
CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM 1; END';
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION app.watch();
COMMENT ON TABLE app.users IS 'People, with "quotes" and ünicode';
SELECT lo_from_bytea(4242, decode(repeat('00ff10', 70000), 'hex'));
GRANT USAGE ON SCHEMA app TO shop_app;
GRANT SELECT, INSERT ON app.users TO shop_app;
"""


@dataclass
class Shop:
    """A server with two databases, one of an odd name, and the role that may read everything."""

    server: Server
    folder: Path
    key: Path
    recipient: str
    password: str = "p:a\\s's w\"ö%"
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        return self.key.read_text(encoding="utf-8")

    def arguments(self, **changed: Any) -> dict[str, Any]:
        """Of backup_set."""
        source = {
            "name": "postgres",
            "kind": "postgresql",
            "container": self.server.container,
            "login_port": self.server.port,
            "login_user": BACKUP_ROLE,
            "login_password": self.password,
        }
        given = {"backup_dir": str(self.folder), "stack": "shop", "servers": [source], "recipients": [self.recipient], **self.more}
        return {**given, **changed}

    def backup(self, **changed: Any) -> dict[str, Any]:
        return run_module("backup_set", self.arguments(**changed))

    def manifest(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / name / "manifest.json").read_text(encoding="utf-8")))


@contextlib.contextmanager
def shop(folder: Path, **options: Any) -> Iterator[Shop]:
    """Start it, filled."""
    with postgres_server(prefix="tb", settings=("wal_level=logical",), **options) as server:
        key = new_key(folder)
        found = Shop(server, folder / "backups", key, recipient_of(key))
        fill(server, found.password)
        yield found


def fill(server: Server, password: str) -> None:
    """Roles, the two databases, their contents and the settings that only a server knows."""
    with contextlib.closing(server.connect()) as session, session.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS PASSWORD %s").format(sql.Identifier(BACKUP_ROLE)), (password,))
        cursor.execute(sql.SQL("GRANT pg_read_all_data TO {0}; ALTER ROLE {0} SET lo_compat_privileges = on").format(sql.Identifier(BACKUP_ROLE)))
        cursor.execute("CREATE ROLE shop_owner; CREATE ROLE shop_app LOGIN PASSWORD 'app'; GRANT shop_owner TO shop_app WITH INHERIT FALSE")
        cursor.execute("ALTER ROLE shop_app SET work_mem = '8MB'")
        for name in (SHOP, ODD):
            identifier = sql.Identifier(name)
            cursor.execute(sql.SQL("CREATE DATABASE {} OWNER shop_owner TEMPLATE template0").format(identifier))
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(identifier))
            cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {0} TO shop_app, {1}").format(identifier, sql.Identifier(BACKUP_ROLE)))
            cursor.execute(sql.SQL("ALTER DATABASE {} SET search_path = app, public").format(identifier))
            cursor.execute(sql.SQL("ALTER ROLE shop_app IN DATABASE {} SET statement_timeout = '7s'").format(identifier))
            cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS 'a shop''s own'").format(identifier))
    server.query(CONTENT, database=SHOP)
    server.query("CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 10)", database=ODD)


@contextlib.contextmanager
def paced(server: Server, seconds: float) -> Iterator[None]:
    """Loading the shop's 500 users takes so many seconds for each: what is to come in the midst of it does."""
    server.query(f"ALTER SYSTEM SET app.pace = '{seconds}'")
    try:
        server.query("SELECT pg_reload_conf()")
        yield
    finally:
        server.query("ALTER SYSTEM RESET app.pace")
        server.query("SELECT pg_reload_conf()")


def new_key(folder: Path) -> Path:
    """A private key of age."""
    path = folder / "backup.key"
    subprocess.run(["age-keygen", "--output", str(path)], check=True, capture_output=True, timeout=30)
    return path


def recipient_of(key: Path) -> str:
    done = subprocess.run(["age-keygen", "-y", str(key)], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout.strip()
