# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be done so that a running Redis equals what is asked; pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._redis_acl import AclUser
from ansible_collections.nexanest.database.plugins.module_utils._redis_values import RESTART_SETTINGS, equal, shown


class PlanError(Exception):
    """What is asked cannot be: nothing was touched."""


@dataclass(frozen=True)
class Wanted:
    """settings: names with values as CONFIG SET takes them; users: None leaves the ACL alone."""

    settings: Mapping[str, str]
    users: Mapping[str, AclUser] | None


@dataclass(frozen=True)
class Running:
    """What the server says; databases: numbers of the logical databases that hold keys."""

    settings: Mapping[str, str]
    users: Mapping[str, AclUser]
    databases: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Plan:
    """set: for CONFIG SET; restart: names that only a restart brings about (`acl` for the users)."""

    set: Mapping[str, str] = field(default_factory=dict)
    load_acl: bool = False
    restart: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


def plan(wanted: Wanted, running: Running) -> Plan:
    """Compare; PlanError where a setting does not exist or data would be lost."""
    _refuse_unknown(wanted.settings, running.settings)
    different = {name: value for name, value in wanted.settings.items() if not equal(name, running.settings[name], value)}
    _refuse_too_few_databases(different, running.databases)
    users = [] if wanted.users is None else _user_changes(wanted.users, running.users)
    settings = [
        Change("redis setting", name, {"value": shown(name, running.settings[name])}, {"value": shown(name, value)}) for name, value in different.items()
    ]
    return Plan(
        set={name: value for name, value in different.items() if name not in RESTART_SETTINGS},
        load_acl=bool(users),
        restart=tuple(sorted(name for name in different if name in RESTART_SETTINGS)),
        changes=(*settings, *users),
    )


def plan_from_nothing(wanted: Wanted) -> Plan:
    """There is no server yet: it will start with all of it."""
    settings = [Change("redis setting", name, None, {"value": shown(name, value)}) for name, value in wanted.settings.items()]
    return Plan(changes=(*settings, *_user_changes(wanted.users or {}, {})))


def plan_without_login(user: str) -> Plan:
    """The login was refused: only a restart makes the server read the ACL file again."""
    return Plan(restart=("acl",), changes=(Change("redis login", user, {"login": "refused"}, {"login": "accepted, after a restart that reads the ACL file"}),))


def _user_changes(wanted: Mapping[str, AclUser], running: Mapping[str, AclUser]) -> list[Change]:
    names = [*wanted, *(name for name in running if name not in wanted)]
    return [_user_change(wanted.get(name), running.get(name)) for name in names if wanted.get(name) != running.get(name)]


def _user_change(wanted: AclUser | None, running: AclUser | None) -> Change:
    before = None if running is None else running.properties()
    after = None if wanted is None else wanted.properties()
    if before is not None and after is not None and running is not None and wanted is not None and running.hashes != wanted.hashes:
        after["password"] = f"{after['password']}, another one"
    name = (wanted or running or AclUser("")).name
    return Change("redis user", name, before, after)


def _refuse_unknown(wanted: Iterable[str], known: Iterable[str]) -> None:
    names = sorted(known)
    for name in wanted:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "its names are those of CONFIG GET *"
            raise PlanError(f"this Redis has no setting {name}: {hint}")


def _refuse_too_few_databases(different: Mapping[str, str], used: frozenset[int]) -> None:
    asked = different.get("databases", "")
    if re.fullmatch(r"\d+", asked) and used and int(asked) <= max(used):
        raise PlanError(
            f"databases is asked to be {asked}, but the logical database {max(used)} holds keys and Redis would not start any more: "
            f"ask for at least {max(used) + 1}, or empty that database first"
        )
