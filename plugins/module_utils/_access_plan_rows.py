# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of users' rows: through every relation and function, as nobody, as one user, as a user without rows. Pure.

A write is tried with an expression that fails for the first row it would touch, and reads no column, so that only the policies for writing stand before it:
"nothing" means that no row was in reach, division by zero that one was. Nothing is written either way.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.nexanest.database.plugins.module_utils._access_facts import Function, Inside, Relation, Sample
from ansible_collections.nexanest.database.plugins.module_utils._access_model import NOTHING, REFUSED, Attempt
from ansible_collections.nexanest.database.plugins.module_utils._access_probe import READ, WRITE, Probe
from ansible_collections.nexanest.database.plugins.module_utils._access_wanted import APP, LOGINS, MIGRATOR, ServiceDatabase, Wanted
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Statement, name, statement, value

GROUP = "rows"
# random() makes the trap volatile, so that it is computed for each row in reach.
TRAPPED_UPDATE = "UPDATE {} SET {} = (1 / (random() * 0)::int)::text::@type@"
TRAPPED_DELETE = "DELETE FROM {} WHERE (1 / (random() * 0)::int)::text IS NULL"
INSERT = "INSERT INTO {} (@columns@) OVERRIDING SYSTEM VALUE VALUES (@values@)"
CALL = "SELECT count(*) FROM (SELECT FROM {}(@arguments@) found WHERE found.{} IS NOT NULL LIMIT 1) probe"
IN_STATISTICS = "SELECT count(*) FROM (SELECT FROM pg_catalog.pg_stats WHERE (schemaname, tablename) IN (@pairs@) LIMIT 1) probe"
# What a function may answer instead of rows: it refuses, wants other arguments, or would write.
FUNCTION_ERRORS = frozenset({"22004", "22023", "23502", "25006", "28000", "P0001", "P0002", "P0003"})
# With what a table's own trigger refuses a write; the rows stay as they are.
TRIGGER_ERRORS = frozenset({"P0001", "23000", "23001", "55000", "2F002", "0A000"})
POLICY = "ALTER TABLE … ENABLE and FORCE ROW LEVEL SECURITY, with a policy on the user column, in a migration"
AROUND = "take the role's rights on it, or give it row security of its own; a view needs security_invoker; a materialised view cannot be guarded"
FUNCTION = "let the function ask session.user_id(), or take EXECUTE from the role"
STATISTICS = "row security hides a table's statistics: turn it on and FORCE it"


class Rows:
    """The plan for one role in one database."""

    def __init__(self, wanted: Wanted, inside: Inside, database: ServiceDatabase, kind: str) -> None:
        self.inside, self.database, self.kind, self.column = inside, database, kind, wanted.column
        self.role = database.role(kind)

    @property
    def _judged(self) -> list[Relation]:
        """The owner of a partition without row security may ask it, as it may change it; what the others may is judged."""
        return [relation for relation in self.inside.owned if not (self.kind == MIGRATOR and relation.partition and not relation.row_security)]

    def probes(self) -> Iterator[Probe]:
        for relation in self._judged:
            sample = self.inside.samples.get(relation.key, Sample())
            yield from self._reads(relation, sample)
            if relation.writable:
                yield from self._writes(relation, sample)
        for function in self.inside.functions:
            if function.returns_user and self.role in function.executors:
                yield from self._calls(function)
        if self._judged:
            yield self._statistics()

    def _probe(self, what: str, *steps: Statement, expected: str = NOTHING, remedy: str = POLICY, mode: str = READ, user: str | None = None) -> Probe:
        return Probe(Attempt(GROUP, self.role, self.database.name, what, expected, remedy), self.role, self.database.name, steps, mode, user)

    def _reads(self, relation: Relation, sample: Sample) -> Iterator[Probe]:
        where = f"the {relation.word} {relation.title}"
        remedy = POLICY if relation.kind in ("r", "p") and not relation.partition else AROUND
        anything = statement("SELECT count(*) FROM (SELECT FROM {} LIMIT 1) probe", name(*relation.key))
        somebodys = statement("SELECT count(*) FROM (SELECT FROM {} WHERE {} IS NOT NULL LIMIT 1) probe", name(*relation.key), name(self.column))
        query = somebodys if sample.strangers else anything
        there = sample.user_a is not None
        yield _hiding(self._probe(f"read {where} as nobody", query, remedy=remedy), there)
        if self.kind == APP:
            off = statement("SET LOCAL row_security = off")
            yield _hiding(self._probe(f"read {where} with row_security = off", off, query, remedy=remedy), there)
        if self.database.key is not None:
            yield _hiding(self._probe(f"read {where} as a user without rows", query, remedy=remedy, user=nobody(relation.user_type)), there)
        if self.database.key is not None and sample.user_a is not None:
            others = statement(
                typed("SELECT count(*) FROM (SELECT FROM {} WHERE {} <> {}::@type@ LIMIT 1) probe", relation.user_type),
                name(*relation.key), name(self.column), value(sample.user_a),
            )  # fmt: skip
            yield _hiding(self._probe(f"read others' rows of {where} as one user", others, remedy=remedy, user=sample.user_a), sample.user_b is not None)

    def _writes(self, relation: Relation, sample: Sample) -> Iterator[Probe]:
        where, there = f"the {relation.word} {relation.title}", sample.user_a is not None or sample.strangers
        user = nobody(relation.user_type) if self.database.key is not None else None
        who = "nobody" if user is None else "a user without rows"
        update = statement(typed(TRAPPED_UPDATE, relation.user_type), name(*relation.key), name(self.column))
        delete = statement(TRAPPED_DELETE, name(*relation.key))
        for what, query in ((f"update {where} as {who}", update), (f"delete rows of {where} as {who}", delete)):
            yield replace(self._probe(what, query, mode=WRITE, user=user), hides=there, trap=True, denials=TRIGGER_ERRORS)
        if self.database.key is not None and not relation.partition and relation.kind != "v":
            yield from self._forgeries(relation, where, sample)
        if self.kind != MIGRATOR and relation.kind != "v" and "TRUNCATE" not in relation.powers.get(self.role, ()):
            # Where the catalog says that it would go through, the catalog's own attempt is red and this one is not made.
            yield self._probe(f"truncate {where}", statement("TRUNCATE {}", name(*relation.key)), expected=REFUSED, mode=WRITE)

    def _forgeries(self, relation: Relation, where: str, sample: Sample) -> Iterator[Probe]:
        """Rows in another user's name. The policy's answer comes before that of any constraint."""
        kind = relation.user_type
        user_a = sample.user_a or nobody(kind)
        user_b = sample.user_b or nobody(kind, 2)
        columns = [self.column, *relation.fillers]
        values = ", ".join([f"{{}}::{kind}", *relation.fillers.values()])
        places = ", ".join("{}" for _column in columns)
        insert = INSERT.replace("@columns@", places).replace("@values@", values)
        forged = statement(insert, name(*relation.key), *map(name, columns), value(user_b))
        yield self._probe(f"insert another user's row into {where}", forged, expected=REFUSED, mode=WRITE, user=user_a)
        if sample.user_a is not None:
            change = typed("UPDATE {} SET {} = {}::@type@ WHERE {} = {}::@type@", kind)
            given = statement(change, name(*relation.key), name(self.column), value(user_b), name(self.column), value(user_a))
            found = self._probe(f"give a row of {where} to another user", given, mode=WRITE, user=user_a)
            yield replace(found, denials=TRIGGER_ERRORS)

    def _calls(self, function: Function) -> Iterator[Probe]:
        """With the id of an existing user wherever the function takes one, NULL elsewhere."""
        somebody = next((sample.user_a for sample in self.inside.samples.values() if sample.user_a is not None), None)
        kind = self.inside.owned[0].user_type if self.inside.owned else ""
        places, given = [], []
        for _argument, argument_type in function.arguments:
            if argument_type == kind and somebody is not None:
                places.append(f"{{}}::{argument_type}")
                given.append(value(somebody))
            else:
                places.append(f"NULL::{argument_type}")
        query = statement(CALL.replace("@arguments@", ", ".join(places)), name(function.schema, function.name), *given, name(self.column))
        users = {"nobody": None, **({"a user without rows": nobody(kind)} if self.database.key is not None and kind else {})}
        for who, user in users.items():
            found = self._probe(f"call {function.title} as {who}", query, remedy=FUNCTION, user=user)
            yield replace(found, denials=FUNCTION_ERRORS, hides=somebody is not None)

    def _statistics(self) -> Probe:
        """Statistics hold samples of values."""
        pairs = ", ".join("({}, {})" for _relation in self._judged)
        names = [value(part) for relation in self._judged for part in relation.key]
        query = IN_STATISTICS.replace("@pairs@", pairs)
        return _hiding(self._probe("read statistics of users' rows in pg_stats", statement(query, *names), remedy=STATISTICS), self.inside.has_statistics)


def nobody(user_type: str, number: int = 1) -> str:
    """An id that belongs to no user."""
    if user_type == "uuid":
        return str(uuid.uuid4())
    return str(-(2**14) - number) if user_type in ("smallint", "integer", "bigint") else f"nexanest-access-{uuid.uuid4()}"


def typed(template: str, user_type: str) -> str:
    """The template for a user column of this type, as the catalog writes it."""
    return template.replace("@type@", user_type)


def rows(wanted: Wanted, inside: Inside, database: ServiceDatabase) -> Iterator[Probe]:
    """All of one database."""
    for kind in LOGINS:
        yield from Rows(wanted, inside, database, kind).probes()


def _hiding(probe: Probe, hides: bool) -> Probe:
    return replace(probe, hides=hides)
