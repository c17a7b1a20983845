# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role docker on the real engine: what a container may do, what recreates it, and what is refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from containers import docker, inspect, newest_image

# What it shows is also shown on the deployed stack (test_stack_isolation.py, test_stack_survival.py); make test-long.
pytestmark = pytest.mark.long

STACK = "tfdock"
IMAGE = newest_image("redis")
PORT = 26001
ROOT = Path(__file__).resolve().parents[2]
BASE: dict[str, Any] = {
    "image": IMAGE,
    "user": "999:999",
    "command": ["redis-server", "--protected-mode", "no", "--save", ""],
    "env": {"MARK": "one"},
    "tmpfs": ["/tmp:mode=1777"],
    "memory_mb": 64,
    "pids_limit": 50,
    "stop_timeout": 5,
    "healthcheck": {"test": ["CMD", "redis-cli", "ping"], "interval": "1s", "timeout": "5s", "retries": 5},
    "healthy_wait": 30,
}
PUBLISHED = {**BASE, "name": f"{STACK}-a", "alias": "a", "ports": [f"127.0.0.1:{PORT}:6379"]}
PUBLISHED["mounts"] = [{"type": "volume", "source": f"{STACK}-a-data", "target": "/data"}]
NEIGHBOUR = {**BASE, "name": f"{STACK}-b", "alias": "b", "ports": [f"127.0.0.1:{PORT + 1}:6379"]}
INNER = {**BASE, "name": f"{STACK}-c", "alias": "c"}
PLAY = """
- hosts: localhost
  gather_facts: FACTS
  roles: ROLES
  tasks:
    - ansible.builtin.include_role: {name: nexanest.database.docker, tasks_from: container}
      vars: {docker_container: "{{ item }}"}
      loop: "{{ test_containers }}"
      loop_control: {label: "{{ item.name }}"}
"""


@dataclass(frozen=True)
class Run:
    code: int
    text: str

    @property
    def changed(self) -> bool:
        return "changed=0" not in self.text


def play(folder: Path, *containers: dict[str, Any], check: bool = False, engine: bool = False) -> Run:
    """Converge these containers on this machine; with `engine` also the engine and the networks."""
    variables = {"stack_name": STACK, "stack_home": str(folder), "stack_env_file": "", "test_containers": containers}
    text = PLAY.replace("ROLES", "[nexanest.database.docker]" if engine else "[]").replace("FACTS", str(engine).lower())
    (folder / "play.yml").write_text(text)
    (folder / "vars.json").write_text(json.dumps({**variables, "ansible_python_interpreter": sys.executable}))
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "-e", f"@{folder}/vars.json", "--diff"]
    mode = ["--check"] if check else []
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run([*argv, *mode, str(folder / "play.yml")], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180)
    return Run(done.returncode, done.stdout + done.stderr)


def remove_all() -> None:
    label = f"label=nexanest.database.stack={STACK}"
    for listing, removal in (
        (["ps", "--all"], ["rm", "--force", "--volumes"]),
        (["volume", "ls"], ["volume", "rm"]),
        (["network", "ls"], ["network", "rm"]),
    ):
        found = docker(*listing, "--quiet", "--filter", label).split()
        if found:
            docker(*removal, *found)
    folder = Path("/etc/nexanest-database") / STACK
    if folder.exists():
        folder.rmdir()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the plays are written; the three containers run."""
    assert IMAGE, "no image nexanest-database/redis is here: the role images makes it"
    remove_all()
    place = tmp_path_factory.mktemp("docker_role")
    run = play(place, PUBLISHED, NEIGHBOUR, INNER, engine=True)
    assert run.code == 0, run.text
    yield place
    remove_all()


def identity(name: str) -> tuple[str, str]:
    document = inspect(name)
    return document["Id"], document["State"]["StartedAt"]


def reaches(container: str, address: str, port: int) -> bool:
    argv = ["docker", "exec", container, "timeout", "2", "bash", "-c", f"</dev/tcp/{address}/{port}"]
    return subprocess.run(argv, capture_output=True, check=False, timeout=20).returncode == 0


def address(container: str, network: str) -> str:
    return str(inspect(container)["NetworkSettings"]["Networks"][network]["IPAddress"])


def test_a_second_run_changes_nothing_and_a_check_neither(folder: Path) -> None:
    before = [identity(item["name"]) for item in (PUBLISHED, NEIGHBOUR, INNER)]
    for check in (False, True):
        run = play(folder, PUBLISHED, NEIGHBOUR, INNER, check=check, engine=True)
        assert run.code == 0, run.text
        assert not run.changed, run.text
    assert [identity(item["name"]) for item in (PUBLISHED, NEIGHBOUR, INNER)] == before


def test_the_service_has_no_rights(folder: Path) -> None:
    status = dict(line.split(":", 1) for line in docker("exec", PUBLISHED["name"], "cat", "/proc/self/status").splitlines())
    assert status["Uid"].split() == ["999"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert docker("exec", PUBLISHED["name"], "cat", "/proc/1/comm").strip() == "docker-init"


def test_only_volumes_and_tmpfs_can_be_written(folder: Path) -> None:
    for path, writable in (("/tmp/x", True), ("/data/x", True), ("/etc/x", False), ("/x", False)):
        done = subprocess.run(["docker", "exec", PUBLISHED["name"], "touch", path], capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is writable, path
        assert writable or "Read-only file system" in done.stderr


def test_limits_and_log_rotation_are_set(folder: Path) -> None:
    limits = inspect(PUBLISHED["name"])["HostConfig"]
    assert limits["Memory"] == limits["MemorySwap"] == 64 * 1024**2
    assert limits["PidsLimit"] == 50
    assert limits["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
    assert limits["RestartPolicy"]["Name"] == "unless-stopped"


def test_the_port_is_open_on_loopback_alone(folder: Path) -> None:
    socket.create_connection(("127.0.0.1", PORT), timeout=2).close()
    gateway = json.loads(docker("network", "inspect", f"{STACK}-edge"))[0]["IPAM"]["Config"][0]["Gateway"]
    with pytest.raises(OSError):
        socket.create_connection((gateway, PORT), timeout=2)


def test_neighbours_are_reached_over_data_and_not_over_edge(folder: Path) -> None:
    assert reaches(f"{STACK}-a", "b", 6379)
    assert reaches(f"{STACK}-c", "a", 6379)
    assert not reaches(f"{STACK}-a", address(f"{STACK}-b", f"{STACK}-edge"), 6379)
    assert not reaches(f"{STACK}-a", "127.0.0.1", PORT)
    assert not reaches(f"{STACK}-a", address(f"{STACK}-a", f"{STACK}-edge"), PORT + 1)


def test_a_container_without_ports_is_on_data_alone(folder: Path) -> None:
    assert list(inspect(INNER["name"])["NetworkSettings"]["Networks"]) == [f"{STACK}-data"]


def test_containers_outside_are_not_reached_and_do_not_reach_in(folder: Path) -> None:
    name = f"{STACK}-outside"
    docker("run", "--detach", "--name", name, "--label", f"nexanest.database.stack={STACK}", IMAGE)
    try:
        outside = address(name, "bridge")
        assert not any(reaches(inside, outside, 6379) for inside in (f"{STACK}-a", f"{STACK}-c"))
        assert not any(reaches(name, address(f"{STACK}-a", network), 6379) for network in (f"{STACK}-data", f"{STACK}-edge"))
    finally:
        docker("rm", "--force", name)


def test_a_changed_container_is_made_anew(folder: Path) -> None:
    mounted = {**INNER, "mounts": [{"type": "volume", "source": f"{STACK}-c-data", "target": "/data"}]}
    changes = [{**INNER, "env": {"MARK": "two"}}, {**INNER, "env": {}}, {**INNER, "command": [*INNER["command"], "--maxclients", "50"]}, mounted, INNER]
    seen = [identity(INNER["name"])[0]]
    for changed in changes:
        run = play(folder, changed)
        assert run.code == 0, run.text
        seen.append(identity(INNER["name"])[0])
    assert len(set(seen)) == len(changes) + 1


def test_more_memory_is_given_without_a_restart(folder: Path) -> None:
    before = identity(INNER["name"])
    run = play(folder, {**INNER, "memory_mb": 80})
    assert run.changed
    assert identity(INNER["name"]) == before
    assert inspect(INNER["name"])["HostConfig"]["Memory"] == 80 * 1024**2
    assert play(folder, INNER).code == 0


def test_a_stopped_container_is_started_and_a_missing_one_made(folder: Path) -> None:
    docker("stop", NEIGHBOUR["name"])
    docker("rm", "--force", INNER["name"])
    run = play(folder, NEIGHBOUR, INNER)
    assert run.code == 0, run.text
    assert all(inspect(item["name"])["State"]["Health"]["Status"] == "healthy" for item in (NEIGHBOUR, INNER))


def test_a_rebuilt_image_makes_the_container_anew(folder: Path) -> None:
    tag = f"{STACK}:test"
    docker("tag", IMAGE, tag)
    assert play(folder, {**INNER, "image": tag}).code == 0
    before = identity(INNER["name"])
    docker("build", "--tag", tag, "-", stdin=f"FROM {IMAGE}\nLABEL rebuilt=yes\n")
    try:
        assert play(folder, {**INNER, "image": tag}).code == 0
        assert identity(INNER["name"])[0] != before[0]
    finally:
        assert play(folder, INNER).code == 0
        docker("rmi", tag)


def test_a_container_that_fails_at_every_start_is_given_up_with_its_log(folder: Path) -> None:
    run = play(folder, {**BASE, "name": f"{STACK}-d", "alias": "d", "command": ["sh", "-c", "echo no such luck; exit 3"], "healthy_wait": 60})
    docker("rm", "--force", f"{STACK}-d")
    assert run.code != 0
    assert "it fails at every start (exit code 3)" in run.text
    assert "no such luck" in run.text
    assert "make db-logs" in run.text


def test_a_container_of_somebody_else_is_refused(folder: Path) -> None:
    docker("create", "--name", f"{STACK}-e", IMAGE)
    run = play(folder, {**BASE, "name": f"{STACK}-e", "alias": "e"})
    docker("rm", f"{STACK}-e")
    assert run.code != 0
    assert "does not belong to the stack tfdock" in run.text


def test_a_volume_of_somebody_else_is_refused(folder: Path) -> None:
    volume = f"{STACK}-foreign"
    docker("volume", "create", volume)
    run = play(folder, {**INNER, "mounts": [{"type": "volume", "source": volume, "target": "/data"}]})
    docker("volume", "rm", volume)
    assert run.code != 0
    assert f"the volume {volume} is there already and does not belong to the stack tfdock" in run.text


def test_a_port_that_others_could_reach_is_refused(folder: Path) -> None:
    run = play(folder, {**PUBLISHED, "ports": [f"0.0.0.0:{PORT}:6379"]})
    assert run.code != 0
    assert "must be published on a loopback address" in run.text


def test_a_missing_image_is_planned_in_check_mode_and_refused_outside(folder: Path) -> None:
    wanted = {**BASE, "name": f"{STACK}-f", "alias": "f", "image": "nexanest-database/nothing:1"}
    planned = play(folder, wanted, check=True)
    assert planned.code == 0, planned.text
    assert f"+container {STACK}-f:" in planned.text
    refused = play(folder, wanted)
    assert refused.code != 0
    assert "the image nexanest-database/nothing:1 is not there" in refused.text


def test_a_network_that_was_changed_is_put_right_and_containers_come_back(folder: Path) -> None:
    edge = f"{STACK}-edge"
    for item in (PUBLISHED, NEIGHBOUR):
        docker("network", "disconnect", edge, item["name"])
    docker("network", "rm", edge)
    docker("network", "create", "--label", f"nexanest.database.stack={STACK}", edge)
    run = play(folder, PUBLISHED, NEIGHBOUR, engine=True)
    assert run.code == 0, run.text
    assert json.loads(docker("network", "inspect", edge))[0]["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    socket.create_connection(("127.0.0.1", PORT), timeout=2).close()
    assert not play(folder, PUBLISHED, NEIGHBOUR).changed
