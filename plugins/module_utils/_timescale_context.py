# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One database's declaration beside its state, and what every part of the plan asks of the two. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ansible_collections.nexanest.database.plugins.module_utils._timescale_input import ASIDE
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import BUCKET, Aggregate, Database, Hypertable, State
from ansible_collections.nexanest.database.plugins.module_utils._timescale_query import Source, relation


@dataclass(frozen=True)
class Context:
    """What every part of a database's plan asks."""

    database: Database
    state: State
    confirm_drop: Collection[str]

    @property
    def native(self) -> bool:
        return self.state.edition.native

    def owner(self, hypertable: Hypertable) -> str | None:
        table = self.state.tables.get(hypertable.name)
        return table.owner if table else None

    def numbers(self) -> dict[str, int]:
        """The aggregates' numbers in our own catalog: those that are there keep theirs."""
        known = {name: found.id for name, found in self.state.aggregates.items() if found.id is not None}
        following = max(known.values(), default=0)
        for aggregate in self.database.aggregates:
            if aggregate.name not in known:
                following += 1
                known[aggregate.name] = following
        return known

    def depth(self, aggregate: str) -> int:
        """How many others an aggregate that is there is made from."""
        source, depth = aggregate, 0
        while source in self.state.aggregates and depth <= len(self.state.aggregates):
            source, depth = str((self.state.aggregates[source].definition or {}).get("source")), depth + 1
        return depth

    def source(self, aggregate: Aggregate, hypertable: Hypertable, *, rows: bool = False, aside: bool = False) -> Source:
        """Where it reads. rows: a parent's materialised rows; aside: a parent that still has its name to get."""
        extension = self.state.extension_schema
        if aggregate.source == hypertable.name:
            return Source(relation(hypertable.name), hypertable.time_column, extension)
        if rows:
            return Source(("_rollup", f"rows_{self.numbers()[aggregate.source]}"), BUCKET, extension)
        return Source(relation(aggregate.source + (ASIDE if aside else "")), BUCKET, extension)

    def title(self, relation_name: str) -> str:
        return f"{self.database.name}.{relation_name}"
