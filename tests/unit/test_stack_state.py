# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to stop, restart and remove a stack."""

from __future__ import annotations

from ansible_collections.nexanest.database.plugins.module_utils._stack_state import Found, Step, plan

FOUND = Found({"s-pgadmin": "running", "s-postgres": "running", "s-redis": "exited", "s-client": "running"}, ["s-data"], ["s-postgres-data"])
ORDER = ["s-postgres", "s-redis", "s-pgadmin"]


def names(steps: object, action: str) -> list[str]:
    assert isinstance(steps, (list, tuple))
    return [step.name for step in steps if isinstance(step, Step) and step.action == action]


def test_those_that_use_others_stop_first() -> None:
    assert names(plan(FOUND, "stopped", ORDER).steps, "stop") == ["s-client", "s-pgadmin", "s-postgres"]


def test_a_stopped_stack_stays_as_it_is() -> None:
    planned = plan(Found({"s-postgres": "exited", "s-redis": "created"}), "stopped", ORDER)
    assert (planned.steps, planned.changes) == ([], [])


def test_a_restart_starts_what_was_stopped_too_servers_first() -> None:
    steps = plan(FOUND, "restarted", ORDER).steps
    assert names(steps, "start") == ["s-postgres", "s-redis", "s-pgadmin", "s-client"]
    assert steps[0].action == "stop"


def test_removal_ends_with_the_volumes() -> None:
    planned = plan(FOUND, "absent", ORDER)
    assert [(step.kind, step.name) for step in planned.steps][-2:] == [("network", "s-data"), ("volume", "s-postgres-data")]
    assert names(planned.steps, "stop") == ["s-client", "s-pgadmin", "s-postgres"]
    assert len(planned.changes) == 6


def test_nothing_is_removed_twice() -> None:
    assert plan(Found({}), "absent", ORDER).changes == []
