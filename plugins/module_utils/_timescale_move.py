# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a move from the Apache edition to the licensed one: rollups become native aggregates and keep their history. Pure."""

from __future__ import annotations

from ansible_collections.nexanest.database.plugins.module_utils import _timescale_equivalent as equivalent
from ansible_collections.nexanest.database.plugins.module_utils import _timescale_native as native
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import name, value
from ansible_collections.nexanest.database.plugins.module_utils._timescale_context import Context
from ansible_collections.nexanest.database.plugins.module_utils._timescale_input import ASIDE
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import Aggregate, Hypertable
from ansible_collections.nexanest.database.plugins.module_utils._timescale_query import relation
from ansible_collections.nexanest.database.plugins.module_utils._timescale_steps import Step, Work, admin, step


def move(context: Context, hypertable: Hypertable) -> list[Step]:
    """Native aggregates are made and filled aside, completed with the history, and given the names in one transaction. Raises InputError."""
    moving = [one for one in hypertable.aggregates if _moves(context, one)]
    if not context.native or not moving:
        return []
    for one in moving:
        if context.state.aggregates[one.name].definition != one.definition:
            raise InputError(f"aggregate {one.name}: it moves to the licensed edition as it is: declare the change in a later run")
    work = [*_aside(context, hypertable, moving), *_exchange(context, hypertable, moving)]
    steps: list[Step] = []
    for one in moving:
        change = {"before": {"implementation": "equivalent"}, "after": {"implementation": "native"}}
        # All of them move together, with the first.
        steps += step("continuous aggregate", context.title(one.name), **change, work=work or [admin("SELECT 1")])
        work = []
    return steps


def _moves(context: Context, aggregate: Aggregate) -> bool:
    found = context.state.aggregates.get(aggregate.name)
    return found is not None and found.definition is not None and not found.native and found.remains != "record"


def repair(context: Context, hypertable: Hypertable, aggregate: Aggregate) -> list[Work]:
    """The function and the view of a rollup, over the rows that are there."""
    number, owner = context.numbers()[aggregate.name], context.owner(hypertable)
    return [
        *equivalent.maker(aggregate, number, context.source(aggregate, hypertable, rows=True), owner),
        equivalent.view(aggregate, number, context.source(aggregate, hypertable), owner),
    ]


def _aside(context: Context, hypertable: Hypertable, moving: list[Aggregate]) -> list[Work]:
    """A refresh of the rollups first: then only what has lost its raw rows differs."""
    owner = context.owner(hypertable)
    broken = [one for one in moving if context.state.aggregates[one.name].remains == "rows"]
    work = [made for one in broken for made in repair(context, hypertable, one)]
    work += [fill for one in moving for fill in equivalent.fill(one, owner)]
    for one in moving:
        if not context.state.aggregates[one.name].aside:
            work.append(native.create(one, one.name + ASIDE, context.source(one, hypertable, aside=True), owner))
    return [*work, *(native.fill(one, one.name + ASIDE, context.state.extension_schema, owner) for one in moving)]


def _exchange(context: Context, hypertable: Hypertable, moving: list[Aggregate]) -> list[Work]:
    """In one transaction: the history over, the rollups away, their names to the new ones."""
    owner, extension, numbers = context.owner(hypertable), context.state.extension_schema, context.numbers()
    work = [native.take_over(one.name + ASIDE, numbers[one.name], owner) for one in moving]
    for one in reversed(moving):
        work += [admin("DROP VIEW {}", name(*relation(one.name))), *equivalent.drop_rows(numbers[one.name])]
    for one in moving:
        work += [
            native.rename(one.name + ASIDE, one.name, owner),
            admin("UPDATE _rollup.aggregates SET native = TRUE WHERE name = {}", value(one.name)),
            *(equivalent.no_task(kind, one.name) for kind in ("refresh", "retention")),
            equivalent.settings(one),
            native.schedule(one, extension, owner),
            *native.retention(one.name, one.retention, None, None, extension=extension, owner=owner),
        ]
    return [*work, admin("DROP TRIGGER IF EXISTS {} ON {}", name(equivalent.TRIGGER), name(*relation(hypertable.name)))]
