# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's verbs on a stack of one Redis container: what they change, and what they leave alone."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from modules import run_module
from redis_servers import redis_image
from stack import LABEL, Stack, docker

NAME = "verbstest"
OTHER = "verbsother"
PASSWORD = "right"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make(stack: str, port: int) -> None:
    """A labelled container with a network and a volume."""
    label = ["--label", f"{LABEL}={stack}"]
    docker("network", "create", *label, f"{stack}-data")
    docker("volume", "create", *label, f"{stack}-redis-data")
    docker(
        "run", "--detach", "--init", *label, "--name", f"{stack}-redis", "--network", f"{stack}-data", "--volume", f"{stack}-redis-data:/data",
        "--publish", f"127.0.0.1:{port}:6379", redis_image(),
        "redis-server", "--requirepass", PASSWORD, "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru",
    )  # fmt: skip


def remove(stack: str) -> None:
    for kind, flags in (("container", ["--force", "--volumes"]), ("network", []), ("volume", [])):
        every = ["--all"] if kind == "container" else []
        for name in docker(kind, "ls", *every, "--quiet", "--filter", f"label={LABEL}={stack}").split():
            docker(kind, "rm", *flags, name)


def objects(stack: str) -> list[str]:
    return [
        name
        for kind, every in (("container", ["--all"]), ("network", []), ("volume", []))
        for name in docker(kind, "ls", *every, "--quiet", "--filter", f"label={LABEL}={stack}").split()
    ]


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a stack of one container; another stack is beside it."""
    remove(NAME)
    remove(OTHER)
    free = free_port()
    make(NAME, free)
    make(OTHER, free_port())
    yield free
    remove(NAME)
    remove(OTHER)


def state(wanted: str, *, check: bool = False) -> dict[str, Any]:
    return run_module("stack_state", {"stack": NAME, "state": wanted, "order": [f"{NAME}-redis"]}, check)


def status(port: int, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    service = {"service": "redis", "kind": "redis", "container": f"{NAME}-redis", "port": port, "login_user": "default", "login_password": password, **more}
    answer = run_module("stack_info", {"stack": NAME, "services": [service]})
    assert not answer["failed"], answer
    return dict(answer["status"])


def problems(found: dict[str, Any]) -> list[str]:
    return [problem["what"] for problem in found["services"][0]["problems"]]


def running(stack: str) -> bool:
    return docker("inspect", "--format", "{{.State.Running}}", f"{stack}-redis").strip() == "true"


def test_stop_stops_keeps_and_is_repeatable(port: int) -> None:
    planned = state("stopped", check=True)
    assert (planned["changed"], running(NAME)) == (True, True)
    done = state("stopped")
    assert (done["objects"], done["diff"]) == (planned["objects"], planned["diff"])
    assert (running(NAME), running(OTHER)) == (False, True)
    assert not state("stopped")["changed"]
    assert len(objects(NAME)) == 3


def test_restart_starts_what_was_stopped(port: int) -> None:
    state("stopped")
    assert state("restarted")["containers"] == [f"{NAME}-redis"]
    assert running(NAME)


def test_destroy_takes_only_what_carries_the_label_and_is_repeatable(port: int) -> None:
    before = objects(OTHER)
    planned = state("absent", check=True)
    assert len(objects(NAME)) == 3
    assert {row["kind"] for row in planned["objects"]} == {"container", "network", "volume"}
    assert state("absent")["objects"] == planned["objects"]
    assert (objects(NAME), objects(OTHER)) == ([], before)
    assert not state("absent")["changed"]


def test_the_status_tells_version_memory_and_uptime(port: int) -> None:
    found = status(port)["services"][0]
    assert (found["health"], found["restarts"], found["problems"]) == ("running", 0, [])
    assert found["version"].startswith("8.")
    assert min(found["size"], found["memory_used"], found["uptime"] + 1) > 0


def test_the_status_tells_a_wrong_password_a_stopped_and_a_missing_container(port: int) -> None:
    assert "refuses the login" in problems(status(port, "wrong"))[0]
    assert "does not answer" in problems(status(free_port()))[0]
    state("stopped")
    stopped = status(port)
    assert (stopped["overall"], "has stopped" in problems(stopped)[0]) == ("red", True)
    state("absent")
    assert "is not there" in problems(status(port))[0]


def test_the_status_warns_when_sessions_were_evicted(port: int) -> None:
    fill = "".join(f"SET key{number} {'x' * 1000}\n" for number in range(4000))
    subprocess.run(
        ["docker", "exec", "-i", f"{NAME}-redis", "redis-cli", "-a", PASSWORD], input=fill, text=True, check=True, timeout=60, stdout=subprocess.DEVNULL
    )
    assert problems(status(port)) == []
    warned = status(port, sessions=True)
    assert warned["overall"] == "yellow"
    assert "redis_sessions_separate: true" in warned["services"][0]["problems"][0]["remedy"]


def test_the_whole_stack_reports_green_and_hands_out_what_logs_in(stack: Stack) -> None:
    run = stack.playbook("status", "--extra-vars", '{"stack_status_json": true}').checked()
    assert run.hosts["localhost"]["changed"] == 0
    assert stack.playbook("destroy", "--extra-vars", '{"stack_destroy_confirm": "another"}').rc != 0
    assert stack.healthy()


def test_an_unknown_service_is_answered_with_the_list(stack: Stack) -> None:
    run = stack.playbook("credentials", "--extra-vars", json.dumps({"stack_credentials_service": "nope"}))
    assert "there is no service nope" in run.failed[0]["message"]
    assert "nexanest, auth, portfolio, analytics, notifications, timescale" in run.failed[0]["message"]


def test_the_scripts_speak_for_themselves() -> None:
    root = Path(__file__).resolve().parents[2]
    unknown = subprocess.run([root / "scripts/db-manage.sh", "dance"], capture_output=True, text=True, check=False, timeout=30)
    assert (unknown.returncode, "unknown verb 'dance'" in unknown.stderr) == (1, True)
