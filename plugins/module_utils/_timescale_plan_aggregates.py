# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan's part for continuous aggregates: removed, made, made anew, repaired, changed. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _timescale_equivalent as equivalent
from ansible_collections.nexanest.database.plugins.module_utils import _timescale_native as native
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._timescale_checks import undeclared
from ansible_collections.nexanest.database.plugins.module_utils._timescale_context import Context
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import ActualAggregate, Aggregate, Hypertable
from ansible_collections.nexanest.database.plugins.module_utils._timescale_move import repair
from ansible_collections.nexanest.database.plugins.module_utils._timescale_steps import Step, Work, step


def removed(context: Context) -> list[Step]:
    """What goes because it is named in confirm_drop: no longer declared, or made anew. What is made from others goes first. Raises InputError."""
    confirmed = {one for one in undeclared(context.database, context.state) if one in context.confirm_drop}
    going = {*confirmed, *(one.name for hypertable in context.database.hypertables for one in _made_anew(context, hypertable))}
    for name, found in context.state.aggregates.items():
        source = (found.definition or {}).get("source")
        if source in going and name not in going and found.remains != "record":
            raise InputError(f"aggregate {name} is made from {source}, which would be dropped: name it in confirm_drop as well")
    owners = {one.name: context.owner(hypertable) for hypertable in context.database.hypertables for one in hypertable.aggregates}
    steps: list[Step] = []
    for one in sorted(going, key=lambda name: (-context.depth(name), name)):
        actual = context.state.aggregates[one]
        steps += step("continuous aggregate", context.title(one), before=actual.definition, after=None, work=_removal(one, actual, owners.get(one)))
    return steps


def aggregates(context: Context, hypertable: Hypertable) -> list[Step]:
    """A hypertable's aggregates, each after the one that it is made from."""
    anew = _made_anew(context, hypertable)
    steps: list[Step] = []
    for aggregate in hypertable.aggregates:
        steps += _new_aggregate(context, hypertable, aggregate) if aggregate in anew else _aggregate(context, hypertable, aggregate)
    return steps


def _aggregate(context: Context, hypertable: Hypertable, aggregate: Aggregate) -> list[Step]:
    actual = context.state.aggregates.get(aggregate.name)
    if actual is None:
        return _new_aggregate(context, hypertable, aggregate)
    if actual.remains == "record":
        # What retention closed stays closed, but not for a table that was made anew.
        forget = hypertable.name not in context.state.hypertables
        return _new_aggregate(context, hypertable, aggregate, *(equivalent.forget(aggregate.name) if forget else []))
    if context.native and not actual.native:
        return []  # move() has it
    if actual.remains == "rows":
        return _repaired_aggregate(context, hypertable, aggregate)
    return _changed_aggregate(context, hypertable, aggregate, actual)


def _made_anew(context: Context, hypertable: Hypertable) -> list[Aggregate]:
    """Aggregates of another definition, and what is made from them. Raises InputError where one is not named in confirm_drop."""
    anew: list[Aggregate] = []
    for aggregate in hypertable.aggregates:
        actual = context.state.aggregates.get(aggregate.name)
        if actual is None:
            continue
        if actual.definition is None:
            raise InputError(
                f"{aggregate.name} in {context.database.name} is there already and was not made by this module: rename or drop it, "
                "or give the aggregate another name"
            )
        if actual.remains == "record" or (context.native and not actual.native):
            continue
        reason = _reason(context, hypertable, aggregate, actual)
        if reason is None and any(one.name == aggregate.source for one in anew):
            reason = f"it is made from {aggregate.source}, which is made anew"
        if reason is None:
            continue
        if aggregate.name not in context.confirm_drop:
            raise InputError(
                f"aggregate {aggregate.name}: {reason}, and what is older than the rows of {aggregate.source} would be lost: "
                "name it in confirm_drop, or declare a new aggregate beside it"
            )
        anew.append(aggregate)
    return anew


def _reason(context: Context, hypertable: Hypertable, aggregate: Aggregate, actual: ActualAggregate) -> str | None:
    """Why it must be made anew."""
    if actual.definition != aggregate.definition:
        changed = sorted(key for key, found in aggregate.definition.items() if (actual.definition or {}).get(key) != found)
        return f"another {' and '.join(changed)} means making it anew"
    if hypertable.name not in context.state.hypertables and actual.remains == "rows":
        return f"it holds rows of a table {hypertable.name} that was dropped"
    return None


def _new_aggregate(context: Context, hypertable: Hypertable, aggregate: Aggregate, *first: Work) -> list[Step]:
    number, owner, extension = context.numbers()[aggregate.name], context.owner(hypertable), context.state.extension_schema
    work = [*first, equivalent.remember(aggregate, hypertable, number, native=context.native)]
    if context.native:
        work += [
            native.create(aggregate, aggregate.name, context.source(aggregate, hypertable), owner),
            native.fill(aggregate, aggregate.name, extension, owner),
            equivalent.filled(aggregate),
            native.schedule(aggregate, extension, owner),
            *native.retention(aggregate.name, aggregate.retention, None, None, extension=extension, owner=owner),
        ]
    else:
        work += [
            *equivalent.create(aggregate, number, context.source(aggregate, hypertable, rows=True), owner),
            equivalent.view(aggregate, number, context.source(aggregate, hypertable), owner),
            equivalent.task("refresh", aggregate.name, _level(hypertable, aggregate), aggregate.schedule_interval),
            *(equivalent.retention(aggregate.name, aggregate.retention) if aggregate.retention else []),
            *equivalent.fill(aggregate, owner),
        ]
    return step("continuous aggregate", context.title(aggregate.name), before=None, after=_shown(aggregate), work=work)


def _repaired_aggregate(context: Context, hypertable: Hypertable, aggregate: Aggregate) -> list[Step]:
    """Its rows are there, and what somebody dropped around them is made again."""
    owner = context.owner(hypertable)
    work = [
        *repair(context, hypertable, aggregate),
        equivalent.settings(aggregate),
        equivalent.task("refresh", aggregate.name, _level(hypertable, aggregate), aggregate.schedule_interval),
        *equivalent.retention(aggregate.name, aggregate.retention),
        equivalent.doubt(hypertable.name),
        *equivalent.fill(aggregate, owner),
    ]
    before = {"view": "dropped"}
    return step("continuous aggregate", context.title(aggregate.name), before=before, after={"view": "made again over its rows"}, work=work)


def _changed_aggregate(context: Context, hypertable: Hypertable, aggregate: Aggregate, actual: ActualAggregate) -> list[Step]:
    before = _settings(actual)
    if before == _settings(aggregate):
        return []
    owner, extension = context.owner(hypertable), context.state.extension_schema
    work = [] if actual.filled else _late_fill(context, aggregate, owner)
    work.append(equivalent.settings(aggregate))
    if not context.native:
        work.append(equivalent.task("refresh", aggregate.name, _level(hypertable, aggregate), aggregate.schedule_interval))
        if actual.retention != aggregate.retention:
            work += equivalent.retention(aggregate.name, aggregate.retention)
        if actual.materialized_only != aggregate.materialized_only:
            work.append(equivalent.view(aggregate, context.numbers()[aggregate.name], context.source(aggregate, hypertable), owner))
    else:
        work.append(native.reschedule(aggregate, actual, extension) if actual.refresh_job else native.schedule(aggregate, extension, owner))
        if actual.retention != aggregate.retention:
            work += native.retention(aggregate.name, aggregate.retention, actual.retention, actual.retention_job, extension=extension, owner=owner)
        if actual.materialized_only != aggregate.materialized_only:
            work.append(native.real_time(aggregate, owner))
    return step("continuous aggregate", context.title(aggregate.name), before=before, after=_settings(aggregate), work=work)


def _late_fill(context: Context, aggregate: Aggregate, owner: str | None) -> list[Work]:
    """For a run that was killed after it had made the aggregate."""
    if context.native:
        return [native.fill(aggregate, aggregate.name, context.state.extension_schema, owner), equivalent.filled(aggregate)]
    return equivalent.fill(aggregate, owner)


def _removal(aggregate: str, actual: ActualAggregate, owner: str | None) -> list[Work]:
    if actual.native:
        return [native.drop(aggregate, owner), *equivalent.forget(aggregate)]
    return equivalent.drop(aggregate, int(actual.id or 0))


def _settings(found: Aggregate | ActualAggregate) -> dict[str, Any]:
    return {
        "start_offset": str(found.start_offset) if found.start_offset else None,
        "end_offset": str(found.end_offset),
        "schedule_interval": str(found.schedule_interval),
        "materialized_only": found.materialized_only,
        "retention": found.retention.shown if found.retention else None,
        "filled": getattr(found, "filled", True),
    }


def _shown(aggregate: Aggregate) -> dict[str, Any]:
    return {**aggregate.definition, **_settings(aggregate)}


def _level(hypertable: Hypertable, aggregate: Aggregate) -> int:
    return hypertable.aggregates.index(aggregate)
