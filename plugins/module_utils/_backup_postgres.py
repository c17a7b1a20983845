# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dump one server: each database at one moment, with its rows counted and its catalog pictured at that same moment."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ansible_collections.nexanest.database.plugins.module_utils import _backup_facts as facts
from ansible_collections.nexanest.database.plugins.module_utils import _backup_samples as samples
from ansible_collections.nexanest.database.plugins.module_utils import _catalog
from ansible_collections.nexanest.database.plugins.module_utils import _security_labels as labels
from ansible_collections.nexanest.database.plugins.module_utils import _user_mappings as user_mappings
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Sealer, make_folder
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Database, File, LeftOut, Server
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import WORK, Bulk, BulkError, Neighbour, password_file
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress

if TYPE_CHECKING:
    import psycopg2.extensions

# Half of the processor's work of level 3 for files that are 2 % larger: docs/decisions/dumps-are-compressed-at-level-2.md.
COMPRESSION = "zstd:2"
# Somebody may change a table between our locks and those of pg_dump and of its workers: then everything is let go, and begun again.
ATTEMPTS = 5
# Seconds. Ours hold nobody up; pg_dump waits only where somebody waits for us, who must not wait long.
LOCK_WAIT, DUMP_LOCK_WAIT = 300, 10
# No guard rail that a role or a database has ends the session that holds the moment.
_UNGUARDED = f"-c statement_timeout=0 -c lock_timeout={LOCK_WAIT}s -c idle_in_transaction_session_timeout=0 -c transaction_timeout=0"
_TABLE = re.compile(r'dumping contents of table "(.+)"$')
_DISTURBED = re.compile(r"does not exist|could not open relation|cache lookup failed|could not obtain lock|due to (lock|statement) timeout")


class DumpFailed(Exception):
    """One database (or the roles) could not be dumped; the text says which and why."""


@dataclass(frozen=True)
class Source:
    """One server to dump. login: options of the role that may read everything; wanted: databases that must be there."""

    name: str
    kind: str
    neighbour: Neighbour
    login: Mapping[str, Any]
    wanted: tuple[str, ...]


@dataclass(frozen=True)
class Workshop:
    """Where a dump is made. plain: a private folder for what is not sealed yet; mark: of the tools' containers; pool: seals files side by side."""

    plain: Path
    sealer: Sealer
    progress: Progress
    pool: ThreadPoolExecutor
    mark: str
    jobs: int


@dataclass(frozen=True)
class Dumped:
    """What of a server is in the set."""

    server: Server
    files: list[File]


def folder_name(database: str) -> str:
    """Of its dump: percent-encoded, the dots too, so that it is no other folder (..) and no file beside the dumps (server.json)."""
    return quote(database, safe="").replace(".", "%2E")


def survey(source: Source) -> tuple[dict[str, int], list[LeftOut]]:
    """The databases that would be dumped with their sizes in bytes, and the others. DumpFailed where a wanted one is missing."""
    with _session(source, facts.MAINTENANCE) as session:
        names, left_out = facts.databases(session)
        missing = [name for name in source.wanted if name not in names]
        if missing:
            why = {item.name: item.why for item in left_out}
            texts = [f"{name} ({why[name]})" if name in why else name for name in missing]
            raise DumpFailed(f"{source.name}: the inventory names databases that cannot be dumped: {', '.join(texts)}. Run site.yml, or restore them")
        with session.cursor() as cursor:
            cursor.execute("SELECT datname, pg_database_size(oid) FROM pg_database WHERE datname = ANY (%s) ORDER BY datname", (names,))
            return dict(cursor.fetchall()), left_out


def dump(source: Source, workshop: Workshop, names: Sequence[str]) -> tuple[Dumped | None, list[str]]:
    """Everything of one server into the set, and what failed. Each database is tried, whatever became of the others."""
    failures: list[str] = []
    databases: list[Database] = []
    waiting: list[list[Future[File]]] = []
    files: list[File] = []
    login = (source.login["login_user"], source.login["login_password"])
    with password_file(workshop.plain, source.neighbour, login) as keys, ThreadPoolExecutor(max_workers=1) as beside:
        describing = beside.submit(_describe, source, workshop, keys, names)
        for name in names:
            found = _collect(failures, lambda name=name: _Dump(source, workshop, keys, name).run())  # type: ignore[misc]
            if found is not None:
                databases.append(found[0])
                waiting.append([workshop.pool.submit(_seal, workshop, path) for path in found[1]])
            # No more than two databases lie there in plain.
            while len(waiting) > 1:
                files += _sealed(failures, waiting.pop(0))
        server = _collect(failures, describing.result)
        for futures in waiting:
            files += _sealed(failures, futures)
    if failures or server is None:
        return None, failures
    files += [_seal(workshop, workshop.plain / path) for path in (server.globals, server.description)]
    return Dumped(_renamed(server, databases, files), files), []


class _Dump:
    """One database."""

    def __init__(self, source: Source, workshop: Workshop, keys: Path, name: str) -> None:
        self.source, self.workshop, self.keys, self.name = source, workshop, keys, name
        self.label = f"{source.name}/{name}"
        self.path = f"{source.name}/{folder_name(name)}"
        self.folder = workshop.plain / self.path

    def run(self) -> tuple[Database, list[Path]]:
        """What it is, and the plain files of its dump."""
        for attempt in range(1, ATTEMPTS + 1):
            _empty(self.folder)
            self.workshop.progress.begin(self.label, "dumping")
            try:
                found = self._once()
            except (BulkError, ServerUnreachable, STATEMENT_ERROR, OSError) as error:
                if attempt < ATTEMPTS and _DISTURBED.search(str(error)) and self._exists():
                    continue
                raise DumpFailed(f"{self.label}: {' '.join(str(error).split())}") from error
            self.workshop.progress.end(self.label, "dumped")
            return found, [*(path for path in sorted(self.folder.iterdir())), self.workshop.plain / found.catalog]
        raise DumpFailed(f"{self.label}: its tables were changed {ATTEMPTS} times while it was dumped")

    def _once(self) -> Database:
        with _session(self.source, self.name) as session, session.cursor() as cursor:
            names = facts.names(session)
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            facts.hold(session, names)  # before the moment: what is locked is what the snapshot sees
            cursor.execute("SELECT pg_export_snapshot()")
            moment = str(cursor.fetchall()[0][0])
            # Whoever waits for our locks must not wait for what waits for him.
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{DUMP_LOCK_WAIT}s",))
            found = facts.database(session, self.name, self.path)
            self._picture(cursor, found)
            with ThreadPoolExecutor(max_workers=1) as beside:
                dumping = beside.submit(self._pg_dump, moment, facts.sizes(session))
                counted = samples.take(cursor, facts.tables(session))
                found = dataclasses.replace(found, tables=counted, large_objects=facts.large_objects(session))
                dumping.result()
            cursor.execute("ROLLBACK")
        return found

    def _picture(self, cursor: Any, found: Database) -> None:
        """The catalog, for the restore to compare with, and what pg_dump leaves out of the dump."""
        rows: list[Sequence[Any]] = [[kind, name, properties] for (kind, name), properties in _catalog.snapshot_within(cursor).items()]
        rows += [*user_mappings.read(cursor), *labels.own(cursor)]
        (self.workshop.plain / found.catalog).write_text(json.dumps(rows), encoding="utf-8")

    def _pg_dump(self, moment: str, sizes: Mapping[tuple[str, str], int]) -> None:
        bulk = Bulk(self.source.neighbour.image, self.workshop.mark, self.folder.parent, self.source.neighbour, self.keys)
        argv = [
            *("pg_dump", "--format=directory", f"--jobs={self.workshop.jobs}", f"--compress={COMPRESSION}", f"--snapshot={moment}", "--no-sync"),
            f"--lock-wait-timeout={DUMP_LOCK_WAIT}s",
            *("--verbose", "--no-password", "--host", self.source.neighbour.address, "--username", str(self.source.login["login_user"])),
            *("--dbname", _conninfo(self.name), "--file", f"{WORK}/{self.folder.name}"),
        ]
        bulk.run(argv, heard=self._listener(sizes), watch=self.workshop.progress.heartbeat)

    def _listener(self, sizes: Mapping[tuple[str, str], int]) -> Callable[[str], None]:
        """Tables are told when they begin: what began before the last few has ended."""
        by_name = {f"{schema}.{name}": size for (schema, name), size in sizes.items()}
        total = sum(sizes.values())
        begun: list[int] = []

        def hear(line: str) -> None:
            found = _TABLE.search(line)
            if found:
                begun.append(by_name.get(found[1], 0))
                self.workshop.progress.step(self.label, sum(begun[: -self.workshop.jobs]), total)

        return hear

    def _exists(self) -> bool:
        try:
            with _session(self.source, self.name):
                return True
        except ServerUnreachable:
            return False


def _describe(source: Source, workshop: Workshop, keys: Path, names: Sequence[str]) -> Server:
    """Roles and settings, as SQL and as data, plain so far."""
    try:
        with _session(source, facts.MAINTENANCE) as session:
            server = dataclasses.replace(facts.server(session, source.kind, source.name), timescaledb_license=_license(source, names))
            described = facts.description(session)
        folder = workshop.plain / source.name
        make_folder(folder)
        bulk = Bulk(source.neighbour.image, workshop.mark, folder, source.neighbour, keys)
        login = ["--host", source.neighbour.address, "--username", str(source.login["login_user"]), "--database", facts.MAINTENANCE]
        (workshop.plain / server.globals).write_text(bulk.run(["pg_dumpall", "--globals-only", "--no-password", *login]), encoding="utf-8")
        (workshop.plain / server.description).write_text(json.dumps(described), encoding="utf-8")
    except (BulkError, ServerUnreachable, STATEMENT_ERROR, OSError) as error:
        raise DumpFailed(f"{source.name}: its roles: {' '.join(str(error).split())}") from error
    return server


def _license(source: Source, names: Sequence[str]) -> str | None:
    """TimescaleDB's edition as it is set, which only a database with the extension knows where the configuration has none."""
    for name in names:
        with contextlib.suppress(ServerUnreachable), _session(source, name) as session, session.cursor() as cursor:  # its own dump says why
            cursor.execute("SELECT current_setting('timescaledb.license', true)")
            ((licence,),) = cursor.fetchall()
            if licence:
                return str(licence)
    return None


def _collect(failures: list[str], work: Callable[[], Any]) -> Any:
    """What the work gives, or None and one failure more."""
    try:
        return work()
    except DumpFailed as error:
        failures.append(str(error))
        return None


def _seal(workshop: Workshop, path: Path) -> File:
    return workshop.sealer.seal(path, path.relative_to(workshop.plain).as_posix())


def _sealed(failures: list[str], futures: Sequence[Future[File]]) -> list[File]:
    """The files of one database; all are waited for."""
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    for error in errors[:1]:
        if not isinstance(error, Exception):
            raise error
        failures.append(f"writing into the set failed: {error}")
    return [] if errors else [future.result() for future in futures]


def _renamed(server: Server, databases: Sequence[Database], files: Sequence[File]) -> Server:
    """With the names that the files have in the set."""
    ending = {path.removesuffix(".age"): path for path in (file.path for file in files)}
    return dataclasses.replace(
        server,
        globals=ending[server.globals],
        description=ending[server.description],
        databases=[dataclasses.replace(database, catalog=ending[database.catalog]) for database in databases],
    )


@contextlib.contextmanager
def _session(source: Source, database: str) -> Iterator[psycopg2.extensions.connection]:
    with contextlib.closing(connect(source.login, database, options=_UNGUARDED)) as session:
        yield session


def _empty(folder: Path) -> None:
    """What an earlier attempt left goes; pg_dump makes the folder itself."""
    if folder.exists():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    make_folder(folder.parent)


def _conninfo(database: str) -> str:
    """pg_dump takes a connection string for a name, and an odd name for a connection string."""
    quoted = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{quoted}'"
