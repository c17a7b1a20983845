# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills of a continuous backup's copy in a bucket: fetched aside, recovered to its newest moment, and nothing of it stays, whatever happens."""

from __future__ import annotations

import hashlib
import json
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from archives import Archived, archived_server
from containers import docker
from modules import run_module, start_module
from s3_server import S3, s3_server

LIMIT = 60.0


@dataclass(frozen=True)
class Drilled:
    """A server with its archive, and a bucket with a copy of that."""

    server: Archived
    s3: S3
    bucket: str

    @property
    def where(self) -> str:
        return f"s3://{self.bucket}/deep/down at {self.s3.endpoint}"

    @property
    def sets(self) -> Path:
        """Folder of the backup sets, which has the history. One for each test."""
        folder = self.server.folder / f"sets-{self.bucket}"
        folder.mkdir(exist_ok=True)
        return folder

    def arguments(self, **changed: Any) -> dict[str, Any]:
        common = {"stack": self.server.name, "history_dir": str(self.sets), "label": f"nexanest.database.test={self.server.name}"}
        return {**self.server.arguments, **common, **self.s3.login(self.bucket, "deep/down"), **changed}

    def run(self, *, check: bool = False, **changed: Any) -> dict[str, Any]:
        answer = run_module("wal_archive_drill", self.arguments(**changed), check)
        assert self.s3.secret_key not in json.dumps(answer)
        assert self.litter() == []
        return answer

    def copy(self, **changed: Any) -> None:
        """Bring the copy up to date."""
        names = {name: self.server.arguments[name] for name in ("name", "container", "archive_dir", "config_dir")}
        done = run_module("wal_archive_copy", {**names, "stack": self.server.name, **self.s3.login(self.bucket, "deep/down"), "take_over": True, **changed})
        assert not done["failed"], done

    def history(self) -> list[dict[str, Any]]:
        file = self.sets / ".drills" / "drills.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def litter(self) -> list[str]:
        """Folders and containers of drills."""
        folders = [*self.server.data.parent.glob("*drill*"), *self.server.folder.glob(".drill-*"), *self.server.archive.glob(".drill-*")]
        containers = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name={self.server.container}-offsite").split()
        return [str(path) for path in folders] + containers

    def status(self) -> tuple[list[str], str]:
        """Levels of what is wrong with drills out of the bucket, and the report."""
        login = {"host": "127.0.0.1", "port": self.server.port, "login_user": self.server.arguments["login_user"], "login_password": self.server.password}
        service = {"service": "timescaledb", "kind": "timescaledb", "container": self.server.container, **login}
        bucket = {"endpoint_url": self.s3.endpoint, "bucket": self.bucket, "prefix": "deep/down"}
        folders = {"archive_dir": str(self.server.archive), "config_dir": str(self.server.config)}
        kept = {"dir": str(self.sets), "drill_overdue_after": "8d", "offsite_drill_overdue_after": "35d", "offsite": bucket}
        archives = [{"service": "timescaledb", **folders, "offsite": bucket}]
        said = run_module("stack_info", {"stack": self.server.name, "services": [service], "backups": kept, "archives": archives})
        assert not said["failed"], said
        (archive,) = said["status"]["archives"]
        return [problem["level"] for problem in archive["problems"] if "off-site restore drill" in problem["what"]], str(said["report"])

    def keys(self, part: str) -> list[str]:
        pages = self.s3.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", []) if part in item["Key"])

    def flip(self, key: str) -> None:
        """One bit of an object."""
        found = self.s3.client.get_object(Bucket=self.bucket, Key=key)
        body = bytearray(found["Body"].read())
        body[len(body) // 2] ^= 1
        self.s3.client.put_object(Bucket=self.bucket, Key=key, Body=bytes(body), Metadata=found["Metadata"])


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[Archived]:
    with archived_server("nexaoff") as found:
        found.query("CREATE TABLE notes (id int PRIMARY KEY, text text DEFAULT repeat('x', 500))")
        found.query("INSERT INTO notes (id) SELECT generate_series(1, 1000)")
        archived(found)
        yield found


@pytest.fixture
def drilled(server: Archived, s3: S3) -> Drilled:
    bucket = f"archives-{secrets.token_hex(4)}"
    s3.client.create_bucket(Bucket=bucket)
    found = Drilled(server, s3, bucket)
    found.copy()
    return found


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {LIMIT:.0f} s"
        time.sleep(0.05)


def archived(server: Archived) -> None:
    """All that was written so far."""
    name = server.query("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
    last = server.archive / "current" / "archived" / "last"
    until(lambda: last.is_file() and last.read_text().strip() >= name, f"{name} in the archive")


def test_a_copy_is_proven_out_of_the_bucket_and_a_flipped_bit_turns_the_status_red(drilled: Drilled) -> None:
    drilled.server.query("INSERT INTO notes (id) SELECT coalesce(max(id), 0) + 1 FROM notes")
    newest = drilled.server.now()
    archived(drilled.server)
    drilled.copy()
    planned = drilled.run(check=True)
    assert not planned["failed"], planned
    assert (planned["changed"], planned["target"], planned["offsite"], drilled.history()) == (True, "the latest moment", drilled.where, [])
    assert planned["needs"]["disk"] > planned["fetched"] > 0
    done = drilled.run()
    assert not done["failed"], done
    assert [done[key] for key in ("diff", "target", "backup", "offsite", "fetched", "needs")] == [
        planned[key] for key in ("diff", "target", "backup", "offsite", "fetched", "needs")
    ]
    assert abs((newest - datetime.fromisoformat(done["reached"])).total_seconds()) < 10, "the newest moment of the copy"
    assert {"postgres", "template1"} <= set(done["databases"])
    assert done["checks"] > 100
    (line,) = drilled.history()
    assert (line["offsite"], line["source"], line["result"]) == (drilled.where, "archive timescaledb", "passed")
    assert 0 < line["rto"] < LIMIT
    assert 0 < line["rpo"] < LIMIT
    skipped = drilled.run(unless_newer_than="1h")
    assert [skipped[key] for key in ("changed", "offsite", "target")] == [False, drilled.where, "the latest moment"]
    problems, said = drilled.status()
    assert (problems, ", recovered out of there in a drill " in said) == ([], True), said

    key = drilled.keys("/archive/timescaledb/17-1/")[-1]
    drilled.flip(key)
    failed = drilled.run()
    assert failed["failed"], failed
    assert key.rpartition("/")[2] in failed["msg"], failed["msg"]
    assert [record["result"] for record in drilled.history()] == ["passed", "failed"]
    assert drilled.status()[0] == ["red"]


@pytest.mark.long
def test_what_cannot_work_is_refused_with_one_sentence_and_noted(drilled: Drilled) -> None:
    system_id = drilled.server.query("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    drilled.s3.client.create_bucket(Bucket=f"{drilled.bucket}-empty")
    cases: dict[str, dict[str, Any]] = {
        f"there is no copy of timescaledb {system_id} in s3://{drilled.bucket}-empty/deep/down": {"bucket": f"{drilled.bucket}-empty"},
        f"is that of the stack {drilled.server.name}": {"stack": "shop"},
        "there is no bucket 'nosuch'": {"bucket": "nosuch"},
        "refuses the access key": {"access_key": "wrong"},
        "needs access_key and secret_key": {"secret_key": ""},
        "which is another moment in every time zone": {"recovery_target_time": "2025-05-31 12:34:56"},
        "that is before the first base backup": {"recovery_target_time": "2020-05-31 12:34:56+00"},
        "nothing is known of it": {"recovery_target_time": "2125-05-31 12:34:56+00"},
    }
    for words, changed in cases.items():
        planned, told = drilled.run(check=True, **changed), drilled.run(**changed)
        assert (planned["failed"], told["failed"]) == (True, True), told
        assert words.removeprefix("that ") in planned["msg"], planned["msg"]
        assert words.removeprefix("that ") in told["msg"], told["msg"]
        assert "was refused" in told["msg"], told["msg"]
    assert [record["result"] for record in drilled.history()] == ["refused"] * len(cases)
    conf = drilled.server.config / "pgbackrest" / "pgbackrest.conf"
    right = conf.read_text(encoding="utf-8")
    conf.write_text(right.replace("p" * 20, "q" * 20), encoding="utf-8")
    try:
        told = drilled.run()
    finally:
        conf.write_text(right, encoding="utf-8")
    assert f"put secrets/{drilled.server.name}/timescaledb_archive of the lost machine there" in told["msg"], told


@pytest.mark.long
def test_a_copy_of_another_cluster_is_none_of_this_one(drilled: Drilled) -> None:
    (key,) = drilled.keys("archive.json")
    marker = json.loads(drilled.s3.client.get_object(Bucket=drilled.bucket, Key=key)["Body"].read())
    body = json.dumps({**marker, "system_id": "1234"}).encode()
    other = {"Key": "deep/down/archives/timescaledb/1234/archive.json", "Metadata": {"sha256": hashlib.sha256(body).hexdigest()}}
    drilled.s3.client.put_object(Bucket=drilled.bucket, Body=body, **other)
    drilled.s3.client.delete_object(Bucket=drilled.bucket, Key=key)
    assert "it has 1234" in drilled.run()["msg"]
    assert drilled.status()[0] == ["yellow"]


@pytest.mark.long
@pytest.mark.parametrize("part", ["archive.json", "/lists/", "/backup/timescaledb/"])
def test_what_is_damaged_or_missing_is_a_failure_before_anything_is_restored(drilled: Drilled, part: str) -> None:
    drilled.flip(drilled.keys(part)[0])
    told = drilled.run()
    assert "FAILED" in told["msg"], told["msg"]
    assert "damaged" in told["msg"], told["msg"]
    drilled.s3.client.delete_object(Bucket=drilled.bucket, Key=drilled.keys(part)[0])
    drilled.run()
    assert drilled.history()[0]["result"] == "failed"
    assert drilled.history()[1]["result"] == ("refused" if part == "archive.json" else "failed"), "without a marker it is no copy"
    if part == "/backup/timescaledb/":
        drilled.copy()
        done = drilled.run()
        assert not done["failed"], "what was removed was sent again"


@pytest.mark.long
@pytest.mark.parametrize(("how", "moment"), [(signal.SIGKILL, "fetch"), (signal.SIGTERM, "fetch"), (signal.SIGKILL, "server"), (signal.SIGTERM, "server")])
def test_one_that_is_killed_leaves_nothing_when_the_next_one_has_run(drilled: Drilled, how: int, moment: str) -> None:
    run = start_module("wal_archive_drill", drilled.arguments())
    container = f"{drilled.server.container}-offsite-drill"
    fetched = ".drill-timescaledb-*/*/repository/backup/timescaledb/2*/*"
    until(lambda: list(drilled.server.folder.glob(fetched)) if moment == "fetch" else container in drilled.litter(), moment)
    run.send_signal(how)
    run.communicate(timeout=60)
    if how == signal.SIGKILL:
        assert drilled.litter(), "it had ended already"
    else:
        assert drilled.litter() == []
        assert drilled.history()[0]["result"] == "failed"
    done = drilled.run()
    assert not done["failed"], done
    assert drilled.history()[-1]["result"] == "passed"


@pytest.mark.long
def test_what_a_killed_one_left_goes_with_the_next_drill_of_this_machine_without_the_bucket(drilled: Drilled) -> None:
    run = start_module("wal_archive_drill", drilled.arguments())
    until(lambda: f"{drilled.server.container}-offsite-drill" in drilled.litter(), "the server of the drill")
    run.kill()
    run.communicate(timeout=60)
    assert len(drilled.litter()) == 3, "copy, data and container"
    local = drilled.server.drill()
    assert not local["failed"], local
    assert drilled.litter() == []


@pytest.mark.long
def test_copies_go_on_while_one_looks_and_fetches(drilled: Drilled) -> None:
    run = start_module("wal_archive_drill", drilled.arguments())
    copies = 0
    while run.poll() is None:
        drilled.server.query("INSERT INTO notes (id) SELECT coalesce(max(id), 0) + 1 FROM notes")
        archived(drilled.server)
        drilled.copy()
        copies += 1
    stdout, stderr = run.communicate(timeout=120)
    assert (run.returncode, copies > 0) == (0, True), stdout + stderr


@pytest.mark.long
def test_backups_and_recoveries_go_on_meanwhile(drilled: Drilled) -> None:
    run = start_module("wal_archive_drill", drilled.arguments())
    until(lambda: f"{drilled.server.container}-offsite-drill" in drilled.litter(), "the server of the drill")
    assert not drilled.server.module("base_backup", type="incr")["failed"]
    local = drilled.server.drill()
    assert not local["failed"], local
    stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 0, stdout + stderr


@pytest.mark.long
def test_a_disk_that_cannot_hold_copy_and_recovery_is_refused(s3: S3) -> None:
    with archived_server("nexaoff", disks={"archive": "400M"}) as server:
        s3.client.create_bucket(Bucket="narrow")
        drilled = Drilled(server, s3, "narrow")
        drilled.copy()
        with server.disks["archive"].filled(but=36 << 20):
            planned, told = drilled.run(check=True), drilled.run()
        for one in (planned, told):
            assert "MB free, and the drill needs" in one["msg"], one["msg"]
            assert "make room" in one["msg"]
        assert "was refused" in told["msg"]
        assert drilled.history()[-1]["result"] == "refused"
        done = drilled.run()
        assert not done["failed"], done
