# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What shall be and what is: hypertables, columnstore, retention and aggregates of one database. No driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._timescale_span import Span

BUCKET = "bucket"  # the name of an aggregate's first column
DEFAULT_SCHEDULE = Span(days=1)


@dataclass(frozen=True)
class Retention:
    """drop_after: age of what is dropped; schedule_interval: how often it is looked for."""

    drop_after: Span
    schedule_interval: Span = DEFAULT_SCHEDULE

    @property
    def shown(self) -> dict[str, str]:
        return {"drop_after": str(self.drop_after), "schedule_interval": str(self.schedule_interval)}


@dataclass(frozen=True)
class Order:
    """One column of a columnstore's order."""

    column: str
    descending: bool = False

    def __str__(self) -> str:
        return f"{self.column} DESC" if self.descending else self.column


@dataclass(frozen=True)
class Columnstore:
    """segmentby, orderby: how rows are packed; after: age of a chunk that is packed, None for no schedule."""

    segmentby: tuple[str, ...] = ()
    orderby: tuple[Order, ...] = ()
    after: Span | None = None

    @property
    def shown(self) -> dict[str, Any]:
        return {"segmentby": list(self.segmentby), "orderby": [str(one) for one in self.orderby], "after": str(self.after) if self.after else None}


@dataclass(frozen=True)
class Aggregate:
    """A continuous aggregate as it shall be. source: the hypertable's or another aggregate's name; columns: name and SQL expression, in order."""

    name: str
    source: str
    bucket: Span
    timezone: str | None
    where: str | None
    group_by: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    end_offset: Span
    schedule_interval: Span
    start_offset: Span | None = None
    materialized_only: bool = False
    retention: Retention | None = None

    @property
    def definition(self) -> dict[str, Any]:
        """What the materialised rows depend on: another one means another table."""
        return {
            "source": self.source,
            "bucket": str(self.bucket),
            "timezone": self.timezone,
            "where": self.where,
            "group_by": list(self.group_by),
            "columns": [list(column) for column in self.columns],
        }


@dataclass(frozen=True)
class Hypertable:
    """A hypertable as it shall be, with its aggregates: each comes after the one that it is made from."""

    name: str
    time_column: str
    chunk_time_interval: Span
    migrate_data: bool = False
    columnstore: Columnstore | None = None
    retention: Retention | None = None
    aggregates: tuple[Aggregate, ...] = ()


@dataclass(frozen=True)
class Database:
    name: str
    hypertables: tuple[Hypertable, ...]
    readers: tuple[str, ...] = ()

    @property
    def aggregates(self) -> tuple[Aggregate, ...]:
        return tuple(aggregate for hypertable in self.hypertables for aggregate in hypertable.aggregates)


@dataclass(frozen=True)
class Table:
    """A table as it is. unique: the columns of each unique index; rows: the planner's estimate."""

    owner: str
    columns: Mapping[str, str]
    owner_logs_in: bool = True
    row_security: bool = False
    kind: str = "r"
    rows: int = 0
    size: int = 0
    unique: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class ActualHypertable:
    """A hypertable as it is. registered: in our own catalog; watched: TRUNCATE tells it; rolled_retention: our own task does it."""

    time_column: str
    chunk_time_interval: Span | None
    columnstore: Columnstore | None = None
    retention: Retention | None = None
    columnstore_job: int | None = None
    retention_job: int | None = None
    registered: bool = True
    watched: bool = True
    rolled_retention: bool = False


@dataclass(frozen=True)
class ActualAggregate:
    """An aggregate as it is. definition: as it was declared, None for one that somebody else made."""

    native: bool
    definition: Mapping[str, Any] | None
    start_offset: Span | None = None
    end_offset: Span | None = None
    schedule_interval: Span | None = None
    materialized_only: bool = False
    retention: Retention | None = None
    id: int | None = None
    refresh_job: int | None = None
    retention_job: int | None = None
    # False after a run that was killed between making it and filling it.
    filled: bool = True
    # whole; rows: its view or the function that makes its rows is gone; record: nothing but our own record of it is left.
    remains: str = "whole"
    # A native one that stands beside an equivalent: a move that was interrupted.
    aside: bool = False


@dataclass(frozen=True)
class Edition:
    """licence: what is configured; library: whether the licensed library is there; version: of the extension in this database."""

    licence: str
    library: bool
    version: str

    @property
    def native(self) -> bool:
        return self.licence == "timescale" and self.library

    @property
    def name(self) -> str:
        return "timescale" if self.native else "apache"


@dataclass(frozen=True)
class Scheduler:
    """pg_cron as the server has it. jobs: ours by name, (schedule, command, database, username); lost: those of a database that was renamed or dropped."""

    available: bool
    installed: bool = False
    jobs: Mapping[str, tuple[str, str, str, str]] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """One database as it is. unknown: nothing can be asked, everything is taken as absent."""

    edition: Edition
    extension_schema: str = "public"
    tables: Mapping[str, Table] = field(default_factory=dict)
    hypertables: Mapping[str, ActualHypertable] = field(default_factory=dict)
    aggregates: Mapping[str, ActualAggregate] = field(default_factory=dict)
    compressed_chunks: int = 0
    machinery: str | None = None
    granted: frozenset[str] = frozenset()
    job_schema: str = "_timescaledb_config"
    failing_jobs: tuple[int, ...] = ()
    idle_jobs: tuple[int, ...] = ()
    scheduler: Scheduler = Scheduler(available=True)
    unknown: bool = False
