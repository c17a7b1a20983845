# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NexaNest's databases on a throw-away server: the inventory's data applied by the real modules, and ways to act as its users."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from modules import ROOT, run_module
from servers import Server

from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import mint

INVENTORY = ROOT / "inventory" / "nexanest"
# What the role data_model takes out before it calls postgres_databases.
ROLE_KEYS = ("migrations", "user_tokens", "jobs")
LOGINS = ("app", "migrator", "readonly")
ANNA, BERT = (str(uuid.UUID(int=number)) for number in (0xA, 0xB))
PHC = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"


def entries() -> list[dict[str, Any]]:
    """The databases of the PostgreSQL server as the inventory declares them."""
    document = yaml.safe_load((INVENTORY / "group_vars" / "all" / "databases.yml").read_text(encoding="utf-8"))
    return list(document["data_model_postgres_databases"])


SERVICES = tuple(entry["name"] for entry in entries())


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True)
class NexaNest:
    """The databases on a server; passwords and keys are derived from names."""

    server: Server

    def key(self, database: str) -> str:
        return f"key of {database} for tests, long enough"

    def password(self, role: str) -> str:
        return f"password of {role}"

    def build(self) -> None:
        """Databases, roles, user tokens, migrations: as site.yml does, in its order."""
        self._run("postgres_databases", databases=[{k: v for k, v in entry.items() if k not in ROLE_KEYS} for entry in entries()], passwords=self._passwords())
        self._run("postgres_user_tokens", databases=[{"name": name} for name in SERVICES], keys={name: {"current": self.key(name)} for name in SERVICES})
        self.migrate()

    def migrate(self) -> dict[str, Any]:
        return self._run("postgres_migrations", databases=[_migrations(name) for name in SERVICES], collection_version="test")

    def seed(self, users: int, *, check: bool = False) -> dict[str, Any]:
        """The module's result, also where it refused."""
        databases = [{**seed_of(name), "session_role": f"{name}_owner"} for name in SERVICES]
        return run_module("postgres_seed", {**self.server.login, "databases": databases, "users": users, "collection_version": "test"}, check)

    def token(self, database: str, user: str, *, life: int = 300) -> str:
        """Valid by the server's clock, which may not be ours."""
        now = self.server.query("SELECT floor(extract(epoch FROM clock_timestamp()))::bigint")[0][0]
        return mint(self.key(database), user, int(now) + life)

    @contextlib.contextmanager
    def session(self, database: str, kind: str = "app", *, user: str | None = None) -> Iterator[psycopg2.extensions.cursor]:
        """One transaction of a service's role, as `user` where one is given; committed at the end, rolled back by an error."""
        role = f"{database}_{kind}"
        connection = self.server.connect(database, user=role, password=self.password(role))
        connection.autocommit = False
        with contextlib.closing(connection), connection, connection.cursor() as cursor:
            if user:
                cursor.execute("SELECT session.set_user(%s)", (self.token(database, user),))
            yield cursor

    def run(self, database: str, statement: str, *values: Any, kind: str = "app", user: str | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement in a transaction of its own."""
        with self.session(database, kind, user=user) as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def admin(self, database: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.server.query(statement, *values, database=database)

    def _passwords(self) -> dict[str, str]:
        return {role: self.password(role) for role in (f"{name}_{kind}" for name in SERVICES for kind in LOGINS)}

    def _run(self, module: str, **arguments: Any) -> dict[str, Any]:
        result = run_module(module, {**self.server.login, **arguments})
        assert not result["failed"], result
        return result


def _migrations(database: str) -> dict[str, Any]:
    folder: Path = INVENTORY / "migrations" / database
    files = [{"name": path.name, "text": path.read_text(encoding="utf-8")} for path in sorted(folder.glob("*.sql"))]
    return {"name": database, "directory": str(folder), "session_role": f"{database}_owner", "files": files}


def seed_of(database: str) -> dict[str, Any]:
    path = INVENTORY / "seeds" / f"{database}.sql"
    return {"name": database, "file": path.name, "text": path.read_text(encoding="utf-8")}
