# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TimescaleDB: chunks have their hypertable's grants and no row security, and the access proof says so."""

from __future__ import annotations

from access_product import ALICE, BOB, GUARD, KEYS, LOGINS, failures, password
from containers import newest_image
from modules import run_module
from servers import Server, postgres_server

TABLES = f"""
SET ROLE measure_owner;
CREATE TABLE measure.prices (at timestamptz NOT NULL, price numeric NOT NULL);
SELECT create_hypertable('measure.prices', by_range('at'));
CREATE TABLE measure.steps (at timestamptz NOT NULL, user_id uuid NOT NULL, steps int NOT NULL);
SELECT create_hypertable('measure.steps', by_range('at'));
{GUARD.format(table="measure.steps")}
RESET ROLE;
INSERT INTO measure.steps VALUES (now(), '{ALICE}', 5), (now(), '{BOB}', 7);
"""


def build(server: Server) -> dict[str, object]:
    """A database with market data and a user-owned hypertable; the arguments of the proof."""
    passwords = {f"measure_{kind}": password(f"measure_{kind}") for kind in LOGINS}
    databases = [{"name": "measure", "definer": True, "extensions": ["timescaledb"]}]
    done = run_module("postgres_databases", {**server.login, "databases": databases, "passwords": passwords})
    assert not done["failed"], done
    keys = {"measure": {"current": KEYS["shop"]}}
    done = run_module("postgres_user_tokens", {**server.login, "databases": [{"name": "measure"}], "keys": keys})
    assert not done["failed"], done
    server.query(TABLES, database="measure")
    return {**server.login, "databases": [{"name": "measure"}], "passwords": passwords, "user_token_keys": keys}


def test_a_chunk_shows_what_its_hypertable_hides() -> None:
    with postgres_server(image=newest_image("timescaledb"), prefix="access-ts", settings=["shared_preload_libraries=timescaledb"]) as server:
        arguments = build(server)
        found = run_module("postgres_access_info", arguments)
        assert not found["failed"], found
        seen = failures(found)
        chunk = server.query("SELECT format('%s.%s', chunk_schema, chunk_name) FROM timescaledb_information.chunks", database="measure")[0][0]
        assert f"measure_app measure read others' rows of the partition {chunk} as one user: rows" in seen
        assert any(f"{chunk}, a partition, cannot be asked around its parent: row security is off" in line for line in seen)
        assert not any("measure.steps as" in line for line in seen)
        # Users' rows in a plain table instead, and nothing is left to say.
        server.query("DROP TABLE measure.steps", database="measure")
        plain = "SET ROLE measure_owner; CREATE TABLE measure.steps (at timestamptz NOT NULL, user_id uuid NOT NULL, steps int NOT NULL);"
        server.query(f"{plain} {GUARD.format(table='measure.steps')}", database="measure")
        server.query("INSERT INTO measure.steps VALUES (now(), %s, 5), (now(), %s, 7)", ALICE, BOB, database="measure")
        assert failures(run_module("postgres_access_info", arguments)) == []
