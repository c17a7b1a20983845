# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL statements as data: planned and printed without a driver, quoted by psycopg2 when they are run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

MASK = "********"
_KEYWORD_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_ ,")


@dataclass(frozen=True)
class Name:
    """An identifier; dotted ones have several parts."""

    parts: tuple[str, ...]


@dataclass(frozen=True)
class Value:
    """A literal; several are a comma-separated list of literals."""

    items: tuple[str | int, ...]


@dataclass(frozen=True)
class Secret:
    """A literal that is never printed."""

    text: str

    def __repr__(self) -> str:
        return MASK


@dataclass(frozen=True)
class Keyword:
    """Words of SQL itself, such as a list of privileges or PUBLIC."""

    text: str

    def __post_init__(self) -> None:
        if not set(self.text) <= _KEYWORD_CHARACTERS:
            raise ValueError(f"not a keyword: {self.text!r}")


Argument: TypeAlias = "Name | Value | Secret | Keyword"


@dataclass(frozen=True)
class Statement:
    """A template with one {} per argument."""

    template: str
    arguments: tuple[Argument, ...] = ()

    def text(self) -> str:
        """Readable SQL with secrets masked."""
        return self.template.format(*(_text(argument) for argument in self.arguments))

    def compose(self, sql: Any) -> Any:
        """The statement for psycopg2's execute(); sql is the module psycopg2.sql."""
        return sql.SQL(self.template).format(*(_composed(sql, argument) for argument in self.arguments))


def statement(template: str, *arguments: Argument) -> Statement:
    return Statement(template, arguments)


def name(*parts: str) -> Name:
    return Name(parts)


def value(*items: str | int) -> Value:
    return Value(items)


def _text(argument: Argument) -> str:
    match argument:
        case Name():
            return ".".join('"{}"'.format(part.replace('"', '""')) for part in argument.parts)
        case Value():
            return ", ".join(str(item) if isinstance(item, int) else "'{}'".format(item.replace("'", "''")) for item in argument.items)
        case Secret():
            return f"'{MASK}'"
        case Keyword():
            return argument.text


def _composed(sql: Any, argument: Argument) -> Any:
    match argument:
        case Name():
            return sql.Identifier(*argument.parts)
        case Value():
            return sql.SQL(", ").join(sql.Literal(item) for item in argument.items)
        case Secret():
            return sql.Literal(argument.text)
        case Keyword():
            return sql.SQL(argument.text)
