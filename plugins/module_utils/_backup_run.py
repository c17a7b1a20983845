# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one set: look at everything first, then dump aside, then give the set its name."""

from __future__ import annotations

import dataclasses
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_plan as plans
from ansible_collections.nexanest.database.plugins.module_utils._age import MISSING, RECIPIENT, Age
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Sealer, make_folder
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Encryption, File, LeftOut, Manifest, Redis
from ansible_collections.nexanest.database.plugins.module_utils._backup_postgres import DumpFailed, Source, Workshop, dump, survey
from ansible_collections.nexanest.database.plugins.module_utils._backup_redis import Instance
from ansible_collections.nexanest.database.plugins.module_utils._backup_redis import dump as dump_redis
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import STAGING, Store, now
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError, neighbour, remove_left
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, megabytes

# Files are sealed side by side, as the machines have it that this is made for: two cores.
SEALERS = 2


class Refused(Exception):
    """Nothing was begun; problems: all of what is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("no backup was made: " + "; ".join(problems))


class Failed(Exception):
    """The set was begun and is not there; failures: everything that went wrong."""

    def __init__(self, failures: Sequence[str]) -> None:
        self.failures = list(failures)
        super().__init__("the backup failed, no set was made, earlier sets are as they were: " + "; ".join(failures))


@dataclass(frozen=True)
class Survey:
    """What was found before anything is written. sizes: bytes on the servers by (server, database); expected: bytes in the set."""

    sources: list[Source]
    instances: list[Instance]
    sizes: dict[tuple[str, str], int]
    expected: dict[tuple[str, str], int]
    left_out: dict[str, list[LeftOut]] = field(default_factory=dict)

    def names(self, server: str) -> list[str]:
        return [database for name, database in self.sizes if name == server]

    @property
    def warnings(self) -> list[str]:
        """Databases that somebody may think are in the set."""
        return [f"{server}/{item.name} is not in the set: {item.why}" for server, items in self.left_out.items() for item in items if item.data]


def look(params: Mapping[str, Any], store: Store, last: Manifest | None) -> Survey:
    """Ask every server what it has. Refused with all problems at once."""
    problems: list[str] = []
    recipients = params["recipients"]
    if params["encrypt"] and not recipients:
        problems.append("no recipient was named to encrypt the set for: name one in recipients, or say encrypt: false")
    problems += [f"the recipient '{one}' is no public key of age: it begins with age1 or ssh-" for one in recipients if not RECIPIENT.fullmatch(one)]
    if params["encrypt"] and not Age.available():
        problems.append(MISSING)
    found = Survey([], [], {}, {})
    for server in params["servers"]:
        _gather(problems, lambda server=server: _survey(server, found))  # type: ignore[misc]
    for instance in params["redis"]:
        _gather(problems, lambda instance=instance: _look_at_redis(instance, found))  # type: ignore[misc]
    expected = plans.expected_bytes(found.sizes, last)
    problems += _room(store, plans.needed_bytes(expected, encrypted=params["encrypt"]))
    if problems:
        raise Refused(problems)
    return dataclasses.replace(found, expected=expected)


def make(params: Mapping[str, Any], store: Store, survey_: Survey, name: str) -> Manifest:
    """Make the set `name`; the caller holds the folder's lock. Failed leaves nothing of it."""
    started = now()
    mark = str(store.folder)
    remove_left(mark)
    store.sweep()
    partial = store.begin(name)
    try:
        with _plain(store, name) as plain, ThreadPoolExecutor(max_workers=SEALERS) as pool:
            workshop = Workshop(plain, _sealer(params, partial), Progress(params["progress_file"]), pool, mark, params["jobs"])
            manifest = _manifest(params, survey_, workshop, store)
        manifest = dataclasses.replace(manifest, id=name, started=_text(started), finished=_text(now()))
        store.finish(partial, manifest)
    except OSError as error:
        raise Failed([f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}: see to the disk of {store.folder}"]) from error
    finally:
        if partial.exists():
            shutil.rmtree(partial)
    return manifest


def _manifest(params: Mapping[str, Any], survey_: Survey, workshop: Workshop, store: Store) -> Manifest:
    """Dump everything; Failed names all that failed, after all was tried."""
    failures: list[str] = []
    servers, files = {}, []
    for source in survey_.sources:
        dumped, failed = dump(source, workshop, survey_.names(source.name))
        failures += failed
        if dumped is not None:
            servers[source.name] = dataclasses.replace(dumped.server, left_out=survey_.left_out[source.name])
            files += dumped.files
    redis: dict[str, Redis] = {}
    for instance in survey_.instances:
        try:
            redis[instance.name], file = _redis(instance, workshop)
            files.append(file)
        except BulkError as error:
            failures.append(str(error))
    if failures:
        raise Failed(failures)
    serial = max((entry.manifest.serial for entry in store.entries() if entry.manifest), default=0) + 1
    return Manifest(
        id="",
        serial=serial,
        stack=params["stack"],
        collection_version=params["collection_version"],
        host=socket.gethostname(),
        started="",
        finished="",
        encryption=Encryption("age" if params["encrypt"] else "none", list(params["recipients"]) if params["encrypt"] else []),
        servers=servers,
        redis=redis,
        files=sorted(files, key=lambda file: file.path),
    )


def _redis(instance: Instance, workshop: Workshop) -> tuple[Redis, File]:
    """One instance into the set."""
    label = f"redis/{instance.name}"
    workshop.progress.begin(label, "dumping")
    folder = workshop.plain / "redis"
    make_folder(folder)
    found = dump_redis(instance, folder, mark=workshop.mark)
    file = workshop.sealer.seal(folder / instance.file, found.path)
    workshop.progress.end(label, "dumped")
    return dataclasses.replace(found, path=file.path), file


def _look_at_redis(instance: Mapping[str, Any], found: Survey) -> None:
    neighbour(instance["container"])
    found.instances.append(Instance(instance["name"], instance["container"], instance["login_user"], instance["login_password"]))


def _sealer(params: Mapping[str, Any], partial: Path) -> Sealer:
    return Sealer(partial, tuple(params["recipients"]) if params["encrypt"] else ())


@contextmanager
def _plain(store: Store, name: str) -> Iterator[Path]:
    """A private folder on the sets' own file system; gone at the end."""
    folder = store.folder / f"{STAGING}{name}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _survey(server: Mapping[str, Any], found: Survey) -> None:
    login = {key: server[key] for key in ("login_host", "login_port", "login_user", "login_password", "login_db", "connect_timeout")}
    source = Source(server["name"], server["kind"], neighbour(server["container"]), login, tuple(server["databases"]))
    sizes, left_out = survey(source)
    found.sources.append(source)
    found.sizes.update({(source.name, database): size for database, size in sizes.items()})
    found.left_out[source.name] = left_out


def _gather(problems: list[str], work: Callable[[], None]) -> None:
    try:
        work()
    except (BulkError, DumpFailed, ServerUnreachable, STATEMENT_ERROR) as error:
        problems.append(" ".join(str(error).split()))


def _room(store: Store, needed: int) -> list[str]:
    """Is there space for the set?"""
    folder = next(path for path in (store.folder, *store.folder.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return []
    return [f"{store.folder} has {megabytes(free)} MB free, and the set may need {megabytes(needed)} MB: make room, or keep fewer sets (backup_retention)"]


def _text(moment: Any) -> str:
    return str(moment.isoformat(timespec="milliseconds"))
