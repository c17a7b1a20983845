# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The continuous backup when its parts fail: each test breaks a real one and mends it again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from archives import Archived, archived_server
from containers import docker
from modules import start_module


@pytest.fixture(scope="module")
def server() -> Iterator[Archived]:
    with archived_server("wal", archive_timeout="5s") as found:
        found.query("CREATE TABLE notes (id int PRIMARY KEY, text text DEFAULT repeat('x', 500))")
        yield found


def complaints(server: Archived) -> str:
    archive = server.module("wal_archive_info")["archive"]
    return "; ".join(f"{problem['level']}: {problem['what']}" for problem in archive["problems"])


def until(true: Callable[[], Any], limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, f"not within {limit:.0f} s"
        time.sleep(0.3)


def fill(server: Archived, first: int, last: int) -> None:
    server.query("INSERT INTO notes (id) SELECT generate_series(%s, %s)", first, last)


def test_all_is_well_at_first(server: Archived) -> None:
    until(lambda: not complaints(server))
    archive = server.module("wal_archive_info")["archive"]
    assert archive["streaming"]
    assert archive["backups"] == 1


def test_an_incremental_backup_holds_what_changed_and_its_age_counts(server: Archived) -> None:
    fill(server, 1, 20000)
    assert server.module("base_backup", type="full", check=True)["changed"]
    full = server.module("base_backup", type="full")
    assert full["backup"]["type"] == "full", full
    fill(server, 20001, 20010)
    more = server.module("base_backup", type="incr")
    assert more["backup"]["type"] == "incr", more
    assert more["backup"]["stored"] < full["backup"]["stored"] // 3
    assert not server.module("base_backup", type="incr", unless_newer_than="1h")["changed"]
    assert not server.module("base_backup", type="full", unless_newer_than="1h")["changed"]


def test_a_companion_that_was_killed_is_reported_and_catches_up(server: Archived) -> None:
    docker("kill", server.companion)
    until(lambda: "the companion does not receive" in complaints(server))
    fill(server, 30001, 30100)
    docker("start", server.companion)
    server.wait_streaming()
    until(lambda: not complaints(server))


@pytest.mark.long
def test_a_repository_that_cannot_be_written_keeps_the_log_until_it_can(server: Archived) -> None:
    repository = server.archive / "current" / "repository"
    (repository / "archive").chmod(0o500)
    inner = [path for path in (repository / "archive").rglob("*") if path.is_dir()]
    for path in inner:
        path.chmod(0o500)
    try:
        fill(server, 40001, 40100)
        server.query("SELECT pg_switch_wal()")
        until(lambda: "segments do not arrive" in complaints(server))
        failed = server.module("base_backup", type="incr")
        assert failed["failed"], failed
    finally:
        for path in (repository / "archive", *inner):
            path.chmod(0o750)
    until(lambda: not complaints(server), limit=120)
    assert server.query("SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%%.ready'") == [(0,)]


def test_commits_wait_for_the_companion_where_they_shall_and_ours_do_not(server: Archived) -> None:
    conf = server.folder / "timescaledb" / "conf" / "synchronous.conf"
    conf.write_text("synchronous_standby_names = 'companion'\n", encoding="utf-8")
    server.query("SELECT pg_reload_conf()")
    try:
        until(lambda: server.query("SELECT sync_state FROM pg_stat_replication WHERE application_name = 'companion'") == [("sync",)])
        fill(server, 50001, 50010)
        docker("kill", server.companion)
        until(lambda: "commits wait for it" in complaints(server))
        with ThreadPoolExecutor(1) as pool:
            commit = pool.submit(fill, server, 50011, 50011)
            with pytest.raises(TimeoutError):
                commit.result(timeout=1)
            assert not server.module_point("while-nobody-receives")["failed"], "a session of our own waits for nobody"
            docker("start", server.companion)
            commit.result(timeout=60)
        server.wait_streaming()
    finally:
        conf.write_text("", encoding="utf-8")
        server.query("SELECT pg_reload_conf()")


def test_a_wrong_passphrase_is_one_sentence(server: Archived) -> None:
    conf = server.config / "pgbackrest" / "pgbackrest.conf"
    right = conf.read_text(encoding="utf-8")
    conf.write_text(right.replace("p" * 20, "q" * 20), encoding="utf-8")
    try:
        for found in (server.module("base_backup"), server.pitr(), server.converge()):
            assert found["failed"], found
            assert "passphrase" in found["msg"], found
    finally:
        conf.write_text(right, encoding="utf-8")
    assert not server.converge()["changed"]


def test_a_recovery_that_was_killed_is_repeated(server: Archived) -> None:
    common = {"network": f"{server.name}-net", "label": f"nexanest.database.test={server.name}", "companion": server.companion, "port": server.side_port}
    arguments = {
        "name": "timescaledb",
        "container": server.container,
        "archive_dir": str(server.archive),
        "config_dir": str(server.config),
        **server.login,
        **common,
        "state": "recovered",
    }
    run = start_module("pitr", arguments)
    until(lambda: list(server.data.parent.glob("*.pitr-*")))
    second = server.pitr(lock_wait=0)
    assert second["failed"], "two at once"
    assert "another run works" in second["msg"]
    os.kill(run.pid, signal.SIGKILL)
    run.wait(timeout=30)
    again = server.pitr()
    assert again["phase"] == "ready", again
    assert len(list(server.data.parent.glob("*.pitr-*"))) == 1
    assert server.side("SELECT count(*) FROM notes") == server.query("SELECT count(*) FROM notes")
    assert not server.pitr("cleaned")["failed"]


def archive_mode(server: Archived, word: str) -> None:
    conf = server.folder / "timescaledb" / "conf" / "postgresql.conf"
    lines = [line for line in conf.read_text(encoding="utf-8").splitlines() if not line.startswith("archive_mode")]
    conf.write_text("\n".join([*lines, f"archive_mode = '{word}'"]) + "\n", encoding="utf-8")
    docker("restart", server.container)
    server.wait()


@pytest.mark.long
def test_switched_off_it_keeps_no_log_and_switched_on_again_it_begins_with_a_full_backup(server: Archived) -> None:
    off = {"companion": server.companion, "state": "absent"}
    early = server.module("wal_archive", **off)
    assert "still archives" in early["msg"]
    assert server.module("wal_archive", check=True, **off)["changed"], "what switches it off was only planned"
    archive_mode(server, "off")
    planned, done = server.module("wal_archive", check=True, **off), server.module("wal_archive", **off)
    assert not done["failed"], done
    assert done["objects"] == planned["objects"]
    assert server.query("SELECT slot_name FROM pg_replication_slots") == []
    assert docker("inspect", "--format", "{{.State.Running}}", server.companion).strip() == "false"
    assert not list(server.received.iterdir())
    assert not server.module("wal_archive", **off)["changed"]
    fill(server, 80001, 81000)
    server.query("SELECT pg_switch_wal(), pg_sleep(0.1)")
    server.query("CHECKPOINT")

    planned = server.module("wal_archive", check=True, companion=server.companion)
    archive_mode(server, "on")
    docker("start", server.companion)
    server.wait_streaming()
    assert "red: it was switched off meanwhile" in complaints(server)
    done = server.converge()
    assert [one["action"] for one in done["objects"]] == ["create"]
    assert done["objects"] == planned["objects"], "planned while it was still off"
    assert not server.converge()["changed"]
    assert not complaints(server)
    told = server.module("wal_archive_info")["archive"]
    assert (told["backups"], told["last_backup"][-1]) == (1, "F"), "what is older lacks log"
    fill(server, 81001, 81010)
    assert server.pitr()["phase"] == "ready"
    assert server.side("SELECT count(*) FROM notes WHERE id > 80000") == [(1010,)]
    assert not server.pitr("cleaned")["failed"]


def test_a_drill_recovers_a_moment_elsewhere_and_leaves_nothing(server: Archived) -> None:
    history = server.folder / "sets" / ".drills" / "drills.jsonl"
    planned = server.drill(check=True)
    assert planned["changed"], planned
    assert not history.exists()
    passed = server.drill()
    assert not passed["failed"], passed
    assert passed["checks"] > 100
    assert passed["rto"] > 0
    assert passed["rpo"] in range(60), "the companion receives, or the last segment was archived a moment ago"
    assert {"postgres", "template1"} <= set(passed["databases"])
    assert not server.drill(unless_newer_than="1h")["changed"]
    assert f"{server.container}-drill" not in docker("ps", "--all", "--format", "{{.Names}}").split()
    assert not list(server.data.parent.glob("*.drill"))
    assert history.read_text(encoding="utf-8").count("passed") == 1


def test_a_segment_that_was_damaged_or_lost_ends_the_recovery_with_its_name(server: Archived) -> None:
    server.query("SELECT pg_switch_wal()")
    fill(server, 60001, 60010)
    server.query("SELECT pg_switch_wal()")
    until(lambda: server.module("wal_archive_info")["archive"]["archived_age"] < 3, limit=120)
    archived = sorted((server.archive / "current" / "repository" / "archive" / "timescaledb").rglob("0*.zst"), key=lambda path: path.name)
    # The last but one: behind it there is more.
    victim = archived[-2]
    for path in (server.archive / "current" / "received" / "current").glob(f"{victim.name[:24]}*"):
        path.unlink()
    whole = victim.read_bytes()
    flipped = bytearray(whole)
    flipped[len(flipped) // 2] ^= 1
    victim.write_bytes(bytes(flipped))
    damaged = server.pitr()
    assert damaged["failed"], damaged
    assert victim.name[:24] in damaged["msg"], damaged
    # Whichever moment is drawn, the drill goes through all the log before it: the last one of this test, behind the damage.
    drilled = server.drill(recovery_target_time=server.now().isoformat())
    assert drilled["failed"], drilled
    assert '"failed"' in (server.folder / "sets" / ".drills" / "drills.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    victim.unlink()
    lost = server.pitr()
    assert lost["failed"], lost
    assert "gap" in lost["msg"], lost
    assert not list(server.data.parent.glob("*.pitr-*"))
    assert server.query("SELECT 1") == [(1,)]
    victim.write_bytes(whole)
    os.chown(victim, 999, 999)
    assert server.pitr()["phase"] == "ready"
    assert not server.pitr("cleaned")["failed"]
