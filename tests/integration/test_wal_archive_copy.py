# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A continuous backup survives its host: real repositories are copied into a bucket, disturbed, and brought back; the rows are counted in the database."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from archives import REPLICATION, UID, Archived, archived_server
from containers import docker
from modules import run_module
from s3_server import S3, s3_server

LIMIT = 60.0
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
def offsite(server: Archived, s3: S3, request: pytest.FixtureRequest) -> Offsite:
    bucket = f"archives-{abs(hash(request.node.name)) % 10**9}"
    s3.client.create_bucket(Bucket=bucket)
    return Offsite(server, s3, bucket)


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {LIMIT:.0f} s"
        time.sleep(0.1)


def write(server: Archived, count: int) -> int:
    """More rows, in the archive when this returns. How many there are."""
    server.query("INSERT INTO notes (id) SELECT coalesce(max(id), 0) + n FROM notes, generate_series(1, %s) AS n GROUP BY n", count)
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
        planned = offsite.done(check=True)
        assert (planned["changed"], offsite.objects()) == (True, {})
        done = offsite.done()
        assert [done[key] for key in ("objects", "diff", "sent", "removed")] == [planned[key] for key in ("objects", "diff", "sent", "removed")]
        assert offsite.stored() == offsite.here()
        before = offsite.written()
        again = offsite.done()
        assert (again["changed"], again["objects"], again["sent"], offsite.written()) == (False, [], {"files": 0, "bytes": 0}, before)
        lost = system_id(server)
        server.query("INSERT INTO notes (id) VALUES (999999)")

        lose_host(server)
        assert system_id(server) != lost
        fetch = {"state": "fetched", "cluster": lost}
        planned = offsite.done(check=True, **fetch)
        assert (planned["changed"], (server.archive / lost).exists()) == (True, False)
        done = offsite.done(**fetch)
        assert [done[key] for key in ("objects", "diff", "sent")] == [planned[key] for key in ("objects", "diff", "sent")]
        assert {path.lstat().st_uid for path in (server.archive / lost).rglob("*") if path.name != "copied.json"} == {UID}
        assert not offsite.done(**fetch)["changed"]
        side = server.pitr(cluster=lost)
        assert side["phase"] == "ready", side
        assert rows(server, server.side_port) == kept
        promoted = server.pitr("promoted", cluster=lost)
        assert promoted["phase"] == "promoted", promoted
        server.wait()
        assert (rows(server), system_id(server)) == (kept, lost)
