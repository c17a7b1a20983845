# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server of a set, restored by the code of every restore into a throw-away server, and checked there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _restore_archive as archive
from ansible_collections.nexanest.database.plugins.module_utils import _restore_jobs as jobs
from ansible_collections.nexanest.database.plugins.module_utils import _restore_ledger as ledger
from ansible_collections.nexanest.database.plugins.module_utils import _restore_plan as plans
from ansible_collections.nexanest.database.plugins.module_utils import _restore_staging as staging
from ansible_collections.nexanest.database.plugins.module_utils import _restore_timescale as timescale
from ansible_collections.nexanest.database.plugins.module_utils import _shadow as shadow
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Server as Described
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import LABEL, Neighbour
from ansible_collections.nexanest.database.plugins.module_utils._drill_checks import Checks
from ansible_collections.nexanest.database.plugins.module_utils._drill_image import Image
from ansible_collections.nexanest.database.plugins.module_utils._drill_party import Findings, Needs, Place
from ansible_collections.nexanest.database.plugins.module_utils._restore_load import Loader
from ansible_collections.nexanest.database.plugins.module_utils._restore_mapped import CONTENTS
from ansible_collections.nexanest.database.plugins.module_utils._restore_names import Names
from ansible_collections.nexanest.database.plugins.module_utils._restore_parties import ERRORS, one_line
from ansible_collections.nexanest.database.plugins.module_utils._restore_plan import Item
from ansible_collections.nexanest.database.plugins.module_utils._restore_postgres import Material, PostgresTarget
from ansible_collections.nexanest.database.plugins.module_utils._restore_server import Server

try:
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

FAILURES: tuple[type[Exception], ...] = (*ERRORS, shadow.ShadowFailed, shadow.ShadowUnavailable)
# Their functions cannot be made where they were not loaded at the start.
_PRELOADED = ("timescaledb", "pgaudit")
_WAL_MB = 256
# An empty cluster, and its log of changes.
_CLUSTER = (64 + _WAL_MB + 128) * 2**20
_SOCKET = "/socket"


@dataclass(frozen=True)
class PostgresParty:
    """name: in the set; superuser: as on the live server, "" where the set tells."""

    name: str
    described: Described
    image: Image
    memory_mb: int
    superuser: str = ""

    @property
    def needs(self) -> Needs:
        return Needs(plans.needed_bytes(self._items) + _CLUSTER, self.memory_mb)

    def units(self) -> list[dict[str, Any]]:
        return [{"name": f"{self.name}/{one.name}", "rows": one.rows, "tables": len(one.tables)} for one in self.described.databases]

    def unfit(self) -> list[str]:
        return self.image.problems(self.name)

    def drill(self, place: Place) -> Findings:
        """Each database for itself, so that one that fails hides no other."""
        data = place.folder / f"{self.name}.data"
        try:
            data.mkdir(mode=0o700)
            os.chown(data, self.image.uid, self.image.gid)
            description = _without_passwords(staging.document(place.plain, self.described.description))
            with shadow.server(self._options(place, data, self.superuser or _superuser(description))) as login:
                server = Server(self.name, "", login, lock_wait=30)
                with contextlib.closing(server):
                    self._make_tablespaces(server, data)
                    return self._databases(place, server, description)
        except FAILURES as error:
            return Findings([f"{self.name}: {one_line(error)}"])

    def _databases(self, place: Place, server: Server, description: Mapping[str, Any]) -> Findings:
        found, target = server.look(), PostgresTarget(server, secrets.token_hex(4), disconnect=False)
        problems = plans.problems(self.described, self._items, found) if self._items else []
        if problems:
            return Findings(problems)
        neighbour = Neighbour("", self.image.name, "none", _SOCKET, socket=Path(str(server.login["login_host"])))
        loader = Loader(neighbour, server.login, place.plain / self.name, place.progress, place.mark, place.jobs)
        catalogs = {item.database.name: staging.document(place.plain, item.database.catalog) for item in self._items}
        roles = plans.missing_roles(description, found.roles, None)
        names = Names([role["name"] for role in description["roles"]])
        material = Material("drill", "", self.described, description, catalogs, roles, found, loader, names)
        target.prepare([], material)  # the roles
        material = dataclasses.replace(material, roles=())
        result = Findings()
        for item in self._items:
            result.add(_database(place, target, item, material))
        return result

    def _make_tablespaces(self, server: Server, data: Path) -> None:
        """Those of the set, in the drill's own folder."""
        wanted = {name for one in self.described.databases for name in (one.tablespace, *one.tablespaces) if name}
        for number, name in enumerate(sorted(wanted)):
            (data / f"space-{number}").mkdir(mode=0o700)
            os.chown(data / f"space-{number}", self.image.uid, self.image.gid)
            with server.control.cursor() as cursor:
                place = sql.Literal(f"{shadow.FOLDER}/space-{number}")
                cursor.execute(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(sql.Identifier(name), place))

    @property
    def _items(self) -> list[Item]:
        return [Item(number, self.name, database, database.name) for number, database in enumerate(self.described.databases, 1)]

    def _options(self, place: Place, data: Path, superuser: str) -> shadow.Options:
        extensions = {name for database in self.described.databases for name in database.extensions}
        preload = tuple(name for name in _PRELOADED if name in extensions)
        labels = (f"{LABEL}={place.mark}",)
        return shadow.Options(self.image.name, self.image.uid, self.image.gid, superuser, place.label, preload, self.memory_mb, data, self._settings(), labels)

    def _settings(self) -> dict[str, str]:
        """A server that keeps its data on the disk, as the live one does: what is measured shall not be faster than it can be."""
        found = {
            "unix_socket_permissions": "0777",  # its folder is ours alone
            "fsync": "on",
            "full_page_writes": "on",
            "shared_buffers": f"{max(32, self.memory_mb // 4)}MB",
            "maintenance_work_mem": f"{max(16, self.memory_mb // 16)}MB",
            "max_wal_size": f"{_WAL_MB}MB",
            "min_wal_size": "80MB",
            "max_parallel_workers_per_gather": "0",
            "archive_mode": "off",
        }
        return {**found, **({"timescaledb.license": self.described.timescaledb_license} if self.described.timescaledb_license else {})}


def _database(place: Place, target: PostgresTarget, item: Item, material: Material) -> Findings:
    try:
        target.prepare([item], material)
        place.progress.begin(item.label, "checking the copy")
        folder = PurePosixPath(item.database.path).name
        contents = place.plain / target.name / folder / CONTENTS
        numbers = _jobs(material.loader, folder, contents) if timescale.NAME in item.database.extensions else frozenset()
        with target.server.session(ledger.side_name(target.restore, item.number)) as session:
            result = Checks(session, item.database, contents, item.label, numbers).run()
        # What every restore compares: each table's rows, and each object.
        result.checks += len(item.database.tables) + len(material.catalogs[item.database.name])
    except FAILURES as error:
        result = Findings([_named(item, one_line(error))])
    place.progress.end(item.label, "proven" if not result.problems else "NOT proven")
    result.units.append({"name": item.label, "rows": item.database.rows, "tables": len(item.database.tables), "checks": result.checks})
    return result


def _jobs(loader: Loader, folder: str, contents: Path) -> frozenset[int]:
    """Numbers of TimescaleDB's jobs in a dump."""
    found = jobs.entry(archive.read(contents.read_bytes()))
    return frozenset(jobs.numbers(loader.script(folder, found.number))) if found is not None else frozenset()


def _named(item: Item, text: str) -> str:
    return text if text.startswith(f"{item.label}:") else f"{item.label}: {text}"


def _without_passwords(description: Mapping[str, Any]) -> dict[str, Any]:
    """Nobody logs in with one there."""
    return {**description, "roles": [{**role, "verifier": None} for role in description["roles"]]}


def _superuser(description: Mapping[str, Any]) -> str:
    found: Sequence[str] = sorted(role["name"] for role in description["roles"] if role["superuser"])
    return found[0] if found else "postgres"
