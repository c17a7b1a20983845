# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mapping means for one server's part of a set: from its descriptions, and from the dumps' tables of contents, which name every role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _restore_archive as archive
from ansible_collections.nexanest.database.plugins.module_utils import _restore_archive_roles as archive_roles
from ansible_collections.nexanest.database.plugins.module_utils import _restore_jobs as jobs
from ansible_collections.nexanest.database.plugins.module_utils import _restore_keys as keys
from ansible_collections.nexanest.database.plugins.module_utils import _restore_mapping as mappings
from ansible_collections.nexanest.database.plugins.module_utils import _restore_timescale as timescale
from ansible_collections.nexanest.database.plugins.module_utils._restore_mapping import Present, Source
from ansible_collections.nexanest.database.plugins.module_utils._restore_names import Names, used
from ansible_collections.nexanest.database.plugins.module_utils._restore_plan import Found, Item, settings_of
from ansible_collections.nexanest.database.plugins.module_utils._stream import replace

CONTENTS = "toc.dat"


@dataclass(frozen=True)
class Part:
    """A server's part of a set: what is restored of it, and its descriptions. folder: where its files lie in plain; owners: of jobs of TimescaleDB."""

    server: str
    items: Sequence[Item]
    description: Mapping[str, Any]
    catalogs: Mapping[str, Sequence[Sequence[Any]]]
    folder: Path
    owners: set[str] = field(default_factory=set)

    def jobs(self) -> list[tuple[Item, archive.Entry]]:
        """Dumps that have jobs of TimescaleDB, and where they are in them."""
        found = [(item, jobs.entry(_contents(self, item))) for item in self.items if timescale.NAME in item.database.extensions]
        return [(item, entry) for item, entry in found if entry is not None]


@dataclass
class Meaning:
    """rows: what becomes of each database and role; notes: what somebody should look at afterwards."""

    names: Names = field(default_factory=Names)
    problems: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def meaning(part: Part, found: Found, role_map: Mapping[str, str]) -> Meaning:
    """Of a mapping for one server."""
    result = Meaning()
    needed = part.owners | {name for item in part.items for name in _needed(part, item, result.problems)}
    described = {role["name"]: bool(role["superuser"]) for role in part.description["roles"]}
    superusers = frozenset(name for name, is_one in described.items() if is_one)
    source = Source(part.server, frozenset(described), superusers, frozenset(needed & set(described)))
    present = Present(found.roles, found.superusers)
    result.names = mappings.names(source, role_map)
    result.problems += mappings.problems(source, role_map, present)
    result.rows += [row for item in part.items for row in _rows(item, found)] + mappings.rows(source, role_map, present)
    if result.names.renamed:
        for item in part.items:
            result.problems += mappings.in_rows(item.label, part.catalogs[item.database.name])
            result.notes += _notes(part, item, result.names)
    return result


def rewrite(path: Path, names: Names) -> None:
    """Let a dump name other roles. The file may be a link to one of the set, which stays as it is."""
    replace(path, archive.write(archive_roles.renamed(archive.read(path.read_bytes()), names.raw)))


def _needed(part: Part, item: Item, problems: list[str]) -> set[str]:
    found = used(item.database, settings_of(part.description, item.database.name))
    try:
        return found | {name.decode(errors="replace") for name in archive_roles.roles(_contents(part, item))}
    except archive.ArchiveError as error:
        problems.append(f"{item.label}: the table of contents of its dump does not say which roles it names, {error}: restore it without a mapping")
        return found


def _contents(part: Part, item: Item) -> archive.Contents:
    return archive.read((part.folder / item.database.path / CONTENTS).read_bytes())


def _rows(item: Item, found: Found) -> list[dict[str, str]]:
    """Of a database, and of its keys of user tokens."""
    name, there = f"{item.server}/{item.database.name}", item.target in found.databases
    where = "in the place of the one that is there" if there else "which is made"
    rows = [{"kind": "database", "name": name, "to": item.target, "what": f"becomes {item.target}, {where}"}]
    if keys.TABLE in {(table.schema, table.name) for table in item.database.tables}:
        what = "are not brought: they stay those of the one that is there" if there else "are not brought: site.yml makes them"
        rows.append({"kind": "user token keys", "name": name, "to": item.target, "what": what})
    return rows


def _notes(part: Part, item: Item, names: Names) -> list[str]:
    texts = mappings.in_texts(part.catalogs[item.database.name], names.renamed)
    return [f"{item.label}: texts that hold names of mapped roles are left as they are, look at them: {', '.join(texts)}"] if texts else []
