# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other names for the roles of a set: what the set says of a database, as it has to be where the roles are called otherwise. Pure.

All names change at once: where a becomes b and b becomes a, nothing is mixed.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Database

Settings = list[tuple[str, list[str]]]
Rows = Sequence[Sequence[Any]]

# Settings whose value is a role.
_ROLE_SETTINGS = ("role", "session_authorization")
_DEFAULTS = "default privileges"
_DEFAULTS_TITLE = re.compile(r'^([a-z ]+ of )("(?:[^"]|"")*"|[a-z_][a-z0-9_$]*)( in .*)$', re.DOTALL)


@dataclass(frozen=True)
class Names:
    """Of one server. known: all roles that a text may name, to read lists of them; renamed: those that get another name."""

    known: Collection[str] = field(default=())
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What tells this mapping from others; empty where nothing is mapped."""
        return json.dumps(dict(self.renamed), sort_keys=True, ensure_ascii=False) if self.renamed else ""

    def role(self, name: str) -> str:
        return self.renamed.get(name, name)

    def raw(self, name: bytes) -> bytes:
        """Of a name in a dump."""
        try:
            return self.role(name.decode()).encode()
        except UnicodeDecodeError:
            return name

    def database(self, database: Database) -> Database:
        """Its owner, and its rights."""
        acl = database.acl and [dataclasses.replace(one, grantee=self.role(one.grantee), grantor=self.role(one.grantor)) for one in database.acl]
        return dataclasses.replace(database, owner=self.role(database.owner), acl=acl)

    def settings(self, found: Settings) -> Settings:
        return sorted((self.role(role), [self._setting(text) for text in texts]) for role, texts in found)

    def catalog(self, rows: Rows) -> list[tuple[str, str, dict[str, Any]]]:
        """Roles are where they are owners, have rights, or are those of a policy; everything else stays as it is."""
        return [(kind, self._title(kind, title), self._properties(properties)) for kind, title, properties in rows]

    def _setting(self, text: str) -> str:
        name, equals, value = text.partition("=")
        return f"{name}{equals}{self.role(value)}" if name in _ROLE_SETTINGS else text

    def _title(self, kind: str, title: str) -> str:
        found = _DEFAULTS_TITLE.match(title) if kind == _DEFAULTS else None
        if found is None:
            return title
        return f"{found[1]}{quoted(self.role(unquoted(found[2])))}{found[3]}"

    def _properties(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self._property(key, value) for key, value in properties.items()}

    def _property(self, key: str, value: Any) -> Any:
        readers: dict[str, Callable[[Any], Any]] = {
            "owner": self.role,
            "access": self._access,
            "roles": self._roles,
            "access to columns": lambda columns: {column: self._access(access) for column, access in columns.items()},
            "policies": lambda policies: {policy: self._properties(one) for policy, one in policies.items()},
            "partitions": lambda partitions: [self._properties(one) for one in partitions],
        }
        return readers[key](value) if key in readers and value is not None else value

    def _access(self, access: Mapping[str, str]) -> dict[str, str]:
        return {self.role(who): rights for who, rights in access.items()}

    def _roles(self, text: str) -> str:
        """Of a policy: in no order that a dump would keep."""
        return ", ".join(sorted(self.role(role) for role in self._list(text)))

    def _list(self, text: str) -> list[str]:
        """Roles of a text with commas between them; a name may hold some of its own."""
        parts, found = text.split(", "), []
        while parts:
            count = next((n for n in range(len(parts), 1, -1) if ", ".join(parts[:n]) in self.known), 1)
            found.append(", ".join(parts[:count]))
            parts = parts[count:]
        return found


def by_name(rows: Rows) -> dict[tuple[str, str], Mapping[str, Any]]:
    """A catalog as it is compared."""
    return {(kind, title): properties for kind, title, properties in rows}


def quoted(name: str) -> str:
    """In every case: which words the server quotes differs between versions."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def used(database: Database, settings: Settings) -> set[str]:
    """Roles that a database has beside its content."""
    of_rights = {grant.grantee for grant in database.acl or () if grant.grantee}
    pairs = [text.partition("=") for _role, texts in settings for text in texts]
    return {database.owner} | of_rights | {role for role, _texts in settings if role} | {value for name, _is, value in pairs if name in _ROLE_SETTINGS}
