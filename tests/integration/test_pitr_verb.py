# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verb of a recovery makes of an operator's words, and the playbook of the verb's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from archives import ADMIN, Archived, archived_server
from containers import docker
from stack import ROOT, Run, ansible_playbook

TIME = "2025-05-31 12:34:55+00"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verbs alone; its ansible-playbook says what it was called with."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "scripts").mkdir()
    for name in ("Makefile", "scripts/db-manage.sh"):
        shutil.copy(ROOT / name, folder / name)
    program(folder / "scripts" / "bootstrap", "true")
    program(folder / ".venv" / "bin" / "ansible-playbook", r'printf "%s\n" "$@"')
    (folder / "inventory" / "nexanest").mkdir(parents=True)
    (folder / "inventory" / "nexanest" / "hosts.yml").touch()
    return folder


def program(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def verb(checkout: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "db-pitr", *words],
        cwd=checkout,
        env={**os.environ, "MAKEFLAGS": "", "STACK": "nexanest", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def asked(checkout: Path, *words: str, **environment: str) -> list[str]:
    """What ansible-playbook was told beside inventory and playbook."""
    done = verb(checkout, *words, **environment)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[:3] == ["-i", "inventory/nexanest/hosts.yml", "playbooks/pitr.yml"]
    return said[3:]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), []),
        ((f"TIME={TIME}",), ["-e", f'{{"time": "{TIME}"}}']),
        (("NAME=before clean-up",), ["-e", '{"restore_point": "before clean-up"}']),
        (("NAME=before-x", "ARGS=--check -e server=postgres"), ["-e", '{"restore_point": "before-x"}', "--check", "-e", "server=postgres"]),
        ((f"TIME={TIME}", "NAME=before-x"), ["-e", f'{{"time": "{TIME}"}}', "-e", '{"restore_point": "before-x"}']),
        (("STATE=promoted",), ["-e", "state=promoted"]),
    ],
)
def test_a_target_arrives_as_it_was_written(checkout: Path, words: tuple[str, ...], expected: list[str]) -> None:
    assert asked(checkout, *words) == expected


def test_a_name_that_the_shell_has_is_none_and_that_is_said(checkout: Path) -> None:
    assert asked(checkout, NAME="machine") == []
    assert "NAME=machine of the environment is not meant" in verb(checkout, NAME="machine").stderr
    point = subprocess.run(
        ["make", "db-restore-point"], cwd=checkout, env={**os.environ, "NAME": "machine"}, capture_output=True, text=True, check=False, timeout=30
    )
    assert (point.returncode, "which name?" in point.stderr) == (2, True)


@pytest.mark.parametrize("word", [f"TIME={TIME}", "NAME=before-x"])
def test_a_target_beside_what_follows_a_recovery_is_refused(checkout: Path, word: str) -> None:
    done = verb(checkout, "STATE=promoted", word)
    assert (done.returncode, done.stdout) == (2, "")
    assert "TIME and NAME stand in a call of their own" in done.stderr


@pytest.mark.parametrize("name", ["", 'before"x', "before\\x"])
def test_a_name_that_is_none_is_refused(checkout: Path, name: str) -> None:
    done = verb(checkout, f"NAME={name}")
    assert (done.returncode, done.stdout, "which name?" in done.stderr) == (2, "", True)


@pytest.mark.parametrize(("asked", "target"), [({"restore_point": "before-x"}, "before-x"), ({"name": "before-x"}, "before-x"), ({}, "")])
def test_the_playbook_takes_a_restore_point_and_ansible_warns_of_nothing(tmp_path: Path, asked: dict[str, str], target: str) -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / "pitr.yml").read_text(encoding="utf-8"))
    values = next(play["vars"] for play in plays if "vars" in play)
    task = {"name": "Look", "ansible.builtin.debug": {"msg": "<{{ wal_archive_pitr_name }}>"}}
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"name": "Look", "hosts": "localhost", "gather_facts": False, "vars": values, "tasks": [task]}]), encoding="utf-8")
    run = ansible_playbook(playbook, "--extra-vars", json.dumps(asked))
    assert run.rc == 0, run.stdout
    assert f"<{target}>" in run.stdout
    assert ("reserved" in run.stdout + run.stderr) == ("name" in asked)


@pytest.fixture
def server() -> Iterator[Archived]:
    """With the network that the side instance joins."""
    with archived_server("pitrverb") as found, contextlib.ExitStack() as after:
        docker("network", "create", f"{found.name}-edge")
        after.callback(docker, "network", "rm", f"{found.name}-edge")
        after.callback(found.pitr, "cleaned")
        yield found


def play(archived: Archived, folder: Path, name: str, **variables: Any) -> Run:
    """A playbook on a stack of this one archived."""
    for path, target in ((folder / "archives" / "timescaledb", archived.archive), (folder / archived.name / "timescaledb", archived.folder / "timescaledb")):
        path.parent.mkdir(exist_ok=True)
        if not path.is_symlink():
            path.symlink_to(target)
    values = {
        "stack_name": archived.name,
        "stack_services": [],
        "stack_config_dir": str(folder / archived.name),
        "stack_archive_dir": str(folder / "archives"),
        "timescaledb_archive": True,
        "timescaledb_port": archived.port,
        "timescaledb_admin_user": ADMIN,
        "timescaledb_password": archived.password,
        "wal_archive_pitr_port": archived.side_port,
    }
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    inventory = folder / "inventory" / archived.name / "hosts.yml"
    inventory.parent.mkdir(parents=True, exist_ok=True)
    inventory.write_text(json.dumps({"database": {"hosts": {"localhost": local}, "vars": values}}))
    return ansible_playbook(ROOT / "playbooks" / f"{name}.yml", "--inventory", str(inventory), "--extra-vars", json.dumps(variables))


def test_a_moment_that_was_named_is_come_back_to(server: Archived, tmp_path: Path) -> None:
    server.query("CREATE TABLE kept (n int)")
    play(server, tmp_path, "restore_point", wal_archive_restore_point="before clean-up").checked()
    server.query("DROP TABLE kept")
    unknown = play(server, tmp_path, "pitr", server="postgres", restore_point="before clean-up")
    assert "'postgres' is no server whose write-ahead log is archived: there are timescaledb" in " ".join(unknown.stdout.split())
    back = play(server, tmp_path, "pitr", restore_point="before clean-up").checked()
    assert "stands at name before clean-up" in " ".join(back.stdout.split())
    assert server.side("TABLE kept") == []
    play(server, tmp_path, "pitr", state="cleaned").checked()
    assert not docker("ps", "--all", "--quiet", "--filter", f"name={server.container}-pitr").strip()
