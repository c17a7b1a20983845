# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup and restore of 2 GB: killed in the middle, taken, lost, brought back, every row compared, with the memory that it takes."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from backups import BACKUP_ROLE, new_key, recipient_of
from modules import run_module, start_module
from servers import Server, postgres_server

# About 380 bytes a row with the indexes.
ROWS = 5_200_000
PASSWORD = "full"
TABLES = {"trades": ROWS // 2, "quotes": ROWS // 4, "fills": ROWS // 8, "notes": ROWS // 8}
CONTENT = """
CREATE TABLE {0} (id bigint PRIMARY KEY, at timestamptz NOT NULL, user_id uuid NOT NULL, price numeric(18, 6) NOT NULL, note text NOT NULL,
  details jsonb NOT NULL);
INSERT INTO {0} SELECT n, timestamptz '2026-01-01' + n * interval '3 seconds', md5((n % 50000)::text)::uuid, 100 + 20 * sin(n / 5000.0) + random(),
  (SELECT string_agg(substr(md5((n * w % 4096)::text), 1, 7), ' ') FROM generate_series(1, 14) w),
  jsonb_build_object('venue', n % 4, 'order', md5(n::text), 'flags', array[n % 2, n % 3])
FROM generate_series(1, {1}) n;
CREATE INDEX ON {0} (user_id, at);
"""
# Megabytes that a module may have in memory, whatever the size.
MEMORY = 100

Sums = dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    settings = ("shared_buffers=256MB", "max_wal_size=4GB", "maintenance_work_mem=256MB", "wal_level=minimal", "max_wal_senders=0")
    with postgres_server(prefix="full", disk="9g", memory="10g", settings=settings) as found:
        found.query(f"CREATE ROLE {BACKUP_ROLE} LOGIN BYPASSRLS PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO {BACKUP_ROLE}")
        found.query("CREATE DATABASE market")
        for name, rows in TABLES.items():
            found.query(CONTENT.format(name, rows), database="market")
        assert found.query("SELECT pg_database_size('market')")[0][0] > 1_800_000_000
        yield found


def sums(server: Server) -> Sums:
    """Of each table the rows, and a number that every value of every row is in."""
    statement = "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric)::text FROM {} t"
    return {name: server.query(statement.format(name), database="market")[0] for name in TABLES}


def peak(run: Popen[str]) -> tuple[dict[str, Any], int]:
    """The result of a run, and the most megabytes that its process had."""
    highest = 0
    while run.poll() is None:
        with contextlib.suppress(OSError, IndexError, ValueError):
            text = Path(f"/proc/{run.pid}/status").read_text(encoding="ascii")
            highest = max(highest, int(text.partition("VmHWM:")[2].split()[0]))
        time.sleep(0.1)
    return {"failed": False, **json.loads(run.communicate()[0])}, highest >> 10


@pytest.mark.long
def test_two_gigabytes_are_taken_lost_and_brought_back(server: Server, tmp_path: Path) -> None:
    folder, key, before = tmp_path / "sets", new_key(tmp_path), sums(server)
    login = {"name": "postgres", "container": server.container, "login_port": server.port}
    source = {**login, "kind": "postgresql", "login_user": BACKUP_ROLE, "login_password": PASSWORD}
    taking = {"backup_dir": str(folder), "stack": "full", "servers": [source], "recipients": [recipient_of(key)]}

    killed = start_module("backup_set", taking)
    time.sleep(12)
    assert killed.poll() is None, "it was killed in the middle"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert run_module("backup_set_info", {"backup_dir": str(folder)})["sets"] == []
    made, memory = peak(start_module("backup_set", taking))
    assert not made["failed"], made
    assert 0 < memory < MEMORY

    verified = run_module("backup_set_info", {"backup_dir": str(folder), "verify": True, "identities": [key.read_text(encoding="utf-8")]})
    assert not verified["failed"], verified
    server.query("DROP DATABASE market")
    bringing = {
        "backup_dir": str(folder),
        "state_dir": str(tmp_path / "state"),
        "set": made["set"]["id"],
        "identities": [key.read_text(encoding="utf-8")],
        "databases": ["market"],
        "servers": [{**login, "login_user": server.user, "login_password": server.password}],
    }
    cut = start_module("restore", bringing)
    time.sleep(12)
    assert cut.poll() is None, "it was killed in the middle"
    cut.send_signal(signal.SIGKILL)
    cut.communicate()
    assert server.query("SELECT count(*) FROM pg_database WHERE datname = 'market'") == [(0,)]
    restored, memory = peak(start_module("restore", bringing))
    assert not restored["failed"], restored
    assert 0 < memory < MEMORY
    assert sums(server) == before
    assert not run_module("restore", bringing)["changed"]
