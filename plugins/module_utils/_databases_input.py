# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's options as the desired set of a server; whatever cannot be is refused here, before a server is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _databases_checks as checks
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import (
    APP,
    DEFINER,
    KINDS,
    MIGRATOR,
    OWNER,
    READONLY,
    Desired,
    DesiredDatabase,
    DesiredExtension,
    DesiredMembership,
    DesiredRole,
    Setting,
)
from ansible_collections.nexanest.database.plugins.module_utils._databases_settings import settings

# Keys of the same entries that other modules read: postgres_migrations, postgres_user_tokens, postgres_jobs.
ELSEWHERE = ("migrations", "baseline", "user_tokens", "jobs")
DATABASE_KEYS = (
    "name", "service", "comment", "encoding", "locale", "locale_provider", "conn_limit", "settings", "extensions", "schemas", "roles", "definer", "state",
    *ELSEWHERE,
)  # fmt: skip
ROLE_KEYS = {OWNER: ("login",), MIGRATOR: ("conn_limit", "settings"), APP: ("conn_limit", "settings"), READONLY: ("conn_limit", "settings")}
REFUSED_DATABASES = ("postgres", "template0", "template1")

# Guard rails against the accidents that stop a whole server; a session may still set others, so they are no border.
GUARD_RAILS: Mapping[str, Mapping[str, str]] = {
    APP: {"statement_timeout": "30s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "60s"},
    MIGRATOR: {"lock_timeout": "10s", "idle_in_transaction_session_timeout": "10min"},
    READONLY: {
        "statement_timeout": "5min",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
        "default_transaction_read_only": "on",
    },
}


def desired(params: Mapping[str, Any]) -> Desired:
    """The desired set from the module's options. Raises InputError."""
    entries = [_entry(item, index) for index, item in enumerate(params["databases"] or [])]
    _refuse_twins((name for name, _state, _item in entries), "databases names the database")
    databases = tuple(_database(name, item) for name, state, item in entries if state == "present")
    dropped = [_database(name, item) for name, state, item in entries if state == "absent"]
    roles = _roles(databases, entries)
    backup, replication = _backup(params.get("backup_role")), _replication(params.get("replication_role"))
    own = [role for role in (backup, replication) if role is not None]
    _refuse_twins([*roles, *(role.name for role in own)], "a service, backup_role or replication_role both want the role")
    dropped_roles = [name for database in dropped for name in map(database.role, (*KINDS, DEFINER)) if name not in roles]
    passwords = checks.keys(params.get("passwords") or {}, {*roles, *dropped_roles}, "passwords")
    roles = {name: _with_password(role, passwords) for name, role in roles.items()}
    roles |= {role.name: role for role in own}
    if params["login_user"] in {*roles, *dropped_roles}:
        raise InputError(f"the role {params['login_user']!r} is login_user, the administrator: name the service otherwise")
    return Desired(
        databases=databases,
        roles=roles,
        memberships=_memberships(databases, backup),
        backup=backup.name if backup else None,
        dropped=tuple(database.name for database in dropped),
        dropped_roles=tuple(dict.fromkeys(dropped_roles)),
        confirm_drop=frozenset(params.get("confirm_drop") or []),
    )


def _entry(item: Any, index: int) -> tuple[str, str, dict[str, Any]]:
    name = item.get("name") if isinstance(item, Mapping) else None
    data = checks.keys(item, DATABASE_KEYS, f"database {name!r}" if name else f"databases[{index}]")
    name = checks.identifier(name, f"databases[{index}].name")
    if name in REFUSED_DATABASES:
        raise InputError(f"the database {name!r} belongs to the server itself: give the service a database of its own")
    return name, checks.choice(data.get("state", "present"), ("present", "absent"), f"state of database {name!r}"), data


def _database(name: str, data: Mapping[str, Any]) -> DesiredDatabase:
    where = f"database {name!r}"
    service = checks.identifier(_given(data, "service", name), f"{where}: service")
    for kind in KINDS:
        _role_name(f"{service}_{kind}", f"{where}: the role")
    comment = _given(data, "comment", None)
    schemas = _schemas(_given(data, "schemas", [name]), where)
    definer = checks.flag(data.get("definer"), f"{where}: definer")
    if checks.flag(data.get("user_tokens"), f"{where}: user_tokens") and not definer:
        raise InputError(f"{where} has user_tokens without definer, to which their functions belong: add definer: true")
    return DesiredDatabase(
        name=name,
        service=service,
        comment=None if comment is None else checks.text(comment, f"{where}: comment"),
        encoding=_optional_text(data, "encoding", where),
        locale=_optional_text(data, "locale", where),
        locale_provider=_provider(data, where),
        conn_limit=checks.number(_given(data, "conn_limit", -1), f"{where}: conn_limit", least=-1),
        settings=_database_settings(data, schemas, where),
        extensions=_extensions(_given(data, "extensions", []), schemas, where),
        schemas=schemas,
        role_settings=_role_settings(_role_options(data, where), service, where),
        definer=definer,
    )


def _given(data: Mapping[str, Any], key: str, default: Any) -> Any:
    """Null is the same as not given."""
    found = data.get(key)
    return default if found is None else found


def _optional_text(data: Mapping[str, Any], key: str, where: str) -> str | None:
    found = data.get(key)
    return None if found is None else checks.text(found, f"{where}: {key}")


def _provider(data: Mapping[str, Any], where: str) -> str | None:
    found = data.get("locale_provider")
    return None if found is None else checks.choice(found, ("builtin", "libc", "icu"), f"{where}: locale_provider")


def _schemas(data: Any, where: str) -> tuple[str, ...]:
    names = [checks.identifier(item, f"{where}: schema") for item in checks.listing(data, f"{where}: schemas")]
    _refuse_twins(names, f"{where} names the schema")
    for name in names:
        if name.startswith("pg_") or name == "information_schema":
            raise InputError(f"{where}: the schema {name!r} belongs to PostgreSQL: choose another name")
    return tuple(names)


def _database_settings(data: Mapping[str, Any], schemas: tuple[str, ...], where: str) -> dict[str, Setting]:
    given = settings(_given(data, "settings", {}), f"{where}: settings")
    # public comes last: only the owner can create there, and extensions live in it.
    return {"search_path": tuple(dict.fromkeys([*schemas, "public"])), **given}


def _extensions(data: Any, schemas: tuple[str, ...], where: str) -> tuple[DesiredExtension, ...]:
    found = []
    for item in checks.listing(data, f"{where}: extensions"):
        entry = checks.keys({"name": item} if isinstance(item, str) else item, ("name", "schema", "version"), f"{where}: an extension")
        name = checks.identifier(entry.get("name"), f"{where}: extension")
        schema, version = entry.get("schema"), entry.get("version")
        if schema is not None and schema not in (*schemas, "public"):
            raise InputError(f"{where}: extension {name!r} wants the schema {schema!r}, which the database does not list: add it to schemas")
        found.append(DesiredExtension(name, schema, None if version is None else str(version)))
    _refuse_twins((extension.name for extension in found), f"{where} names the extension")
    return tuple(found)


def _role_options(data: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    roles = checks.keys(_given(data, "roles", {}), KINDS, f"{where}: roles")
    return {kind: checks.keys(roles.get(kind) or {}, ROLE_KEYS[kind], f"{where}: roles.{kind}") for kind in KINDS}


def _role_settings(options: Mapping[str, Mapping[str, Any]], service: str, where: str) -> dict[str, dict[str, Setting]]:
    found = {
        kind: settings(options[kind].get("settings") or {}, f"{where}: roles.{kind}.settings", defaults=GUARD_RAILS[kind]) for kind in KINDS if kind != OWNER
    }
    if "role" in found[MIGRATOR]:
        raise InputError(f"{where}: roles.migrator.settings.role is set by the module itself: leave it out")
    found[MIGRATOR]["role"] = f"{service}_{OWNER}"
    return found


def _roles(databases: Sequence[DesiredDatabase], entries: Iterable[tuple[str, str, Mapping[str, Any]]]) -> dict[str, DesiredRole]:
    """The roles of all services; databases of one service share them and must agree."""
    options = {name: _role_options(data, f"database {name!r}") for name, _state, data in entries}
    found: dict[str, DesiredRole] = {}
    for database in databases:
        for kind in (*KINDS, *([DEFINER] if database.definer else [])):
            role = _role(database.role(kind), kind, options[database.name].get(kind, {}))
            if found.setdefault(role.name, role) != role:
                raise InputError(f"the databases of service {database.service!r} disagree about the role {role.name!r}: give both the same options")
    return found


def _role(name: str, kind: str, options: Mapping[str, Any]) -> DesiredRole:
    if kind == DEFINER:
        # Owns the functions that act before the user is known: row security does not hold for them.
        return DesiredRole(name, login=False, bypassrls=True)
    if kind == OWNER:
        return DesiredRole(name, login=checks.flag(options.get("login"), f"role {name!r}: login"))
    return DesiredRole(name, login=True, conn_limit=checks.number(_given(options, "conn_limit", -1), f"role {name!r}: conn_limit", least=-1))


def _with_password(role: DesiredRole, passwords: Mapping[str, Any]) -> DesiredRole:
    if role.name.endswith((f"_{OWNER}", f"_{DEFINER}")):
        if role.name in passwords:
            raise InputError(f"passwords has the role {role.name!r}, which nobody logs in as: leave it out")
        return role
    if role.name not in passwords:
        raise InputError(f"passwords lacks the role {role.name!r}: add one")
    return DesiredRole(role.name, login=True, conn_limit=role.conn_limit, password=_password(passwords[role.name], role.name))


def _password(data: Any, role: str) -> str:
    """The value itself is never part of the message."""
    if not isinstance(data, str) or not data or "\0" in data:
        raise InputError(f"the password of role {role!r} must be text that is not empty and has no NUL character")
    return data


def _backup(data: Any) -> DesiredRole | None:
    if data is None:
        return None
    name = _role_name(data["name"], "backup_role: the role")
    # lo_compat_privileges: pg_read_all_data does not cover large objects.
    return DesiredRole(name, login=True, bypassrls=True, password=_password(data["password"], name), settings={"lo_compat_privileges": "on"})


def _replication(data: Any) -> DesiredRole | None:
    """It streams the write-ahead log, which holds everything that is written, and can connect to no database."""
    if data is None:
        return None
    name = _role_name(data["name"], "replication_role: the role")
    return DesiredRole(name, login=True, replication=True, password=_password(data["password"], name))


def _memberships(databases: Iterable[DesiredDatabase], backup: DesiredRole | None) -> tuple[DesiredMembership, ...]:
    """Without inheritance the migrator can create nothing as itself: whatever it makes belongs to the owner."""
    found = [DesiredMembership(database.role(OWNER), database.role(MIGRATOR), inherit=False) for database in databases]
    # The owner may give a function to the definer, and has none of its rights.
    found += [DesiredMembership(database.role(DEFINER), database.role(OWNER), inherit=False) for database in databases if database.definer]
    if backup is not None:
        found.append(DesiredMembership("pg_read_all_data", backup.name, inherit=True))
    return tuple(dict.fromkeys(found))


def _role_name(data: Any, where: str) -> str:
    name = checks.identifier(data, where)
    if name.startswith("pg_") or name in ("public", "none"):
        raise InputError(f"{where} {name!r} has a name that PostgreSQL keeps for itself: choose another")
    return name


def _refuse_twins(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{what} {name!r} twice: keep one")
        seen.add(name)
