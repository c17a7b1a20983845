# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Candidate configuration files, judged by a throw-away server of the same image."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sampling import one_in
from servers import postgres_image

SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "postgres" / "files" / "check-postgres-config"


def command(kind: str, path: Path, image: str = "") -> list[str]:
    return [sys.executable, str(SCRIPT), "--image", image or postgres_image(), "--uid", "999", "--kind", kind, str(path)]


def check(tmp_path: Path, kind: str, text: str, image: str = "") -> subprocess.CompletedProcess[str]:
    path = tmp_path / "candidate"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return subprocess.run(command(kind, path, image), capture_output=True, text=True, check=False, timeout=120)


def throw_away() -> list[str]:
    argv = ["docker", "ps", "--all", "--filter", "name=check-postgres-config-", "--format", "{{.Names}}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.split()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "conf",
            "shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.max = 1000\nwork_mem = '4MB'\nhba_file = '/elsewhere/pg_hba.conf'\n"
            "data_directory = '/elsewhere'\nssl = on\nssl_cert_file = '/elsewhere/server.crt'\nlogging_collector = on\nmy.own = 'x'\n",
        ),
        ("hba", "local all all peer map=x\nhost all all 0.0.0.0/0 scram-sha-256\nhostssl all all all cert\n"),
        ("ident", "x root nexanest\n"),
    ],
)
def test_a_good_file_passes_and_nothing_is_left(tmp_path: Path, kind: str, text: str) -> None:
    done = check(tmp_path, kind, text)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    one_in(
        3,
        [
            ("conf", "\nwork_men = 4MB\n", 'unrecognized configuration parameter "work_men" in file "postgresql.conf" line 2'),
            (
                "conf",
                "work_mem = lots\nmax_connections = 0\n",
                'invalid value for parameter "work_mem": "lots"; 0 is outside the valid range for parameter "max_connections"',
            ),
            (
                "conf",
                "shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.max = x\n",
                'invalid value for parameter "pg_stat_statements.max": "x"',
            ),
            (
                "conf",
                "shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.maxx = 1\n",
                'invalid configuration parameter name "pg_stat_statements.maxx"',
            ),
            ("conf", "shared_preload_libraries = 'nothing_here'\n", 'could not access file "nothing_here"'),
            ("conf", "wal_level = minimal\n", 'WAL streaming ("max_wal_senders" > 0) requires "wal_level"'),
            (
                "hba",
                "local all all peer\nhost all all all scram-sha-512\nhost all all 10.0.0.0/99 md5\n",
                'line 2: invalid authentication method "scram-sha-512"; line 3: invalid CIDR mask',
            ),
            ("conf", "work_mem 4MB 5MB\n", 'syntax error in file "postgresql.conf" line 1'),
            ("ident", "x root\n", "line 1: missing entry at end of line"),
        ],
    ),
)
def test_a_bad_file_is_refused_in_postgresql_s_own_words(tmp_path: Path, kind: str, text: str, said: str) -> None:
    done = check(tmp_path, kind, text)
    assert done.returncode == 1
    assert done.stderr.startswith("PostgreSQL would refuse this ")
    assert said in done.stderr
    assert "checkpoint" not in done.stderr


def test_a_missing_image_is_no_verdict_on_the_file(tmp_path: Path) -> None:
    done = check(tmp_path, "hba", "local all all peer\n", image="nowhere/nothing:0")
    assert done.returncode == 1
    assert "could not check pg_hba.conf with nowhere/nothing:0" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_check_leaves_no_container(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "candidate"
    path.write_text("work_mem = 4MB\n", encoding="utf-8")
    running = subprocess.Popen(command("conf", path), stderr=subprocess.PIPE)
    own = f"check-postgres-config-{running.pid}-"
    deadline = time.monotonic() + 60
    while not any(name.startswith(own) for name in throw_away()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    running.send_signal(number)
    running.communicate(timeout=60)
    while any(name.startswith(own) for name in throw_away()):
        assert time.monotonic() < deadline + 60
        time.sleep(0.5)
