# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0-or-later (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One change of one object, and the diff of many: `changed` and `diff` come from the same list, so they cannot disagree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """What one object is and what it shall be.

    kind: "database", "role", "container" ...; name: the object's name.
    before, after: its properties; None where it does not exist.
    """

    kind: str
    name: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"


def diff(changes: Sequence[Change]) -> dict[str, str]:
    """Ansible's diff: one text before, one after, objects in the order of the plan."""
    return {"before": _side(changes, "before"), "after": _side(changes, "after")}


def objects(changes: Sequence[Change]) -> list[dict[str, str]]:
    """The plan as data, [{kind, name, action}] with action create, update or delete."""
    return [{"kind": c.kind, "name": c.name, "action": _action(c)} for c in changes]


def _action(change: Change) -> str:
    if change.before is None:
        return "create"
    return "delete" if change.after is None else "update"


def _side(changes: Sequence[Change], side: str) -> str:
    lines: list[str] = []
    for change in changes:
        properties = getattr(change, side)
        if properties is None:
            continue
        lines.append(f"{change.title}:")
        lines += [f"  {key}: {_text(value)}" for key, value in properties.items()]
    return "".join(f"{line}\n" for line in lines)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
