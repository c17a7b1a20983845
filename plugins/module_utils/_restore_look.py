# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the set and at everybody it is about, before anything is touched."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils import _restore_jobs as jobs
from ansible_collections.nexanest.database.plugins.module_utils import _restore_mapping as mappings
from ansible_collections.nexanest.database.plugins.module_utils import _restore_plan as plans
from ansible_collections.nexanest.database.plugins.module_utils import _restore_staging as staging
from ansible_collections.nexanest.database.plugins.module_utils._age import MISSING, Age
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Opener
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import neighbour
from ansible_collections.nexanest.database.plugins.module_utils._progress import megabytes
from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import FORWARD, Journal
from ansible_collections.nexanest.database.plugins.module_utils._restore_mapped import Part, meaning
from ansible_collections.nexanest.database.plugins.module_utils._restore_names import Names
from ansible_collections.nexanest.database.plugins.module_utils._restore_parties import ERRORS, Parties, one_line
from ansible_collections.nexanest.database.plugins.module_utils._restore_plan import Choice, Found, Item
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis_side import PREFIX
from ansible_collections.nexanest.database.plugins.module_utils._stream import measure


class Refused(Exception):
    """Nothing was changed; problems: all of what is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(problems))


@dataclass
class Plan:
    """What was found out. sha256: of the manifest; unchanged, same_redis: what is that restore already and is left alone; roles: to make, by server.

    mapped: names may be others than in the set; names: of each server's roles; mapping: what becomes of each database and role; notes: for people.
    taken: files that are in the folder already.
    """

    manifest: Manifest
    sha256: str
    choice: Choice
    opener: Opener
    mapped: bool = False
    found: dict[str, Found] = field(default_factory=dict)
    unchanged: list[Item] = field(default_factory=list)
    same_redis: list[str] = field(default_factory=list)
    descriptions: dict[str, Any] = field(default_factory=dict)
    catalogs: dict[str, Any] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(default_factory=dict)
    names: dict[str, Names] = field(default_factory=dict)
    mapping: list[dict[str, str]] = field(default_factory=list)
    taken: list[File] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not self.choice.all and not self.choice.redis


def refuse(problems: Sequence[str]) -> None:
    if problems:
        raise Refused(problems)


def look(params: Mapping[str, Any], parties: Parties, journal: Journal, folder: Path) -> Plan:
    """Ask everything and everybody; descriptions of the set are put into the folder. Refused with all problems at once."""
    plan, problems = _chosen(params, parties)
    damaged = _take(plan, _descriptions(plan), folder)
    problems += damaged
    for name in plan.choice.items:
        _gather(problems, lambda name=name: plan.found.update({name: parties.found(name)}))  # type: ignore[misc]
    for name in plan.choice.redis:
        _gather(problems, lambda name=name: _look_at_redis(plan, parties, name))  # type: ignore[misc]
    if not damaged:
        problems += _read(plan, parties, mappings.given(params, "role_map"), folder)
    if not problems:
        _gather(problems, lambda: _leave_alone(plan, parties, journal))
    for name, items in plan.choice.items.items():
        if name in plan.found:
            problems += plans.problems(plan.manifest.servers[name], items, plan.found[name])
    problems += _room(folder, staging.needed_bytes(staging.dumps(plan.manifest, plan.choice)))
    refuse(problems)
    for name in plan.choice.items:
        wanted = set() if plan.mapped else _wanted_roles(plan, name)
        plan.roles[name] = plans.missing_roles(plan.descriptions[name], plan.found[name].roles, wanted)
    return plan


def _descriptions(plan: Plan) -> list[File]:
    """Of what is restored; and of a mapping, which may name roles of all servers, the dumps' tables of contents too."""
    found = staging.descriptions(plan.manifest, plan.choice)
    if plan.mapped:
        found += [*staging.contents(plan.manifest, plan.choice), *(plan.manifest.file(server.description) for server in plan.manifest.servers.values())]
    return list({file.path: file for file in found}.values())


def _take(plan: Plan, files: Sequence[File], folder: Path) -> list[str]:
    plan.taken += files
    return staging.take(plan.opener, files, folder)


def _read(plan: Plan, parties: Parties, role_map: Mapping[str, str], folder: Path) -> list[str]:
    """The descriptions, and what a mapping means; its problems."""
    for name, items in plan.choice.items.items():
        plan.descriptions[name] = staging.document(folder, plan.manifest.servers[name].description)
        plan.catalogs[name] = {item.database.name: staging.document(folder, item.database.catalog) for item in items}
        plan.names[name] = Names([role["name"] for role in plan.descriptions[name]["roles"]])
    if not plan.mapped:
        return []
    described = {name: staging.document(folder, server.description) for name, server in plan.manifest.servers.items()}
    present = {name: [role["name"] for role in description["roles"]] for name, description in described.items()}
    problems = mappings.unknown(role_map, present, "role_map", "role")
    for name, items in plan.choice.items.items():
        if name in plan.found:
            part = Part(name, items, plan.descriptions[name], plan.catalogs[name], folder)
            problems += _look_at_jobs(plan, parties, part)
            one = meaning(part, plan.found[name], role_map)
            plan.names[name] = one.names
            plan.mapping += one.rows
            plan.notes += one.notes
            problems += one.problems
    return problems


def _chosen(params: Mapping[str, Any], parties: Parties) -> tuple[Plan, list[str]]:
    """What of the set is meant, and what is wrong with its other names. Refused where it cannot be told, or the set not be opened."""
    name = Path(params["set"])
    if not name.is_absolute() and name.name != params["set"]:
        raise Refused([f"set is {params['set']}, which is neither a set's id nor an absolute path: write the whole path of its folder"])
    entry = Store(name.resolve().parent if name.is_absolute() else Path(params["backup_dir"])).entry(name.name)
    if entry.manifest is None:
        raise Refused([entry.problem])
    manifest = entry.manifest
    renamed, copy = mappings.given(params, "database_map"), params["as"] or ""
    choice, problems = plans.choose(manifest, params["databases"], copy, servers=parties.servers, redis=parties.instances, renamed=renamed)
    refuse([*problems, *staging.missing(manifest, choice), *_key_problems(manifest, params["identities"])])
    opener = Opener(entry.folder, tuple(params["identities"]) if manifest.encryption.method != "none" else ())
    mapped = bool(renamed or mappings.given(params, "role_map"))
    plan = Plan(manifest, measure(entry.folder / manifests.NAME)[1], choice, opener, mapped)
    return plan, plans.renamed_problems(manifest, choice, renamed, copy)


def _key_problems(manifest: Manifest, identities: Sequence[str]) -> list[str]:
    if manifest.encryption.method == "none":
        return []
    if not identities:
        return [f"the set is encrypted: give the private key of one of its recipients in identities ({', '.join(manifest.encryption.recipients)})"]
    return [] if Age.available() else [MISSING]


def _look_at_redis(plan: Plan, parties: Parties, name: str) -> None:
    side = parties.redis(name, plan.manifest.redis[name])
    neighbour(side.target.container)
    side.clients()


def _leave_alone(plan: Plan, parties: Parties, journal: Journal) -> None:
    """What is that restore already, and was not written to since, is not restored again."""
    plan.same_redis += [name for name in plan.choice.redis if _same_redis(plan, parties, journal, name)]
    plan.choice.redis[:] = [name for name in plan.choice.redis if name not in plan.same_redis]
    for name, items in list(plan.choice.items.items()):
        target = parties.postgres(name)
        same = [item for item in items if target.unchanged(item, plan.sha256, plan.names[name].text)]
        plan.unchanged += same
        plan.choice.items[name] = [item for item in items if item not in same]
        if not plan.choice.items[name]:
            del plan.choice.items[name]


def _same_redis(plan: Plan, parties: Parties, journal: Journal, name: str) -> bool:
    side = f"{PREFIX}{name}"
    last = next((entry for entry in reversed(journal.kept()) if side in entry.targets), None)
    if last is None or last.direction != FORWARD or not last.marks.get(side):
        return False
    found = parties.redis(name, plan.manifest.redis[name], last.restore)
    return found.swapped() and found.mark(plan.sha256) == last.marks[side]


def _wanted_roles(plan: Plan, name: str) -> set[str] | None:
    """Names that could be roles'; None: all of the set."""
    items, description = plan.choice.items[name], plan.descriptions[name]
    if plan.choice.whole or plans.needs_every_role(items):
        return None
    of_databases = [[item.database.owner, [grant.grantee for grant in item.database.acl or ()]] for item in items]
    of_settings = [role for item in items for role, _texts in plans.settings_of(description, item.database.name)]
    return plans.mentioned([*plan.catalogs[name].values(), *of_databases, of_settings])


def _look_at_jobs(plan: Plan, parties: Parties, part: Part) -> list[str]:
    """Who owns the jobs of TimescaleDB: they stand in rows, which are read for it."""
    problems: list[str] = []

    def read() -> None:
        for item, entry in part.jobs():
            path = f"{item.database.path}/{(entry.file or b'').decode()}"
            files = [file for file in plan.manifest.below(item.database.path) if staging.plain_path(file).removesuffix(".zst") == path]
            damaged = _take(plan, files, part.folder)
            problems.extend(damaged)
            if not damaged:
                script = parties.loader(part.server, part.folder).script(Path(item.database.path).name, entry.number)
                part.owners.update(jobs.owners(script))

    _gather(problems, read)
    return problems


def _room(folder: Path, needed: int) -> list[str]:
    free = shutil.disk_usage(folder).free
    if free >= needed + plans.FLOOR:
        return []
    return [f"{folder.parent} has {megabytes(free)} MB free, and the opened files of the set need {megabytes(needed)} MB: make room"]


def _gather(problems: list[str], work: Callable[[], None]) -> None:
    try:
        work()
    except ERRORS as error:
        problems.append(one_line(error))
