# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry of every play: bad input is refused, secrets are made, one run at a time. Real ansible-playbook runs, no container."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sampling import one_in
from stack import ROOT, Run, ansible_playbook, environment

NAME = "entrytest"
NOBODY = 65534
ODD = "p'a\"ss#w$o%r{d}\\{{ 1 + 1 }}"
VALUES = {"POSTGRES_PASSWORD": ODD, "TIMESCALE_PASSWORD": "two", "REDIS_PASSWORD": "three", "PGADMIN_EMAIL": "a@b.local", "PGADMIN_PASSWORD": "four-5"}
LOCK_AND_WAIT = """
- hosts: database
  gather_facts: false
  tasks:
    - nexanest.database.run_lock: {stack: entrytest}
    - ansible.builtin.pause: {seconds: 90}
"""
ROLE = "- {hosts: database, gather_facts: false, roles: [nexanest.database.stack]}\n"


class Entry:
    """A project of its own with one host, this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env_file = folder / f".env.db.{NAME}"
        self.inventory = folder / "inventory" / NAME / "hosts.yml"
        self.inventory.parent.mkdir(parents=True)
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        shared = {"stack_name": NAME, "stack_config_dir": str(folder / "etc" / NAME)}
        self.inventory.write_text(json.dumps({"database": {"hosts": {"localhost": local}, "vars": shared}}))

    def write(self, name: str, play: str) -> Path:
        path = self.folder / name
        path.write_text(play)
        return path

    def run(self, *arguments: str, play: str = ROLE) -> Run:
        return ansible_playbook(self.write("play.yml", play), "--inventory", str(self.inventory), *arguments)

    def set_values(self, **changes: str) -> None:
        self.env_file.write_text("".join(f"{key}={value}\n" for key, value in {**VALUES, **changes}.items()))
        self.env_file.chmod(0o600)


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Entry(tmp_path)


def message_of(run: Run) -> str:
    assert run.rc != 0
    assert len(run.failed) == 1, run.stdout
    return run.failed[0]["message"]


def counts(run: Run) -> dict[str, int]:
    assert run.rc == 0, run.stdout + run.stderr
    return run.hosts["localhost"]


def test_the_first_run_makes_a_private_file_and_the_second_changes_nothing(entry: Entry) -> None:
    assert counts(entry.run("--check", "--diff"))["changed"] == 2
    assert not entry.env_file.exists()
    assert counts(entry.run())["changed"] == 2
    text = entry.env_file.read_text()
    assert stat.S_IMODE(entry.env_file.stat().st_mode) == 0o600
    assert f"PGADMIN_EMAIL=admin@{NAME}.local" in text
    assert len(re.findall(r"^[A-Z]+_PASSWORD=[A-Za-z0-9]{32}$", text, re.MULTILINE)) == 4
    assert counts(entry.run())["changed"] == 0
    assert entry.env_file.read_text() == text


def test_a_copied_example_is_closed_for_others(entry: Entry) -> None:
    entry.set_values()
    entry.env_file.chmod(0o644)
    assert counts(entry.run())["changed"] == 2
    assert stat.S_IMODE(entry.env_file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"REDIS_PASSWORD": ""}, "REDIS_PASSWORD is empty: write a value"),
        ({"REDIS_PASWORD": "hunter2"}, "line 6 has the unknown name REDIS_PASWORD (did you mean REDIS_PASSWORD?)"),
        ({"PGADMIN_EMAIL": "hunter2"}, "PGADMIN_EMAIL is not an e-mail address"),
    ],
)
def test_a_faulty_secrets_file_is_refused_before_anything_is_changed(entry: Entry, changes: dict[str, str], words: str) -> None:
    entry.set_values(**changes)
    run = entry.run()
    assert words in message_of(run)
    assert "hunter2" not in run.stdout
    assert not (entry.folder / "etc").exists()


def test_an_unedited_example_is_refused(entry: Entry) -> None:
    entry.env_file.write_bytes((ROOT / ".env.db.example").read_bytes())
    assert "POSTGRES_PASSWORD, TIMESCALE_PASSWORD, REDIS_PASSWORD, PGADMIN_EMAIL, PGADMIN_PASSWORD are empty" in message_of(entry.run())


@pytest.mark.parametrize(
    ("variables", "words"),
    one_in(
        2,
        [
            ({"postgres_prot": 5432}, "postgres_prot (role postgres, did you mean postgres_port?)"),
            ({"docker_users": ["x"]}, "docker_users (role docker"),
            ({"stack_name": "Not A Name"}, "stack_name is 'Not A Name'"),
            ({"stack_config_dir": "/etc"}, "must be an absolute path that ends in /entrytest"),
            ({"stack_preflight_ports": [{"port": 70000, "container": "x"}, {"port": "many", "container": "x"}]}, "many"),
        ],
    ),
)
def test_bad_variables_are_refused_before_anything_is_changed(entry: Entry, variables: dict[str, Any], words: str) -> None:
    assert words in message_of(entry.run("--extra-vars", json.dumps(variables)))
    assert not entry.env_file.exists()
    assert not (entry.folder / "etc").exists()


def test_variables_of_other_software_can_be_let_through(entry: Entry) -> None:
    counts(entry.run("--extra-vars", json.dumps({"docker_users": ["x"], "stack_foreign_variables": ["docker_users"]})))


LOOKUPS = """
- hosts: database
  gather_facts: false
  vars:
    operator: "{{ lookup('nexanest.database.secret', 'POSTGRES_PASSWORD', env_file=env_file) }}"
    made: "{{ query('nexanest.database.secret', 'postgres/auth_app', 'redis/auth', secrets_dir=folder) }}"
  tasks:
    - ansible.builtin.debug:
        msg: "{{ {'operator': operator, 'made': made} | to_json }}"
    - ansible.builtin.debug:
        msg: "{{ {'operator': operator, 'made': made} | to_json }}"
"""


def lookups(entry: Entry, *arguments: str) -> list[dict[str, Any]]:
    names = json.dumps({"env_file": str(entry.env_file), "folder": str(entry.folder / "made")})
    argv = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(entry.inventory), str(entry.write("lookups.yml", LOOKUPS)), "-e", names, *arguments]
    more = environment(ANSIBLE_STDOUT_CALLBACK="nexanest.database.report")
    done = subprocess.run(argv, cwd=ROOT, env=more, capture_output=True, text=True, check=True, timeout=120)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_secrets_are_made_once_and_no_value_is_a_template(entry: Entry) -> None:
    entry.set_values()
    first = lookups(entry)
    assert first[0] == first[1]
    assert first[0]["operator"] == ODD
    assert sorted(path.name for path in (entry.folder / "made").iterdir()) == ["postgres_auth_app", "redis_auth"]
    assert lookups(entry) == first


def test_check_mode_writes_no_secret_and_keeps_its_stand_ins_for_the_run(entry: Entry) -> None:
    first = lookups(entry, "--check")
    assert first[0] == first[1]
    assert len({first[0]["operator"], *first[0]["made"]}) == 3
    assert not (entry.folder / "made").exists()
    assert lookups(entry, "--check")[0]["made"] != first[0]["made"]


@pytest.fixture
def other_run(entry: Entry) -> Iterator[subprocess.Popen[bytes]]:
    """Another ansible-playbook that has the lock."""
    argv = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(entry.inventory), str(entry.write("wait.yml", LOCK_AND_WAIT)), "-e", "token=hunter2"]
    with subprocess.Popen(argv, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout is not None
        assert any(b"pause" in line for line in iter(run.stdout.readline, b""))
        yield run
        run.kill()


def test_a_second_run_is_told_who_has_the_stack(entry: Entry, other_run: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    message = message_of(entry.run())
    assert time.monotonic() - began < 15
    assert f"is being changed by another run: process {other_run.pid} of " in message
    assert "wait.yml -e …" in message
    assert "hunter2" not in message
    assert counts(entry.run("--check"))["failures"] == 0


def test_a_killed_run_does_not_block_the_next(entry: Entry, other_run: subprocess.Popen[bytes]) -> None:
    other_run.send_signal(signal.SIGKILL)
    assert counts(entry.run())["failures"] == 0


@pytest.fixture
def readable_by_all() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "home").mkdir()
        shutil.chown(Path(folder) / "home", NOBODY, NOBODY)
        yield Path(folder)


@pytest.mark.parametrize("verb", one_in(3, ["site", "status", "stop", "restart", "destroy"]))
def test_a_user_without_roots_rights_is_told_so_whatever_the_verb(readable_by_all: Path, verb: str) -> None:
    """Nobody's user id; reading stays allowed, as the checkout and the interpreter may lie in a folder of root's."""
    entry = Entry(readable_by_all)
    reader = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    done = subprocess.run(
        [*reader, str(ROOT / ".venv" / "bin" / "ansible-playbook"), "--inventory", str(entry.inventory), str(ROOT / "playbooks" / f"{verb}.yml")],
        cwd=ROOT, env={**os.environ, "HOME": str(readable_by_all / "home")}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert "is not root and cannot run sudo without a password" in " ".join(done.stdout.split()), done.stdout + done.stderr
    assert "changed=0" in done.stdout


FAR = {"ansible_connection": "ssh", "ansible_ssh_common_args": "-F /dev/null -o ConnectTimeout=10 -o BatchMode=yes", "ansible_user": "operator"}


@pytest.mark.parametrize(
    ("verb", "host", "variables", "words"),
    [
        ("site", "db.nexanest.invalid", {}, ("Could not resolve hostname db.nexanest.invalid", "`ssh -p 22 operator@db.nexanest.invalid`")),
        (
            "backup",
            "db",
            {"ansible_host": "127.0.0.1", "ansible_port": 1},
            ("connect to host 127.0.0.1 port 1: Connection refused", "`ssh -p 1 operator@127.0.0.1`"),
        ),
    ],
)
def test_a_host_that_cannot_be_reached_is_named_with_the_remedy(entry: Entry, verb: str, host: str, variables: dict[str, Any], words: tuple[str, ...]) -> None:
    entry.inventory.write_text(json.dumps({"database": {"hosts": {host: {**FAR, **variables}}}}))
    message = message_of(ansible_playbook(ROOT / "playbooks" / f"{verb}.yml", "--inventory", str(entry.inventory)))
    assert message.startswith(f"{host} cannot be reached over ssh, so nothing was changed")
    assert all(word in message for word in (*words, str(entry.inventory))), message


@pytest.mark.parametrize(("verb", "groups"), [("site", {"database": {"hosts": {}}}), ("backup_schedule", {"databse": {"hosts": {"localhost": {}}}})])
def test_an_inventory_without_a_host_is_no_success(entry: Entry, verb: str, groups: dict[str, Any]) -> None:
    entry.inventory.write_text(json.dumps(groups))
    message = message_of(ansible_playbook(ROOT / "playbooks" / f"{verb}.yml", "--inventory", str(entry.inventory)))
    assert "There is no host in the inventory's group `database`" in message
    assert str(entry.inventory) in message


def test_an_inventory_that_is_not_there_is_no_success(entry: Entry) -> None:
    run = ansible_playbook(ROOT / "site.yml", "--inventory", str(entry.folder / "nosuch" / "hosts.yml"))
    assert (run.rc, "nosuch/hosts.yml as an inventory source" in run.stderr) == (1, True)


def test_a_stack_that_is_not_there_is_answered_with_those_that_are() -> None:
    done = subprocess.run(["make", "db-start", "STACK=nexanset"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    words = ("there is no stack 'nexanset': inventory/ has", " nexanest ", " shop. ", "make inventory/nexanset/hosts.yml")
    assert all(word in done.stderr for word in words), done.stderr
