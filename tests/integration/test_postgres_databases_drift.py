# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_databases finds and repairs what someone changed by hand, and leaves alone what is not its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from product import arguments, converged, fingerprint
from sampling import one_in
from servers import Server, postgres_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as fresh:
        converged(arguments(fresh))
        yield fresh


@pytest.fixture(scope="module")
def right(server: Server) -> list[Any]:
    return fingerprint(server)


DRIFT = {
    "PUBLIC may connect": ("GRANT CONNECT ON DATABASE auth TO PUBLIC", "database", "auth"),
    "PUBLIC may connect to postgres": ("GRANT CONNECT ON DATABASE postgres TO PUBLIC", "database", "postgres"),
    "another service may connect": ("GRANT CONNECT ON DATABASE auth TO portfolio_app", "database", "auth"),
    "a stranger may connect": ("CREATE ROLE stranger; GRANT ALL ON DATABASE auth TO stranger", "database", "auth"),
    "a right with grant option": ("GRANT CONNECT ON DATABASE auth TO auth_app WITH GRANT OPTION", "database", "auth"),
    "a right that was passed on": (
        "GRANT CONNECT ON DATABASE auth TO auth_app WITH GRANT OPTION; SET ROLE auth_app; GRANT CONNECT ON DATABASE auth TO portfolio_app; RESET ROLE",
        "database",
        "auth",
    ),
    "a lost right": ("REVOKE CONNECT ON DATABASE auth FROM auth_app", "database", "auth"),
    "another owner": ("ALTER DATABASE auth OWNER TO nexanest", "database", "auth"),
    "another limit": ("ALTER DATABASE auth CONNECTION LIMIT 3", "database", "auth"),
    "another comment": ("COMMENT ON DATABASE auth IS 'x'", "database", "auth"),
    "another search_path": ("ALTER DATABASE auth SET search_path = public", "database", "auth"),
    "a foreign setting": ("ALTER DATABASE auth SET work_mem = '1GB'", "database", "auth"),
    "a lost guard rail": ("ALTER ROLE auth_app IN DATABASE auth RESET statement_timeout", "role settings", "auth_app in auth"),
    "a setting in another database": ("ALTER ROLE auth_app IN DATABASE portfolio SET work_mem = '1GB'", "role settings", "auth_app in portfolio"),
    "a setting everywhere": ("ALTER ROLE auth_app SET work_mem = '1GB'", "role", "auth_app"),
    "a superuser": ("ALTER ROLE auth_app SUPERUSER CREATEDB CREATEROLE BYPASSRLS REPLICATION", "role", "auth_app"),
    "an owner that logs in": ("ALTER ROLE auth_owner LOGIN PASSWORD 'x'", "role", "auth_owner"),
    "no login": ("ALTER ROLE auth_app NOLOGIN CONNECTION LIMIT 1 VALID UNTIL '2000-01-01'", "role", "auth_app"),
    "another password": ("ALTER ROLE auth_app PASSWORD 'x'", "role", "auth_app"),
    "an MD5 password": ("ALTER ROLE auth_app PASSWORD 'md500000000000000000000000000000000'", "role", "auth_app"),
    "membership of another service": ("GRANT auth_owner TO portfolio_app", "role", "portfolio_app"),
    "membership of the server's": ("GRANT pg_read_all_data TO auth_app", "role", "auth_app"),
    "a stranger as member": ("CREATE ROLE guest; GRANT auth_app TO guest", "role", "auth_app"),
    "membership with admin option": ("GRANT auth_owner TO auth_migrator WITH ADMIN TRUE", "role", "auth_migrator"),
    "membership by another grantor": (
        "GRANT auth_owner TO auth_migrator WITH ADMIN TRUE; GRANT auth_owner TO portfolio_app GRANTED BY auth_migrator",
        "role",
        "portfolio_app",
    ),
    "no membership": ("REVOKE auth_owner FROM auth_migrator", "role", "auth_migrator"),
}
INSIDE_DRIFT = {
    "another schema owner": ("ALTER SCHEMA auth OWNER TO nexanest", "schema", "auth.auth"),
    "PUBLIC in the schema": ("GRANT ALL ON SCHEMA auth TO PUBLIC", "schema", "auth.auth"),
    "another service in the schema": ("GRANT USAGE ON SCHEMA auth TO portfolio_app", "schema", "auth.auth"),
    "PUBLIC may create in public": ("GRANT CREATE ON SCHEMA public TO PUBLIC", "schema", "auth.public"),
    "the application may create": ("GRANT CREATE ON SCHEMA auth TO auth_app", "schema", "auth.auth"),
    "no schema public": ("DROP SCHEMA public CASCADE", "schema", "auth.public"),
    "no extension": ("DROP EXTENSION pg_stat_statements", "extension", "auth.pg_stat_statements"),
    "no default privileges": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner IN SCHEMA auth REVOKE ALL ON TABLES FROM auth_app",
        "default privileges",
        "auth.auth",
    ),
    "default privileges for PUBLIC": ("ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner GRANT SELECT ON TABLES TO PUBLIC", "default privileges", "auth"),
    "default EXECUTE for PUBLIC": ("ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC", "default privileges", "auth"),
}


@pytest.mark.parametrize("drift", one_in(6, [*DRIFT, *INSIDE_DRIFT]))
def test_drift_is_seen_and_repaired(server: Server, right: list[Any], drift: str) -> None:
    statement, kind, name = {**DRIFT, **INSIDE_DRIFT}[drift]
    server.query(statement, database="auth" if drift in INSIDE_DRIFT else "postgres")
    seen = converged(arguments(server), check=True)
    repaired = converged(arguments(server))
    assert {(item["kind"], item["name"]) for item in repaired["objects"]} >= {(kind, name)}
    assert (seen["objects"], seen["diff"]) == (repaired["objects"], repaired["diff"])
    assert repaired["diff"]["before"] != repaired["diff"]["after"]
    again = converged(arguments(server))
    assert (again["changed"], again["queries"]) == (False, [])
    assert fingerprint(server) == right


def test_all_of_it_at_once_is_seen_and_repaired(server: Server, right: list[Any]) -> None:
    several = {**DRIFT, **INSIDE_DRIFT}
    # Others of them take away what these need.
    for name in ("a lost right", "no membership", "PUBLIC may create in public", "no extension"):
        del several[name]
    for name, (statement, _kind, _object) in several.items():
        server.query(statement, database="auth" if name in INSIDE_DRIFT else "postgres")
    seen = converged(arguments(server), check=True)
    repaired = converged(arguments(server))
    assert (seen["objects"], seen["diff"]) == (repaired["objects"], repaired["diff"])
    assert {(item["kind"], item["name"]) for item in repaired["objects"]} >= {(kind, name) for _statement, kind, name in several.values()}
    assert not converged(arguments(server))["changed"]
    assert fingerprint(server) == right


def test_rights_that_migrations_gave_a_definer_role_stay(server: Server) -> None:
    server.query("CREATE ROLE definer; GRANT USAGE ON SCHEMA auth TO definer", database="auth")
    assert not converged(arguments(server))["changed"]
    server.query("DROP OWNED BY definer; DROP ROLE definer", database="auth")


def test_check_mode_touches_nothing(server: Server, right: list[Any]) -> None:
    args = arguments(server)
    args["databases"][1] |= {"conn_limit": 7, "settings": {"work_mem": "5MB"}, "schemas": ["auth", "more"]}
    assert converged(args, check=True)["changed"]
    assert fingerprint(server) == right
