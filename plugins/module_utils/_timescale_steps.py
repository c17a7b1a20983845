# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan's unit: one object's change with its statements, each with the role that runs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Argument, Statement, statement


@dataclass(frozen=True)
class Work:
    """role: who runs it, None for the administrator; alone: outside a transaction; maintenance: in the maintenance database."""

    statement: Statement
    role: str | None = None
    alone: bool = False
    maintenance: bool = False


@dataclass(frozen=True)
class Step:
    """What belongs together: all of it in one transaction, but for what must run alone."""

    change: Change
    work: tuple[Work, ...]


def step(kind: str, name: str, *, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, work: Iterable[Work]) -> list[Step]:
    """One step, or none where there is nothing to do. Of an object that stays only what differs is shown."""
    done = tuple(work)
    if not done:
        return []
    if before is not None and after is not None:
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        before, after = ({key: side[key] for key in keys if key in side} for side in (before, after))
    elif after is not None:
        after = {key: found for key, found in after.items() if found not in (None, False, [], {})}
    return [Step(Change(kind, name, before, after), done)]


def admin(template: str, *arguments: Argument) -> Work:
    return Work(statement(template, *arguments))


def as_role(role: str | None, template: str, *arguments: Argument) -> Work:
    return Work(statement(template, *arguments), role)


def alone(role: str | None, template: str, *arguments: Argument) -> Work:
    return Work(statement(template, *arguments), role, alone=True)
