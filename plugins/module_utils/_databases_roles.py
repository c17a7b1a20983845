# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for roles: attributes, passwords, memberships, cluster-wide settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _scram
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import (
    Desired,
    DesiredMembership,
    DesiredRole,
    Membership,
    Role,
    Setting,
    Settings,
    State,
)
from ansible_collections.nexanest.database.plugins.module_utils._databases_settings import same, shown
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import (
    Argument,
    Keyword,
    Name,
    Secret,
    Statement,
    Value,
    name,
    statement,
    value,
)
from ansible_collections.nexanest.database.plugins.module_utils._databases_steps import Phase, Step, Work, step

SET = " SET {} = {}"
SWITCHES = ("superuser", "createdb", "createrole", "bypassrls", "replication", "inherit", "login")


def role_steps(desired: Desired, state: State) -> list[Step]:
    """One step per role that differs."""
    return [found for role in desired.roles.values() for found in _role_step(role, desired, state)]


def drop_steps(desired: Desired, state: State) -> list[Step]:
    """The roles of dropped databases, after the databases."""
    found: list[Step] = []
    for role in desired.dropped_roles:
        if role in state.roles:
            work = [Work(Phase.DROP_ROLES, statement("DROP ROLE {}", name(role)))]
            found += step("role", role, before={"login": state.roles[role].login}, after=None, work=work)
    return found


def setting_statements(subject: str, names: tuple[Name, ...], actual: Settings, wanted: Settings) -> list[Statement]:
    """SET what differs and RESET what is too much; subject: "ALTER ROLE {}" or the like, with its names."""
    changed = [(key, setting) for key, setting in wanted.items() if not same(key, _text(actual.get(key)), setting)]
    surplus = [key for key in actual if key not in wanted]
    return [statement(f"{subject}{SET}", *names, _setting_name(key), _setting_value(setting)) for key, setting in changed] + [
        statement(f"{subject} RESET {{}}", *names, _setting_name(key)) for key in surplus
    ]


def changed_settings(statements: Iterable[Statement]) -> dict[str, set[Value]]:
    """The values that `statements` set, by setting."""
    found: dict[str, set[Value]] = {}
    for one in statements:
        match one.arguments:
            case (*_, Name(parts), Value() as wanted) if one.template.endswith(SET):
                found.setdefault(".".join(parts), set()).add(wanted)
    return found


def shown_settings(settings: Settings) -> dict[str, str]:
    return {key: shown(setting) for key, setting in sorted(settings.items())}


def _role_step(role: DesiredRole, desired: Desired, state: State) -> list[Step]:
    actual = state.roles.get(role.name)
    settings = state.settings.get(("", role.name), {})
    surplus, missing = _memberships(role.name, desired, state)
    work = [Work(Phase.ROLES, found) for found in _alterations(role, actual)]
    work += [Work(Phase.ROLES, found) for found in setting_statements("ALTER ROLE {}", (name(role.name),), settings, role.settings)]
    work += [Work(Phase.MEMBERSHIPS, _leave(membership)) for membership in surplus]
    work += [Work(Phase.MEMBERSHIPS, _join(membership)) for membership in missing]
    groups = _actual_groups(role.name, state)
    before = None if actual is None else {**_actual_properties(role, actual), "member_of": groups, "settings": shown_settings(settings)}
    after = {**_wanted_properties(role, actual), "member_of": _wanted_groups(role.name, desired), "settings": shown_settings(role.settings)}
    if any(membership.member != role.name for membership in surplus):
        before, after = {**(before or {}), "foreign_members": sorted(m.member for m in surplus if m.member != role.name)}, {**after, "foreign_members": []}
    return step("role", role.name, before=before, after=after, work=work)


def _alterations(role: DesiredRole, actual: Role | None) -> list[Statement]:
    if actual is None:
        template, arguments = _attributes(role)
        password: tuple[Argument, ...] = (Secret(_scram.verifier(role.password)),) if role.password is not None else ()
        return [statement(f"CREATE ROLE {template}{' PASSWORD {}' if password else ''}", *arguments, *password)]
    found = []
    attributes, wanted = _actual_properties(role, actual), _wanted_properties(role)
    if any(attributes[key] != wanted[key] for key in (*SWITCHES, "conn_limit")):
        template, arguments = _attributes(role)
        found.append(statement(f"ALTER ROLE {template}", *arguments))
    if actual.expires:
        found.append(statement("ALTER ROLE {} VALID UNTIL 'infinity'", name(role.name)))
    if not _password_kept(role, actual):
        secret: Argument = Keyword("NULL") if role.password is None else Secret(_scram.verifier(role.password))
        found.append(statement("ALTER ROLE {} PASSWORD {}", name(role.name), secret))
    return found


def _attributes(role: DesiredRole) -> tuple[str, tuple[Argument, ...]]:
    wanted = _wanted_properties(role)
    words = " ".join(switch.upper() if wanted[switch] else f"NO{switch.upper()}" for switch in SWITCHES)
    return f"{{}} WITH {words} CONNECTION LIMIT {{}}", (name(role.name), value(role.conn_limit))


def _actual_properties(role: DesiredRole, actual: Role) -> dict[str, Any]:
    return {
        **{switch: getattr(actual, switch) for switch in SWITCHES},
        "conn_limit": actual.conn_limit,
        "expires": actual.expires,
        "password": "none" if actual.verifier is None else "set",
    }


def _wanted_properties(role: DesiredRole, actual: Role | None = None) -> dict[str, Any]:
    return {
        **dict.fromkeys(SWITCHES, False),
        "inherit": True,
        "login": role.login,
        "bypassrls": role.bypassrls,
        "replication": role.replication,
        "conn_limit": role.conn_limit,
        "expires": False,
        "password": _shown_password(role, actual),
    }


def _shown_password(role: DesiredRole, actual: Role | None) -> str:
    if role.password is None:
        return "none"
    return "set" if actual is None or _password_kept(role, actual) else "changed"


def _password_kept(role: DesiredRole, actual: Role) -> bool:
    return actual.verifier is None if role.password is None else _scram.matches(actual.verifier, role.password)


def _memberships(role: str, desired: Desired, state: State) -> tuple[list[Membership], list[DesiredMembership]]:
    """What is too much and what is missing; a membership belongs to its member's step, a stranger's to the role's."""
    mine = [m for m in state.memberships if m.member == role or (m.role == role and m.member not in desired.roles)]
    wanted = [m for m in desired.memberships if m.member == role]
    kept = {(m.role, m.member) for m in wanted if _is_exact(m, mine)}
    surplus = [m for m in mine if (m.role, m.member) not in kept]
    return surplus, [m for m in wanted if (m.role, m.member) not in kept]


def _is_exact(wanted: DesiredMembership, actual: list[Membership]) -> bool:
    rows = [m for m in actual if (m.role, m.member) == (wanted.role, wanted.member)]
    return bool(rows) and all(m.inherit == wanted.inherit and m.set and not m.admin for m in rows)


def _leave(membership: Membership) -> Statement:
    return statement("REVOKE {} FROM {} GRANTED BY {} CASCADE", name(membership.role), name(membership.member), name(membership.grantor))


def _join(membership: DesiredMembership) -> Statement:
    inherit = Keyword("TRUE" if membership.inherit else "FALSE")
    return statement("GRANT {} TO {} WITH INHERIT {}, SET TRUE, ADMIN FALSE", name(membership.role), name(membership.member), inherit)


def _actual_groups(role: str, state: State) -> list[str]:
    return sorted(_group(m.role, inherit=m.inherit, admin=m.admin) for m in state.memberships if m.member == role)


def _wanted_groups(role: str, desired: Desired) -> list[str]:
    return sorted(_group(m.role, inherit=m.inherit) for m in desired.memberships if m.member == role)


def _group(role: str, *, inherit: bool, admin: bool = False) -> str:
    return f"{role}{'' if inherit else ' (by SET ROLE)'}{' (admin)' if admin else ''}"


def _setting_name(key: str) -> Name:
    return Name(tuple(key.split(".")))


def _setting_value(setting: Setting) -> Argument:
    return value(*setting) if isinstance(setting, tuple) else value(setting)


def _text(setting: Setting | None) -> str | None:
    return None if setting is None else shown(setting)
