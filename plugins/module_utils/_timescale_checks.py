# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a declaration would lose or leak, and what cannot be: refused while planning, one sentence each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError, nearest
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import BUCKET, Aggregate, Database, Hypertable, Retention, State, Table

TIME_TYPE = "timestamp with time zone"


def refuse_declaration(database: Database) -> None:
    """What no server can make right. Raises InputError."""
    for hypertable in database.hypertables:
        sources: dict[str, Aggregate | Hypertable] = {hypertable.name: hypertable}
        for aggregate in hypertable.aggregates:
            source = sources[aggregate.source]
            _refuse_window(aggregate, source.name, source.retention)
            _refuse_own_retention(aggregate)
            if isinstance(source, Aggregate):
                _refuse_nesting(aggregate, source)
            sources[aggregate.name] = aggregate


def refuse_state(database: Database, state: State, *, check_mode: bool) -> None:
    """What this server cannot make right. Raises InputError."""
    _refuse_edition(database, state)
    _refuse_owners(database, state)
    for hypertable in database.hypertables:
        table = state.tables.get(hypertable.name)
        if table is None:
            if not (check_mode or state.unknown):
                raise InputError(f"the table {hypertable.name} is not in the database {database.name}: a migration must make it first")
            continue
        _refuse_table(hypertable, table, is_hypertable=hypertable.name in state.hypertables)
        _refuse_columns(hypertable, table)
        _refuse_time_column(hypertable, state)
        if hypertable.name not in state.hypertables:
            _refuse_conversion(hypertable, table)


def _refuse_edition(database: Database, state: State) -> None:
    edition = state.edition
    if edition.licence == "timescale" and not edition.library:
        raise InputError(
            f"the server of {database.name} says timescaledb.license = timescale, but its image has no licensed library (timescaledb-tsl-{edition.version}): "
            "use an image that has it, or set timescaledb.license to apache"
        )
    if not edition.native and state.compressed_chunks:
        raise InputError(
            f"{database.name} holds {state.compressed_chunks} columnstore chunks, which the Apache edition reads as if their rows were not there: "
            "go back to the licensed image, call convert_to_rowstore() on them, and change the image then"
        )
    native = sorted(name for name, found in state.aggregates.items() if found.native)
    if not edition.native and native:
        raise InputError(
            f"{native[0]} in {database.name} is a continuous aggregate of the licensed edition, and this server has the Apache edition, where nothing "
            "refreshes it: "
            "go back to the licensed image, or drop it there before you change the image"
        )


def _refuse_owners(database: Database, state: State) -> None:
    """On the Apache edition one job does it all, as the owner of the tables."""
    scheduled = {one.name: state.tables[one.name].owner for one in database.hypertables if (one.aggregates or one.retention) and one.name in state.tables}
    if not state.edition.native and len(set(scheduled.values())) > 1:
        first, *others = scheduled
        other = next(one for one in others if scheduled[one] != scheduled[first])
        raise InputError(
            f"{first} in {database.name} belongs to {scheduled[first]}, and {other} to {scheduled[other]}: on the Apache edition one role refreshes a "
            "database's aggregates: let all of these tables have the same owner"
        )


def _refuse_table(hypertable: Hypertable, table: Table, *, is_hypertable: bool) -> None:
    where = f"hypertable {hypertable.name}"
    if table.kind != "r":
        raise InputError(f"{where}: it is no plain table (relkind {table.kind}): only a table can be turned into a hypertable")
    if table.row_security:
        raise InputError(_row_security(hypertable, is_hypertable=is_hypertable))
    if (hypertable.aggregates or hypertable.retention or hypertable.columnstore) and not table.owner_logs_in:
        raise InputError(
            f"{where}: its owner {table.owner} may not log in, so the server can run no job for it: "
            "say `roles: {owner: {login: true}}` at its database (the owner still has no password)"
        )


def _row_security(hypertable: Hypertable, *, is_hypertable: bool) -> str:
    where = f"hypertable {hypertable.name}"
    if hypertable.aggregates:
        return (
            f"{where}: aggregate {hypertable.aggregates[0].name} would show every user's rows, because {hypertable.name} has row security: aggregate other data"
        )
    if hypertable.columnstore:
        return f"{where}: columnstore and row security exclude each other, and where they meet every row stays visible: leave one of them out"
    return (
        f"{where}: it has row security, which its chunks do not have: whoever reads it could read everybody's rows through them. "
        + ("Move its rows to a plain table" if is_hypertable else "Leave it a plain table")
        + ", or close it to all roles and open a security_barrier view"
    )


def _refuse_columns(hypertable: Hypertable, table: Table) -> None:
    where = f"hypertable {hypertable.name}"
    _known([hypertable.time_column], table.columns, f"{where}: time_column")
    if table.columns[hypertable.time_column] != TIME_TYPE:
        raise InputError(f"{where}: time_column {hypertable.time_column} is {table.columns[hypertable.time_column]}: only {TIME_TYPE} is supported")
    if hypertable.columnstore:
        _known(hypertable.columnstore.segmentby, table.columns, f"{where}: segmentby")
        _known([one.column for one in hypertable.columnstore.orderby], table.columns, f"{where}: orderby")
    offered: dict[str, Iterable[str]] = {hypertable.name: table.columns}
    for aggregate in hypertable.aggregates:
        _known(aggregate.group_by, offered[aggregate.source], f"aggregate {aggregate.name}: group_by")
        offered[aggregate.name] = [BUCKET, *aggregate.group_by, *(name for name, _expression in aggregate.columns)]


def _known(names: Iterable[str], columns: Iterable[str], where: str) -> None:
    offered = list(columns)
    for name in names:
        if name not in offered:
            raise InputError(f"{where} names the unknown column {name!r}: {nearest(name, offered)}")


def _refuse_time_column(hypertable: Hypertable, state: State) -> None:
    actual = state.hypertables.get(hypertable.name)
    if actual is not None and actual.time_column != hypertable.time_column:
        raise InputError(f"hypertable {hypertable.name} is partitioned by {actual.time_column}, which cannot be changed to {hypertable.time_column}")


def _refuse_conversion(hypertable: Hypertable, table: Table) -> None:
    where = f"hypertable {hypertable.name}"
    for columns in table.unique:
        if hypertable.time_column not in columns:
            raise InputError(
                f"{where}: its unique index on ({', '.join(columns)}) lacks the time column {hypertable.time_column}, so no hypertable can have it: "
                "add the column to the index or drop the index in a migration"
            )
    if table.size and not hypertable.migrate_data:
        raise InputError(f"{where}: {cost(table)}. Say `migrate_data: true` when that suits")


def cost(table: Table) -> str:
    """What it takes to turn a table with rows into a hypertable."""
    rows = f"about {table.rows:,} rows" if table.rows >= 0 else "rows that were never counted"
    return (
        f"the table has {rows} in {max(table.size // 2**20, 1):,} MB: all of them are written anew, "
        "nobody can read or write the table meanwhile, and the same space is needed once more"
    )


def _refuse_window(aggregate: Aggregate, source: str, retention: Retention | None) -> None:
    where = f"aggregate {aggregate.name}"
    start, end = aggregate.start_offset, aggregate.end_offset
    if retention is not None and (start is None or not start.within(retention.drop_after)):
        asked = "has no beginning (start_offset)" if start is None else f"begins {start} ago"
        raise InputError(
            f"{where}: its refresh window {asked}, and {source} drops rows after {retention.drop_after}: a refresh would delete the aggregated history. "
            f"Say a start_offset of at most {retention.drop_after}"
        )
    if start is not None and start.shortest < end.longest + 2 * aggregate.bucket.longest:
        raise InputError(f"{where}: between start_offset ({start}) and end_offset ({end}) two buckets of {aggregate.bucket} must fit: widen the window")


def _refuse_own_retention(aggregate: Aggregate) -> None:
    retention, start = aggregate.retention, aggregate.start_offset
    if retention is not None and (start is None or not start.within(retention.drop_after)):
        raise InputError(
            f"aggregate {aggregate.name}: it drops its own rows after {retention.drop_after}, and its refresh window reaches further back: "
            f"say a start_offset of at most {retention.drop_after}"
        )


def _refuse_nesting(aggregate: Aggregate, source: Aggregate) -> None:
    if aggregate.timezone != source.timezone:
        raise InputError(
            f"aggregate {aggregate.name}: its timezone is {aggregate.timezone}, that of {source.name} is {source.timezone}: buckets would not nest"
        )
    if aggregate.where is not None:
        raise InputError(f"aggregate {aggregate.name}: `where` belongs to an aggregate of rows, not to one that is made from {source.name}")
    if not source.bucket.nests_in(aggregate.bucket):
        raise InputError(f"aggregate {aggregate.name}: buckets of {aggregate.bucket} are not made of whole buckets of {source.bucket} ({source.name})")
    if source.bucket == aggregate.bucket:
        raise InputError(f"aggregate {aggregate.name}: its buckets are those of {source.name}, {source.bucket}: say a longer one")


def undeclared(database: Database, state: State) -> list[str]:
    """Aggregates that were declared once."""
    declared = {aggregate.name for aggregate in database.aggregates}
    managed: Mapping[str, object] = {name: found for name, found in state.aggregates.items() if found.definition is not None}
    return sorted(set(managed) - declared)
