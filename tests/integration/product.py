# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The product of postgres_databases' tests: five services, passwords with odd characters, and ways to run and to log in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg2
import pytest
from modules import run_module
from servers import Server

SERVICES = ("nexanest", "auth", "portfolio", "analytics", "notifications")
LOGINS = ("app", "migrator", "readonly")
ODD = "p'ä\"s\\s $HOME %s %(x)s {{ y }} `id` ; -- \t ☃ \u00a0 ﬁ"
BACKUP = {"name": "nexanest_backup", "password": f"backup {ODD}"}


def password(role: str) -> str:
    return f"{role} {ODD}"


def arguments(server: Server, **changes: Any) -> dict[str, Any]:
    """The whole set of the test's product."""
    return {
        **server.login,
        "databases": [{"name": name, "comment": f"Service {name}", "extensions": ["pg_stat_statements"]} for name in SERVICES],
        "passwords": {f"{name}_{kind}": password(f"{name}_{kind}") for name in SERVICES for kind in LOGINS},
        "backup_role": BACKUP,
        **changes,
    }


def single(server: Server, name: str, **keys: Any) -> dict[str, Any]:
    """A set of one database, without the product's others."""
    passwords = {f"{keys.get('service', name)}_{kind}": password(kind) for kind in LOGINS}
    return {**server.login, "databases": [{"name": name, **keys}], "passwords": passwords}


def converged(args: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    result = run_module("postgres_databases", args, **options)
    assert not result["failed"], result
    return result


def refusal(args: Mapping[str, Any], **options: Any) -> str:
    result = run_module("postgres_databases", args, **options)
    assert result["failed"], result
    return str(result["msg"])


@contextlib.contextmanager
def session(server: Server, database: str, role: str, secret: str | None = None) -> Iterator[psycopg2.extensions.cursor]:
    with contextlib.closing(server.connect(database, user=role, password=secret or password(role))) as connection, connection.cursor() as cursor:
        yield cursor


def denied(server: Server, database: str, role: str, statement: str) -> str:
    """The words with which the server refuses `statement`."""
    with session(server, database, role) as cursor, pytest.raises(psycopg2.Error) as caught:
        cursor.execute(statement)
    return str(caught.value)


def fingerprint(server: Server) -> list[Any]:
    """All that a drift can touch, but for the strangers themselves and the salts."""
    return [
        server.query(
            "SELECT datname, pg_get_userbyid(datdba), datconnlimit, (SELECT array_agg(a ORDER BY a) FROM unnest(datacl::text[]) a) FROM pg_database ORDER BY 1"
        ),
        server.query(
            "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication, rolcanlogin, rolconnlimit, rolpassword IS NULL"
            " FROM pg_authid WHERE rolname NOT IN ('stranger', 'guest') ORDER BY 1"
        ),
        server.query("SELECT roleid::regrole::text, member::regrole::text, admin_option, inherit_option, set_option FROM pg_auth_members ORDER BY 1, 2"),
        server.query(
            "SELECT setdatabase, setrole::regrole::text, (SELECT array_agg(a ORDER BY a) FROM unnest(setconfig) a) FROM pg_db_role_setting ORDER BY 1, 2"
        ),
        server.query("SELECT extname, extnamespace::regnamespace::text FROM pg_extension ORDER BY 1", database="auth"),
        server.query(
            "SELECT nspname, pg_get_userbyid(nspowner), p.* FROM pg_namespace CROSS JOIN LATERAL (SELECT grantee::regrole::text, privilege_type"
            " FROM aclexplode(nspacl) WHERE grantee <> nspowner) p WHERE nspname IN ('auth', 'public') ORDER BY 1, 3, 4",
            database="auth",
        ),
        server.query(
            "SELECT defaclnamespace::regnamespace::text, defaclobjtype::text, p.grantee::regrole::text, p.privilege_type FROM pg_default_acl"
            " CROSS JOIN LATERAL aclexplode(defaclacl) p ORDER BY 1, 2, 3, 4",
            database="auth",
        ),
    ]
