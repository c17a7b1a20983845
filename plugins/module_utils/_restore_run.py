# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a set: look at everything, make copies beside the live data, prove them, and only then exchange them."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _restore_staging as staging
from ansible_collections.nexanest.database.plugins.module_utils import _restore_swap_all as swap_all
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store, now
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import remove_left
from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import FORWARD, Entry, Journal
from ansible_collections.nexanest.database.plugins.module_utils._restore_look import Plan, Refused, look, refuse
from ansible_collections.nexanest.database.plugins.module_utils._restore_parties import ERRORS, Parties, kept, one_line
from ansible_collections.nexanest.database.plugins.module_utils._restore_plan import Item
from ansible_collections.nexanest.database.plugins.module_utils._restore_postgres import Material, PostgresTarget
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis_side import RedisSide
from ansible_collections.nexanest.database.plugins.module_utils._restore_target import Target

_CONNECTED = "a client is connected to {}: stop it, or say disconnect: true"
_BLOCKED = "the swap would be refused while a client is connected to {}"


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
    mapping: list[dict[str, str]] = field(default_factory=list)
    changed: bool = False


class Restore:
    """One run of the module. The caller holds the lock of the folder of the sets."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self.store = Store(Path(params["backup_dir"]))
        self.journal = Journal(Path(params["state_dir"]))
        self.parties = Parties(params)
        self.progress = self.parties.progress

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
            report.notes.append(swap_all.recover(self.journal, entry, lambda name: self.parties.target(name, entry), ERRORS, undo=undo))

    def restore(self, report: Report, *, check: bool) -> None:
        restore = secrets.token_hex(4)
        with staging.folder(self.store.folder, restore) as folder:
            plan = look(self.params, self.parties, self.journal, folder)
            self._tell(plan, report)
            if plan.empty:
                return
            report.changed = True
            files = [file for file in staging.dumps(plan.manifest, plan.choice) if file not in plan.taken]
            if check:
                refuse(staging.check(plan.opener, files))
                report.notes += [_BLOCKED.format(text) for text in self._blocking(plan)]
                return
            refuse([_CONNECTED.format(text) for text in self._blocking(plan)])
            self.progress.begin(plan.manifest.id, "checking and opening its files")
            refuse(staging.take(plan.opener, files, folder))
            self.progress.end(plan.manifest.id, "every file is what the manifest says")
            report.restore = restore
            report.kept = kept(self._carry_out(plan, restore, folder))

    def undo(self, report: Report, *, check: bool) -> None:
        entry = self._meant(self.params["restore"])
        if entry is None:
            return
        report.restore, report.set = entry.restore, entry.set
        targets = self.parties.targets(entry)
        refuse([text for target in targets for text in target.undo_problems()])
        report.changed = True
        report.names = [f"{target.name.partition('/')[0]}/{name}" for target in targets for name in target.names()]
        report.connected = [f"{target.name}/{text}" for target in targets for text in target.clients()]
        blocking = [] if self.params["disconnect"] else report.connected
        if check:
            report.notes += [_BLOCKED.format(text) for text in blocking]
            return
        refuse([_CONNECTED.format(text) for text in blocking])
        self._undo(entry, targets)
        report.kept = kept(targets)

    def clean(self, report: Report, *, check: bool) -> None:
        for entry in self.journal.kept():
            if self.params["restore"] in (None, "", entry.restore):
                targets = self.parties.targets(entry)
                report.changed = True
                report.removed += kept(targets)
                if not check:
                    for target in targets:
                        target.drop_old()
                    self.journal.forget(entry)

    def _meant(self, restore: str | None) -> Entry | None:
        """The restore to undo; None where it is undone already."""
        entries = self.journal.kept()
        found = [entry for entry in entries if restore in (None, "", entry.restore)]
        if not found:
            there = ", ".join(entry.restore for entry in entries) or "none"
            raise Refused([f"there is no restore {restore or ''} that can be undone (there is {there}): what it replaced was cleaned up, or there was none"])
        return found[-1] if found[-1].direction == FORWARD else None

    def _undo(self, entry: Entry, targets: Sequence[Target]) -> None:
        try:
            swap_all.backward(self.journal, entry, targets)
        except ERRORS as error:
            if _untouched(targets):
                self.journal.close(entry, keep=True)
                raise Failed(f"nothing was undone: {one_line(error)}") from error
            raise swap_all.Unfinished(f"{one_line(error)}. {swap_all.advice(entry)}") from error

    def _tell(self, plan: Plan, report: Report) -> None:
        report.set = plan.manifest.id
        report.restored, report.unchanged = plan.choice.all, plan.unchanged
        report.replaced = [item.label for item in plan.choice.all if item.target in plan.found[item.server].databases]
        report.roles = {name: roles for name, roles in plan.roles.items() if roles}
        report.redis, report.same_redis = list(plan.choice.redis), plan.same_redis
        report.connected = self.parties.clients(plan.choice, plan.manifest)
        report.mapping = plan.mapping
        report.notes += plan.notes if plan.choice.items else []
        if self.params.get("stack") not in (None, "", plan.manifest.stack):
            report.notes.append(f"the set is of the stack {plan.manifest.stack}, and this is {self.params['stack']}")

    def _blocking(self, plan: Plan) -> list[str]:
        return [] if self.params["disconnect"] else self.parties.clients(plan.choice, plan.manifest)

    def _carry_out(self, plan: Plan, restore: str, folder: Path) -> list[Target]:
        """Copies first, all of them; then the swaps."""
        servers = [self.parties.postgres(name, restore) for name in plan.choice.items]
        instances = [self.parties.redis(name, plan.manifest.redis[name], restore) for name in plan.choice.redis]
        self._sweep(servers, instances)
        targets: list[Target] = [*servers, *instances]
        entry = dataclasses.replace(_entry(plan, restore, targets), number=self.journal.following())
        try:
            self._prepare(plan, servers, instances, folder)
            refuse([_CONNECTED.format(text) for text in self._blocking(plan)])
            self.progress.begin("swap", "putting the copies into use")
            swap_all.forward_or_back(self.journal, entry, targets, ERRORS)
            self.progress.end("swap", "the copies are in use")
        except (swap_all.Unfinished, swap_all.TakenBack):
            raise
        except ERRORS as error:
            raise Failed("; ".join([one_line(error), *self._discard(targets)])) from error
        except BaseException:  # refused at last, or asked to end
            self._discard(targets)
            raise
        if instances:
            self.journal.keep(dataclasses.replace(entry, marks={instance.name: instance.mark(plan.sha256) for instance in instances}))
        return targets

    def _sweep(self, servers: Sequence[PostgresTarget], instances: Sequence[RedisSide]) -> None:
        """Remove what runs that were killed have left."""
        remove_left(self.parties.mark)
        for server in servers:
            server.sweep()
        for instance in instances:
            instance.target.sweep([entry.restore for entry in self.journal.kept()])

    def _prepare(self, plan: Plan, servers: Sequence[PostgresTarget], instances: Sequence[RedisSide], folder: Path) -> None:
        """Make all copies, and prove them."""
        for server in servers:
            server.prepare(plan.choice.items[server.name], self._material(plan, server, folder))
        for instance in instances:
            self.progress.begin(instance.name, "making its copy")
            instance.prepare(folder / staging.plain_path(plan.manifest.file(plan.manifest.redis[instance.instance].path)))
            self.progress.end(instance.name, "its copy is what the set says")

    def _material(self, plan: Plan, target: PostgresTarget, folder: Path) -> Material:
        name = target.name
        loader = self.parties.loader(name, folder)
        return Material(
            plan.manifest.id,
            plan.sha256,
            plan.manifest.servers[name],
            plan.descriptions[name],
            plan.catalogs[name],
            plan.roles[name],
            plan.found[name],
            loader,
            plan.names[name],
            plan.mapped,
        )

    def _discard(self, targets: Sequence[Target]) -> list[str]:
        """Remove what was made in vain; what could not be removed, in words. Once there is a journal, the copies are needed to finish."""
        texts: list[str] = []
        for target in targets if self.journal.open() is None else ():
            try:
                target.discard()
            except ERRORS as error:
                texts.append(f"its copies on {target.name} could not be removed ({one_line(error)}): the next restore does it")
        return texts


def _entry(plan: Plan, restore: str, targets: Sequence[Target]) -> Entry:
    redis = {name: dataclasses.asdict(plan.manifest.redis[name]) for name in plan.choice.redis}
    return Entry(restore, plan.manifest.id, [target.name for target in targets], FORWARD, now().isoformat(timespec="milliseconds"), redis)


def _untouched(targets: Sequence[Target]) -> bool:
    """Is all of it still swapped in? One that does not answer says nothing."""
    try:
        return all(target.swapped() for target in targets)
    except ERRORS:
        return False


@contextlib.contextmanager
def opened(params: Mapping[str, Any], *, check: bool = False) -> Iterator[Restore]:
    """A run that holds the lock of the folder, so that no backup is made meanwhile. check: nothing is made or removed, not even the folder and its lock."""
    run = Restore(params)
    if not check:
        run.store.prepare()
    with run.store.locked(f"restore ({params['state']})", wait=params["lock_wait"], make=not check), contextlib.closing(run.parties):
        if not check:
            run.store.sweep()
        yield run
