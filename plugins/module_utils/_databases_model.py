# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service databases and their roles shall be, and what a server has: plain data, no driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

PUBLIC = ""  # the grantee PUBLIC; no role can have the empty name
SYSTEM_DATABASES = ("postgres", "template1")

OWNER, MIGRATOR, APP, READONLY = KINDS = ("owner", "migrator", "app", "readonly")
DEFINER = "definer"  # only where a database asks for it

# A list is for settings that are lists of names, such as search_path.
Setting: TypeAlias = "str | tuple[str, ...]"
Settings = Mapping[str, Setting]


@dataclass(frozen=True)
class DesiredExtension:
    name: str
    schema: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class DesiredRole:
    """A role of a service, of the backups or of replication. password: None for one that cannot log in by password."""

    name: str
    login: bool
    conn_limit: int = -1
    bypassrls: bool = False
    replication: bool = False
    password: str | None = field(default=None, repr=False)
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class DesiredMembership:
    """`member` is in `role`; inherit: has its rights at once, else only after SET ROLE."""

    role: str
    member: str
    inherit: bool


@dataclass(frozen=True)
class DesiredDatabase:
    """A service database. None: not asked for, left as it is where the database exists."""

    name: str
    service: str
    comment: str | None = None
    encoding: str | None = None
    locale: str | None = None
    locale_provider: str | None = None
    conn_limit: int = -1
    settings: Settings = field(default_factory=dict)
    extensions: tuple[DesiredExtension, ...] = ()
    schemas: tuple[str, ...] = ()
    role_settings: Mapping[str, Settings] = field(default_factory=dict)  # by kind of role
    definer: bool = False

    def role(self, kind: str) -> str:
        return f"{self.service}_{kind}"


@dataclass(frozen=True)
class Desired:
    """The whole set of one server. dropped, dropped_roles: what shall not be there."""

    databases: tuple[DesiredDatabase, ...] = ()
    roles: Mapping[str, DesiredRole] = field(default_factory=dict)
    memberships: tuple[DesiredMembership, ...] = ()
    backup: str | None = None
    dropped: tuple[str, ...] = ()
    dropped_roles: tuple[str, ...] = ()
    confirm_drop: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Grant:
    """One privilege of an access control list; grantable: with grant option."""

    grantee: str
    privilege: str
    grantor: str
    grantable: bool = False


Grants = frozenset[Grant]


@dataclass(frozen=True)
class Role:
    name: str
    login: bool = False
    superuser: bool = False
    createdb: bool = False
    createrole: bool = False
    bypassrls: bool = False
    replication: bool = False
    inherit: bool = True
    conn_limit: int = -1
    expires: bool = False
    verifier: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Membership:
    role: str
    member: str
    grantor: str
    admin: bool
    inherit: bool
    set: bool


@dataclass(frozen=True)
class Database:
    name: str
    owner: str
    encoding: str
    locale_provider: str
    locale: str
    grants: Grants
    conn_limit: int = -1
    allow_connections: bool = True
    comment: str | None = None


@dataclass(frozen=True)
class Schema:
    owner: str
    grants: Grants = frozenset()


@dataclass(frozen=True)
class Extension:
    schema: str
    version: str


@dataclass(frozen=True)
class Inside:
    """What lives in one database. defaults: pg_default_acl by (owner, schema or "", kind of object), the owner's own rights left out."""

    schemas: Mapping[str, Schema]
    extensions: Mapping[str, Extension] = field(default_factory=dict)
    defaults: Mapping[tuple[str, str, str], Grants] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """What a server has. settings: by (database or "", role or ""); extensions: names that it offers, None: not known."""

    version: int
    administrator: str
    roles: Mapping[str, Role] = field(default_factory=dict)
    memberships: tuple[Membership, ...] = ()
    databases: Mapping[str, Database] = field(default_factory=dict)
    settings: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    inside: Mapping[str, Inside] = field(default_factory=dict)
    extensions: frozenset[str] | None = None


def database_grants(owner: str) -> Grants:
    """What a database has before anyone grants or revokes: PUBLIC may connect and make temporary tables."""
    return frozenset(Grant(PUBLIC, privilege, owner) for privilege in ("CONNECT", "TEMPORARY"))


def new_inside() -> Inside:
    """The content of a database made from template0."""
    return Inside(schemas={"public": Schema("pg_database_owner", frozenset({Grant(PUBLIC, "USAGE", "pg_database_owner")}))})


def empty_server(administrator: str) -> State:
    """A server that is about to be made: the system databases, nothing of ours."""
    template = frozenset({Grant(PUBLIC, "CONNECT", administrator)})
    grants = {"postgres": database_grants(administrator), "template1": template}
    databases = {name: Database(name, administrator, "UTF8", "builtin", "C.UTF-8", grants[name]) for name in SYSTEM_DATABASES}
    return State(version=170000, administrator=administrator, roles={administrator: Role(administrator, login=True, superuser=True)}, databases=databases)
