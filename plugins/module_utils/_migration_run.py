# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations of one server: what is pending, what check mode says of it, and the run itself."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils import _catalog, _catalog_diff
from ansible_collections.nexanest.database.plugins.module_utils import _migration_fingerprint as fingerprint
from ansible_collections.nexanest.database.plugins.module_utils import _migration_ledger as ledger
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._connection import connect
from ansible_collections.nexanest.database.plugins.module_utils._migration_apply import MigrationFailed, Options, apply, fresh_session
from ansible_collections.nexanest.database.plugins.module_utils._migration_options import Item, Refused, items
from ansible_collections.nexanest.database.plugins.module_utils._migration_plan import NOTHING, Ledger, Plan, adopted, gone, plan, replayed, without
from ansible_collections.nexanest.database.plugins.module_utils._migration_shadow import Shadow, shadow
from ansible_collections.nexanest.database.plugins.module_utils._migration_text import UnfitText
from ansible_collections.nexanest.database.plugins.module_utils._shadow import ShadowFailed, ShadowUnavailable

if TYPE_CHECKING:
    import psycopg2.extensions

REFUSED = "no migration was applied"
SHOWN = 20  # differences in one message


@dataclass(frozen=True)
class State:
    """What a database has: its ledger; proved: its catalog was once known to be what the files make; foreign: it holds something without a ledger.

    read_only: nothing can be written, because the server is a standby or the database has default_transaction_read_only.
    """

    ledger: Ledger = NOTHING
    proved: bool = True
    foreign: bool = False
    read_only: bool = False


@dataclass
class Outcome:
    """What was done or would be; it grows with every file, so that a failure can tell what came before."""

    applied: dict[str, list[str]] = field(default_factory=dict)
    adopted: dict[str, list[str]] = field(default_factory=dict)
    catalog: list[Change] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    prediction: dict[str, str] = field(default_factory=dict)


class Run:
    """One call of the module postgres_migrations."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self.outcome = Outcome({item["name"]: [] for item in params["databases"]}, {item["name"]: [] for item in params["databases"]})
        self._items: list[Item] = []

    def forecast(self) -> None:
        """Check mode."""
        states = self._read()
        plans = self._plans(states)
        self._tell(plans)
        if not any(one.pending for one in plans) and not self._adopting(states):
            return
        try:
            with self._shadow() as tried:
                for item, one in zip(self._items, plans, strict=True):
                    self._try(tried, item, one, states.get(item.name, State()))
            self.outcome.prediction = {"by": "shadow", "reason": ""}
        except (ShadowUnavailable, ShadowFailed) as error:
            self._without_shadow(error, states)

    def perform(self) -> None:
        """Apply what is pending, then see that the catalogs are what the files make where that is not known."""
        states = self._read()
        if any(one.pending for one in self._plans(states)) or self._adopting(states):
            self._check_targets()
            with self._locked() as connections:
                self._perform(connections)
            states = self._read()
        self._prove(states)

    def _perform(self, connections: Mapping[str, psycopg2.extensions.connection]) -> None:
        states = {name: _state(connection) for name, connection in connections.items()}
        plans = self._plans(states)
        self._adopt(connections, states)
        for item, one in zip(self._items, plans, strict=True):
            if one.pending:
                self._apply(connections[item.name], item, one)

    def _apply(self, connection: psycopg2.extensions.connection, item: Item, one: Plan) -> None:
        before_it = ledger.read(connection)
        known = fingerprint.is_known(connection, fresh=before_it == NOTHING)
        before = _catalog.snapshot(connection)
        ledger.create(connection)
        options = Options(item.session_role, self._params["lock_timeout"], self._params["lock_retries"], self._params["collection_version"])
        try:
            for pending in one.pending:
                apply(connection, one.database, pending, options)
                self.outcome.applied[one.database].append(pending.file.name)
            fresh_session(connection)
            forgotten = gone(item.files, before_it)
            ledger.forget(connection, forgotten)
            # What they made is to be gone too: compared, not believed.
            known = known and not forgotten
        except MigrationFailed:
            # Without a transaction something may be left of it.
            known = known and pending.migration.transaction
            raise
        finally:
            if not connection.closed:
                fingerprint.write(connection, known=known)
                self.outcome.catalog += _catalog_diff.changes(item.name, before, _catalog.snapshot(connection))

    def _read(self) -> dict[str, State]:
        """Of the databases that exist. Raises Refused."""
        self._items = items(self._params, REFUSED)
        if self._params["assume_empty"]:
            return {}
        return read(self._params, [item.name for item in self._items])

    def _plans(self, states: Mapping[str, State]) -> list[Plan]:
        """Every database's plan; Refused where one has a problem."""
        made = [self._plan(item, states.get(item.name, State())) for item in self._items]
        problems = [*_bad_options(self._params), *[problem for one in made for problem in one.problems]]
        if problems:
            raise Refused(REFUSED, problems)
        return made

    def _plan(self, item: Item, state: State) -> Plan:
        made = self._compared(item, state)
        if state.read_only and (made.pending or _adopts(item, state)):
            why = "can only be read: its server is a standby, or default_transaction_read_only is on for the database or the login"
            return Plan(item.name, (), (f"{item.name} {why}",))
        return made

    def _compared(self, item: Item, state: State) -> Plan:
        if not _adopts(item, state):
            return plan(item.name, item.files, state.ledger)
        problems = plan(item.name, item.files, NOTHING).problems
        try:
            taken = adopted(item.files, item.baseline or 0)
        except UnfitText as error:
            return Plan(item.name, (), (*problems, f"{item.name}: {error}"))
        return plan(item.name, item.files, taken) if not problems else Plan(item.name, (), problems)

    def _adopting(self, states: Mapping[str, State]) -> list[Item]:
        return [item for item in self._items if _adopts(item, states.get(item.name, State()))]

    def _tell(self, plans: Sequence[Plan]) -> None:
        for one in plans:
            self.outcome.applied[one.database] = [pending.file.name for pending in one.pending]

    def _try(self, tried: Shadow, item: Item, one: Plan, state: State) -> None:
        if _adopts(item, state):
            self._compare_for_baseline(tried, item, _live(self._params, item.name))
            base = tried.catalog(item.database)
        elif one.pending:
            base = replay(tried, item, state.ledger)
        if not one.pending:
            return
        try:
            after = tried.run(item.database, one.pending)
        except MigrationFailed as error:
            raise MigrationFailed(error.what, "This was tried in a throw-away server; nothing was changed") from error
        self.outcome.catalog += _catalog_diff.changes(item.name, base, after)

    def _compare_for_baseline(self, tried: Shadow, item: Item, live: _catalog.Catalog) -> Ledger:
        """What may be recorded as applied. Raises Refused with the differences."""
        taken = adopted(item.files, item.baseline or 0)
        differences = _catalog_diff.words(live, replay(tried, item, taken))
        if differences:
            told = "; ".join(differences[:SHOWN]) + (f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else "")
            raise Refused(REFUSED, [f"{item.name} is not what the files up to {item.baseline:04d} make, so they cannot be its baseline: {told}"])
        self.outcome.adopted[item.name] = [row.name for row in taken.applied]
        return taken

    def _adopt(self, connections: Mapping[str, psycopg2.extensions.connection], states: Mapping[str, State]) -> None:
        wanted = self._adopting(states)
        if not wanted:
            return
        try:
            with self._shadow() as tried:
                taken = {item.name: self._compare_for_baseline(tried, item, _catalog.snapshot(connections[item.name])) for item in wanted}
        except (ShadowUnavailable, ShadowFailed) as error:
            raise Refused(REFUSED, [_no_baseline(error)]) from error
        for name, rows in taken.items():
            ledger.create(connections[name])
            ledger.adopt(connections[name], rows, version=self._params["collection_version"])
            fingerprint.write(connections[name], known=True)

    def _prove(self, states: Mapping[str, State]) -> None:
        """Where it is not known whether a catalog is what its files make, compare; the answer is kept as a fingerprint."""
        doubtful = [item for item in self._items if item.name in states and not states[item.name].proved]
        if not doubtful or self._params["shadow"] is None:
            return
        try:
            with self._shadow() as tried:
                for item in doubtful:
                    self._prove_one(tried, item, states[item.name].ledger)
        except ShadowUnavailable:
            return
        except ShadowFailed as error:
            self.outcome.warnings.append(f"whether the schemas are what their migrations make could not be found out: {error}")

    def _prove_one(self, tried: Shadow, item: Item, known: Ledger) -> None:
        wanted = replay(tried, item, without(known, gone(item.files, known)))
        with contextlib.closing(connect(self._params, item.name)) as connection:
            ledger.lock(connection, wait=self._params["lock_wait"])
            differences = _catalog_diff.words(_catalog.snapshot(connection), wanted)
            ledger.create(connection)
            fingerprint.write(connection, known=not differences)
        if differences:
            self.outcome.warnings.append(
                f"the schema of {item.name} differs from what its migrations make, in {len(differences)} places; the first: {differences[0]}"
            )

    def _without_shadow(self, error: ShadowUnavailable | ShadowFailed, states: Mapping[str, State]) -> None:
        if self._adopting(states):
            raise Refused(REFUSED, [_no_baseline(error)]) from error
        self.outcome.catalog = []
        self.outcome.prediction = {"by": "files", "reason": str(error)}
        if isinstance(error, ShadowFailed):
            self.outcome.warnings.append(f"the pending migrations could not be tried, so only their names are known: {error}")

    @contextlib.contextmanager
    def _shadow(self) -> Iterator[Shadow]:
        with shadow(self._params, [item.database for item in self._items]) as tried:
            yield tried

    def _check_targets(self) -> None:
        """Databases and roles must be there before the first file is applied anywhere."""
        if self._params["assume_empty"]:
            raise Refused(REFUSED, ["assume_empty is for check mode alone"])
        names = {item.name for item in self._items}
        roles = {item.session_role for item in self._items if item.session_role}
        missing = [f"database {name}" for name in sorted(names - present(self._params, _DATABASES, names))]
        missing += [f"role {role}" for role in sorted(roles - present(self._params, _ROLES, roles))]
        if missing:
            raise Refused(REFUSED, [f"{what} does not exist; converge it with postgres_databases first" for what in missing])

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, psycopg2.extensions.connection]]:
        """A session with the lock on every database; in the order of names, so that two runs cannot wait for each other."""
        with contextlib.ExitStack() as stack:
            connections: dict[str, psycopg2.extensions.connection] = {}
            for name in sorted(item.name for item in self._items):
                connections[name] = stack.enter_context(contextlib.closing(connect(self._params, name)))
                # Before it waits for others: a guard rail of the database would end it meanwhile.
                fresh_session(connections[name])
                ledger.lock(connections[name], wait=self._params["lock_wait"])
            yield connections


_DATABASES = "SELECT datname FROM pg_database WHERE datname = ANY (%s)"
_ROLES = "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)"


def read(params: Mapping[str, Any], names: Sequence[str]) -> dict[str, State]:
    """The states of the databases that exist."""
    states: dict[str, State] = {}
    for name in present(params, _DATABASES, names):
        with contextlib.closing(connect(params, name)) as connection:
            states[name] = _state(connection)
    return states


def replay(tried: Shadow, item: Item, known: Ledger) -> _catalog.Catalog:
    """What the files in a ledger make. Raises ShadowFailed where they cannot be run anew."""
    try:
        return tried.run(item.database, replayed(item.files, known))
    except (UnfitText, MigrationFailed) as error:
        what = error.what if isinstance(error, MigrationFailed) else f"{item.name}/{error}"
        raise ShadowFailed(f"the applied files of {item.name} do not run on an empty database any more: {what}") from error


def present(params: Mapping[str, Any], query: str, names: Sequence[str] | set[str]) -> set[str]:
    with contextlib.closing(connect(params)) as connection, connection.cursor() as cursor:
        cursor.execute(query, (list(names),))
        return {row[0] for row in cursor.fetchall()}


def _state(connection: psycopg2.extensions.connection) -> State:
    known = ledger.read(connection)
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        read_only = cursor.fetchall() == [("on",)]
    if known == NOTHING:
        return State(foreign=_catalog.fingerprint(connection) != _catalog.EMPTY, read_only=read_only)
    return State(known, proved=read_only or not fingerprint.needs_proof(connection), read_only=read_only)


def _adopts(item: Item, state: State) -> bool:
    """A database in which nothing is yet is built from its files, whatever its baseline."""
    return item.baseline is not None and state.ledger == NOTHING and state.foreign


def _live(params: Mapping[str, Any], name: str) -> _catalog.Catalog:
    with contextlib.closing(connect(params, name)) as connection:
        return _catalog.snapshot(connection)


def _no_baseline(error: Exception) -> str:
    return f"a baseline is taken only after comparing, which needs the throw-away server: {error}"


def _bad_options(params: Mapping[str, Any]) -> list[str]:
    problems = [f"{name} is {params[name]}; write 0 or more" for name in ("lock_retries", "lock_wait") if params[name] < 0]
    if not re.fullmatch(r"[0-9]+\s*(us|ms|s|min|h|d)?", params["lock_timeout"]):
        problems.append(f"lock_timeout is {params['lock_timeout']!r}; write a number and a unit, as 5s or 500ms")
    return problems
