# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recover to a moment, put it into use, take it back: real servers, a real repository, a real companion."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from archives import Archived, archived_server
from containers import docker


@pytest.fixture(scope="module")
def server() -> Iterator[Archived]:
    with archived_server("pitr") as found:
        found.query("CREATE TABLE notes (id int PRIMARY KEY, text text, at timestamptz DEFAULT clock_timestamp())")
        yield found


def write(server: Archived, *numbers: int) -> None:
    for number in numbers:
        server.query("INSERT INTO notes (id, text) VALUES (%s, %s)", number, f"note {number}")


def ids(server: Archived, port: int = 0) -> list[int]:
    return [row[0] for row in server.query("SELECT id FROM notes ORDER BY id", port=port)]


def test_a_second_run_changes_nothing(server: Archived) -> None:
    again = server.converge()
    assert not again["failed"], again
    assert not again["changed"], again
    assert server.query("SELECT active, wal_status FROM pg_replication_slots WHERE slot_name = 'companion'") == [(True, "reserved")]


def test_a_target_that_cannot_be_is_refused_with_what_can(server: Archived) -> None:
    for target, words in {
        "2001-01-01 00:00:00+00": "before the first base backup",
        "2051-01-01 00:00:00+00": "in the future",
        "2025-05-31 12:34:56": "add the zone",
        "yesterday": "is no time",
    }.items():
        found = server.pitr(recovery_target_time=target)
        assert found["failed"], found
        assert words in found["msg"], found
    twice = server.pitr(recovery_target_time="2025-05-31 12:34:56+00", recovery_target_lsn="0/1")
    assert twice["failed"]
    assert "two targets" in twice["msg"]
    unknown = server.pitr(recovery_target_name="never-made")
    assert unknown["failed"]
    assert "no restore point never-made" in unknown["msg"]
    assert not (server.config / "pitr.json").exists()
    assert not list(server.data.parent.glob("*.pitr-*"))


def test_a_port_that_is_taken_is_refused_before_all_the_work(server: Archived) -> None:
    with socket.create_server(("127.0.0.1", server.side_port)):
        for check in (True, False):
            refused = server.pitr(check=check)
            assert refused["failed"], refused
            assert f"the port {server.side_port} of 127.0.0.1" in refused["msg"]
    assert not (server.config / "pitr.json").exists()


def test_to_one_second_before_a_mistake_and_back(server: Archived) -> None:
    write(server, 1, 2, 3)
    time.sleep(1.2)
    mistake = server.now()
    server.query("DELETE FROM notes WHERE id < 3")
    write(server, 4)
    moment = (mistake - timedelta(seconds=0.1)).isoformat()
    planned = server.pitr(check=True, recovery_target_time=moment)
    assert planned["plan"]["backup"], planned
    assert not (server.config / "pitr.json").exists()

    side = server.pitr(recovery_target_time=moment)
    assert not side["failed"], side
    assert side["phase"] == "ready", side
    assert [row[0] for row in server.side("SELECT id FROM notes ORDER BY id")] == [1, 2, 3]
    assert server.side("SELECT pg_is_in_recovery()") == [(True,)]
    assert ids(server) == [3, 4], "the live server goes on"
    assert not server.pitr(recovery_target_time=moment)["changed"], "it stands there already"
    other = server.pitr(recovery_target_time=server.now().isoformat())
    assert other["failed"]
    assert "holds" in other["msg"]

    done = server.pitr("promoted")
    assert not done["failed"], done
    assert done["phase"] == "promoted", done
    server.wait()
    assert ids(server) == [1, 2, 3]
    assert not server.pitr("promoted")["changed"]
    server.wait_streaming()
    write(server, 5)
    assert server.query("SELECT timeline_id FROM pg_control_checkpoint()") == [(2,)]
    assert server.query("SELECT count(*) FROM pg_file_settings WHERE name LIKE 'recovery%%' OR name = 'restore_command'") == [(0,)]

    count = server.module("wal_archive_info")["archive"]["backups"]
    taken = server.module("base_backup", type="incr")
    assert not taken["failed"], taken
    told = server.module("wal_archive_info")["archive"]
    assert (told["backups"], told["last_backup"]) == (count + 1, taken["backup"]["label"])
    assert told["recovery"]["phase"] == "promoted"

    undone = server.pitr("undone")
    assert not undone["failed"], undone
    server.wait()
    assert ids(server) == [3, 4]
    server.wait_streaming()
    told = server.module("wal_archive_info")["archive"]
    assert (told["backups"], told["last_backup"]) == (count, planned["plan"]["backup"]), "one of the timeline that was left leads nowhere"
    young = server.module("base_backup", check=True, type="incr", unless_newer_than="1h")
    assert (young["changed"], young["backup"]["label"]) == (False, planned["plan"]["backup"])
    cleaned = server.pitr("cleaned")
    assert len(cleaned["removed"]) == 1, cleaned
    assert not server.pitr("cleaned")["changed"]
    assert not list(server.data.parent.glob("*.pitr-*"))


def test_to_a_named_moment_and_again_on_the_new_timeline(server: Archived) -> None:
    write(server, 10)
    named = server.module_point("before-eleven")
    assert not named["failed"], named
    assert server.module_point("before-eleven")["failed"], "the name is taken"
    write(server, 11)
    assert server.pitr(recovery_target_name="before-eleven")["phase"] == "ready"
    assert server.pitr("promoted")["phase"] == "promoted"
    server.wait()
    assert 10 in ids(server)
    assert 11 not in ids(server)
    write(server, 12)
    time.sleep(1.1)
    between = server.now()
    time.sleep(1.1)
    write(server, 13)
    after = server.pitr(recovery_target_time=between.isoformat())
    assert after["phase"] == "ready", after
    rows = [row[0] for row in server.side("SELECT id FROM notes ORDER BY id")]
    assert 12 in rows
    assert 13 not in rows
    assert 11 not in rows
    server.pitr("cleaned")
    before = server.pitr(recovery_target_name="before-eleven")
    assert before["phase"] == "ready", before
    rows = [row[0] for row in server.side("SELECT id FROM notes ORDER BY id")]
    assert 10 in rows
    assert 12 not in rows
    assert not server.pitr("cleaned")["failed"]

    again = server.pitr("cleaned")
    assert (again["failed"], again["changed"], again["removed"]) == (False, False, []), "looks were over: the same command once more takes no way back"
    (told,) = again["steps"]
    assert "is still kept: state=cleaned with recovery=" in told
    refused = server.pitr("promoted")
    assert "no recovered side instance to promote" in refused["msg"], refused
    assert server.module("wal_archive_info")["archive"]["recovery"]["phase"] == "kept"
    assert server.pitr("undone")["phase"] == "undone"
    server.wait()
    server.wait_streaming()
    assert {10, 11} <= set(ids(server))
    assert 12 not in ids(server)
    refused = server.pitr("cleaned", recovery="00000000")
    assert "not 00000000: nothing was removed" in refused["msg"]
    cleaned = server.pitr("cleaned", recovery=told.split("recovery=")[1].split()[0])
    assert len(cleaned["removed"]) == 1, cleaned
    assert not list(server.data.parent.glob("*.pitr-*"))
    taken = server.module("base_backup", type="incr")
    assert not taken["failed"], taken


def test_nothing_acknowledged_is_lost_with_the_server_and_its_volume(server: Archived) -> None:
    """The stack is made anew as site.yml does, which keeps the archive of the lost cluster aside; it comes back out of it."""
    write(server, *range(100, 140))
    time.sleep(0.5)
    kept = ids(server)
    lost = server.query("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    server.lose()
    server.start()
    server.query(f"CREATE ROLE replicator LOGIN REPLICATION PASSWORD '{server.password}'")
    time.sleep(3)
    assert server.query("SELECT 1 FROM pg_stat_replication") == [], "the companion writes nothing over what it has of the lost cluster"
    made = server.converge()
    assert made["set_aside"] == lost, made
    docker("start", server.companion)
    server.wait_streaming()

    side = server.pitr(cluster=lost)
    assert side["phase"] == "ready", side
    assert [row[0] for row in server.side("SELECT id FROM notes ORDER BY id")] == kept
    done = server.pitr("promoted")
    assert done["phase"] == "promoted", done
    server.wait()
    assert ids(server) == kept
    assert server.query("SELECT system_identifier::text FROM pg_control_system()") == [(lost,)]
    server.wait_streaming()
    again = server.converge()
    assert not again["failed"], again
    assert not again["changed"], again
    assert not server.pitr("cleaned")["failed"]
