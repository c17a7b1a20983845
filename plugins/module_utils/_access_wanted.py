# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The desired set as the access proof sees it: services with their databases, passwords and token keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError

APP, READONLY, MIGRATOR, OWNER, DEFINER, BACKUP = "app", "readonly", "migrator", "owner", "definer", "backup"
LOGINS = (APP, READONLY, MIGRATOR)
SYSTEM_DATABASES = ("postgres", "template1")


@dataclass(frozen=True)
class ServiceDatabase:
    """key: with which its user tokens are signed, None where it takes none."""

    name: str
    service: str
    key: str | None = field(default=None, repr=False)

    def role(self, kind: str) -> str:
        return f"{self.service}_{kind}"

    @property
    def logins(self) -> dict[str, str]:
        """The kinds by role, of those that log in."""
        return {self.role(kind): kind for kind in LOGINS}


@dataclass(frozen=True)
class Wanted:
    """passwords: by role; column: the user column; backup: a role that may read everything; replication: one that may receive the log."""

    databases: tuple[ServiceDatabase, ...]
    passwords: Mapping[str, str] = field(repr=False)
    column: str
    backup: str | None = None
    replication: str | None = None

    @property
    def logins(self) -> list[str]:
        """All service roles that log in, each once, and the backup role."""
        roles = [role for database in self.databases for role in database.logins]
        return list(dict.fromkeys([*roles, *([self.backup] if self.backup else [])]))

    def database(self, name: str) -> ServiceDatabase:
        return {database.name: database for database in self.databases}[name]

    def homes(self, role: str) -> list[str]:
        """The databases that are a role's own."""
        return [database.name for database in self.databases if role in database.logins or role == self.backup]

    def stranger(self, database: ServiceDatabase) -> ServiceDatabase | None:
        """A database of another service, if there is one."""
        return next((other for other in self.databases if other.service != database.service), None)


def wanted(params: Mapping[str, Any]) -> Wanted:
    """The set from the module's options. Raises InputError, never with a secret."""
    keys = params["user_token_keys"] or {}
    databases = tuple(
        ServiceDatabase(entry["name"], entry["service"] or entry["name"], _key(keys.get(entry["name"]), entry["name"])) for entry in params["databases"]
    )
    stray = sorted(set(keys) - {database.name for database in databases})
    if stray:
        raise InputError(f"user_token_keys names {', '.join(stray)}, which databases does not: add the database, or take the key out")
    backup, replication = (params[name] or {} for name in ("backup_role", "replication_role"))
    passwords = {str(role): str(secret) for role, secret in params["passwords"].items()}
    passwords |= {role["name"]: role["password"] for role in (backup, replication) if role}
    found = Wanted(databases, passwords, params["user_column"], backup.get("name"), replication.get("name"))
    missing = [role for role in found.logins if not found.passwords.get(role)]
    if missing:
        raise InputError(f"passwords lacks {', '.join(missing)}: every role logs in here, so each needs its own")
    return found


def _key(data: Any, database: str) -> str | None:
    """One key, or a mapping with the current one."""
    current = data.get("current") if isinstance(data, Mapping) else data
    if data is not None and (not isinstance(current, str) or not current):
        raise InputError(f"user_token_keys of {database} must be a key, or a mapping with current")
    return current
