# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One PostgreSQL server as a target of a restore. Each operation may be repeated after a crash at any instant: it asks the server what is done already."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_facts as facts
from ansible_collections.nexanest.database.plugins.module_utils import _catalog
from ansible_collections.nexanest.database.plugins.module_utils import _restore_archive as archive
from ansible_collections.nexanest.database.plugins.module_utils import _restore_compare as compare
from ansible_collections.nexanest.database.plugins.module_utils import _restore_jobs as jobs
from ansible_collections.nexanest.database.plugins.module_utils import _restore_keys as keys
from ansible_collections.nexanest.database.plugins.module_utils import _restore_ledger as ledger
from ansible_collections.nexanest.database.plugins.module_utils import _restore_roles as roles
from ansible_collections.nexanest.database.plugins.module_utils import _restore_settings as database_settings
from ansible_collections.nexanest.database.plugins.module_utils import _restore_swap as swaps
from ansible_collections.nexanest.database.plugins.module_utils import _restore_timescale as timescale
from ansible_collections.nexanest.database.plugins.module_utils import _security_labels as labels
from ansible_collections.nexanest.database.plugins.module_utils import _user_mappings as user_mappings
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Server as Described
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._restore_ledger import Row
from ansible_collections.nexanest.database.plugins.module_utils._restore_load import Elsewhere, Loader, extension_schema
from ansible_collections.nexanest.database.plugins.module_utils._restore_mapped import CONTENTS, rewrite
from ansible_collections.nexanest.database.plugins.module_utils._restore_mark import mark, settled
from ansible_collections.nexanest.database.plugins.module_utils._restore_names import Names, by_name
from ansible_collections.nexanest.database.plugins.module_utils._restore_plan import Found, Item, rules_of, settings_of
from ansible_collections.nexanest.database.plugins.module_utils._restore_server import Server
from ansible_collections.nexanest.database.plugins.module_utils._restore_tables import count_and_analyze
from ansible_collections.nexanest.database.plugins.module_utils._restore_target import TargetError

try:
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass


_FAILURES = (BulkError, ServerUnreachable, archive.ArchiveError, jobs.JobsError, timescale.TimescaleError, OSError)

# Whatever of a role's is in the database or is its own. The server's own roles have no other names anywhere; who made the extensions is no matter of the set.
_ROLES_INSIDE = """
SELECT DISTINCT r.rolname FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.rolname !~ '^pg_' AND r.rolname <> current_user
  AND (s.dbid = d.oid OR (s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND s.objid = d.oid))
"""


@dataclass(frozen=True)
class Material:
    """What a copy is made of. catalogs: by the database's name; roles: to make first; found: what the server has; names: that roles of the set have there.

    mapped: the set is of another stack.
    """

    set_id: str
    set_sha256: str
    described: Described
    description: Mapping[str, Any]
    catalogs: Mapping[str, Sequence[Sequence[Any]]]
    roles: Sequence[str]
    found: Found
    loader: Loader
    names: Names = field(default_factory=Names)
    mapped: bool = False


class PostgresTarget:
    """The databases of one server that one restore is about."""

    def __init__(self, server: Server, restore: str, *, disconnect: bool) -> None:
        self.server, self.restore, self.disconnect = server, restore, disconnect
        self.name = server.name
        self._made_roles: list[str] = []

    def connected(self, items: Sequence[Item]) -> list[str]:
        """Clients that a swap would meet."""
        return swaps.clients(self.server, [item.target for item in items])

    def unchanged(self, item: Item, set_sha256: str, mapping: str) -> bool:
        """Is the database that set already, with these names, and was it left as it was restored?"""
        rows = [row for row in ledger.rows(self.server.control) if row.name == item.target and row.state == ledger.LIVE]
        with self.server.control.cursor() as cursor:
            current = swaps.oid(cursor, item.target)
        if not rows or current is None or rows[-1].side_oid != current:
            return False
        row = rows[-1]
        if row.closed or row.jobs or (row.set_sha256, row.source, row.mapping) != (set_sha256, item.database.name, mapping):
            return False
        with self.server.session(item.target) as session:
            return settled(session) and mark(session, []) == row.mark

    def prepare(self, items: Sequence[Item], material: Material) -> None:
        """Make the copies beside the live databases, and prove each against the manifest."""
        ledger.create(self.server.control)
        with self.server.control.cursor() as cursor:
            roles.create(cursor, material.description, material.roles)
        self._made_roles = list(material.roles)
        for item in items:
            material.loader.progress.begin(item.label, "making its copy")
            try:
                _Copy(self, item, material).make()
            except (*_FAILURES, STATEMENT_ERROR) as error:
                raise TargetError(f"{item.label}: {' '.join(str(error).split())}") from error
            material.loader.progress.end(item.label, "its copy is what the set says")
        if items and material.roles:
            # In a copy: a database's own settings may be what loads the labels' providers.
            with self.server.session(ledger.side_name(self.restore, items[-1].number)) as session, session.cursor() as cursor:
                roles.label(cursor, material.description, material.roles)

    def discard(self) -> None:
        """Remove the copies that never were in use, and the roles that this very run made for them."""
        self.server.alive()
        for row in self._rows(ledger.SIDE):
            self._drop(row.side, row.side_oid)
            self._forget(row)
        # Copies that were in use and are kept may need them.
        if self._made_roles and not self.undone_copies():
            with self.server.control.cursor() as cursor:
                left = roles.drop(cursor, self._made_roles)
            self._made_roles = []
            if left:
                raise TargetError(f"the roles {', '.join(left)} were made for it and are in use now")

    def sweep(self) -> list[str]:
        """Remove what restores that were killed have left of copies; their names."""
        left = [row for row in ledger.rows(self.server.control) if row.state == ledger.SIDE]
        for row in left:
            swaps.reopen(self.server, [row])
            self._drop(row.side, row.side_oid)
            self._forget(row)
        return [row.name for row in left]

    def swapped(self) -> bool:
        """Asked from the names that the databases have."""
        rows = self._rows()
        with self.server.control.cursor() as cursor:
            names = ledger.names(cursor, [row.side_oid for row in rows])
        return bool(rows) and all(row.side_oid is not None and names.get(row.side_oid) == row.name for row in rows)

    def swap(self) -> None:
        """Put the copies into use; those that they replace are kept."""
        self.server.alive()
        if not self.swapped():
            rows = self._rows()
            swaps.exchange(self.server, [self._inward(row) for row in rows], ledger.LIVE, disconnect=self.disconnect)
        for row in self._rows():
            swaps.wake(self.server, row.name, row.jobs)
            with self.server.control.cursor() as cursor:
                ledger.change(cursor, row, jobs=[])

    def unswap(self) -> None:
        """Put the old ones back into use. The copies are kept too: somebody may have written to them."""
        self.server.alive()
        rows = self._rows(ledger.LIVE)
        if rows:
            swaps.exchange(self.server, [self._outward(row) for row in rows], ledger.UNDONE, disconnect=self.disconnect)
        swaps.reopen(self.server, self._rows())
        with self.server.control.cursor() as cursor:
            there = [row.name for row in self._rows(ledger.UNDONE) if swaps.oid(cursor, row.name) is not None]
        for name in there:
            swaps.wake(self.server, name, [])

    def undo_problems(self) -> list[str]:
        """Why the old ones cannot come back."""
        return [text for row in self._rows(ledger.LIVE) for text in self._undo_problem(row)]

    def undone_copies(self) -> bool:
        return bool(self._rows(ledger.UNDONE))

    def drop_old(self) -> None:
        """Remove what the restore replaced, or the copy where it was undone."""
        for row in self._rows():
            if row.state == ledger.LIVE:
                self._drop(row.old, row.old_oid)  # the ledger keeps its number: it replaced something that no undo can bring back
            elif row.state == ledger.UNDONE:
                self._drop(row.side, row.side_oid)
                self._forget(row)

    def kept(self) -> list[str]:
        """Names of databases that a cleanup would remove."""
        rows = self._rows()
        pairs = [(row.old, row.old_oid) if row.state == ledger.LIVE else (row.side, row.side_oid) for row in rows]
        with self.server.control.cursor() as cursor:
            return [name for name, number in pairs if number is not None and swaps.oid(cursor, name) == number]

    def clients(self) -> list[str]:
        return swaps.clients(self.server, self.names())

    def names(self) -> list[str]:
        return [row.name for row in self._rows()]

    def _rows(self, state: str | None = None) -> list[Row]:
        return [row for row in ledger.rows(self.server.control, self.restore) if state in (None, row.state)]

    def _inward(self, row: Row) -> swaps.Move:
        with self.server.control.cursor() as cursor:
            live = swaps.oid(cursor, row.name)
            if row.side_oid is None or swaps.oid(cursor, row.side) != row.side_oid:
                raise swaps.SwapError(f"{self.name}: the copy {row.side} of {row.name} is gone: undo this restore (state: undone), and begin again")
        return swaps.Move(row, row.name, (live, row.old) if live is not None else None, (row.side_oid, row.name))

    def _outward(self, row: Row) -> swaps.Move:
        for text in self._undo_problem(row):
            raise swaps.SwapError(text)
        outer = None if row.old_oid is None else (row.old_oid, row.name)
        return swaps.Move(row, row.name, (int(row.side_oid or 0), row.side), outer)

    def _undo_problem(self, row: Row) -> list[str]:
        with self.server.control.cursor() as cursor:
            if swaps.oid(cursor, row.name) != row.side_oid:
                return [f"{self.name}/{row.name} is not what the restore {self.restore} made of it any more: undo later restores first"]
            if row.old_oid is not None and swaps.oid(cursor, row.old) != row.old_oid:
                return [f"{self.name}/{row.name}: the database that it replaced ({row.old}) is gone"]
        return []

    def _drop(self, name: str, number: int | None) -> None:
        """Only the very database that the ledger means; one whose number was not written down yet was just made, and has a name that nobody else gives."""
        with self.server.control.cursor() as cursor:
            current = swaps.oid(cursor, name)
            if current is not None and number in (None, current):
                cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _forget(self, row: Row) -> None:
        with self.server.control.cursor() as cursor:
            ledger.forget(cursor, row)


class _Copy:
    """One database, made and proven."""

    def __init__(self, target: PostgresTarget, item: Item, material: Material) -> None:
        self.server, self.item, self.material = target.server, item, material
        self.database = material.names.database(item.database)
        self.side = ledger.side_name(target.restore, item.number)
        self.restore = target.restore
        self.awake: list[int] = []

    def make(self) -> None:
        settings = self.material.names.settings(settings_of(self.material.description, self.database.name))
        self._register()
        with self.server.control.cursor() as cursor:
            database_settings.preload(cursor, self.side, settings)
        self._load()
        database_settings.dress(self.server.control, self.side, self.database, settings)
        with self.server.session(self.side) as session:
            with session.cursor() as cursor:
                user_mappings.write(cursor, self._user_mappings())
                labels.write(cursor, self._pictured(labels.KIND), self.side)
            self._prove(session, settings)
        if self.material.mapped:
            self._keep_keys()
        self._alone()
        with self.server.session(self.side) as session:
            text = mark(session, self.awake)
        with self.server.control.cursor() as cursor:
            ledger.change(cursor, self._row(), mark=text, jobs=self.awake)

    def _register(self) -> None:
        """The ledger knows of the database before it is there."""
        row = {
            "restore": self.restore,
            "number": self.item.number,
            "set_id": self.material.set_id,
            "set_sha256": self.material.set_sha256,
            "source": self.database.name,
            "name": self.item.target,
            "state": ledger.SIDE,
            "conn_limit": self.database.conn_limit,
            "mapping": self.material.names.text,
        }
        with self.server.control.cursor() as cursor:
            if swaps.oid(cursor, self.side) is not None:
                raise TargetError(f"{self.server.name} has a database {self.side} that is not ours: drop or rename it")
            ledger.add(self.server.control, row)
            database_settings.create(cursor, self.side, self.database, rules_of(self.material.description, self.database.name))
            ledger.change(cursor, self._row(), side_oid=swaps.oid(cursor, self.side))

    def _load(self) -> None:
        version = self.database.extensions.get(timescale.NAME)
        loader, label = self.material.loader, self.item.label
        folder = PurePosixPath(self.database.path).name
        if self.material.names.renamed:
            rewrite(loader.folder / folder / CONTENTS, self.material.names)
        if version is None:
            loader.load(folder, self.side, label)
            return
        schema = extension_schema(self.material.names.catalog(self.material.catalogs[self.database.name]), timescale.NAME)
        with self.server.session(self.side) as session:
            timescale.begin(session, version, schema)
        loader.load_timescale(folder, self.side, label, schema[0], self._jobs(folder))
        with self.server.session(self.side) as session:
            self.awake = timescale.end(session, licensed=self.material.found.license == "timescale" and self.material.found.library)

    def _jobs(self, folder: str) -> Elsewhere | None:
        """TimescaleDB's jobs, where their owners get other names: they stand in rows."""
        names, loader = self.material.names, self.material.loader
        found = jobs.entry(archive.read((loader.folder / folder / CONTENTS).read_bytes())) if names.renamed else None
        if found is None:
            return None
        tables = jobs.renamed(loader.script(folder, found.number), names)

        def load() -> None:
            with self.server.session(self.side) as session:
                for rows in tables:
                    timescale.load_jobs(session, rows)

        return Elsewhere(found.number, load)

    def _prove(self, session: Any, settings: list[tuple[str, list[str]]]) -> None:
        timescale.check(session)
        same_version = self.material.described.version_num // 10000 == self.material.found.version_num // 10000
        found = facts.database(session, self.database.name, self.database.path)
        pictured = [row for row in self.material.catalogs[self.database.name] if row[0] not in (user_mappings.KIND, labels.KIND)]
        wanted = self.material.names.catalog(pictured)
        there = Names(self.material.found.roles).catalog([(*key, properties) for key, properties in _catalog.snapshot(session).items()])
        with session.cursor() as cursor:
            mappings, labelled = user_mappings.read(cursor), labels.own(cursor)
        self.material.loader.progress.begin(self.item.label, "counting its rows and collecting statistics")
        counted = count_and_analyze(lambda: self.server.session(self.side), self.material.loader.jobs)
        self.material.loader.progress.begin(self.item.label, "comparing it with the set")
        texts = [
            *compare.facts(self.database, found, (settings, database_settings.settings(session, self.side))),
            *compare.rows(self.database.tables, counted),
            *compare.large_objects(self.database.large_objects, facts.large_objects(session)),
            *compare.catalogs(by_name(wanted), by_name(there), same_version=same_version),
            *user_mappings.differences(self._user_mappings(), mappings),
            *labels.differences(self._pictured(labels.KIND), labelled),
            *self._strangers(session),
        ]
        if texts:
            raise TargetError(f"{self.item.label}: the copy is not what the set says, and was dropped: {compare.shortened(texts)}")

    def _user_mappings(self) -> list[Sequence[Any]]:
        """As the set has them, with the names of here."""
        return user_mappings.renamed(self._pictured(user_mappings.KIND), self.material.names.role)

    def _pictured(self, kind: str) -> list[Sequence[Any]]:
        return [row for row in self.material.catalogs[self.database.name] if row[0] == kind]

    def _keep_keys(self) -> None:
        """Those of user tokens stay what they are in the database that is replaced."""
        live = self.material.found.databases.get(self.item.target)
        kept: keys.Keys = []
        if live is not None and live.connections:
            with self.server.session(self.item.target) as session:
                kept = keys.read(session)
        with self.server.session(self.side) as session:
            keys.put(session, kept)

    def _strangers(self, session: Any) -> list[str]:
        """Of a mapped copy: roles that have something in it, and that no role of the set has become."""
        names = self.material.names
        if not names.renamed:
            return []
        become = {names.role(name) for name in names.known}
        with session.cursor() as cursor:
            cursor.execute(_ROLES_INSIDE)
            found = {row[0] for row in cursor.fetchall()}
        return [f"the role {name} has something in it, which is none that the mapping gives" for name in sorted(found - become)]

    def _alone(self, limit: float = 30) -> None:
        """Wait until the sessions before have ended: they tell their counters at the latest then."""
        deadline = time.monotonic() + limit
        with self.server.control.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'", (self.side,))
                if cursor.fetchall()[0][0] == 0:
                    return
                time.sleep(0.05)

    def _row(self) -> Row:
        return next(row for row in ledger.rows(self.server.control, self.restore) if row.number == self.item.number)
