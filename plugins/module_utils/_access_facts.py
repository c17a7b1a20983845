# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the administrator reads out of a server's catalog before the access proof tries its doors. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PUBLIC = "PUBLIC"
TABLE_KINDS = ("r", "p")
KIND_WORDS = {"r": "table", "p": "table", "v": "view", "m": "materialised view", "f": "foreign table"}


@dataclass(frozen=True)
class Role:
    name: str
    login: bool
    powers: tuple[str, ...]  # SUPERUSER, BYPASSRLS ...
    member_of: tuple[str, ...]  # directly

    @property
    def sees_everything(self) -> bool:
        return bool({"SUPERUSER", "BYPASSRLS"} & set(self.powers))


@dataclass(frozen=True)
class Policy:
    """own_rows: whether each of its conditions names the user column; conditions: those that it has, as the catalog writes them."""

    name: str
    command: str
    permissive: bool
    roles: frozenset[str]
    own_rows: bool
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Relation:
    """A table, view or the like outside of the system's schemas.

    user_type: type of the user column, "" where it has none. readers: service roles (or PUBLIC) that may read some column; powers: the rest, by role.
    stored: whether reading the user column runs nothing that the owner made, as a view or a type of its own would.
    bases: for views, the names of what they read. fillers: columns an INSERT must not leave to their default, with the expression to put there.
    writable: whether INSERT, UPDATE and DELETE can mean anything; others, a, b: what the administrator found in the rows.
    """

    schema: str
    name: str
    kind: str
    owner: str
    user_type: str = ""
    partition: bool = False
    row_security: bool = False
    forced: bool = False
    invoker: bool = False
    writable: bool = False
    stored: bool = True
    policies: tuple[Policy, ...] = ()
    readers: frozenset[str] = frozenset()
    powers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    bases: frozenset[tuple[str, str]] = frozenset()
    fillers: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return (self.schema, self.name)

    @property
    def title(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def word(self) -> str:
        return "partition" if self.partition else KIND_WORDS[self.kind]


@dataclass(frozen=True)
class Sample:
    """Users in a relation's rows, as text: user_a and user_b differ where both are there. strangers: rows that belong to no user exist."""

    user_a: str | None = None
    user_b: str | None = None
    strangers: bool = False


@dataclass(frozen=True)
class Function:
    """executors: service roles (or PUBLIC) that may call it; arguments: (name, type) of its inputs; returns_user: its rows have the user column."""

    schema: str
    name: str
    signature: str
    owner: str
    definer: bool
    search_path: str | None
    returns_set: bool
    returns_user: bool
    executors: frozenset[str]
    arguments: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        return f"{self.schema}.{self.name}({self.signature})"


@dataclass(frozen=True)
class Schema:
    name: str
    owner: str
    creators: frozenset[str]


@dataclass(frozen=True)
class ForeignKey:
    """From one user-owned table to another; tied: whether the user column is part of it on both sides."""

    table: str
    name: str
    target: str
    tied: bool


@dataclass(frozen=True)
class Inside:
    """One database. system_rights: (role, right) in the system's schema beyond those of a fresh server; leakproof: functions of its own that are marked so."""

    relations: tuple[Relation, ...] = ()
    functions: tuple[Function, ...] = ()
    schemas: tuple[Schema, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    extensions: frozenset[str] = frozenset()
    samples: Mapping[tuple[str, str], Sample] = field(default_factory=dict)
    has_statistics: bool = False
    system_rights: tuple[tuple[str, str], ...] = ()
    silent_triggers: tuple[str, ...] = ()
    leakproof: tuple[str, ...] = ()

    @property
    def owned(self) -> tuple[Relation, ...]:
        """What has the user column."""
        return tuple(relation for relation in self.relations if relation.user_type)


@dataclass(frozen=True)
class Facts:
    """The whole server. public: privileges of PUBLIC by database; connectors: other roles that may connect, by database; parameters: roles that may set
    some of the administrator's settings; settings: (role, name) of what ALTER ROLE and ALTER DATABASE say."""

    administrator: str
    roles: Mapping[str, Role]
    public: Mapping[str, frozenset[str]]
    connectors: Mapping[str, frozenset[str]]
    parameters: frozenset[str]
    inside: Mapping[str, Inside]
    settings: frozenset[tuple[str, str]] = frozenset()
