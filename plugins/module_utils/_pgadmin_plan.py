# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change in pgAdmin: pure comparison of what was observed with what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change

# Where pgAdmin looks for the password file, seen from the account's own folder.
PASSFILE_IN_STORAGE = "/.pgpass"
SERVER_PROPERTIES = ("host", "port", "username", "maintenance_db", "group")


@dataclass(frozen=True)
class Wanted:
    """The account, the servers it shall list and the password file they use (None: leave it alone)."""

    email: str
    servers: Sequence[Mapping[str, Any]]
    group: str
    passfile: str | None


@dataclass(frozen=True)
class Observed:
    """What the container answered; account is None where there is none, accepts_login what a real login said."""

    account: Mapping[str, Any] | None = None
    servers: Sequence[Mapping[str, Any]] = ()
    passfile: str | None = None
    accepts_login: bool = False


@dataclass(frozen=True)
class Plan:
    """Changes to show, and the same as a request to the container."""

    changes: list[Change] = field(default_factory=list)
    set_account: bool = False
    set_servers: list[dict[str, Any]] = field(default_factory=list)
    drop_servers: list[str] = field(default_factory=list)
    set_passfile: bool = False


def plan(observed: Observed, wanted: Wanted) -> Plan:
    """Compare; an empty plan means that nothing has to be done."""
    account = _account(observed, wanted)
    servers = _servers(observed, wanted)
    passfile = _passfile(observed, wanted)
    names = [change.name for change in servers if change.after is not None]
    return Plan(
        changes=[*account, *servers, *passfile],
        set_account=bool(account),
        set_servers=[_asked(server, wanted) for server in wanted.servers if server["name"] in names],
        drop_servers=[change.name for change in servers if change.after is None],
        set_passfile=bool(passfile),
    )


def _account(observed: Observed, wanted: Wanted) -> list[Change]:
    after = {"email": wanted.email, "password": "the one given", "active": True, "locked": False, "administrator": True}
    if observed.account is None:
        return [Change("account", wanted.email, None, after)]
    account = observed.account
    password = "the one given" if account["password_matches"] else "another one"
    before = {"email": account["email"], "password": password, **{key: account[key] for key in ("active", "locked", "administrator")}}
    if before == after and not observed.accepts_login:
        before, after = {**before, "login": "refused"}, {**after, "login": "accepted"}
    return [] if before == after else [Change("account", wanted.email, before, after)]


def _servers(observed: Observed, wanted: Wanted) -> list[Change]:
    there = {server["name"]: _properties(server) for server in reversed(observed.servers)}
    asked = {server["name"]: _properties(_asked(server, wanted)) for server in wanted.servers}
    changes = [Change("server entry", name, there.get(name), after) for name, after in asked.items() if there.get(name) != after]
    return changes + [Change("server entry", name, before, None) for name, before in there.items() if name not in asked]


def _passfile(observed: Observed, wanted: Wanted) -> list[Change]:
    if wanted.passfile is None or observed.passfile == wanted.passfile:
        return []
    before = None if observed.passfile is None else {"target": observed.passfile}
    return [Change("password file link", wanted.email, before, {"target": wanted.passfile})]


def _asked(server: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
    parameters: dict[str, Any] = {"sslmode": server["sslmode"], "connect_timeout": 10}
    if wanted.passfile is not None:
        parameters["passfile"] = PASSFILE_IN_STORAGE
    return {**{key: server[key] for key in ("name", "host", "port", "username", "maintenance_db")}, "group": wanted.group, "parameters": parameters}


def _properties(server: Mapping[str, Any]) -> dict[str, Any]:
    parameters = server["parameters"]
    return {**{key: server[key] for key in SERVER_PROPERTIES}, "sslmode": parameters.get("sslmode"), "passfile": parameters.get("passfile")}
