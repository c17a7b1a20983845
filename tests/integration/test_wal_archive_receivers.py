# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receivers on other hosts: what they keep, and what a recovery has of them. The other host itself is molecule/receiver."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import RECEIVER, TLS, UID, Archived, archived_server
from containers import docker, newest_image
from losses import Writer
from modules import run_module

from ansible_collections.nexanest.database.plugins.plugin_utils import certificate

HOUR = 3600
ROLE = Path(__file__).resolve().parents[2] / "roles" / "wal_archive" / "files"


@pytest.fixture(scope="module")
def server() -> Iterator[Archived]:
    with archived_server("recv", archive_timeout="1h", **TLS) as found:
        found.query("CREATE TABLE acknowledged (id int PRIMARY KEY)")
        found.start_receiver()
        yield found


def until(true: Callable[[], Any], limit: float = 60) -> Any:
    deadline = time.monotonic() + limit
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {limit:.0f} s"
        time.sleep(0.1)
    return found


def folders(server: Archived) -> list[Path]:
    """By cluster and timeline."""
    return sorted(path for path in server.elsewhere.glob("*/*") if path.is_dir())


def bring(server: Archived, cluster: str, *, check: bool = False) -> dict[str, Any]:
    """What the receiver has of a lost cluster, into its archive."""
    files = {str(path.relative_to(server.elsewhere)): path.stat().st_mtime for path in server.elsewhere.glob(f"{cluster}/*/*")}
    arguments = {key: value for key, value in server.arguments.items() if not key.startswith("login_")}
    return run_module("wal_received", {**arguments, "cluster": cluster, "source": str(server.elsewhere), "files": files}, check=check)


def status(server: Archived) -> dict[str, Any]:
    found: dict[str, Any] = server.module("wal_archive_info", receivers=[RECEIVER])["archive"]
    return found


def test_it_is_encrypted_and_seen(server: Archived) -> None:
    query = "SELECT version FROM pg_stat_ssl JOIN pg_stat_replication USING (pid) WHERE application_name = %s"
    assert server.query(query, RECEIVER) == [("TLSv1.3",)]
    until(lambda: status(server)["receivers"][0]["streaming"])
    docker("stop", server.receiver)
    until(lambda: any(f"{RECEIVER} does not receive" in problem["what"] for problem in status(server)["problems"]))
    docker("start", server.receiver)
    server.wait_streaming(RECEIVER)


def test_a_server_with_another_certificate_is_not_spoken_to(server: Archived) -> None:
    """Whoever has the address and the name, and not the key."""
    other = server.folder / "other.crt"
    other.write_text(certificate.stand_in(server.container, certificate.today()).certificate, encoding="utf-8")
    other.chmod(0o444)
    login = f"host={server.container} user=replicator replication=true dbname=postgres sslmode=verify-full channel_binding=require"
    for trusted, words in ((other, "certificate verify failed"), (server.config / "companion" / "server.crt", "")):
        asked = subprocess.run(
            ["docker", "run", "--rm", "--network", f"{server.name}-net", "--user", f"{UID}:{UID}", "--volume", f"{trusted}:/trusted.crt:ro",
             "--volume", f"{server.config}/companion/pgpass:/pgpass:ro", "--env", "PGPASSFILE=/pgpass", "--entrypoint", "psql", newest_image("timescaledb"),
             "-X", "-A", "-t", "-w", "-d", f"{login} sslrootcert=/trusted.crt", "-c", "IDENTIFY_SYSTEM"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (asked.returncode == 0) == (words == ""), asked.stderr
        assert words in asked.stderr


def test_a_slot_of_nobody_is_seen_and_dropped(server: Archived) -> None:
    server.query("SELECT pg_create_physical_replication_slot('receiver_gone', true)")
    assert any("log for receiver_gone, which is no receiver of the inventory" in problem["what"] for problem in status(server)["problems"])
    unasked = server.module("wal_archive", companion=server.companion)
    assert not unasked["changed"], unasked
    for check in (True, False):
        found = server.module("wal_archive", companion=server.companion, receivers=[RECEIVER], check=check)
        assert (found["changed"], found["objects"]) == (True, [{"kind": "replication slot", "name": "receiver_gone", "action": "delete"}]), found
    again = server.module("wal_archive", companion=server.companion, receivers=[RECEIVER])
    assert not again["changed"], again
    assert server.query("SELECT slot_name FROM pg_replication_slots ORDER BY 1") == [("companion",), (RECEIVER,)]


def test_commits_wait_for_two_and_go_on_with_one_of_three(server: Archived) -> None:
    standbys = f"ANY 2 (companion, {RECEIVER}, receiver_other)"
    synchronous = server.folder / "timescaledb" / "conf" / "synchronous.conf"
    synchronous.write_text(f"synchronous_standby_names = '{standbys}'\n", encoding="utf-8")
    server.query("SELECT pg_reload_conf()")
    try:
        server.query("INSERT INTO acknowledged VALUES (0)")
        server.query("DELETE FROM acknowledged")
    finally:
        synchronous.write_text("synchronous_standby_names = ''\n", encoding="utf-8")
        server.query("SELECT pg_reload_conf()")


def test_what_the_server_and_its_companion_lost_the_receiver_has(server: Archived) -> None:
    """The archive of the lost cluster is as one that came out of a bucket: archived segments, and nothing that was received."""
    (server.folder / "timescaledb" / "conf" / "synchronous.conf").write_text(f"synchronous_standby_names = 'ANY 2 (companion, {RECEIVER})'\n", encoding="utf-8")
    server.query("SELECT pg_reload_conf()")
    cluster = server.query("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    writer = Writer(server)
    thread = threading.Thread(target=writer.run)
    thread.start()
    time.sleep(1)
    server.query("SELECT pg_switch_wal()")
    time.sleep(2)
    docker("kill", server.container)
    thread.join()
    server.lose()
    docker("stop", server.companion)
    shutil.rmtree(server.received)
    docker("rm", "--force", server.companion)
    (server.folder / "timescaledb" / "conf" / "synchronous.conf").unlink()
    server.received.mkdir(mode=0o700)
    os.chown(server.received, UID, UID)
    server.start()
    server.query(f"CREATE ROLE replicator LOGIN REPLICATION PASSWORD '{server.password}'")
    made = server.converge()
    assert not made["failed"], made
    assert made["set_aside"] == cluster
    # The new cluster has a folder of its own, and the lost one's stays.
    until(lambda: len(folders(server)) == 2)

    planned = bring(server, cluster, check=True)
    done = bring(server, cluster)
    assert (planned["failed"], done["failed"]) == (False, False), (planned, done)
    assert planned["objects"] == done["objects"] != []
    assert done["segments"] == sorted(done["segments"])
    again = bring(server, cluster)
    assert (again["changed"], again["segments"]) == (False, [])
    assert {path.stat().st_uid for path in (server.archive / cluster / "received" / "current").iterdir()} == {UID}

    found = server.pitr(cluster=cluster)
    assert not found["failed"], found
    try:
        rows = server.side("SELECT count(*), max(id) FROM acknowledged")[0]
        assert len(writer.acknowledged) > 50
        assert rows[0] == rows[1]
        assert rows[0] in (len(writer.acknowledged), len(writer.acknowledged) + 1)
    finally:
        server.pitr("cleaned")


def test_a_cluster_that_nobody_lost_is_refused(server: Archived) -> None:
    found = run_module(
        "wal_received",
        {
            **{key: value for key, value in server.arguments.items() if not key.startswith("login_")},
            "cluster": "7713188848805994522",
            "source": str(server.elsewhere),
            "files": {},
        },
    )
    assert found["failed"]
    assert "has no archive of a cluster 7713188848805994522" in found["msg"]


def test_a_full_disk_gets_room(kept: Path) -> None:
    """Dropping comes before compressing, which needs room first."""
    kept.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k,mode=700", "tmpfs", str(kept)], check=True, timeout=30)
    try:
        os.chown(kept, UID, UID)
        for number, hours_ago in enumerate((100, 80, 75, 50, 10, 5, 4, 3, 2, 1)):
            received(kept, hours_ago, number)
        assert shutil.disk_usage(kept).free == 0
        keep(kept, 72)
        assert names(kept)[0] == "2.gz"
    finally:
        subprocess.run(["umount", str(kept)], check=True, timeout=30)


@pytest.fixture
def kept() -> Iterator[Path]:
    """A folder of one timeline in the volume of a receiver."""
    folder = Path("/var/tmp") / f"keep-{secrets.token_hex(3)}" / "7713" / "1"
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder.parents[1])


def keep(folder: Path, hours: int) -> None:
    for path in (folder.parents[1], folder.parent, *folder.parent.iterdir()):
        os.chown(path, UID, UID)
    docker(
        "run", "--rm", "--user", f"{UID}:{UID}", "--network", "none", "--volume", f"{folder.parents[1]}:/archive/received",
        "--volume", f"{ROLE}:/archive-tools:ro", "--tmpfs", "/tmp:mode=1777", "--entrypoint", "/archive-tools/wal-keep",
        newest_image("timescaledb"), f"/archive/received/{folder.parent.name}/{folder.name}", str(hours),
    )  # fmt: skip


def received(folder: Path, hours_ago: float, number: int, ending: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"00000001{number:016X}{ending}"
    path.write_bytes(b"x" + bytes(4095))
    os.chown(path, UID, UID)
    moment = time.time() - hours_ago * HOUR
    os.utime(path, (moment, moment))
    return path


def names(folder: Path) -> list[str]:
    return sorted(f"{int(path.name[8:24], 16)}{path.name[24:]}" for path in folder.iterdir())


def test_so_many_hours_are_kept_and_compressed(kept: Path) -> None:
    for number, hours_ago in enumerate((80, 75, 50, 10, 1)):
        received(kept, hours_ago, number)
    received(kept, 0, 5, ".partial")
    received(kept, 10, 3, ".gz")
    for _again in range(2):
        keep(kept, 72)
        assert names(kept) == ["1.gz", "2.gz", "3.gz", "4", "5.partial"]
        assert {path.stat().st_uid for path in kept.iterdir()} == {UID}


def test_what_is_of_a_lost_host_stays(kept: Path) -> None:
    """However old it is: it is counted back from the newest of it."""
    for number, hours_ago in enumerate((2000, 1990, 1980)):
        received(kept, hours_ago, number)
    keep(kept, 72)
    assert names(kept) == ["0.gz", "1.gz", "2"]


def test_what_a_recovery_left_goes_when_all_of_it_is_old_and_this_goes_back_as_far(kept: Path) -> None:
    received(kept, 1, 9)
    old, young, foreign = kept.parent / "gap.1", kept.parent / "2", kept.parents[1] / "7700" / "1"
    foreign.parent.mkdir()
    for folder, hours_ago in ((old, 100), (young, 50), (foreign, 500)):
        received(folder, hours_ago, 1)
    keep(kept, 72)
    assert old.is_dir()
    received(kept, 74, 8)
    keep(kept, 72)
    assert not old.exists()
    assert young.is_dir()
    assert foreign.is_dir()
