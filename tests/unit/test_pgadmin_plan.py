# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change in pgAdmin, from what was observed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._changes import diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._pgadmin_plan import Observed, Wanted, plan

ACCOUNT = {"email": "a@shop.local", "password_matches": True, "active": True, "locked": False, "administrator": True}
ASKED = {"name": "PostgreSQL", "host": "postgres", "port": 5432, "username": "shop", "maintenance_db": "postgres", "sslmode": "prefer"}
LISTED = {
    **{key: ASKED[key] for key in ("name", "host", "port", "username", "maintenance_db")},
    "group": "Servers",
    "parameters": {"sslmode": "prefer", "connect_timeout": 10, "passfile": "/.pgpass"},
}
WANTED = Wanted(email="a@shop.local", servers=[ASKED], group="Servers", passfile="/run/pgpass")
CONVERGED = Observed(account=ACCOUNT, servers=[LISTED], passfile="/run/pgpass", accepts_login=True)


def observed(**changed: Any) -> Observed:
    return Observed(**{"account": ACCOUNT, "servers": [LISTED], "passfile": "/run/pgpass", "accepts_login": True, **changed})


def test_a_converged_pgadmin_needs_nothing() -> None:
    todo = plan(CONVERGED, WANTED)
    assert (todo.changes, todo.set_account, todo.set_servers, todo.drop_servers, todo.set_passfile) == ([], False, [], [], False)


def test_from_nothing_everything_is_created() -> None:
    todo = plan(Observed(), WANTED)
    assert [(row["kind"], row["action"]) for row in objects(todo.changes)] == [
        ("account", "create"), ("server entry", "create"), ("password file link", "create"),
    ]  # fmt: skip
    assert todo.set_account
    assert todo.set_passfile
    assert todo.set_servers == [LISTED]


@pytest.mark.parametrize("wrong", [{"password_matches": False}, {"active": False}, {"locked": True}, {"administrator": False}, {"email": "former@shop.local"}])
def test_each_fault_of_the_account_is_put_right(wrong: dict[str, Any]) -> None:
    todo = plan(observed(account={**ACCOUNT, **wrong}, accepts_login=False), WANTED)
    assert todo.set_account
    assert [change.kind for change in todo.changes] == ["account"]


def test_a_refused_login_is_a_change_even_where_the_account_looks_right() -> None:
    todo = plan(observed(accepts_login=False), WANTED)
    assert todo.set_account
    assert "login: refused" in diff(todo.changes)["before"]


@pytest.mark.parametrize(("key", "value"), [("host", "other"), ("port", 5433), ("username", "x"), ("maintenance_db", "auth"), ("group", "Elsewhere")])
def test_each_changed_property_of_an_entry_is_put_back(key: str, value: str | int) -> None:
    todo = plan(observed(servers=[{**LISTED, key: value}]), WANTED)
    assert todo.set_servers == [LISTED]
    assert not todo.set_account


def test_further_connection_parameters_are_left_alone() -> None:
    more = {**LISTED, "parameters": {**LISTED["parameters"], "keepalives": 1}}
    assert plan(observed(servers=[more]), WANTED).changes == []


def test_an_entry_that_is_no_longer_asked_for_is_removed() -> None:
    todo = plan(observed(servers=[LISTED, {**LISTED, "name": "Old"}]), WANTED)
    assert (todo.drop_servers, todo.set_servers) == (["Old"], [])


def test_without_a_password_file_the_link_and_the_parameter_are_not_asked_for() -> None:
    wanted = Wanted(email="a@shop.local", servers=[ASKED], group="Servers", passfile=None)
    todo = plan(Observed(account=ACCOUNT, accepts_login=True), wanted)
    assert not todo.set_passfile
    assert "passfile" not in todo.set_servers[0]["parameters"]
