# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups by the clock: the installed line is run as cron runs it, in an empty environment. The backup itself is a script of the test's."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from modules import run_module
from sampling import one_in
from stack import ROOT, Run, ansible_playbook

STACK = "schedtest"
NOTHING = {"since": None, "succeeded": None, "failure": None}
GOOD = 'echo "took a set of $STACK"; echo; echo "a warning" >&2'


class Checkout:
    """A clone with the real scripts/scheduled-backup, and one host, this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dir = folder / ".schedule" / STACK
        (folder / "scripts").mkdir()
        (folder / "scripts" / "scheduled-backup").symlink_to(ROOT / "scripts" / "scheduled-backup")
        # BASH_SOURCE of a link is the link, so that the checkout is this folder.
        self.inventory = folder / "inventory" / STACK / "hosts.yml"
        self.inventory.parent.mkdir(parents=True)
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        self.inventory.write_text(json.dumps({"database": {"hosts": {"localhost": local}}}))
        self.backup(GOOD)

    def backup(self, script: str, verb: str = "backup") -> None:
        """What db-manage.sh does."""
        path = self.folder / "scripts" / "db-manage.sh"
        path.write_text(f'#!/bin/sh\n[ "$1" = {verb} ] || exit 99\n{script}\n')
        path.chmod(0o755)

    def role(self, *, check: bool = False, **variables: Any) -> Run:
        """Install, or remove, as `make db-schedule` does."""
        modes = ["--check", "--diff"] if check else []
        values = json.dumps({"backup_schedule_with": "cron", **variables})
        return ansible_playbook(ROOT / "playbooks" / "backup_schedule.yml", "--inventory", str(self.inventory), "--extra-vars", values, *modes)

    def line(self, *, drill: bool = False) -> str:
        """The command of the installed line, without its time."""
        (line,) = [line for line in crontab().splitlines() if str(self.folder) in line and line.endswith(" drill") == drill]
        return line.split(None, 5)[5]

    def run(self, line: str = "") -> subprocess.CompletedProcess[str]:
        """As cron does it, with even less of an environment."""
        argv = ["env", "-i", "/bin/sh", "-c", line or self.line()]
        return subprocess.run(argv, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)

    def read(self, name: str) -> str:
        return (self.dir / name).read_text()

    def info(self) -> dict[str, Any]:
        answer = run_module("backup_schedule_info", {"dir": str(self.dir)})
        assert not answer["failed"], answer
        return dict(answer["schedule"])


def crontab() -> str:
    return subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False, timeout=30).stdout


@pytest.fixture(scope="module", autouse=True)
def _cron() -> Iterator[None]:
    """A cron daemon, where none runs."""
    if subprocess.run(["pidof", "cron"], check=False, capture_output=True, timeout=30).returncode == 0:
        yield
        return
    daemon = subprocess.Popen(["cron", "-f"], stdin=subprocess.DEVNULL)
    yield
    daemon.terminate()
    daemon.wait(timeout=30)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """Not installed; removed afterwards, with the line of cron."""
    made = Checkout(tmp_path)
    yield made
    kept = crontab().splitlines()
    ours = [number for number, line in enumerate(kept) if str(tmp_path) in line]
    if ours:
        gone = {*ours, *(number - 1 for number in ours if kept[number - 1].startswith("#Ansible: "))}
        text = "".join(f"{line}\n" for number, line in enumerate(kept) if number not in gone)
        subprocess.run(["crontab", "-"], input=text, text=True, check=True, timeout=30)


@pytest.fixture
def installed(checkout: Checkout) -> Checkout:
    """Installed without Ansible, quickly: the settings as the role writes them."""
    checkout.dir.mkdir(parents=True, mode=0o700)
    settle(checkout)
    return checkout


def settle(checkout: Checkout, on_failure: str = "", log: str = "") -> None:
    values = {"stack": STACK, "log": log or str(checkout.dir / "backup.log"), "on_failure": on_failure}
    quoted = {name: "'" + value.replace("'", "'\\''") + "'" for name, value in values.items()}
    (checkout.dir / "settings").write_text("".join(f"{name}={value}\n" for name, value in quoted.items()))


def run(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    return checkout.run(f"{checkout.folder}/scripts/scheduled-backup {checkout.dir}")


def test_it_is_installed_once_and_removal_leaves_nothing(checkout: Checkout) -> None:
    before, files = crontab(), sorted(checkout.folder.rglob("*"))
    planned = checkout.role(check=True).checked()
    assert (crontab(), sorted(checkout.folder.rglob("*"))) == (before, files)
    done = checkout.role().checked()
    assert done.changed_tasks == planned.changed_tasks
    assert len(done.changed_tasks) == 5
    assert f"15 3 * * * {checkout.folder}/scripts/scheduled-backup {checkout.dir}" in crontab().splitlines()
    assert f"15 5 * * 0 {checkout.folder}/scripts/scheduled-backup {checkout.dir} drill" in crontab().splitlines()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (checkout.dir, checkout.dir / "settings")] == [0o700, 0o600]
    found = checkout.info()
    assert (found["succeeded"], found["failure"]) == (None, None)
    assert (found["drill"]["since"] is not None, found["drill"]["failure"]) == (True, None)
    assert datetime.now(tz=UTC) - datetime.fromisoformat(found["since"]) < timedelta(minutes=5)
    assert checkout.role().checked().changed_tasks == []

    assert checkout.run().returncode == 0
    checkout.backup("exit 1")
    assert checkout.run().returncode == 1
    checkout.backup(GOOD, "verify")
    assert checkout.run(checkout.line(drill=True)).returncode == 0

    checkout.role(backup_schedule_state="absent").checked()
    assert crontab().strip() == before.strip()
    assert not checkout.dir.exists()
    assert checkout.info() == {**NOTHING, "drill": NOTHING, "offsite_drill": NOTHING, "archive": NOTHING}


@pytest.mark.long
def test_checks_say_what_a_removal_does_and_nothing_of_what_is_right(checkout: Checkout) -> None:
    checkout.role().checked()
    assert checkout.role(check=True).checked().changed_tasks == []
    without = checkout.role(backup_schedule_drill=False).checked()
    assert (len(without.changed_tasks), checkout.info()["drill"]["since"], checkout.line()[-5:] != "drill") == (2, None, True)
    checkout.role().checked()
    planned = checkout.role(check=True, backup_schedule_state="absent").checked()
    assert (checkout.dir / "settings").exists()
    assert checkout.role(backup_schedule_state="absent").checked().changed_tasks == planned.changed_tasks
    assert checkout.role(backup_schedule_state="absent").checked().changed_tasks == []


@pytest.mark.long
def test_what_lies_in_a_bucket_is_drilled_once_a_month_unless_it_is_switched_off(checkout: Checkout) -> None:
    bucket = {"backup_offsite": {"bucket": "backups"}}
    before, line = crontab(), f"{checkout.folder}/scripts/scheduled-backup {checkout.dir} offsite-drill"
    planned = checkout.role(check=True, **bucket).checked()
    assert (crontab(), checkout.role(**bucket).checked().changed_tasks) == (before, planned.changed_tasks)
    assert f"15 7 1 * * {line}" in crontab().splitlines()
    assert checkout.role(**bucket).checked().changed_tasks == []
    assert len(checkout.role(backup_offsite={"bucket": "others"}).checked().changed_tasks) == 1, "of another bucket nothing was promised before"
    assert checkout.read("offsite-drill-settings") == "day 1 of the month, 07:15, others\n"
    checkout.backup(f'[ "$2" = --offsite ] && {GOOD}', "verify")
    assert checkout.run(line).returncode == 0
    checkout.backup("exit 7", "verify")
    assert checkout.run(line).returncode == 7
    found = checkout.info()
    assert (found["offsite_drill"]["failure"]["code"], found["drill"]["failure"], found["failure"]) == ("7", None, None)
    assert "off-site restore drill" in checkout.read("backup.offsite-drill.log")
    checkout.role(**bucket, backup_schedule_offsite_drill=False).checked()
    assert (line in crontab(), checkout.info()["offsite_drill"]) == (False, {**NOTHING, "succeeded": found["offsite_drill"]["succeeded"]})
    refused = checkout.role(**bucket, backup_schedule_offsite_drill_day=31)
    assert "a day from 1 to 28" in refused.failed[0]["message"]
    checkout.role(**bucket, backup_schedule_state="absent").checked()
    assert (crontab().strip(), checkout.dir.exists()) == (before.strip(), False)


@pytest.mark.long
def test_destroying_the_stack_removes_its_schedule(checkout: Checkout) -> None:
    before = crontab()
    checkout.role().checked()
    values = json.dumps({"backup_schedule_with": "cron", "stack_name": STACK, "stack_destroy_confirm": STACK})
    playbook, given = ROOT / "playbooks" / "destroy.yml", ("--inventory", str(checkout.inventory), "--extra-vars", values)
    planned = ansible_playbook(playbook, *given, "--check").checked()
    assert str(checkout.folder) in crontab()
    assert ansible_playbook(playbook, *given).checked().changed_tasks == planned.changed_tasks
    assert crontab().strip() == before.strip()
    assert not checkout.dir.exists()
    assert ansible_playbook(playbook, *given).checked().changed_tasks == []


@pytest.mark.long
def test_other_lines_and_strangers_files_stay(checkout: Checkout) -> None:
    subprocess.run(["crontab", "-"], input=f"{crontab()}# {checkout.folder}: another's line\n", text=True, check=True, timeout=30)
    checkout.role().checked()
    checkout.role(backup_schedule_hours=[21, 9, 9], backup_schedule_minute=0).checked()
    others, line, _drill = [line for line in crontab().splitlines() if str(checkout.folder) in line]
    assert (others, line.split()[:2]) == (f"# {checkout.folder}: another's line", ["0", "9,21"])
    (checkout.dir / "mine").write_text("x")
    checkout.role(backup_schedule_state="absent").checked()
    assert [path.name for path in checkout.dir.iterdir()] == ["mine"]
    assert [line for line in crontab().splitlines() if str(checkout.folder) in line] == [others]


@pytest.mark.parametrize(
    ("variables", "words"),
    one_in(
        3,
        [
            ({"backup_schedule_hours": [24]}, "at least one hour from 0 to 23"),
            ({"backup_schedule_stack": "nosuch"}, "is no checkout with the stack 'nosuch'"),
            ({"backup_schedule_dir": "/tmp/a b"}, "has a character"),
            ({"backup_schedule_environment": {"A B": "x"}}, "letters, digits and _ alone"),
            ({"backup_schedule_hour": 3}, "did you mean backup_schedule_hours"),
        ],
    ),
)
def test_what_cannot_work_is_refused_before_anything_is_changed(checkout: Checkout, variables: dict[str, Any], words: str) -> None:
    before, files = crontab(), sorted(checkout.folder.rglob("*"))
    refused = checkout.role(**variables)
    assert refused.rc != 0
    assert words in refused.failed[0]["message"]
    assert (crontab(), sorted(checkout.folder.rglob("*"))) == (before, files)


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd runs this machine")
def test_systemd_is_refused_where_it_does_not_run(checkout: Checkout) -> None:
    assert "systemd does not run this machine" in checkout.role(backup_schedule_with="systemd").failed[0]["message"]


def test_the_line_runs_in_an_empty_environment_with_what_the_settings_say(checkout: Checkout) -> None:
    checkout.role(backup_schedule_environment={"ODD": "it's $HOME and 100%"}, backup_schedule_on_failure='cat > "$OUT"; exit 3').checked()
    checkout.backup('echo "[$ODD] [$HOME] [$LC_ALL] [${USER:-none}]"')
    assert checkout.run().returncode == 0
    assert f"[it's $HOME and 100%] [{Path.home()}] [C.UTF-8] [none]" in checkout.read("backup.log")


def test_a_good_run_is_logged_and_noted_and_says_nothing(installed: Checkout) -> None:
    done = run(installed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = installed.read("backup.log")
    assert f"took a set of {STACK}\n\na warning\n" in log
    assert datetime.fromisoformat(installed.read("last-success").strip()).tzinfo is not None
    assert sorted(path.name for path in installed.dir.iterdir()) == ["backup.log", "last-success", "lock", "settings"]
    assert all(stat.S_IMODE((installed.dir / name).stat().st_mode) == 0o600 for name in ("backup.log", "last-success"))
    run(installed)
    assert installed.read("backup.log").startswith(log)


def test_a_failure_is_seen_everywhere(installed: Checkout) -> None:
    run(installed)
    succeeded = installed.read("last-success")
    installed.backup('seq 100; echo; echo "the disk is full" >&2; exit 7')
    told = installed.folder / "told"
    settle(installed, on_failure=f'cat > {told}; echo "stack $BACKUP_STACK" >> {told}; echo "100% said"')
    done = run(installed)
    assert done.returncode == 7
    assert "failed (exit code 7)" in done.stderr
    assert "the disk is full" in done.stderr
    at, code, *lines = installed.read("last-failure").splitlines()
    assert (code, lines[0], lines[-1], len(lines)) == ("7", "82", "the disk is full", 20)
    assert told.read_text().splitlines() == [at, code, *lines, f"stack {STACK}"]
    assert "100% said" in done.stderr
    found = installed.info()
    assert (found["succeeded"], found["failure"]["code"], found["failure"]["at"]) == (succeeded.strip(), "7", at)
    installed.backup(GOOD)
    assert run(installed).returncode == 0
    assert installed.info()["failure"] is None


@pytest.mark.parametrize("command", ["exit 9", "no-such-program", "'unfinished"])
def test_a_broken_command_on_failure_hides_no_failure(installed: Checkout, command: str) -> None:
    installed.backup("echo bad; exit 4")
    settle(installed, on_failure=command)
    done = run(installed)
    assert (done.returncode, installed.info()["failure"]["message"]) == (4, "bad")
    assert "the command on failure ended with" in done.stderr


def test_a_log_that_cannot_be_written_is_a_failure_and_nothing_is_begun(installed: Checkout) -> None:
    settle(installed, log=str(installed.dir / "no" / "log"), on_failure=f"touch {installed.folder}/told")
    installed.backup(f"touch {installed.folder}/begun")
    assert run(installed).returncode == 1
    assert "cannot be written to" in installed.info()["failure"]["message"]
    assert ((installed.folder / "told").exists(), (installed.folder / "begun").exists()) == (True, False)


def test_a_full_disk_ends_in_a_failure_that_is_told(installed: Checkout, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], check=False, capture_output=True, timeout=30).returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        (small / "settings").write_text(f"stack={STACK}\nlog={small}/log\non_failure='cat > {tmp_path}/told'\n")
        installed.backup("yes | head -c 200000 && echo done")
        done = installed.run(f"{installed.folder}/scripts/scheduled-backup {small}")
        assert done.returncode != 0
        assert not (small / "last-success").exists()
        assert (tmp_path / "told").read_text().splitlines()[1] == str(done.returncode)
    finally:
        subprocess.run(["umount", "--lazy", small], check=True, timeout=30)


def test_two_runs_at_once_are_one_run_and_a_failure(installed: Checkout) -> None:
    installed.backup(f"echo x >> {installed.folder}/runs; sleep 4")
    first = subprocess.Popen([installed.folder / "scripts" / "scheduled-backup", installed.dir])
    wait((installed.folder / "runs").exists)
    second = run(installed)
    assert second.returncode == 75
    assert "The run before still works" in installed.info()["failure"]["message"]
    assert first.wait(timeout=30) == 0
    assert (installed.folder / "runs").read_text() == "x\n"
    assert installed.info()["failure"] is None


def test_what_a_run_leaves_behind_does_not_hold_the_lock(installed: Checkout) -> None:
    installed.backup("sleep 20 >/dev/null 2>&1 & echo $! > " + f"{installed.folder}/pid")
    assert run(installed).returncode == 0
    try:
        with (installed.dir / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(int((installed.folder / "pid").read_text()), signal.SIGKILL)


def test_a_signal_to_the_script_alone_loses_no_note(installed: Checkout) -> None:
    installed.backup(f"touch {installed.folder}/begun; sleep 3; exit 6")
    running = subprocess.Popen([installed.folder / "scripts" / "scheduled-backup", installed.dir], stderr=subprocess.DEVNULL)
    wait((installed.folder / "begun").exists)
    running.terminate()
    assert running.wait(timeout=30) == 6
    assert installed.info()["failure"]["code"] == "6"


def test_a_long_log_is_turned_over(installed: Checkout) -> None:
    (installed.dir / "backup.log").write_bytes(b"x" * (6 * 1024**2))
    run(installed)
    assert ((installed.dir / "backup.log.1").stat().st_size, len(installed.read("backup.log")) < 1000) == (6 * 1024**2, True)


def test_a_drill_has_notes_a_log_and_a_lock_of_its_own(installed: Checkout) -> None:
    line = f"{installed.folder}/scripts/scheduled-backup {installed.dir} drill"
    run(installed)
    installed.backup("echo it is NOT proven; exit 2", "verify")
    told = installed.folder / "told"
    settle(installed, on_failure=f'echo "$BACKUP_WORK of $BACKUP_STACK" > {told}')
    with (installed.dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done = installed.run(line)
    assert (done.returncode, "the restore drill of the stack" in done.stderr, told.read_text()) == (2, True, f"restore drill of {STACK}\n")
    found = installed.info()
    assert (found["failure"], found["drill"]["failure"]["message"]) == (None, "it is NOT proven")
    assert "NOT proven" in installed.read("backup.drill.log")
    assert "NOT proven" not in installed.read("backup.log")
    installed.backup(GOOD, "verify")
    assert installed.run(line).returncode == 0
    assert installed.info()["drill"]["failure"] is None


def test_without_settings_it_says_what_makes_them(checkout: Checkout) -> None:
    for argument in ("", "/nonexistent"):
        done = checkout.run(f"{checkout.folder}/scripts/scheduled-backup '{argument}'")
        assert (done.returncode, "make db-schedule" in done.stderr) == (64, True)


def test_the_real_verb_is_reached_from_an_empty_environment(tmp_path: Path) -> None:
    """db-manage.sh itself answers that there is no such stack."""
    (tmp_path / "settings").write_text(f"stack=nosuchstack\nlog={tmp_path}/log\n")
    done = subprocess.run(
        ["env", "-i", "/bin/sh", "-c", f"{ROOT}/scripts/scheduled-backup {tmp_path}"], cwd="/", capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "db-manage: " in (tmp_path / "last-failure").read_text()


@pytest.mark.long
def test_cron_itself_starts_it(checkout: Checkout) -> None:
    checkout.role().checked()
    every_minute = crontab().replace(f"15 3 * * * {checkout.folder}", f"* * * * * {checkout.folder}")
    subprocess.run(["crontab", "-"], input=every_minute, text=True, check=True, timeout=30)
    wait((checkout.dir / "last-success").exists, seconds=150)
    assert f"took a set of {STACK}" in checkout.read("backup.log")


def wait(ready: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"nothing happened within {seconds} s"
        time.sleep(0.05)


def test_copies_off_site_have_notes_and_a_lock_of_their_own_and_tell_the_first_failure_alone(installed: Checkout) -> None:
    line, told = f"{installed.folder}/scripts/scheduled-backup {installed.dir} archive", installed.folder / "told"
    settle(installed, on_failure=f'echo "$BACKUP_WORK of $BACKUP_STACK" >> {told}')
    installed.backup('[ "$2" = archives ] || exit 98\necho it cannot be reached\nexit 2', "offsite")
    first, second = installed.run(line), installed.run(line)
    assert (first.returncode, second.returncode, told.read_text()) == (2, 2, f"copy of the continuous backup of {STACK}\n")
    assert ("it cannot be reached" in first.stderr, second.stderr) == (True, "")
    found = installed.info()
    assert (found["failure"], found["drill"]["failure"], found["archive"]["failure"]["message"]) == (None, None, "it cannot be reached")
    installed.backup('[ "$2" = archives ]', "offsite")
    with (installed.dir / "archive-lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        left_out = installed.run(line)
    assert (left_out.returncode, left_out.stdout + left_out.stderr) == (0, "")
    assert "the run before still works" in installed.read("backup.archive.log")
    assert installed.info()["archive"]["failure"] is not None
    assert installed.run(line).returncode == 0
    assert installed.info()["archive"]["failure"] is None


@pytest.mark.long
def test_copies_off_site_run_every_few_minutes_where_there_is_a_bucket(checkout: Checkout) -> None:
    variables: dict[str, Any] = {"backup_offsite": {"bucket": "b"}, "timescaledb_archive": True}
    planned, done = checkout.role(check=True, **variables).checked(), checkout.role(**variables).checked()
    assert done.changed_tasks == planned.changed_tasks
    minutes = ",".join(map(str, range(0, 60, 5)))
    assert f"{minutes} * * * * {checkout.folder}/scripts/scheduled-backup {checkout.dir} archive" in crontab().splitlines()
    assert checkout.info()["archive"]["since"] is not None
    assert checkout.role(**variables).checked().changed_tasks == []
    assert "a divisor of 60" in checkout.role(backup_schedule_archive_every=7, **variables).stdout
    for without in ({"backup_schedule_archive_every": 0, **variables}, {"timescaledb_archive": True}):
        checkout.role(**variables).checked()
        checkout.role(**without).checked()
        assert not [line for line in crontab().splitlines() if str(checkout.folder) in line and line.endswith(" archive")]
        assert checkout.info()["archive"]["since"] is None
