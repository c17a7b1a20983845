# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore will do, and why it cannot: from the manifest, the options and what the servers have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _restore_mapping as mappings
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Database, Manifest, Server

# Beside the databases' size: what a server writes before it tidies up.
MARGIN, FLOOR = 1.2, 64 * 2**20
_TIMESCALE = "timescaledb"


@dataclass(frozen=True)
class Item:
    """One database to restore. number: of it among those of its server; target: the name under which it will be in use; beside: it replaces nothing."""

    number: int
    server: str
    database: Database
    target: str
    beside: bool = False

    @property
    def label(self) -> str:
        return f"{self.server}/{self.target}"


@dataclass(frozen=True)
class Choice:
    """What of a set is restored."""

    items: dict[str, list[Item]]
    redis: list[str]
    whole: bool

    @property
    def all(self) -> list[Item]:
        return [item for items in self.items.values() for item in items]


@dataclass(frozen=True)
class Present:
    """A database of a server. connections: whether it takes any; broken: a DROP DATABASE of it was interrupted."""

    oid: int
    connections: bool
    template: bool
    broken: bool
    prepared: int
    slots: int
    subscriptions: int = 0


@dataclass(frozen=True)
class Found:
    """What a server has. extensions: versions that can be created, the default one first; free: bytes for its data, None where that is not known.

    superusers: of the roles; tablespaces: beside the server's own.
    """

    version_num: int
    license: str | None
    library: bool
    databases: Mapping[str, Present]
    extensions: Mapping[str, Sequence[str]]
    roles: frozenset[str]
    free: int | None
    unfinished: Sequence[str] = field(default=())
    superusers: frozenset[str] = field(default=frozenset())
    tablespaces: frozenset[str] = field(default=frozenset())


def choose(
    manifest: Manifest, asked: Sequence[str], copy: str, *, servers: Iterable[str], redis: Iterable[str], renamed: Mapping[str, str] | None = None
) -> tuple[Choice, list[str]]:
    """The databases to restore; asked: names, also as server/name or redis/instance, none means all. copy: another name for the only one.

    renamed: other names for those that have one, also as server/name; renamed_problems() says what is wrong with them.
    """
    available = {name: list(server.databases) for name, server in manifest.servers.items()}
    instances = list(manifest.redis)
    problems: list[str] = []
    if asked:
        available, instances, problems = _subset(manifest, asked)
    if copy:
        problems += _copy_problems(copy, [database for found in available.values() for database in found], instances)
    items = {
        server: [
            Item(number, server, database, copy or mappings.at(server, renamed or {}, database.name) or database.name, beside=bool(copy))
            for number, database in enumerate(found, 1)
        ]
        for server, found in available.items()
        if found
    }
    given = {"server": set(servers), "redis instance": set(redis)}
    for kind, wanted in (("server", list(items)), ("redis instance", instances)):
        problems += [f"the {kind} {name} of the set is not named in the options: name it, or choose databases" for name in wanted if name not in given[kind]]
    return Choice(items, instances, whole=not asked and not copy), problems


def problems(server: Server, items: Sequence[Item], found: Found) -> list[str]:
    """Why these databases cannot be restored to a server."""
    name = items[0].server
    texts: list[str] = []
    if server.version_num // 10000 > found.version_num // 10000:
        texts.append(f"{name} has PostgreSQL {found.version_num // 10000}, and the set is of {server.version}: restore it to that major version or a newer one")
    for item in items:
        texts += _extension_problems(server, item, found)
        texts += _target_problems(item, found)
        texts += _tablespace_problems(item, found)
    needed = needed_bytes(items)
    if found.free is not None and found.free < needed:
        texts.append(f"the data of {name} has {found.free / 1e6:.0f} MB free, and the restore needs {needed / 1e6:.0f} MB beside what is there: make room")
    return texts


def needed_bytes(items: Sequence[Item]) -> int:
    return int(sum(item.database.bytes for item in items) * MARGIN) + FLOOR


def mentioned(documents: Iterable[Any]) -> set[str]:
    """Every name that could be a role's in descriptions of objects: texts, parts of lists in texts, and keys."""
    found: set[str] = set()
    waiting = list(documents)
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            found |= {one, *one.split(", ")}
        elif isinstance(one, Mapping):
            found |= set(one)
            waiting += one.values()
        elif isinstance(one, (list, tuple)):
            waiting += one
    return found


def missing_roles(description: Mapping[str, Any], present: Iterable[str], wanted: set[str] | None) -> list[str]:
    """Roles of the set that the server lacks; wanted: only these, and what they are members of."""
    there = set(present)
    missing = {role["name"] for role in description["roles"]} - there
    if wanted is None:
        return sorted(missing)
    needed = missing & wanted
    while True:
        above = {one["role"] for one in description["memberships"] if one["member"] in needed} & missing
        if above <= needed:
            return sorted(needed)
        needed |= above


def needs_every_role(items: Sequence[Item]) -> bool:
    """Owners of TimescaleDB's jobs are in no catalog."""
    return any(_TIMESCALE in item.database.extensions for item in items)


def settings_of(description: Mapping[str, Any], database: str) -> list[tuple[str, list[str]]]:
    """(role or '', settings) of a database; what a restore sets itself is no setting of anybody's."""
    found = []
    for row in description["settings"]:
        if row["database"] == database:
            kept = [text for text in row["settings"] if not text.startswith("timescaledb.restoring=")]
            if kept:
                found.append((str(row["role"]), kept))
    return sorted(found)


def rules_of(description: Mapping[str, Any], database: str) -> str | None:
    """ICU's rules of a database."""
    return next((str(row["rules"]) for row in description.get("icu_rules", ()) if row["database"] == database), None)


def _subset(manifest: Manifest, asked: Sequence[str]) -> tuple[dict[str, list[Database]], list[str], list[str]]:
    chosen: dict[str, list[Database]] = {}
    instances: list[str] = []
    texts: list[str] = []
    for name in dict.fromkeys(asked):
        found = [(server, one) for server, data in manifest.servers.items() for one in data.databases if name in (one.name, f"{server}/{one.name}")]
        if len(found) == 1:
            server, database = found[0]
            chosen.setdefault(server, [])
            if database not in chosen[server]:
                chosen[server].append(database)
        elif found:
            texts.append(f"{name} is on {' and '.join(server for server, _database in found)}: write server/name")
        elif name.startswith("redis/") and name.removeprefix("redis/") in manifest.redis:
            instances.append(name.removeprefix("redis/"))
        else:
            names = [one.name for data in manifest.servers.values() for one in data.databases]
            texts.append(f"the set has no database {name}: it has {', '.join(names) or 'none'}")
    return chosen, instances, texts


def renamed_problems(manifest: Manifest, choice: Choice, renamed: Mapping[str, str], copy: str) -> list[str]:
    """Why databases cannot have these other names."""
    present = {server: [one.name for one in data.databases] for server, data in manifest.servers.items()}
    texts = mappings.unknown(renamed, present, "database_map", "database")
    texts += [text for name in dict.fromkeys(renamed.values()) for text in mappings.unfit("database_map", name)]
    for name in renamed:
        on = [server for server, names in present.items() if name in names]
        if len(on) > 1:
            texts.append(f"database_map names {name}, which is on {' and '.join(on)}: write server/name")
    if renamed and copy:
        texts.append(f"as ({copy}) and database_map both give another name: say one of them")
    targets: dict[str, list[str]] = {}
    for item in choice.all:
        targets.setdefault(item.label, []).append(item.database.name)
    texts += [
        f"{' and '.join(sources)} of the set would both be {label}: map each to a name of its own" for label, sources in targets.items() if len(sources) > 1
    ]
    return texts


def _copy_problems(copy: str, databases: Sequence[Database], instances: Sequence[str]) -> list[str]:
    if len(databases) != 1 or instances:
        return [f"as is {copy}, a name for one database, and {len(databases)} are chosen: name exactly one in databases"]
    if len(copy.encode()) > mappings.LONGEST or "\0" in copy:
        return [f"as is {len(copy.encode())} bytes long: a database's name has at most {mappings.LONGEST}"]
    if copy in mappings.RESERVED or copy.startswith(mappings.PREFIX):
        return [f"as is {copy}, which is the server's own: give another name"]
    return []


def _extension_problems(server: Server, item: Item, found: Found) -> list[str]:
    texts = []
    for name, version in item.database.extensions.items():
        offered = found.extensions.get(name, ())
        if not offered:
            texts.append(f"{item.label} needs the extension {name}, which the server's image has not: use an image that has it")
        elif name == _TIMESCALE:
            texts += _timescale_problems(server, item, found, version)
        elif name == "pg_cron":
            # A copy beside the live database has another name than cron.database_name, so that the extension cannot be made in it.
            texts.append(f"{item.label} has the extension pg_cron, which no copy can have: let it be in the database postgres, and make a new set")
        elif version not in offered and _numbers(version) > _numbers(offered[0]):
            texts.append(f"{item.label} has {name} {version}, and the server's image has the older {offered[0]}: use an image with {version}")
    return texts


def _timescale_problems(server: Server, item: Item, found: Found, version: str) -> list[str]:
    offered = found.extensions[_TIMESCALE]
    if version not in offered:
        return [
            f"{item.label} has TimescaleDB {version}, and the server's image has {offered[0]}: TimescaleDB restores to the same version alone; "
            f"restore to an image with {version}, and update there"
        ]
    if server.timescaledb_license == "timescale" and not (found.license == "timescale" and found.library):
        return [
            f"{item.label} is of TimescaleDB's licensed edition, and the server has the Apache edition, which would lose compressed rows and "
            "continuous aggregates: restore to the licensed image"
        ]
    return []


def _tablespace_problems(item: Item, found: Found) -> list[str]:
    missing = sorted({item.database.tablespace, *item.database.tablespaces} - {"", *found.tablespaces})
    return [f"{item.label} needs the tablespace {name}, which the server has not: make it (CREATE TABLESPACE), then run this again" for name in missing]


def _target_problems(item: Item, found: Found) -> list[str]:
    present = found.databases.get(item.target)
    if present is None:
        return []
    if item.beside:
        return [f"as is {item.target}, and {item.server} has a database of that name: give another name, or drop it"]
    if present.template or present.broken:
        what = "is a template" if present.template else "is broken (a DROP DATABASE of it was interrupted)"
        return [f"{item.label} {what}: " + ("restore beside it (as)" if present.template else "drop it first")]
    texts = []
    if present.prepared:
        texts.append(f"{item.label} has {present.prepared} prepared transactions: commit or roll them back")
    if present.slots:
        texts.append(f"{item.label} has {present.slots} logical replication slots, which would stay with the old database: drop them")
    if present.subscriptions:
        texts.append(
            f"{item.label} has {present.subscriptions} subscriptions, which would stay with the old database: drop them, and make them again afterwards"
        )
    return texts


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.replace("-", ".").split(".") if part.isdigit()]
