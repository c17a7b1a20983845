# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's options as the desired set; what is not written as it must be is refused here, before a server is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _databases_checks as checks
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._migration_sql import expression_fault
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import (
    BUCKET,
    DEFAULT_SCHEDULE,
    Aggregate,
    Columnstore,
    Database,
    Hypertable,
    Order,
    Retention,
)
from ansible_collections.nexanest.database.plugins.module_utils._timescale_span import Span, span

DATABASE_KEYS = ("name", "hypertables", "readers")
HYPERTABLE_KEYS = ("name", "time_column", "chunk_time_interval", "migrate_data", "columnstore", "retention", "continuous_aggregates")
COLUMNSTORE_KEYS = ("segmentby", "orderby", "after")
RETENTION_KEYS = ("drop_after", "schedule_interval")
AGGREGATE_KEYS = (
    "name", "source", "bucket", "timezone", "where", "group_by", "columns", "start_offset", "end_offset", "schedule_interval", "materialized_only", "retention",
)  # fmt: skip
ASIDE = "__moving"  # a native aggregate while its equivalent still has the name


def desired(items: Iterable[Any]) -> list[Database]:
    """The desired set. Raises InputError."""
    databases = [_database(item, index) for index, item in enumerate(items)]
    _refuse_twins([database.name for database in databases], "databases names the database")
    return databases


def _database(item: Any, index: int) -> Database:
    data = checks.keys(item, DATABASE_KEYS, f"databases[{index}]")
    name = checks.identifier(data.get("name"), f"databases[{index}].name")
    where = f"database {name!r}"
    hypertables = tuple(_hypertable(one, where) for one in checks.listing(data.get("hypertables") or [], f"{where}: hypertables"))
    aggregates = [aggregate.name for hypertable in hypertables for aggregate in hypertable.aggregates]
    _refuse_twins([*(hypertable.name for hypertable in hypertables), *aggregates], f"{where} declares")
    readers = checks.listing(data.get("readers") or [], f"{where}: readers")
    return Database(name, hypertables, tuple(checks.identifier(one, f"{where}: readers") for one in readers))


def _hypertable(item: Any, where: str) -> Hypertable:
    data = checks.keys(item, HYPERTABLE_KEYS, f"{where}: a hypertable")
    name = _relation(data.get("name"), f"{where}: the name of a hypertable")
    here = f"{where}: hypertable {name}"
    aggregates = [_aggregate(one, name, here) for one in checks.listing(data.get("continuous_aggregates") or [], f"{here}: continuous_aggregates")]
    time_column = checks.identifier(data.get("time_column", "time"), f"{here}: time_column")
    return Hypertable(
        name=name,
        time_column=time_column,
        chunk_time_interval=_chunk_interval(data, here),
        migrate_data=checks.flag(data.get("migrate_data"), f"{here}: migrate_data"),
        columnstore=_columnstore(data.get("columnstore"), time_column, here),
        retention=_retention(data.get("retention"), here),
        aggregates=_in_order(aggregates, name, here),
    )


def _chunk_interval(data: Mapping[str, Any], where: str) -> Span:
    found = _span(data, "chunk_time_interval", where)
    if found.months:
        raise InputError(f"{where}: chunk_time_interval is {found}, and chunks have a fixed length: say it in days, such as '30 days'")
    return found.fixed


def _columnstore(item: Any, time_column: str, where: str) -> Columnstore | None:
    if item is None:
        return None
    data = checks.keys(item, COLUMNSTORE_KEYS, f"{where}: columnstore")
    return Columnstore(
        segmentby=_names(data.get("segmentby"), f"{where}: segmentby"),
        # The server's own default, said aloud: what it says itself is compared with it.
        orderby=tuple(_order(one, where) for one in checks.listing(data.get("orderby") or [], f"{where}: orderby")) or (Order(time_column, descending=True),),
        after=_span(data, "after", where) if data.get("after") is not None else None,
    )


def _order(item: Any, where: str) -> Order:
    words = checks.text(item, f"{where}: orderby").split()
    if not words or len(words) > 2 or (len(words) == 2 and words[1].upper() not in ("ASC", "DESC")):
        raise InputError(f"{where}: orderby holds {item!r}: write a column, or a column and DESC")
    return Order(checks.identifier(words[0], f"{where}: orderby"), len(words) == 2 and words[1].upper() == "DESC")


def _retention(item: Any, where: str) -> Retention | None:
    if item is None:
        return None
    data = checks.keys(item, RETENTION_KEYS, f"{where}: retention")
    return Retention(_span(data, "drop_after", f"{where}: retention"), _span(data, "schedule_interval", f"{where}: retention", default=DEFAULT_SCHEDULE))


def _aggregate(item: Any, hypertable: str, where: str) -> Aggregate:
    data = checks.keys(item, AGGREGATE_KEYS, f"{where}: an aggregate")
    name = _relation(data.get("name"), f"{where}: the name of an aggregate")
    here = f"aggregate {name}"
    if len(name.partition(".")[2].encode()) > checks.NAME_BYTES - len(ASIDE):
        raise InputError(f"{here}: its name may have {checks.NAME_BYTES - len(ASIDE)} bytes, so that one made anew can stand beside it: choose a shorter one")
    bucket = _span(data, "bucket", here)
    if bucket.months and (bucket.days or bucket.microseconds):
        raise InputError(f"{here}: bucket is {bucket}: say whole months, or days and shorter units without months")
    columns = _columns(data.get("columns"), here)
    group_by = _names(data.get("group_by"), f"{here}: group_by")
    _refuse_twins([BUCKET, *group_by, *(column for column, _expression in columns)], f"{here} has the column")
    return Aggregate(
        name=name,
        source=_relation(data.get("source") or hypertable, f"{here}: source"),
        bucket=bucket,
        timezone=_optional(data, "timezone", here),
        where=_expression(data["where"], f"{here}: where") if data.get("where") is not None else None,
        group_by=group_by,
        columns=columns,
        start_offset=_span(data, "start_offset", here) if data.get("start_offset") is not None else None,
        end_offset=_span(data, "end_offset", here, default=bucket),
        schedule_interval=_span(data, "schedule_interval", here, default=bucket),
        materialized_only=checks.flag(data.get("materialized_only"), f"{here}: materialized_only"),
        retention=_retention(data.get("retention"), here),
    )


def _columns(item: Any, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(item, Mapping) or not item:
        raise InputError(f"{where}: columns must map each column's name to an expression such as max(price)")
    return tuple((checks.identifier(name, f"{where}: columns"), _expression(expression, f"{where}: column {name}")) for name, expression in item.items())


def _expression(item: Any, where: str) -> str:
    """SQL that stands inside our own: it must not end it."""
    found = checks.text(item, where).strip()
    fault = expression_fault(found) if found else "it is empty"
    if fault is not None:
        raise InputError(f"{where} is {found!r}: {fault}: write one SQL expression such as max(price)")
    return found


def _in_order(aggregates: list[Aggregate], hypertable: str, where: str) -> tuple[Aggregate, ...]:
    """Each aggregate after the one that it is made from."""
    known, left, ordered = {hypertable}, list(aggregates), []
    while left:
        ready = [one for one in left if one.source in known]
        if not ready:
            raise InputError(f"{where}: aggregate {left[0].name} is made from {left[0].source}, which is neither this hypertable nor one of its aggregates")
        ordered += ready
        known |= {one.name for one in ready}
        left = [one for one in left if one not in ready]
    return tuple(ordered)


def _names(item: Any, where: str) -> tuple[str, ...]:
    given = [item] if isinstance(item, str) else checks.listing(item or [], where)
    return tuple(checks.identifier(one, where) for one in given)


def _relation(item: Any, where: str) -> str:
    """schema.name; neither part may hold a point, since both are kept as one text."""
    parts = item.split(".") if isinstance(item, str) else []
    if len(parts) != 2:
        raise InputError(f"{where} must be schema.name, not {item!r}")
    return ".".join(checks.identifier(part, where) for part in parts)


def _span(data: Mapping[str, Any], key: str, where: str, *, default: Span | None = None) -> Span:
    found = data.get(key)
    if found is None and default is not None:
        return default
    try:
        return span(checks.text(found, f"{where}: {key}"))
    except ValueError as error:
        raise InputError(f"{where}: {key} is {found!r}: write a span of time such as '1 hour' or '90 days'") from error


def _optional(data: Mapping[str, Any], key: str, where: str) -> str | None:
    return checks.text(data[key], f"{where}: {key}").strip() if data.get(key) is not None else None


def _refuse_twins(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for one in names:
        if one in seen:
            raise InputError(f"{what} {one!r} twice: keep one")
        seen.add(one)
