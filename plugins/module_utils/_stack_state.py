# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done so that a whole stack is stopped, restarted or gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change

STOPPED, RESTARTED, ABSENT = "stopped", "restarted", "absent"
DOWN = ("created", "exited", "dead")


@dataclass(frozen=True)
class Found:
    """The objects that carry a stack's label: containers with their status, networks and volumes by name."""

    containers: Mapping[str, str]
    networks: Sequence[str] = ()
    volumes: Sequence[str] = ()


@dataclass(frozen=True)
class Step:
    """One command: stop, start or remove an object."""

    action: str
    kind: str
    name: str


@dataclass(frozen=True)
class Plan:
    steps: Sequence[Step]
    changes: Sequence[Change]


def plan(found: Found, state: str, order: Sequence[str] = ()) -> Plan:
    """Steps to a state.

    order: containers as they start; they stop in the opposite order. Those that are not named use the others: they start last and stop first.
    """
    starting = starting_order(found, order)
    stops = [Step("stop", "container", name) for name in reversed(starting) if found.containers[name] not in DOWN]
    if state == STOPPED:
        return Plan(stops, [Change("container", step.name, _status(found, step.name), {"status": "exited"}) for step in stops])
    if state == RESTARTED:
        steps = stops + [Step("start", "container", name) for name in starting]
        return Plan(steps, [Change("container", name, _status(found, name), {"status": "running", "restarted": True}) for name in starting])
    objects = [("container", name) for name in reversed(starting)]
    objects += [("network", name) for name in sorted(found.networks)] + [("volume", name) for name in sorted(found.volumes)]
    removals = [Step("remove", kind, name) for kind, name in objects]
    return Plan(stops + removals, [Change(kind, name, _status(found, name) if kind == "container" else {}, None) for kind, name in objects])


def starting_order(found: Found, order: Sequence[str]) -> list[str]:
    """The containers that are there, as they start."""
    return [name for name in order if name in found.containers] + sorted(set(found.containers) - set(order))


def _status(found: Found, name: str) -> dict[str, Any]:
    return {"status": found.containers[name]}
