# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's word on what was declared, before anything is changed: expressions, time zones, schemas. Nothing of it is run, nothing stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Statement, name
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import BUCKET, Aggregate, Database, Hypertable, State
from ansible_collections.nexanest.database.plugins.module_utils._timescale_query import Source, Text, relation, select

try:  # connect() says so where it is missing
    import psycopg2
    from psycopg2 import sql
except ImportError:
    pass

# Parts of a query that the licensed edition refuses: their numbers would change without a row.
PARTS = {
    "{SUBLINK": "a subquery",
    "{WINDOWFUNC": "a window function",
    ":hasTargetSRFs true": "a function that returns rows",
    "{SQLVALUEFUNCTION": "the time or the user of whoever asks",
}
FUNCTIONS = re.compile(r":(?:funcid|opfuncid|aggfnoid) (\d+)")
CHANGING = "SELECT proname FROM pg_proc WHERE oid = ANY (%s) AND provolatile <> 'i' ORDER BY 1 LIMIT 1"
MAY_CREATE = "SELECT n.oid IS NOT NULL, coalesce(has_schema_privilege(%s, n.oid, 'CREATE'), false) FROM (SELECT to_regnamespace(quote_ident(%s)) AS oid) AS n"
# How often the clocks of a place change, and the last day that began twice: times between the two beginnings lie before their own day.
CLOCKS = """
WITH days AS (SELECT d, d AT TIME ZONE %s AS begins FROM generate_series(timestamp '1990-01-01', timestamp '2040-01-01', interval '1 day') AS d)
SELECT count(DISTINCT d AT TIME ZONE 'UTC' - begins) > 1, max(d::date) FILTER (WHERE (begins - interval '1 second') AT TIME ZONE %s >= d) FROM days
"""


def judge(session: Any, database: Database, state: State, *, check_mode: bool) -> None:
    """Raises InputError. In check mode, what migrations have still to make is left out."""
    for hypertable in database.hypertables:
        table = state.tables.get(hypertable.name)
        if table is None:
            continue
        with session.cursor() as cursor:
            for aggregate in hypertable.aggregates:
                _zone(cursor, aggregate)
                if not check_mode and aggregate.name not in state.aggregates:
                    _schema(cursor, aggregate, table.owner)
            cursor.execute("BEGIN")
            try:
                _queries(cursor, database, hypertable, state)
            finally:
                cursor.execute("ROLLBACK")


def _zone(cursor: Any, aggregate: Aggregate) -> None:
    zone, where = aggregate.timezone, f"aggregate {aggregate.name}: timezone {aggregate.timezone}"
    if zone is None:
        return
    try:
        cursor.execute(CLOCKS, [zone, zone])
    except psycopg2.errors.InvalidParameterValue as error:
        raise InputError(f"{where} is unknown to the server: write a name such as Europe/Berlin") from error
    changes, twice = cursor.fetchone()
    if changes and not aggregate.bucket.whole_days:
        raise InputError(f"{where} sets its clocks forth and back, so an hour may come twice: leave the timezone out for buckets of {aggregate.bucket}")
    if twice:
        raise InputError(f"{where}: its clocks go back at midnight, so a day such as {twice} begins twice: use another zone, or none")


def _schema(cursor: Any, aggregate: Aggregate, owner: str) -> None:
    schema = relation(aggregate.name)[0]
    cursor.execute(MAY_CREATE, [owner, schema])
    there, may = cursor.fetchone()
    if not there:
        raise InputError(f"aggregate {aggregate.name}: the schema {schema} is not there: a migration must make it first")
    if not may:
        raise InputError(f"aggregate {aggregate.name}: {owner}, who owns its rows, may not create in the schema {schema}: grant it in a migration")


def _queries(cursor: Any, database: Database, hypertable: Hypertable, state: State) -> None:
    """Each as a temporary view, as the owner, so that those made from it are judged too. The caller rolls back."""
    owner = name(state.tables[hypertable.name].owner)
    cursor.execute("SELECT has_database_privilege(%s, current_database(), 'TEMPORARY')", [state.tables[hypertable.name].owner])
    if not cursor.fetchone()[0]:
        cursor.execute(Statement("GRANT TEMPORARY ON DATABASE {} TO {}", (name(database.name), owner)).compose(sql))
    cursor.execute(Statement("SET LOCAL ROLE {}", (owner,)).compose(sql))
    cursor.execute(Statement("SET LOCAL search_path = {}, pg_temp", (name(state.extension_schema),)).compose(sql))
    sources = {hypertable.name: Source(relation(hypertable.name), hypertable.time_column, state.extension_schema)}
    for number, aggregate in enumerate(hypertable.aggregates):
        view = ("pg_temp", f"judged_{number}")
        sources[aggregate.name] = Source(view, BUCKET, state.extension_schema)
        text = Text().add("CREATE TEMPORARY VIEW {} AS ", name(view[1])).append(select(aggregate, sources[aggregate.source]))
        try:
            cursor.execute(text.statement.compose(sql))
        except psycopg2.Error as error:
            hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
            raise InputError(f"aggregate {aggregate.name} of {database.name}: {error.diag.message_primary or 'the connection was lost'}{hint}") from error
        cursor.execute("SELECT ev_action::text FROM pg_rewrite WHERE ev_class = %s::regclass", [".".join(view)])
        for fault in _faults(cursor, cursor.fetchone()[0]):
            raise InputError(f"aggregate {aggregate.name} of {database.name} holds {fault}: the numbers of a bucket must depend on its rows alone")


def _faults(cursor: Any, tree: str) -> Iterator[str]:
    yield from (what for sign, what in PARTS.items() if sign in tree)
    cursor.execute(CHANGING, [[int(oid) for oid in FUNCTIONS.findall(tree)]])
    yield from (f"{row[0]}(), whose result changes with settings or time" for row in cursor.fetchall())
