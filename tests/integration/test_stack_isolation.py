# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The walls around each container, asked of the kernel and the engine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from containers import SERVICES, docker, inspect, newest_image, processes, started
from stack import Stack

STATUS_FACTS = {"CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1"}


def _status(process: Path) -> dict[str, str]:
    lines = (process / "status").read_text().splitlines()
    return {key: value.strip() for key, _colon, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("service", SERVICES)
def test_no_process_is_root_or_holds_a_capability(stack: Stack, service: str) -> None:
    found = processes(f"{stack.name}-{service}")
    assert found
    for process in found:
        status = _status(process)
        assert "0" not in status["Uid"].split(), f"{process} runs as root"
        assert {key: status[key] for key in STATUS_FACTS} == STATUS_FACTS


@pytest.mark.parametrize("service", SERVICES)
def test_root_file_system_cannot_be_written(stack: Stack, service: str) -> None:
    name = f"{stack.name}-{service}"
    assert inspect(name)["HostConfig"]["ReadonlyRootfs"] is True
    done = subprocess.run(["docker", "exec", "--user", "0", name, "touch", "/usr/probe"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_memory_and_processes_are_limited_and_init_reaps(stack: Stack, service: str) -> None:
    host = inspect(f"{stack.name}-{service}")["HostConfig"]
    assert host["Memory"] > 0
    assert host["MemorySwap"] == host["Memory"]
    assert host["PidsLimit"] > 0
    assert host["Init"] is True
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Config"]["max-size"]


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_on_loopback_only(stack: Stack, service: str) -> None:
    bindings = inspect(f"{stack.name}-{service}")["HostConfig"]["PortBindings"]
    assert bindings
    assert {entry["HostIp"] for entries in bindings.values() for entry in entries} == {"127.0.0.1"}


def _connect(container: str, host: str, port: int) -> bool:
    """Whether a TCP connection from inside a container's network succeeds."""
    probe = f"import socket; socket.create_connection(({host!r}, {port}), 2)"
    done = subprocess.run(["docker", "exec", container, "/venv/bin/python3", "-c", probe], capture_output=True, check=False)
    return done.returncode == 0


def test_a_container_reaches_its_neighbours_by_the_data_network_only(stack: Stack) -> None:
    pgadmin = f"{stack.name}-pgadmin"
    networks = inspect(f"{stack.name}-postgres")["NetworkSettings"]["Networks"]
    assert set(networks) == {f"{stack.name}-data", f"{stack.name}-edge"}
    assert _connect(pgadmin, "postgres", 5432)
    assert _connect(pgadmin, networks[f"{stack.name}-data"]["IPAddress"], 5432)
    assert not _connect(pgadmin, networks[f"{stack.name}-edge"]["IPAddress"], 5432)


def test_a_container_has_no_way_out(stack: Stack) -> None:
    outside = _other_network_listener()
    try:
        address = next(iter(inspect(outside)["NetworkSettings"]["Networks"].values()))["IPAddress"]
        assert _connect_from_default_bridge(address), "the listener itself must answer, or this test proves nothing"
        assert not _connect(f"{stack.name}-pgadmin", address, 8000)
    finally:
        docker("rm", "--force", outside)


def _other_network_listener() -> str:
    """A server outside of the stack's networks: on the engine's default bridge, which is the way out."""
    argv = ["/venv/bin/python3", "-m", "http.server", "8000", "--directory", "/tmp"]
    return docker("run", "--detach", "--entrypoint", argv[0], newest_image("pgadmin"), *argv[1:]).strip()


KNOCK = """
import socket, sys, time
for _attempt in range(50):
    try:
        socket.create_connection((sys.argv[1], 8000), 2)
        break
    except OSError:
        time.sleep(0.2)
else:
    raise SystemExit(1)
"""


def _connect_from_default_bridge(address: str) -> bool:
    argv = ["docker", "run", "--rm", "--entrypoint", "/venv/bin/python3", newest_image("pgadmin"), "-c", KNOCK, address]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_no_secret_is_seen_in_environment_argv_inspect_or_logs(stack: Stack) -> None:
    secrets = stack.secrets()
    assert len(secrets) > 20
    for container in started(stack.name):
        seen = docker("container", "inspect", container)
        logs = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
        seen += logs.stdout + logs.stderr
        shown = [text for process in processes(container) if (text := _shown(process))]
        assert shown, f"{container} has no process"
        seen += "".join(shown)
        leaked = [name for name, value in secrets.items() if value in seen]
        assert leaked == [], f"{container} shows {leaked}"


def _shown(process: Path) -> str:
    """What a process shows to others; a health check may have ended meanwhile."""
    try:
        return (process / "environ").read_bytes().decode(errors="replace") + (process / "cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_the_first_runs_own_output_shows_no_secret(stack: Stack) -> None:
    printed = stack.first_output.read_text(encoding="utf-8")
    assert "PLAY RECAP" in printed
    assert [name for name, value in stack.secrets().items() if value in printed] == []
