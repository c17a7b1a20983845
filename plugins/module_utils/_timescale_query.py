# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one SELECT behind an aggregate, in the forms that the two editions need. Its parts are written by the inventory, its frame here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Argument, Statement, name, value
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import BUCKET, Aggregate


@dataclass
class Text:
    """A statement that is written piece by piece."""

    template: list[str] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)

    def add(self, template: str, *arguments: Argument) -> Text:
        self.template.append(template)
        self.arguments += arguments
        return self

    def expression(self, text: str) -> Text:
        """SQL from the inventory: its braces are its own."""
        return self.add(text.replace("{", "{{").replace("}", "}}"))

    def append(self, other: Statement) -> Text:
        return self.add(other.template, *other.arguments)

    @property
    def statement(self) -> Statement:
        return Statement("".join(self.template), tuple(self.arguments))


@dataclass(frozen=True)
class Source:
    """Where an aggregate's rows come from. relation: schema and name; extension: the schema of TimescaleDB's functions."""

    relation: tuple[str, str]
    time_column: str
    extension: str


def relation(declared: str) -> tuple[str, str]:
    schema, _point, found = declared.partition(".")
    return schema, found


def literal(declared: str) -> str:
    """The relation as the text that a regclass is read from."""
    return ".".join('"{}"'.format(part.replace('"', '""')) for part in relation(declared))


def columns(aggregate: Aggregate) -> list[str]:
    return [BUCKET, *aggregate.group_by, *(column for column, _expression in aggregate.columns)]


def select(aggregate: Aggregate, source: Source, conditions: Sequence[str] = ()) -> Statement:
    """The direct aggregation. conditions: SQL that limits the source's time column, which stands for {} in it."""
    text = Text().add("SELECT {}.time_bucket(INTERVAL {}, {}", name(source.extension), value(str(aggregate.bucket)), name(source.time_column))
    if aggregate.timezone is not None:
        text.add(", {}", value(aggregate.timezone))
    text.add(") AS {}", name(BUCKET))
    for column in aggregate.group_by:
        text.add(", {}", name(column))
    for column, expression in aggregate.columns:
        text.add(", ").expression(expression).add(" AS {}", name(column))
    text.add(" FROM {}", name(*source.relation))
    limits = [Text().add(condition, name(source.time_column)).statement for condition in conditions]
    if aggregate.where is not None:
        limits.insert(0, Text().add("(").expression(aggregate.where).add(")").statement)
    for index, limit in enumerate(limits):
        text.add(" AND " if index else " WHERE ").append(limit)
    text.add(" GROUP BY " + ", ".join(str(index + 1) for index in range(len(aggregate.group_by) + 1)))
    return text.statement
