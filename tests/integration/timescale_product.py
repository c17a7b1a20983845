# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NexaNest's database timescale on a throw-away server: the inventory's own data, applied by the real modules in the role's order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from modules import ROOT, run_module
from servers import Server

INVENTORY = ROOT / "inventory" / "nexanest"
DATABASE = "timescale"
KEY = "key of timescale for tests, long enough"
LOGINS = ("app", "migrator", "readonly")
# More than what a server has by default: a query over 90 chunks holds that many locks and more.
SETTINGS = ("max_locks_per_transaction=256",)


def document(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((INVENTORY / "group_vars" / "all" / name).read_text(encoding="utf-8")))


def entry() -> dict[str, Any]:
    return next(one for one in document("databases.yml")["data_model_timescaledb_databases"] if one["name"] == DATABASE)


def hypertables(server: Server) -> dict[str, Any]:
    wanted = document("hypertables.yml")["data_model_hypertables"][DATABASE]
    return {**server.login, "databases": [{"name": DATABASE, "readers": ["timescale_readonly"], "hypertables": wanted}]}


def done(module: str, arguments: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    result = run_module(module, arguments, check)
    assert not result["failed"], result
    return result


def build(server: Server) -> None:
    """Databases, roles, user tokens, migrations, hypertables: as site.yml does."""
    files = [{"name": path.name, "text": path.read_text(encoding="utf-8")} for path in sorted((INVENTORY / "migrations" / DATABASE).glob("*.sql"))]
    migrations = {"name": DATABASE, "directory": str(Path("migrations")), "session_role": "timescale_owner", "files": files}
    passwords = {f"timescale_{kind}": f"password of timescale_{kind}" for kind in LOGINS}
    done("postgres_databases", {**server.login, "databases": [entry()], "passwords": passwords})
    done("postgres_user_tokens", {**server.login, "databases": [{"name": DATABASE}], "keys": {DATABASE: {"current": KEY}}})
    done("postgres_migrations", {**server.login, "databases": [migrations], "collection_version": "test"})
    predicted = done("timescaledb_hypertables", hypertables(server), check=True)
    applied = done("timescaledb_hypertables", hypertables(server))
    assert predicted["objects"] == applied["objects"]


def sow(server: Server, *, users: int, ticks: int) -> None:
    """The inventory's sample data."""
    server.query(f"ALTER DATABASE {DATABASE} SET seed.ticks = '{ticks}'")
    seed = {
        "name": DATABASE,
        "session_role": "timescale_owner",
        "file": "timescale.sql",
        "text": (INVENTORY / "seeds" / "timescale.sql").read_text(encoding="utf-8"),
    }
    done("postgres_seed", {**server.login, "databases": [seed], "users": users, "collection_version": "test"})
