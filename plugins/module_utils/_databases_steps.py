# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan's unit: one object's change with the statements that make it, each in its phase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Statement

MAINTENANCE = ""  # where cluster-wide statements run


class Phase(IntEnum):
    """The order of the work. Neighbouring phases on one database share a transaction, but for those that cannot be in one."""

    ROLES = 1
    MEMBERSHIPS = 2
    CREATE = 3
    CLUSTER = 4
    INSIDE = 5
    DROP = 6
    DROP_ROLES = 7

    @property
    def in_transaction(self) -> bool:
        return self not in (Phase.CREATE, Phase.DROP)


@dataclass(frozen=True)
class Work:
    """One statement: when and in which database."""

    phase: Phase
    statement: Statement
    database: str = MAINTENANCE


@dataclass(frozen=True)
class Step:
    change: Change
    work: tuple[Work, ...]


def step(kind: str, name: str, *, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, work: Iterable[Work]) -> list[Step]:
    """One step, or none where there is nothing to do. Shown is what differs, of a new object what it is and has."""
    done = tuple(work)
    if not done:
        return []
    if before is not None and after is not None:
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        before, after = ({key: side[key] for key in keys if key in side} for side in (before, after))
    elif after is not None:
        after = {key: found for key, found in after.items() if found not in (None, False, [], {})}
    return [Step(Change(kind, name, before, after), done)]
