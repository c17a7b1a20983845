# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The continuous backup on full, missing and lost disks, with tools that are killed, and with a companion that stands still."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import UID, Archived, archived_server
from containers import docker

from ansible_collections.nexanest.database.plugins.module_utils import _disks

MB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Archived]:
    with archived_server("walf", disks={"archive": "500m", "volume": "2g"}, max_slot_wal_keep_size="96MB") as found:
        found.query("CREATE TABLE notes (id int PRIMARY KEY, text text DEFAULT repeat('x', 500))")
        until_well(found)
        yield found


def until(true: Callable[[], Any], limit: float = 60, pause: float = 0.05) -> Any:
    deadline = time.monotonic() + limit
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {limit:.0f} s"
        time.sleep(pause)
    return found


def until_well(server: Archived, limit: float = 60) -> None:
    until(lambda: not server.complaints(), limit)


def until_said(server: Archived, *words: str) -> str:
    """The status has all of these."""
    deadline = time.monotonic() + 60
    while not all(word in (said := server.complaints()) for word in words):
        assert time.monotonic() < deadline, f"{[word for word in words if word not in said]} not within 60 s, but {said}"
    return said


def write(server: Archived, count: int = 10) -> None:
    server.query("INSERT INTO notes (id) SELECT coalesce(max(id), 0) + generate_series(1, %s) FROM notes", count)


def switch(server: Archived) -> None:
    """Write, and end the segment, so that it is archived now."""
    write(server)
    server.query("SELECT pg_switch_wal()")


def checkpoint(server: Archived) -> None:
    """One that waits for nobody for long."""
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '40s'")
        cursor.execute("CHECKPOINT")


def unarchived(server: Archived) -> int:
    return int(server.query("SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%%.ready'")[0][0])


def backups(server: Archived) -> Path:
    return server.archive / "current" / "repository" / "backup" / "timescaledb"


def labels(server: Archived) -> list[str]:
    """What is in the repository, whole or half."""
    return sorted(path.name for path in backups(server).iterdir() if path.name[:2] == "20" and not path.is_symlink())


def halves(server: Archived) -> list[str]:
    return [name for name in labels(server) if not (backups(server) / name / "backup.manifest").exists()]


def tools(server: Archived) -> list[str]:
    return docker("ps", "--quiet", "--filter", f"label=nexanest.database.bulk=archive-{server.container}").split()


@contextlib.contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o500)
    try:
        yield
    finally:
        for path in folders:
            path.chmod(0o750)


@contextlib.contextmanager
def begun(server: Archived, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A base backup that has written something and is not done before the block ends: the archiver stands still, and pgBackRest waits for a segment."""
    archiver = next(int(line.split()[0]) for line in docker("top", server.container, "-eo", "pid,args").splitlines() if "archiver" in line)
    run = server.begin("base_backup", **options)
    until(lambda: halves(server), pause=0.01)
    os.kill(archiver, signal.SIGSTOP)
    try:
        yield run
    finally:
        os.kill(archiver, signal.SIGCONT)


def ended(run: subprocess.Popen[str]) -> dict[str, Any]:
    stdout, stderr = run.communicate(timeout=120)
    assert stdout, stderr
    return {"failed": False, **json.loads(stdout)}


def refused(found: dict[str, Any], *words: str) -> None:
    assert found["failed"], found
    assert all(word in found["msg"] for word in words), found


def taken(found: dict[str, Any]) -> None:
    assert not found["failed"], found


def test_file_systems_in_files_on_one_disk_are_lost_together(server: Archived) -> None:
    assert server.disks["archive"].device != server.disks["volume"].device
    if _disks.disks(server.folder):  # where this host tells on what it stands, a file that is mounted must lead there
        assert _disks.disks(server.archive) == _disks.disks(server.data) == _disks.disks(server.folder)
    assert server.module("wal_archive_info")["archive"]["survives"] == "volume"


def test_a_base_backup_whose_pgbackrest_is_killed_leaves_nothing_and_the_next_one_is_whole(server: Archived) -> None:
    before = labels(server)
    with begun(server, type="full") as run:
        assert server.module("wal_archive_info")["archive"]["backups"] == len(before), "a half one is none"
        docker("kill", *tools(server))
        refused(ended(run), "no base backup of timescaledb was taken", "it was killed while it worked", "run this again")
    assert labels(server) == before
    assert not server.complaints()
    made = server.module("base_backup", type="full")
    assert made["backup"]["label"] not in before, made
    assert halves(server) == []


@pytest.mark.long
def test_a_link_in_the_place_of_a_note_is_not_followed(server: Archived, tmp_path: Path) -> None:
    """The folder is the server's user's; root's hand must not be led elsewhere."""
    precious = tmp_path / "precious"
    precious.write_text("precious", encoding="utf-8")
    (server.archive / ".base_backup").symlink_to(precious)
    taken(server.module("base_backup", type="incr"))
    assert precious.read_text(encoding="utf-8") == "precious"
    assert not (server.archive / ".base_backup").is_symlink()


@pytest.mark.long
def test_a_base_backup_whose_run_is_killed_as_a_whole_is_ended_by_the_next_one(server: Archived) -> None:
    with begun(server, type="full") as run:
        half = halves(server)
        os.kill(run.pid, signal.SIGKILL)
        run.wait(timeout=30)
        (left,) = tools(server)
        again = server.begin("base_backup", type="full")
        until(lambda: left not in tools(server))
    taken(ended(again))
    assert not set(half) & set(labels(server))
    assert tools(server) == []


@pytest.mark.long
def test_two_base_backups_at_once_are_one_after_the_other(server: Archived) -> None:
    with begun(server, type="incr") as first:
        refused(
            server.module("base_backup", lock_wait=0), "another run works in", f"process {first.pid}, base_backup of timescaledb", "Wait until it has ended"
        )
    second = server.module("base_backup", lock_wait=120)
    assert not second["failed"], second
    assert ended(first)["backup"]["label"] < second["backup"]["label"]
    # One that somebody began by hand holds a lock in the server.
    by_hand = ["docker", "exec", server.container, "pgbackrest", "--stanza=timescaledb", "--type=full", "backup"]
    hand = subprocess.Popen(by_hand, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    (theirs,) = until(lambda: halves(server))
    third = server.module("base_backup", type="incr")
    assert hand.wait(timeout=120) == 0, hand.stdout and hand.stdout.read()
    assert list((backups(server) / theirs / "bundle").iterdir()), "nothing of it was taken for what is left of a dead one"
    if third["failed"]:  # theirs became the newest meanwhile
        refused(third, "is not later than latest backup label")
        taken(server.module("base_backup", type="incr"))


@pytest.mark.long
def test_pgbackrest_that_was_stopped_is_told_with_the_way_back_and_stale_locks_are_none(server: Archived) -> None:
    stale = "mkdir -p /tmp/pgbackrest && for one in backup-1 archive-1 restore-1; do echo 4711 >/tmp/pgbackrest/timescaledb-$one.lock; done"
    docker("exec", server.container, "sh", "-c", stale)
    docker("exec", server.container, "pgbackrest", "--stanza=timescaledb", "stop")
    switch(server)
    command = f"docker exec {server.container} pgbackrest --stanza=timescaledb start"
    until_said(server, "red: segments do not arrive", "[062]", command)
    refused(server.module("base_backup"), "segments do not arrive", command)
    docker(*command.split()[1:])
    switch(server)
    until_well(server)
    assert unarchived(server) == 0
    taken(server.module("base_backup"))


def test_a_full_archive_stops_nothing_is_told_and_catches_up_without_help(server: Archived) -> None:
    before = labels(server)
    # Room for a part of the companion's next segment.
    with server.disks["archive"].filled(but=4 * MB):
        switch(server)
        until_said(server, "red: the disk of the archive is full", "the companion does not receive")
    server.wait_streaming()
    with server.disks["archive"].filled():
        for _each in range(3):
            switch(server)
        until_said(server, "red: the disk of the archive is full", "segments do not arrive", "No space left", "the companion does not receive")
        refused(server.module("base_backup"), "the disk of the archive is full", "make room")
        refused(server.module("base_backup", check=True), "the disk of the archive is full")
        write(server)
        assert unarchived(server) > 0
        assert labels(server) == before
    switch(server)
    server.wait_streaming()
    until_well(server)
    assert unarchived(server) == 0
    taken(server.module("base_backup", type="incr"))


@pytest.mark.long
def test_a_base_backup_that_fills_the_disk_gives_it_back(server: Archived) -> None:
    noise = "SELECT n, string_agg(md5(random()::text), '') FROM generate_series(1, 50000) n, generate_series(1, 100) GROUP BY n"
    server.query(f"CREATE TABLE noise AS {noise}")
    before = labels(server)
    switch(server)
    until_well(server)
    with server.disks["archive"].filled(but=40 * MB):
        refused(server.module("base_backup", type="incr"), "No space left", "the disk of the archive is full: make room")
        assert labels(server) == before
        assert server.disks["archive"].free > 20 * MB, "so the log goes on to be archived"
    switch(server)
    server.wait_streaming()
    until_well(server)
    server.query("DROP TABLE noise")


def test_an_archive_whose_disk_is_not_mounted_is_missed_and_found_again(server: Archived) -> None:
    disk = server.disks["archive"]
    disk.unmount()
    try:
        until_said(server, "red: ", "is missing (is its disk mounted?)")
        refused(server.module("base_backup"), "is missing", "a disk that is not mounted?")
        refused(server.drill(), "is missing (is its disk mounted?)")
        write(server)
    finally:
        disk.mount()
    switch(server)
    until_well(server)


@pytest.mark.parametrize(("away", "back"), [("stop", "start"), pytest.param("pause", "unpause", marks=pytest.mark.long)])
def test_a_companion_that_is_away_or_stands_still_costs_its_slot_and_not_the_disk(server: Archived, away: str, back: str) -> None:
    held = server.query("SELECT pg_walfile_name(restart_lsn) FROM pg_replication_slots")[0][0]
    docker(away, server.companion)
    try:
        for _each in range(6):
            switch(server)
        until_said(server, "yellow: the server keeps much log for the companion")
        for _each in range(4):
            switch(server)
        checkpoint(server)
        until_said(server, "red: the server gave the companion's slot up", "begins a new one")
        until(lambda: unarchived(server) == 0)
        checkpoint(server)
        assert server.query("SELECT min(name) > %s FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'", held) == [(True,)], "nothing is kept for it"
    finally:
        docker(back, server.companion)
    server.wait_streaming()
    until_well(server)
    assert server.query("SELECT active, wal_status FROM pg_replication_slots") == [(True, "reserved")]


@pytest.mark.long
def test_what_the_companion_had_is_removed_under_it_and_nothing_is_lost(server: Archived) -> None:
    write(server)
    shutil.rmtree(server.received)
    write(server)
    until(lambda: list(server.received.glob("*.partial")), 30)
    server.wait_streaming()
    until_well(server)
    write(server)
    assert server.query("SELECT active, wal_status FROM pg_replication_slots") == [(True, "reserved")]
    side = server.pitr()
    assert side["phase"] == "ready", side
    assert server.side("SELECT count(*), max(id) FROM notes") == server.query("SELECT count(*), max(id) FROM notes")
    assert not server.pitr("cleaned")["failed"]


@pytest.mark.long
def test_a_gap_between_archive_and_companion_is_told_and_closes_by_itself(server: Archived) -> None:
    with unwritable(server.archive / "current" / "repository" / "archive"):
        for _each in range(2):
            switch(server)
        until_said(server, "segments do not arrive")
        shutil.rmtree(server.received)
        until(lambda: list(server.received.glob("*.partial")), 30)
        server.wait_streaming()
        # Where the slot still held what the companion had, it came again, and there is no gap.
        found = server.pitr()
        if found["failed"]:
            refused(found, "the log has a gap")
        else:
            assert server.side("SELECT count(*), max(id) FROM notes") == server.query("SELECT count(*), max(id) FROM notes")
            assert not server.pitr("cleaned")["failed"]
        refused(server.module("base_backup"), "segments do not arrive", "its disk, owner and mode")
    switch(server)
    until_well(server)
    assert server.pitr()["phase"] == "ready"
    assert server.side("SELECT count(*), max(id) FROM notes") == server.query("SELECT count(*), max(id) FROM notes")
    assert not server.pitr("cleaned")["failed"]


@pytest.mark.long
@pytest.mark.parametrize("stopped", [False, True])
def test_the_whole_folder_of_the_companion_is_made_again(server: Archived, *, stopped: bool) -> None:
    if stopped:
        docker("stop", server.companion)
    shutil.rmtree(server.received.parent)
    write(server)
    until_said(server, "red: the folder of what the companion received is gone")
    refused(server.module("base_backup"), "received/current is missing", "run site.yml")
    for folder in (server.received.parent, server.received):  # as the role makes them
        folder.mkdir(mode=0o700)
        os.chown(folder, UID, UID)
    if stopped:
        docker("start", server.companion)
    until(lambda: list(server.received.glob("*.partial")), 90)
    server.wait_streaming()
    until_well(server)
    taken(server.module("base_backup"))


def test_a_drill_without_room_memory_or_history_is_refused_before_anything_is_begun(server: Archived, tmp_path: Path) -> None:
    history = server.folder / "sets" / ".drills" / "drills.jsonl"
    with server.disks["volume"].filled(but=300 * MB):
        refused(server.drill(check=True), "MB beside the live data are needed", "make room")
        refused(server.drill(), "was refused", "MB beside the live data are needed", "make room")
        refused(server.pitr(), "MB beside the live data are needed")
    docker("update", "--memory", "900g", "--memory-swap", "900g", server.container)
    try:
        refused(server.drill(), "was refused", "a second server needs 460800 MB of memory", "stop something first")
    finally:
        docker("update", "--memory", "512m", "--memory-swap", "1g", server.container)
    assert [json.loads(line)["result"] for line in history.read_text(encoding="utf-8").splitlines()][-2:] == ["refused", "refused"]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], check=True, timeout=30)
    try:
        refused(server.drill(history_dir=str(tmp_path)), f"the disk of {tmp_path} is full", "make room")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True, timeout=30)
    assert not list(server.data.parent.glob("*.drill"))
    assert f"{server.container}-drill" not in docker("ps", "--all", "--format", "{{.Names}}").split()
