# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._health import ABSENT, Health, complaint, health_of

RUNNING = Health(status="running", check="starting", restarts=0, exit_code=0, probe="")


def test_the_engines_document_is_read() -> None:
    document = {"RestartCount": 2, "State": {"Status": "running", "ExitCode": 0, "Health": {"Status": "unhealthy", "Log": [{"Output": "no\n such\n"}]}}}
    assert health_of(document) == Health("running", "unhealthy", 2, 0, "no such")


@pytest.mark.parametrize(("check", "good"), [("healthy", True), ("", True), ("starting", False), ("unhealthy", False)])
def test_a_container_without_a_check_is_healthy_when_it_runs(check: str, *, good: bool) -> None:
    assert replace(RUNNING, check=check).good is good


@pytest.mark.parametrize(
    ("health", "hopeless"),
    [
        (RUNNING, False),
        (replace(RUNNING, check="unhealthy"), False),
        (replace(RUNNING, status="restarting", restarts=2), False),
        (replace(RUNNING, status="restarting", restarts=3), True),
        (replace(RUNNING, status="exited"), True),
        (ABSENT, True),
    ],
)
def test_waiting_ends_early_only_without_hope(health: Health, *, hopeless: bool) -> None:
    assert health.hopeless(since=RUNNING) is hopeless


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (replace(RUNNING, check="unhealthy", probe="refused"), "it is unhealthy after 5 s, and its last check said: refused"),
        (replace(RUNNING, status="restarting", restarts=3, exit_code=3), "it fails at every start (exit code 3)"),
        (replace(RUNNING, status="exited", exit_code=137), "it has stopped (exit code 137)"),
        (ABSENT, "it is not there"),
    ],
)
def test_the_complaint_says_what_is_wrong(health: Health, words: str) -> None:
    assert words in complaint("shop-redis", health, waited=5.1, log=["last words"])


def test_the_complaint_ends_with_the_log() -> None:
    assert complaint("a", replace(RUNNING, status="exited"), waited=1, log=["one", "two"]).endswith("\n  one\n  two")
