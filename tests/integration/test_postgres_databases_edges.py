# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_databases with odd names, dropped, shared and adopted databases, and what it refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from product import BACKUP, LOGINS, arguments, converged, password, refusal, session, single
from servers import Server, postgres_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as fresh:
        converged(arguments(fresh))
        yield fresh


@pytest.mark.parametrize(
    "name", ["we\"ird 'name", "ünï çødé ☃", "a=b dbname=postgres", "postgresql://x", "Upper", "%s {} $1", "select", "x" * 54, "back\\slash", "semi;drop"]
)
def test_odd_names_work(server: Server, name: str) -> None:
    args = single(server, name, comment="it's \\ 100 %", extensions=["pg_stat_statements"], roles={"app": {"conn_limit": 5}})
    planned = converged(args, check=True)
    assert planned["objects"] == converged(args)["objects"]
    again = converged(args)
    assert (again["changed"], again["queries"]) == (False, [])
    with session(server, name, f"{name}_migrator", password("migrator")) as cursor:
        cursor.execute("CREATE TABLE here (id int)")
    with session(server, name, f"{name}_app", password("app")) as cursor:
        cursor.execute("INSERT INTO here VALUES (1)")
        cursor.execute("SELECT current_schema(), current_database()")
        assert cursor.fetchone() == (name, name)
    dropped = converged({**server.login, "databases": [{"name": name, "state": "absent"}], "confirm_drop": [name]})
    assert len(dropped["objects"]) == 5
    assert not server.query("SELECT FROM pg_roles WHERE rolname LIKE %s", "%" + name.replace("\\", "\\\\").replace("_", "\\_") + "%")


def test_absent_needs_the_explicit_word(server: Server) -> None:
    args = single(server, "doomed")
    converged(args)
    absent = {**server.login, "databases": [{"name": "doomed", "state": "absent"}]}
    assert "add its name to confirm_drop" in refusal(absent)
    assert server.query("SELECT datname FROM pg_database WHERE datname = 'doomed'")
    with contextlib.closing(server.connect("doomed", user="doomed_app", password=password("app"))):
        assert converged({**absent, "confirm_drop": ["doomed"]})["changed"]
    assert not converged(absent)["changed"]


def test_databases_of_one_service_share_its_roles(server: Server) -> None:
    names = ("orders", "orders_archive")
    passwords = {f"orders_{kind}": password(kind) for kind in LOGINS}
    args = {**server.login, "databases": [{"name": name, "service": "orders"} for name in names], "passwords": passwords}
    converged(args)
    for name in names:
        with session(server, name, "orders_migrator", password("migrator")) as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == ("orders_owner",)
    args["databases"][1]["state"] = "absent"
    result = converged({**args, "confirm_drop": ["orders_archive"]})
    assert result["objects"] == [{"kind": "database", "name": "orders_archive", "action": "delete"}]


def test_database_that_is_there_already_is_taken_over(server: Server) -> None:
    server.query("CREATE DATABASE adopted TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'")
    args = single(server, "adopted")
    assert {"kind": "database", "name": "adopted", "action": "update"} in converged(args)["objects"]
    assert not converged(args)["changed"]
    args["databases"][0]["locale"] = "C.UTF-8"
    assert "has the locale 'C', not 'C.UTF-8', and cannot change it" in refusal(args)


def test_locales_and_options_of_a_new_database(server: Server) -> None:
    for provider, locale in (("libc", "C"), ("icu", "de-DE"), ("builtin", "C")):
        args = single(
            server,
            f"locale_{provider}",
            encoding="UTF8",
            locale=locale,
            locale_provider=provider,
            settings={"TimeZone": "UTC", "search_path": ["a b", "public"], "my.own": 1, "jit": False},
            extensions=[{"name": "citext", "schema": "a b", "version": "1.6"}, "plpgsql"],
            schemas=["a b"],
            roles={"owner": {"login": True}, "app": {"settings": {"statement_timeout": None, "work_mem": "8MB"}}},
        )
        converged(args)
        again = converged(args)
        assert (again["changed"], again["queries"]) == (False, [])
        with session(server, f"locale_{provider}", f"locale_{provider}_app", password("app")) as cursor:
            cursor.execute("SELECT current_setting('statement_timeout'), current_setting('work_mem'), current_setting('my.own'), 'A'::citext = 'a'")
            assert cursor.fetchone() == ("0", "8MB", "1", True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extensions": ["no_such"]}, "wants the extension 'no_such', which the server does not have"),
        ({"settings": {"wrok_mem": "1MB"}}, "the server would refuse the setting wrok_mem = '1MB': unrecognized configuration parameter"),
        ({"roles": {"app": {"settings": {"statement_timeout": "30 lemons"}}}}, "invalid value for parameter"),
    ],
)
def test_what_the_server_would_refuse_is_found_before_any_change(server: Server, changes: dict[str, Any], words: str) -> None:
    for check in (True, False):
        assert words in refusal(single(server, "never", **changes), check=check)
    assert not server.query("SELECT FROM pg_roles WHERE rolname ~ '^never'")


def test_login_failures_are_one_sentence(server: Server) -> None:
    args = arguments(server)
    for changes, words in (
        ({"login_password": "wrong"}, "password authentication failed"),
        ({"login_port": 1}, "Connection refused"),
        ({"login_db": "no such"}, "does not exist"),
    ):
        message = refusal({**args, **changes})
        assert words in message
        assert "\n" not in message
    message = refusal({**args, "login_user": "nexanest_backup", "login_password": BACKUP["password"], "backup_role": None})
    assert "is no superuser" in message


def test_half_dropped_and_closed_databases_are_named(server: Server) -> None:
    args = single(server, "broken")
    converged(args)
    server.query("ALTER DATABASE broken ALLOW_CONNECTIONS false")
    assert "lets nobody in" in refusal(args)
    server.query("ALTER DATABASE broken ALLOW_CONNECTIONS true")
    server.query("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'")
    assert "was dropped half-way" in refusal(args)
    converged({**server.login, "databases": [{"name": "broken", "state": "absent"}], "confirm_drop": ["broken"]})
    converged(args)
    assert not converged(args)["changed"]
