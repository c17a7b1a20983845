# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a container is, from the engine's document of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A service that fails three starts in a row will fail the fourth.
RESTARTS = 3


@dataclass(frozen=True)
class Health:
    """status: created, running, restarting, exited ...; check: healthy, unhealthy, starting, or empty without a health check."""

    status: str
    check: str
    restarts: int
    exit_code: int
    probe: str

    @property
    def good(self) -> bool:
        return self.status == "running" and self.check in ("healthy", "")

    @property
    def word(self) -> str:
        return self.check if self.status == "running" and self.check else self.status

    def hopeless(self, *, since: Health) -> bool:
        """Has the container ended for good, or begun again too often since then?"""
        return self.status in ("exited", "dead", "absent") or self.restarts - since.restarts >= RESTARTS


ABSENT = Health(status="absent", check="", restarts=0, exit_code=0, probe="")


def health_of(document: Mapping[str, Any]) -> Health:
    state = document["State"]
    health = state.get("Health") or {}
    probes = health.get("Log") or []
    return Health(
        status=state["Status"],
        check=health.get("Status", ""),
        restarts=document.get("RestartCount", 0),
        exit_code=state.get("ExitCode", 0),
        probe=" ".join(probes[-1]["Output"].split()) if probes else "",
    )


def complaint(name: str, health: Health, *, waited: float, log: Sequence[str]) -> str:
    """What is wrong with the container, then the end of its log."""
    if health == ABSENT:
        return f"The container {name} did not become healthy: it is not there (any more)."
    if health.status == "running":
        last = f", and its last check said: {health.probe[:300]}" if health.probe else ""
        what = f"is {health.word} after {waited:.0f} s{last}"
    elif health.status == "restarting" or health.restarts >= RESTARTS:
        what = f"fails at every start (exit code {health.exit_code})"
    else:
        what = f"has stopped (exit code {health.exit_code})"
    lines = "".join(f"\n  {line}" for line in log)
    return f"The container {name} did not become healthy: it {what}. The end of its log:{lines or ' (empty)'}"
