# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The administrator's password, forgotten and set again through the container's socket."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from modules import run_module
from servers import Server, postgres_server

# The throw-away server's socket is in /tmp; the stack's is where psql looks by itself.
LOUD = ["unix_socket_directories=/tmp,/var/run/postgresql", "log_statement=all", "log_min_duration_statement=0", "log_connections=on"]
ODD = "p' \"\\$%{{ü}} : ;\t日本"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server(prefix="tc", settings=LOUD) as started:
        yield started


def converge(server: Server, password: str, check: bool = False, **options: Any) -> dict[str, Any]:
    return run_module("postgres_admin", {"container": server.container, **server.login, "login_password": password, **options}, check)


def opens(server: Server, password: str) -> bool:
    try:
        server.connect(password=password).close()
    except psycopg2.OperationalError:
        return False
    return True


def log(server: Server) -> str:
    done = subprocess.run(["docker", "logs", server.container], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout + done.stderr


def test_a_password_that_works_is_left_alone(server: Server) -> None:
    before = server.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'nexanest'")
    result = converge(server, server.password)
    assert (result["failed"], result["changed"]) == (False, False)
    assert server.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'nexanest'") == before


@pytest.mark.parametrize("password", ["first-new-password", ODD])
def test_a_new_password_is_set_proven_and_never_logged(server: Server, password: str) -> None:
    assert not opens(server, password)
    planned = converge(server, password, check=True)
    assert planned["objects"] == [{"kind": "administrator", "name": "nexanest", "action": "update"}]
    assert not opens(server, password)
    result = converge(server, password)
    assert (result["failed"], result["changed"], result["diff"]) == (False, True, planned["diff"])
    assert opens(server, password)
    assert not opens(server, server.password)
    assert converge(server, password)["changed"] is False
    assert password not in log(server)
    assert "SCRAM-SHA-256" not in log(server)
    assert password not in str(result)
    assert converge(server, server.password)["changed"]


def test_a_right_password_over_a_wrong_port_is_not_set_again(server: Server) -> None:
    result = converge(server, server.password, login_port=1)
    assert "the password of nexanest is right, but the login fails all the same: could not log in to 127.0.0.1:1" in result["msg"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"container": "tc-nowhere"}, "no session through the socket of tc-nowhere"),
        ({"login_user": "nobody"}, 'role "nobody" does not exist'),
    ],
)
def test_what_keeps_the_socket_closed_is_said(server: Server, options: dict[str, Any], said: str) -> None:
    assert said in converge(server, "wrong", **options)["msg"]


def test_a_server_that_does_not_exist_yet_is_planned_without_a_connection() -> None:
    args = {"container": "tc-nowhere", "login_user": "nexanest", "login_password": "not-used-at-all", "assume_empty": True}
    assert run_module("postgres_admin", args, check=True)["objects"] == [{"kind": "administrator", "name": "nexanest", "action": "create"}]
    assert "for check mode alone" in run_module("postgres_admin", args)["msg"]
