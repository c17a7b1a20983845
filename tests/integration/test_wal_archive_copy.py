# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A continuous backup survives its host: real repositories are copied into a bucket, disturbed, and brought back; the rows are counted in the database."""

from __future__ import annotations

import dataclasses
import json
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from archives import REPLICATION, UID, Archived, archived_server
from containers import docker
from modules import run_module, start_module
from s3_server import S3, s3_server

from ansible_collections.nexanest.database.plugins.module_utils._archive_look import look
from ansible_collections.nexanest.database.plugins.module_utils._archive_status import problems

LIMIT = 60.0
KEYS = ("objects", "diff", "sent", "removed")
OPTIONS = ("name", "container", "archive_dir", "config_dir")


@dataclasses.dataclass(frozen=True)
class Offsite:
    """A server with its archive, and a bucket."""

    server: Archived
    s3: S3
    bucket: str

    def arguments(self, **changed: Any) -> dict[str, Any]:
        names = {name: self.server.arguments[name] for name in OPTIONS}
        return {**names, "stack": self.server.name, **self.s3.login(self.bucket, "deep/down"), **changed}

    def run(self, *, check: bool = False, **changed: Any) -> dict[str, Any]:
        answer = run_module("wal_archive_copy", self.arguments(**changed), check)
        assert self.s3.secret_key not in json.dumps(answer)
        return answer

    def done(self, *, check: bool = False, **changed: Any) -> dict[str, Any]:
        answer = self.run(check=check, **changed)
        assert not answer["failed"], answer["msg"]
        return answer

    def refused(self, **changed: Any) -> str:
        """Refused in check mode as well, in the same words, with nothing changed anywhere."""
        before = self.objects()
        planned, answer = self.run(check=True, **changed), self.run(**changed)
        assert (planned["failed"], answer["failed"]) == (True, True), (planned, answer)
        assert planned["msg"] == answer["msg"]
        assert self.objects() == before
        return str(answer["msg"])

    def objects(self) -> dict[str, int]:
        """Sizes by key."""
        pages = self.s3.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}

    def stored(self) -> dict[str, int]:
        """Files of repositories in the bucket, by their path in the archive."""
        found = {key.split("/", 5)[-1]: size for key, size in self.objects().items()}
        return {path: size for path, size in found.items() if path.startswith("repository/")}

    def here(self) -> dict[str, int]:
        """What the repository has that never changes."""
        home = self.server.archive / "current"
        files = [path for path in (home / "repository").rglob("*") if path.is_file() and ".info" not in path.name]
        return {str(path.relative_to(home)): path.stat().st_size for path in files if "/latest/" not in str(path)}

    def written(self) -> int:
        return len([line for line in self.s3.requests() if line.startswith(("PUT", "POST", "DELETE")) and self.bucket in line])

    def flip(self, key: str) -> None:
        """One bit of an object."""
        found = self.s3.client.get_object(Bucket=self.bucket, Key=key)
        body = bytearray(found["Body"].read())
        body[len(body) // 2] ^= 1
        self.s3.client.put_object(Bucket=self.bucket, Key=key, Body=bytes(body), Metadata=found["Metadata"])

    def marker(self) -> str:
        (key,) = [key for key in self.objects() if key.endswith("archive.json")]
        return str(self.s3.client.get_object(Bucket=self.bucket, Key=key)["ETag"])

    def noted(self) -> str:
        """Where the archive is known to be."""
        note = self.server.archive / "current" / "copied.json"
        found = json.loads(note.read_text(encoding="utf-8"))["where"] if note.is_file() else ""
        return found if self.bucket in found else ""

    def listed(self) -> dict[str, Any]:
        answer = run_module("wal_archive_copy_info", {"archive_dir": str(self.server.folder), **self.s3.login(self.bucket, "deep/down")})
        assert not answer["failed"], answer
        return answer

    def left(self) -> list[str]:
        """What a fetch that failed would leave."""
        return [str(path) for folder in (self.server.archive, self.server.archive.parent) for path in folder.glob(".fetch-*")]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[Archived]:
    with archived_server("nexaoff") as found:
        found.query("CREATE TABLE notes (id int PRIMARY KEY, text text DEFAULT repeat('x', 500))")
        yield found


@pytest.fixture
def offsite(server: Archived, s3: S3) -> Offsite:
    bucket = f"archives-{secrets.token_hex(4)}"
    s3.client.create_bucket(Bucket=bucket)
    return Offsite(server, s3, bucket)


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {LIMIT:.0f} s"
        time.sleep(0.1)


def write(server: Archived, count: int) -> int:
    """More rows, in the archive when this returns. How many there are."""
    before = rows(server)
    server.query("INSERT INTO notes (id) SELECT (SELECT coalesce(max(id), 0) FROM notes) + n FROM generate_series(1, %s) AS n", count)
    assert rows(server) == before + count
    name = server.query("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
    last = server.archive / "current" / "archived" / "last"
    until(lambda: last.is_file() and last.read_text().strip() >= name, f"{name} in the archive")
    return rows(server)


def rows(server: Archived, port: int = 0) -> int:
    return int(server.query("SELECT count(*) FROM notes", port=port)[0][0])


def system_id(server: Archived) -> str:
    return str(server.query("SELECT system_identifier::text FROM pg_control_system()")[0][0])


def lose_host(server: Archived) -> None:
    """The server, its volume, its companion, its archive and its files are gone; a machine with the same inventory and secrets takes its place."""
    server.lose()
    docker("rm", "--force", server.companion)
    shutil.rmtree(server.archive)
    shutil.rmtree(server.folder / "timescaledb")
    server.write_files()
    server.start()
    server.query(f"CREATE ROLE {REPLICATION} LOGIN REPLICATION PASSWORD '{server.password}'")
    made = server.converge()
    assert not made["failed"], made


def test_the_loss_of_the_host_costs_what_was_not_copied_yet(s3: S3) -> None:
    """Short enough for CI; all that is here is that it works."""
    with archived_server("nexaoff") as server:
        s3.client.create_bucket(Bucket="loss")
        offsite = Offsite(server, s3, "loss")
        server.query("CREATE TABLE notes (id int PRIMARY KEY, text text DEFAULT repeat('x', 500))")
        kept = write(server, 1000)
        offsite.done()
        before = offsite.written()
        again = offsite.done()
        assert (again["changed"], again["objects"], again["sent"], offsite.written()) == (False, [], {"files": 0, "bytes": 0}, before)
        lost = system_id(server)
        server.query("INSERT INTO notes (id) VALUES (999999)")
        lose_host(server)
        assert system_id(server) != lost
        offsite.done(state="fetched", cluster=lost)
        side = server.pitr(cluster=lost)
        assert side["phase"] == "ready", side
        assert rows(server, server.side_port) == kept


@pytest.mark.long
def test_a_copy_is_predicted_and_holds_what_the_repository_holds(offsite: Offsite) -> None:
    write(offsite.server, 10)
    planned = offsite.done(check=True)
    assert (planned["changed"], offsite.objects(), offsite.noted()) == (True, {}, "")
    done = offsite.done()
    assert [done[key] for key in KEYS] == [planned[key] for key in KEYS]
    assert offsite.stored() == offsite.here()
    assert next(iter(offsite.objects())).startswith(f"deep/down/archives/timescaledb/{system_id(offsite.server)}/")
    assert offsite.noted() == f"s3://{offsite.bucket}/deep/down at {offsite.s3.endpoint}"
    assert not offsite.done()["changed"]
    files = len(offsite.stored())
    write(offsite.server, 10)
    planned, done = offsite.done(check=True), offsite.done()
    assert [done[key] for key in KEYS] == [planned[key] for key in KEYS]
    assert done["sent"]["files"] == len(offsite.stored()) - files > 0
    (listed,) = offsite.listed()["archives"]
    assert (listed["system_id"], listed["files"], listed["problem"]) == (system_id(offsite.server), len(offsite.stored()), "")
    assert "passphrase" not in json.dumps(listed)


@pytest.mark.long
def test_a_restore_point_that_was_named_is_copied(offsite: Offsite) -> None:
    offsite.done()
    assert not offsite.server.module_point(f"before-{offsite.bucket}")["failed"]
    done = offsite.done()
    assert (done["changed"], done["diff"]["before"] != done["diff"]["after"]) == (True, True)
    assert not offsite.done()["changed"]


@pytest.mark.long
def test_a_copy_that_was_killed_leaves_the_one_before_and_goes_on_where_it_was(offsite: Offsite) -> None:
    offsite.done()
    marker, stored = offsite.marker(), offsite.stored()
    for _round in range(6):
        write(offsite.server, 10)
    with offsite.s3.asked("hold", "3"):
        run = start_module("wal_archive_copy", offsite.arguments())
        begun = offsite.written()
        until(lambda: offsite.written() >= begun + 5, "five writes")
        run.send_signal(signal.SIGKILL)
        run.wait(timeout=10)
    time.sleep(0.5)  # what the door held is let through
    sent = len(offsite.stored()) - len(stored)
    assert sent > 0
    assert offsite.marker() == marker, "the copy before is still the one"
    planned, done = offsite.done(check=True), offsite.done()
    assert [done[key] for key in KEYS] == [planned[key] for key in KEYS]
    assert done["sent"]["files"] == len(offsite.here()) - len(stored) - sent, "what was sent whole is not sent again"
    assert offsite.stored() == offsite.here()
    assert not offsite.done()["changed"]


@pytest.mark.long
@pytest.mark.parametrize("marked", [False, True])
def test_a_copy_that_was_killed_at_its_end_knows_its_own_work_again(offsite: Offsite, marked: bool) -> None:
    """When its lists were on their way, and when its marker was: what is on its way arrives, and nothing was noted of it."""
    offsite.done()
    before = offsite.marker()
    write(offsite.server, 10)
    last = offsite.done(check=True)["sent"]["files"] + int(marked)
    begun = offsite.written()
    with offsite.s3.asked("hold", str(last)):
        run = start_module("wal_archive_copy", offsite.arguments())
        until(lambda: offsite.written() > begun + last, "the last write")
        run.send_signal(signal.SIGKILL)
        run.wait(timeout=10)
    time.sleep(0.5)  # what the door held is let through
    assert (offsite.marker() != before) == marked
    assert offsite.done()["changed"] != marked
    assert not offsite.done()["changed"]
    assert offsite.stored() == offsite.here()


@pytest.mark.long
def test_base_backups_that_go_while_they_are_copied_are_looked_at_anew(offsite: Offsite) -> None:
    """Two full ones are kept. The door holds the copy until the first is gone."""
    server = offsite.server
    assert not server.module("base_backup", type="full")["failed"]
    with offsite.s3.asked("hold", "1"):
        run = start_module("wal_archive_copy", offsite.arguments())
        until(lambda: offsite.written() >= 2, "two writes")
        for _round in range(2):
            write(server, 10)
            assert not server.module("base_backup", type="full")["failed"]
    stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 0, stdout + stderr
    offsite.done()
    assert offsite.stored() == offsite.here()
    assert not offsite.done()["changed"]


@pytest.mark.long
def test_what_the_repository_dropped_goes_when_the_marker_is_there_and_foreign_objects_stay(offsite: Offsite) -> None:
    server = offsite.server
    assert not server.module("base_backup", type="full")["failed"]
    offsite.done()
    root = f"deep/down/archives/timescaledb/{system_id(server)}"
    for key in (f"{root}/repository/notes.txt", "deep/down/archives/timescaledb/1234/archive.json", "deep/down/20250531_123456/x"):
        offsite.s3.client.put_object(Bucket=offsite.bucket, Key=key, Body=b"somebody's")
    for _round in range(2):
        assert not server.module("base_backup", type="full")["failed"]
    kept = offsite.done(remove=False)
    assert kept["removed"] == {"files": 0, "bytes": 0}
    planned = offsite.done(check=True)
    begun = len(offsite.s3.requests())
    done = offsite.done()
    assert planned["removed"] == done["removed"]
    assert done["removed"]["files"] > 0
    requests = [line.split()[0] for line in offsite.s3.requests()[begun:]]
    assert "PUT" not in requests or requests.index("DELETE") > max(place for place, verb in enumerate(requests) if verb == "PUT")
    assert {path: size for path, size in offsite.stored().items() if path != "repository/notes.txt"} == offsite.here()
    assert len([key for key in offsite.objects() if offsite.objects()[key] == len(b"somebody's")]) == 3
    assert not offsite.done()["changed"]


@pytest.mark.long
def test_bytes_that_change_on_their_way_are_no_copy_and_nothing_is_noted(offsite: Offsite) -> None:
    with offsite.s3.asked("spoil"):
        told = offsite.run()
    assert told["failed"]
    assert "BadDigest" in told["msg"]
    assert (offsite.noted(), offsite.stored()) == ("", {})
    offsite.done()


@pytest.mark.long
def test_copies_of_others_are_refused(offsite: Offsite) -> None:
    offsite.done()
    note = offsite.server.archive / "current" / "copied.json"
    assert f"of the stack {offsite.server.name}: name another prefix for shop" in offsite.refused(stack="shop")
    note.unlink()
    told = offsite.refused()
    assert "and not this machine" in told
    assert "take_over" in told
    assert not offsite.done(take_over=True)["changed"]
    assert not offsite.done()["changed"]


@pytest.mark.long
@pytest.mark.parametrize("part", ["/bundle/", "/archive/timescaledb/17-1/", "/lists/", "archive.json"])
def test_a_flipped_bit_in_the_bucket_is_named_and_nothing_is_left(offsite: Offsite, part: str) -> None:
    offsite.done()
    lost = system_id(offsite.server)
    key = sorted(key for key in offsite.objects() if part in key)[-1]
    offsite.flip(key)
    (offsite.server.archive / "current").rename(offsite.server.archive / "elsewhere")
    try:
        (offsite.server.archive / "current").mkdir(mode=0o700)
        told = offsite.run(state="fetched", cluster=lost)
    finally:
        (offsite.server.archive / "current").rmdir()
        (offsite.server.archive / "elsewhere").rename(offsite.server.archive / "current")
    assert told["failed"]
    assert key.rpartition("/")[2] in told["msg"], told["msg"]
    assert "damaged" in told["msg"]
    assert (offsite.left(), (offsite.server.archive / lost).exists()) == ([], False)


@pytest.mark.long
def test_a_fetch_is_refused_where_it_cannot_end_well(offsite: Offsite) -> None:
    offsite.done()
    lost = system_id(offsite.server)
    assert f"there is no copy of timescaledb 1234 in s3://{offsite.bucket}/deep/down" in offsite.refused(state="fetched", cluster="1234")
    assert "which is in use" in offsite.refused(state="fetched", cluster=lost)
    assert "name the system identifier" in offsite.refused(state="fetched", cluster="../../etc")
    (offsite.server.archive / lost).mkdir()
    try:
        assert "is there already" in offsite.refused(state="fetched", cluster=lost)
    finally:
        (offsite.server.archive / lost).rmdir()


@pytest.mark.long
def test_the_status_says_what_is_off_site_and_complains_where_nothing_is(offsite: Offsite) -> None:
    login = {"login_db": "postgres", "connect_timeout": 5}
    arguments = {**offsite.server.arguments, **login, "offsite": {"endpoint_url": offsite.s3.endpoint, "bucket": offsite.bucket, "prefix": "deep/down"}}
    (offsite.server.archive / "current" / "copied.json").unlink(missing_ok=True)
    facts = look(arguments)
    told = [problem.what for problem in problems(facts, 8 * 86400, lambda verb: f"make {verb}")]
    assert any("is not known to have anything of it" in what for what in told), told
    offsite.done()
    facts = look(arguments)
    assert problems(facts, 8 * 86400, lambda verb: f"make {verb}") == []
    assert facts.copied_age is not None
    assert facts.copied_age < LIMIT
    assert any("old, more than" in problem.what for problem in problems(facts, 8 * 86400, lambda verb: verb, offsite_max_age=-1))


@pytest.mark.long
def test_the_loss_of_the_host_to_the_end_and_the_copies_go_on(s3: S3) -> None:
    with archived_server("nexaoff") as server:
        s3.client.create_bucket(Bucket="end")
        offsite = Offsite(server, s3, "end")
        server.query("CREATE TABLE notes (id int PRIMARY KEY, text text DEFAULT repeat('x', 500))")
        write(server, 1000)
        assert not server.module("base_backup", type="incr")["failed"]
        # A recovery that was put into use: the timeline that is followed has a history.
        assert server.pitr()["phase"] == "ready"
        assert server.pitr("promoted")["phase"] == "promoted"
        server.wait()
        server.pitr("cleaned")
        between = server.now()
        time.sleep(1.1)  # a copy tells its end in whole seconds
        kept = write(server, 500)
        offsite.done()
        lost = system_id(server)

        lose_host(server)
        new = system_id(server)
        offsite.done()
        assert {one["system_id"] for one in offsite.listed()["archives"]} == {lost, new}
        fetch = {"state": "fetched", "cluster": lost}
        planned = offsite.done(check=True, **fetch)
        assert (planned["changed"], (server.archive / lost).exists()) == (True, False)
        conf = server.config / "pgbackrest" / "pgbackrest.conf"
        right = conf.read_text(encoding="utf-8")
        conf.write_text(right.replace("p" * 20, "q" * 20), encoding="utf-8")
        told = offsite.run(**fetch)
        conf.write_text(right, encoding="utf-8")
        assert f"put secrets/{server.name}/timescaledb_archive of the lost machine there" in told["msg"], told
        assert (offsite.left(), (server.archive / lost).exists()) == ([], False)

        done = offsite.done(**fetch)
        assert [done[key] for key in ("objects", "diff", "sent")] == [planned[key] for key in ("objects", "diff", "sent")]
        there = [path for path in (server.archive / lost).rglob("*") if path.name != "copied.json"]
        assert {path.lstat().st_uid for path in there} == {UID}
        assert not any(path.stat().st_mode & 0o007 for path in there)
        assert not offsite.done(**fetch)["changed"]
        earlier = server.pitr(cluster=lost, recovery_target_time=between.isoformat())
        assert earlier.get("phase") == "ready", earlier
        assert rows(server, server.side_port) == 1000
        server.pitr("cleaned")
        assert server.pitr(cluster=lost)["phase"] == "ready"
        assert rows(server, server.side_port) == kept
        promoted = server.pitr("promoted", cluster=lost)
        assert promoted["phase"] == "promoted", promoted
        server.wait()
        assert (rows(server), system_id(server)) == (kept, lost)
        more = write(server, 100)
        assert more == kept + 100
        offsite.done()
        assert [one["timeline"] for one in offsite.listed()["archives"] if one["system_id"] == lost] == [3]
