# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a set: look at everything, make copies beside the live databases, prove them, and only then exchange them."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils import _restore_plan as plans
from ansible_collections.nexanest.database.plugins.module_utils import _restore_staging as staging
from ansible_collections.nexanest.database.plugins.module_utils import _restore_swap_all as swap_all
from ansible_collections.nexanest.database.plugins.module_utils._age import Age
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Opener
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Manifest, ManifestError, Redis
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Entry as StoredSet
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store, StoreError, now
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError, neighbour, remove_left
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress, megabytes
from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import FORWARD, Journal, JournalError
from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import Entry as Journalled
from ansible_collections.nexanest.database.plugins.module_utils._restore_ledger import LedgerUnusable
from ansible_collections.nexanest.database.plugins.module_utils._restore_load import Loader
from ansible_collections.nexanest.database.plugins.module_utils._restore_plan import Choice, Found, Item
from ansible_collections.nexanest.database.plugins.module_utils._restore_postgres import Material, PostgresTarget
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis import RedisTarget, RestoreRedisError
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis_side import PREFIX as REDIS
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis_side import RedisSide
from ansible_collections.nexanest.database.plugins.module_utils._restore_roles import drop
from ansible_collections.nexanest.database.plugins.module_utils._restore_server import Server, ServerUnfit
from ansible_collections.nexanest.database.plugins.module_utils._restore_swap import SwapError
from ansible_collections.nexanest.database.plugins.module_utils._restore_target import Target, TargetError
from ansible_collections.nexanest.database.plugins.module_utils._stream import measure

# What a target or a server may answer to any operation.
ERRORS: tuple[type[Exception], ...] = (
    BulkError, JournalError, LedgerUnusable, ManifestError, RestoreRedisError, ServerUnfit, ServerUnreachable, STATEMENT_ERROR, StoreError, SwapError,
    TargetError, OSError,
)  # fmt: skip

# No restore has this id: for looking at an instance.
NOBODY = "00000000"
_CONNECTED = "a client is connected to {}: stop it, or say disconnect: true"
_BLOCKED = "the swap would be refused while a client is connected to {}"


class Refused(Exception):
    """Nothing was changed; problems: all of what is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(problems))


class Failed(Exception):
    """The restore was begun, and what is in use was not changed by it."""


@dataclass
class Report:
    """What was done, or would be. notes: what somebody should know."""

    restore: str = ""
    set: str = ""
    restored: list[Item] = field(default_factory=list)
    redis: list[str] = field(default_factory=list)
    same_redis: list[str] = field(default_factory=list)
    unchanged: list[Item] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    roles: dict[str, list[str]] = field(default_factory=dict)
    connected: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    changed: bool = False


class Restore:
    """One run of the module. The caller holds the lock of the folder of the sets."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self.store = Store(Path(params["backup_dir"]))
        self.journal = Journal(Path(params["state_dir"]))
        self.progress = Progress(params["progress_file"])
        self.servers = {one["name"]: self._server(one) for one in params["servers"]}

    def close(self) -> None:
        for server in self.servers.values():
            server.close()

    def recover(self, report: Report, *, undo: bool, check: bool) -> None:
        """What an earlier run left between two swaps is brought to its end first."""
        entry = self.journal.open()
        if entry is None:
            return
        report.changed = True
        if check:
            end = "undone" if undo else "brought to its end"
            report.notes.append(f"the restore {entry.restore} of the set {entry.set} was cut off: it would be {end} first")
        else:
            report.notes.append(swap_all.recover(self.journal, entry, lambda name: self.target(name, entry), ERRORS, undo=undo))

    def target(self, name: str, entry: Journalled) -> Target:
        """A target by the name that it has in the journal."""
        restore = entry.restore
        if name.startswith(REDIS):
            instance = name.removeprefix(REDIS)
            return self.redis(instance, restore, Redis(**entry.redis[instance]))
        if name not in self.servers:
            raise TargetError(f"the restore {restore} is also about {name}, which is not among the servers of the options: name it there")
        return PostgresTarget(self.servers[name], restore, disconnect=self.params["disconnect"])

    def targets(self, entry: Journalled) -> list[Target]:
        return [self.target(name, entry) for name in entry.targets]

    def redis(self, instance: str, restore: str, wanted: Redis) -> RedisSide:
        """An instance by its name in the set."""
        for one in self.params["redis"]:
            if one["name"] == instance:
                login = {key: one[key] for key in ("login_host", "login_port", "login_user", "login_password", "connect_timeout")}
                target = RedisTarget(one["container"], restore, wanted, login, str(self.store.folder))
                return RedisSide(instance, target, disconnect=self.params["disconnect"])
        raise TargetError(f"the restore {restore} is also about the Redis instance {instance}, which is not among those of the options: name it there")

    def restore(self, report: Report, *, check: bool) -> None:
        found_set, manifest = self._set()
        restore = secrets.token_hex(4)
        report.set = manifest.id
        with staging.folder(self.store.folder, restore) as folder:
            plan = self._look(found_set, manifest, folder)
            self._tell(plan, report)
            if not plan.choice.all and not plan.choice.redis:
                return
            report.changed = True
            files = staging.dumps(manifest, plan.choice)
            if check:
                self._refuse(staging.check(plan.opener, files))
                report.notes += [_BLOCKED.format(text) for text in self._blocking(plan)]
                return
            self._refuse([_CONNECTED.format(text) for text in self._blocking(plan)])
            self.progress.begin(manifest.id, "checking and opening its files")
            self._refuse(staging.take(plan.opener, files, folder))
            self.progress.end(manifest.id, "every file is what the manifest says")
            report.restore = restore
            report.kept = self._kept_by(self._carry_out(plan, restore, folder))

    def undo(self, report: Report, *, check: bool) -> None:
        entry = self._kept(self.params["restore"])
        if entry is None:
            return
        report.restore, report.set = entry.restore, entry.set
        targets = self.targets(entry)
        self._refuse([text for target in targets for text in target.undo_problems()])
        report.changed = True
        report.names = [f"{target.name}/{name}" for target in targets for name in target.names()]
        report.connected = [f"{target.name}/{text}" for target in targets for text in target.clients()]
        blocking = [] if self.params["disconnect"] else report.connected
        if check:
            report.notes += [_BLOCKED.format(text) for text in blocking]
            return
        self._refuse([_CONNECTED.format(text) for text in blocking])
        self._undo(entry, targets)
        report.kept = self._kept_by(targets)

    def clean(self, report: Report, *, check: bool) -> None:
        for entry in self.journal.kept():
            if self.params["restore"] in (None, "", entry.restore):
                targets = self.targets(entry)
                report.changed = True
                report.removed += self._kept_by(targets)
                if not check:
                    for target in targets:
                        target.drop_old()
                    self.journal.forget(entry)

    @staticmethod
    def _kept_by(targets: Sequence[Target]) -> list[str]:
        return [f"{target.name}/{kept}" for target in targets for kept in target.kept()]

    def _undo(self, entry: Journalled, targets: Sequence[Target]) -> None:
        try:
            swap_all.backward(self.journal, entry, targets)
        except ERRORS as error:
            words = " ".join(str(error).split())
            if all(target.swapped() for target in targets):
                self.journal.close(entry, keep=True)
                raise Failed(f"nothing was undone: {words}") from error
            raise swap_all.Unfinished(f"{words}. {swap_all.advice(entry)}") from error

    def _kept(self, restore: str | None) -> Journalled | None:
        """The restore that is meant; None where it is undone already."""
        kept = self.journal.kept()
        if restore:
            found = [entry for entry in kept if entry.restore == restore]
            if not found:
                raise Refused([f"there is no restore {restore} that can be undone: there are {', '.join(entry.restore for entry in kept) or 'none'}"])
            return found[0] if found[0].direction == FORWARD else None
        if not kept:
            raise Refused(["there is no restore that can be undone: what it replaced was cleaned up, or there was none"])
        return kept[-1] if kept[-1].direction == FORWARD else None

    def _set(self) -> tuple[StoredSet, Manifest]:
        name = self.params["set"]
        path = Path(name)
        store = Store(path.resolve().parent) if path.is_absolute() else self.store
        entry = store.entry(path.name)
        if entry.manifest is None:
            raise Refused([entry.problem])
        return entry, entry.manifest

    def _look(self, found_set: StoredSet, manifest: Manifest, folder: Path) -> _Plan:
        """Ask everything and everybody. Refused with all problems at once."""
        choice, problems = plans.choose(
            manifest,
            self.params["databases"],
            self.params["as"] or "",
            servers=self.servers,
            redis=[one["name"] for one in self.params["redis"]],
        )
        problems += staging.missing(manifest, choice) + self._key_problems(manifest)
        self._refuse(problems)
        opener = Opener(found_set.folder, tuple(self.params["identities"]) if manifest.encryption.method != "none" else ())
        problems += staging.take(opener, staging.descriptions(manifest, choice), folder)
        found: dict[str, Found] = {}
        for name in choice.items:
            _gather(problems, lambda name=name: found.update({name: self._found(name, found_set)}))  # type: ignore[misc]
        plan = _Plan(manifest, measure(found_set.folder / manifests.NAME)[1], choice, opener, found)
        _gather(problems, lambda: self._leave_alone(plan))
        for name in choice.redis:
            _gather(problems, lambda name=name: self._found_redis(name, manifest))  # type: ignore[misc]
        for name, items in choice.items.items():
            if name in found:
                problems += plans.problems(manifest.servers[name], items, found[name])
        problems += self._room(staging.needed_bytes(staging.dumps(manifest, choice)))
        self._refuse(problems)
        for name, items in plan.choice.items.items():
            description = staging.document(folder, manifest.servers[name].description)
            catalogs = {item.database.name: staging.document(folder, item.database.catalog) for item in items}
            plan.descriptions[name], plan.catalogs[name] = description, catalogs
            plan.roles[name] = plans.missing_roles(description, found[name].roles, self._wanted_roles(plan, items, catalogs, description))
        return plan

    def _found(self, name: str, found_set: StoredSet) -> Found:
        server = self.servers[name]
        neighbour(server.container)
        return server.look()

    def _found_redis(self, name: str, manifest: Manifest) -> None:
        side = self.redis(name, NOBODY, manifest.redis[name])
        neighbour(side.target.container)
        side.clients()

    def _leave_alone(self, plan: _Plan) -> None:
        """Databases that are that restore already."""
        plan.same_redis += [name for name in plan.choice.redis if self._same_redis(plan, name)]
        plan.choice.redis[:] = [name for name in plan.choice.redis if name not in plan.same_redis]
        for name in [name for name in plan.choice.items if name in plan.found]:
            items = plan.choice.items[name]
            target = PostgresTarget(self.servers[name], "", disconnect=False)
            same = [item for item in items if target.unchanged(item, plan.sha256)]
            plan.unchanged += same
            left = [item for item in items if item not in same]
            if left:
                plan.choice.items[name] = left
            else:
                del plan.choice.items[name]

    def _same_redis(self, plan: _Plan, name: str) -> bool:
        """Is the instance that restore already, and was it left alone since?"""
        side = f"{REDIS}{name}"
        last = next((entry for entry in reversed(self.journal.kept()) if side in entry.targets), None)
        if last is None or last.direction != FORWARD or not last.marks.get(side):
            return False
        found = self.redis(name, last.restore, plan.manifest.redis[name])
        return found.swapped() and found.mark(plan.sha256) == last.marks[side]

    @staticmethod
    def _wanted_roles(plan: _Plan, items: Sequence[Item], catalogs: Mapping[str, Any], description: Mapping[str, Any]) -> set[str] | None:
        """None: all of them."""
        if plan.choice.whole or plans.needs_every_role(items):
            return None
        of_databases = [[item.database.owner, [grant.grantee for grant in item.database.acl or ()]] for item in items]
        of_settings = [role for item in items for role, _texts in plans.settings_of(description, item.database.name)]
        return plans.mentioned([*catalogs.values(), *of_databases, of_settings])

    def _tell(self, plan: _Plan, report: Report) -> None:
        report.restored, report.unchanged = plan.choice.all, plan.unchanged
        report.replaced = [item.label for item in plan.choice.all if item.target in plan.found[item.server].databases]
        report.roles = {name: roles for name, roles in plan.roles.items() if roles}
        report.redis, report.same_redis = list(plan.choice.redis), plan.same_redis
        report.connected = self._clients(plan)

    def _clients(self, plan: _Plan) -> list[str]:
        """Who would be in the way of the swap."""
        found = []
        for name, items in plan.choice.items.items():
            found += [f"{name}/{text}" for text in PostgresTarget(self.servers[name], "", disconnect=False).connected(items)]
        for name in plan.choice.redis:
            found += [f"{REDIS}{name}: {text}" for text in self.redis(name, NOBODY, plan.manifest.redis[name]).clients()]
        return found

    def _blocking(self, plan: _Plan) -> list[str]:
        return [] if self.params["disconnect"] else self._clients(plan)

    def _carry_out(self, plan: _Plan, restore: str, folder: Path) -> list[Target]:
        """Copies first, all of them; then the swaps."""
        servers = [PostgresTarget(self.servers[name], restore, disconnect=self.params["disconnect"]) for name in plan.choice.items]
        instances = [self.redis(name, restore, plan.manifest.redis[name]) for name in plan.choice.redis]
        self._sweep(servers, instances)
        targets: list[Target] = [*servers, *instances]
        entry = self._entry(plan, restore, targets)
        try:
            self._prepare(plan, servers, instances, folder)
            self._refuse([_CONNECTED.format(text) for text in self._blocking(plan)])
            self.progress.begin("swap", "putting the copies into use")
            swap_all.forward_or_back(self.journal, entry, targets, ERRORS)
            self.progress.end("swap", "the copies are in use")
        except (swap_all.Unfinished, swap_all.TakenBack):
            raise
        except ERRORS as error:
            raise Failed("; ".join([" ".join(str(error).split()), *self._discard(plan, targets)])) from error
        except BaseException:  # refused at last, or asked to end: nothing of it is left
            self._discard(plan, targets)
            raise
        if instances:
            self.journal.keep(dataclasses.replace(entry, marks={instance.name: instance.mark(plan.sha256) for instance in instances}))
        return targets

    def _sweep(self, servers: Sequence[PostgresTarget], instances: Sequence[RedisSide]) -> None:
        """Remove what runs that were killed have left."""
        remove_left(str(self.store.folder))
        for server in servers:
            server.sweep()
        for instance in instances:
            instance.target.sweep([entry.restore for entry in self.journal.kept()])

    def _prepare(self, plan: _Plan, servers: Sequence[PostgresTarget], instances: Sequence[RedisSide], folder: Path) -> None:
        """Make all copies, and prove them."""
        for server in servers:
            server.prepare(plan.choice.items[server.name], self._material(plan, server.name, folder, str(self.store.folder)))
        for instance in instances:
            self.progress.begin(instance.name, "making its copy")
            instance.prepare(folder / staging.plain_path(plan.manifest.file(plan.manifest.redis[instance.instance].path)))
            self.progress.end(instance.name, "its copy is what the set says")

    @staticmethod
    def _entry(plan: _Plan, restore: str, targets: Sequence[Target]) -> Journalled:
        redis = {name: dataclasses.asdict(plan.manifest.redis[name]) for name in plan.choice.redis}
        return Journalled(restore, plan.manifest.id, [target.name for target in targets], FORWARD, now().isoformat(timespec="milliseconds"), redis)

    def _material(self, plan: _Plan, name: str, folder: Path, mark: str) -> Material:
        server = self.servers[name]
        loader = Loader(neighbour(server.container), server.login, folder / name, self.progress, mark, self.params["jobs"])
        return Material(
            plan.manifest.id, plan.sha256, plan.manifest.servers[name], plan.descriptions[name], plan.catalogs[name], plan.roles[name], plan.found[name], loader
        )

    def _discard(self, plan: _Plan, targets: Sequence[Target]) -> list[str]:
        """Remove what was made in vain; what could not be removed, in words."""
        texts: list[str] = []
        for target in targets:
            try:
                target.discard()
                if isinstance(target, PostgresTarget):
                    with target.server.control.cursor() as cursor:
                        left = drop(cursor, plan.roles[target.name])
                    texts += [f"the role {role} was made on {target.name} and is in use now" for role in left]
            except ERRORS as error:
                texts.append(f"its copies on {target.name} could not be removed ({' '.join(str(error).split())}): the next restore does it")
        return texts

    def _key_problems(self, manifest: Manifest) -> list[str]:
        if manifest.encryption.method == "none":
            return []
        if not self.params["identities"]:
            return [f"the set is encrypted: give the private key of one of its recipients in identities ({', '.join(manifest.encryption.recipients)})"]
        return [] if Age.available() else ["the program age is missing on the managed host: run site.yml, which installs it (Debian's package age)"]

    def _room(self, needed: int) -> list[str]:
        free = shutil.disk_usage(self.store.folder).free
        if free >= needed + plans.FLOOR:
            return []
        return [f"{self.store.folder} has {megabytes(free)} MB free, and the opened files of the set need {megabytes(needed)} MB: make room"]

    @staticmethod
    def _refuse(problems: Sequence[str]) -> None:
        if problems:
            raise Refused(problems)

    def _server(self, one: Mapping[str, Any]) -> Server:
        login = {key: one[key] for key in ("login_host", "login_port", "login_user", "login_password", "login_db", "connect_timeout")}
        return Server(one["name"], one["container"], login, self.params["lock_wait"])


@dataclass
class _Plan:
    """What was found out. unchanged: databases that are left alone."""

    manifest: Manifest
    sha256: str
    choice: Choice
    opener: Opener
    found: dict[str, Found]
    unchanged: list[Item] = field(default_factory=list)
    same_redis: list[str] = field(default_factory=list)
    descriptions: dict[str, Any] = field(default_factory=dict)
    catalogs: dict[str, Any] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(default_factory=dict)


@contextlib.contextmanager
def opened(params: Mapping[str, Any]) -> Iterator[Restore]:
    """A run that holds the lock of the folder, so that no backup is made meanwhile."""
    run = Restore(params)
    run.store.prepare()
    with run.store.locked(f"restore ({params['state']})", wait=params["lock_wait"]), contextlib.closing(run):
        run.store.sweep()
        yield run


def _gather(problems: list[str], work: Callable[[], None]) -> None:
    try:
        work()
    except ERRORS as error:
        problems.append(" ".join(str(error).split()))
