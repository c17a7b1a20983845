# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets are copied into a bucket and back; what fails or is killed leaves nothing that looks like a set, neither there nor here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from backup_sets import BEGIN, write_set
from modules import run_module, start_module
from s3_server import S3, s3_server
from sampling import one_in

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store
from ansible_collections.nexanest.database.plugins.module_utils._backup_verify import verify

STACK = "nexanest"
ALL = {"minimum": 3}
PART = 5 * 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as found:
        yield found


@dataclasses.dataclass(frozen=True)
class Offsite:
    """A folder of sets and an empty bucket for it."""

    server: S3
    store: Store
    bucket: str

    def arguments(self, **changed: Any) -> dict[str, Any]:
        return {"backup_dir": str(self.store.folder), "stack": STACK, **self.server.login(self.bucket, "/deep/down/"), **changed}

    def run(self, *, check: bool = False, **changed: Any) -> dict[str, Any]:
        answer = run_module("backup_copy", self.arguments(**changed), check)
        assert self.server.secret_key not in json.dumps(answer)
        assert self.server.access_key not in json.dumps(answer)
        return answer

    def done(self, *, check: bool = False, **changed: Any) -> dict[str, Any]:
        answer = self.run(check=check, **changed)
        assert not answer["failed"], answer["msg"]
        return answer

    def refused(self, **changed: Any) -> str:
        """Refused in check mode as well, and in the same words."""
        before = self.objects() if "bucket" not in changed and "endpoint_url" not in changed else []
        planned, answer = self.run(check=True, **changed), self.run(**changed)
        assert (planned["failed"], answer["failed"]) == (True, True)
        assert planned["msg"] == answer["msg"]
        assert not before or self.objects() == before
        return str(answer["msg"])

    def objects(self) -> list[str]:
        """Of all objects in the bucket."""
        pages = self.server.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def body(self, key: str) -> bytes:
        return bytes(self.server.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def put(self, key: str, body: bytes, marks: dict[str, str] | None = None) -> None:
        self.server.client.put_object(Bucket=self.bucket, Key=key, Body=body, Metadata=marks or {})

    def uploads(self) -> list[str]:
        return [item["Key"] for item in self.server.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])]

    def listed(self, **changed: Any) -> dict[str, Any]:
        answer = run_module("backup_copy_info", {"backup_dir": str(self.store.folder), **self.server.login(self.bucket, "deep/down"), **changed})
        assert not answer["failed"], answer["msg"]
        return answer

    def ids(self) -> list[str]:
        """Of whole sets in the bucket."""
        return [one["id"] for one in self.listed()["sets"] if not one["problems"]]

    def noted(self) -> list[str]:
        """Sets that are known to be in the bucket."""
        return [entry.id for entry in self.store.entries() if entry.copied]


@pytest.fixture
def offsite(server: S3, tmp_path: Path) -> Offsite:
    bucket = f"sets-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    server.client.create_bucket(Bucket=bucket)
    return Offsite(server, Store(tmp_path / "sets"), bucket)


def add_large(store: Store, manifest: Manifest, size: int) -> Manifest:
    """The same set with one more file, of this size."""
    body = os.urandom(size)
    path = store.folder / manifest.id / "postgres" / "auth" / "0003.dat.zst"
    path.write_bytes(body)
    sha256 = hashlib.sha256(body).hexdigest()
    larger = dataclasses.replace(manifest, files=[*manifest.files, manifests.File("postgres/auth/0003.dat.zst", size, sha256, size, sha256)])
    (store.folder / manifest.id / manifests.NAME).write_text(manifests.write(larger))
    return larger


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def test_every_set_is_copied_as_it_is_and_a_second_run_changes_nothing(offsite: Offsite) -> None:
    sets = [write_set(offsite.store, serial) for serial in (1, 2)]
    (offsite.store.folder / ".partial-20250101_000000").mkdir()
    planned = offsite.done(check=True)
    assert (planned["changed"], offsite.objects(), offsite.noted()) == (True, [], [])
    done = offsite.done()
    assert [done[key] for key in ("objects", "diff", "sent", "where")] == [planned[key] for key in ("objects", "diff", "sent", "where")]
    assert done["sent"] == {"files": 22, "bytes": sum(one.bytes for one in sets)}
    here = {
        f"deep/down/{path.relative_to(offsite.store.folder)}": path.read_bytes()
        for one in sets
        for path in (offsite.store.folder / one.id).rglob("*")
        if path.is_file()
    }
    assert {key: offsite.body(key) for key in offsite.objects()} == here
    assert offsite.noted() == [one.id for one in sets]
    written = len([line for line in offsite.server.requests() if not line.startswith(("GET", "HEAD"))])
    again = offsite.done()
    assert (again["changed"], again["objects"], again["sent"]) == (False, [], {"files": 0, "bytes": 0})
    assert run_module("backup_copy", offsite.arguments()) == again
    assert len([line for line in offsite.server.requests() if not line.startswith(("GET", "HEAD"))]) == written
    report = offsite.listed()["report"].splitlines()
    assert report[0] == f"s3://{offsite.bucket}/deep/down at {offsite.server.endpoint}"
    assert report[2].split()[0] == sets[1].id
    assert report[2].endswith("complete       yes")


def test_the_manifest_is_sent_last(offsite: Offsite) -> None:
    one = write_set(offsite.store)
    before = len(offsite.server.requests())
    offsite.done()
    written = [line.split()[1] for line in offsite.server.requests()[before:] if line.startswith("PUT")]
    assert written[-1] == f"/{offsite.bucket}/deep/down/{one.id}/manifest.json"
    assert len(written) == len(one.files) + 1


def test_a_copy_that_was_killed_is_no_set_and_goes_on_where_it_was(offsite: Offsite) -> None:
    one = add_large(offsite.store, write_set(offsite.store), 3 * PART)
    before = len(offsite.server.requests())
    with offsite.server.asked("hold", "8"):
        run = start_module("backup_copy", offsite.arguments(part_size=5))
        deadline = time.monotonic() + 30
        while len([line for line in offsite.server.requests()[before:] if line.startswith("PUT")]) < 9:
            assert time.monotonic() < deadline, "the copy did not send nine times within 30 seconds"
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
        run.wait(timeout=10)
    time.sleep(0.3)  # what the door held is let through
    sent = set(offsite.objects())
    assert 0 < len(sent) < len(one.files)
    assert offsite.ids() == []
    assert len(offsite.uploads()) == 1
    planned = offsite.done(check=True, part_size=5)
    assert len(offsite.uploads()) == 1
    between = len(offsite.server.requests())
    done = offsite.done(part_size=5)
    assert (done["objects"], done["sent"]) == (planned["objects"], planned["sent"])
    assert {row["kind"] for row in done["objects"]} == {"copy of a set", "remains of a copy"}
    again = {line.split()[1].removeprefix(f"/{offsite.bucket}/") for line in offsite.server.requests()[between:] if line.startswith("PUT")}
    assert again & sent == set()
    assert done["sent"]["files"] == len(one.files) - len(sent)
    assert (offsite.ids(), offsite.uploads()) == ([one.id], [])
    assert not offsite.done()["changed"]


def test_a_copy_that_is_asked_to_end_aborts_what_it_sends(offsite: Offsite) -> None:
    add_large(offsite.store, write_set(offsite.store), 3 * PART)
    with offsite.server.asked("hold", "2"):
        run = start_module("backup_copy", offsite.arguments(part_size=5))
        deadline = time.monotonic() + 30
        while not offsite.uploads():
            assert time.monotonic() < deadline, "no upload began within 30 seconds"
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    run.wait(timeout=30)
    assert (offsite.ids(), offsite.uploads(), offsite.noted()) == ([], [], [])


@pytest.mark.parametrize("checksums", [True, False])
def test_large_files_go_in_parts_and_every_byte_comes_back(offsite: Offsite, tmp_path: Path, checksums: bool) -> None:
    one = add_large(offsite.store, write_set(offsite.store), 2 * PART + 12345)
    before = len(offsite.server.requests())
    offsite.done(part_size=5, checksums=checksums)
    assert len([line for line in offsite.server.requests()[before:] if "partNumber" in line]) == 3
    bare = Store(tmp_path / "bare")
    fetch = {"state": "fetched", "id": one.id, "backup_dir": str(bare.folder)}
    planned = offsite.done(check=True, **fetch)
    assert (planned["changed"], bare.folder.exists()) == (True, False)
    done = offsite.done(**fetch)
    assert (done["objects"], done["diff"], done["sent"]) == (planned["objects"], planned["diff"], planned["sent"])
    for path in (offsite.store.folder / one.id).rglob("*"):
        there = bare.folder / path.relative_to(offsite.store.folder)
        assert there.is_dir() if path.is_dir() else there.read_bytes() == path.read_bytes()
        assert there.stat().st_mode & 0o077 == 0
    assert verify(bare.entry(one.id), ()).problems == ()
    assert [path.name for path in bare.folder.iterdir() if path.name.startswith((".partial", ".staging"))] == []
    assert not offsite.done(**fetch)["changed"]


@pytest.mark.parametrize("checksums", [True, False])
def test_a_byte_that_changes_on_its_way_is_refused_by_the_service(offsite: Offsite, checksums: bool) -> None:
    write_set(offsite.store)
    with offsite.server.asked("spoil"):
        answer = offsite.run(checksums=checksums)
    assert "BadDigest" in answer["msg"]
    assert (offsite.objects(), offsite.noted()) == ([], [])
    offsite.done(checksums=checksums)


@pytest.mark.parametrize("size", [20_000, 3 * PART])
def test_a_flipped_bit_on_the_disk_is_never_completed_in_the_bucket_and_the_others_are_copied(offsite: Offsite, size: int) -> None:
    good = write_set(offsite.store, 1)
    bad = add_large(offsite.store, write_set(offsite.store, 2), size)
    flip(offsite.store.folder / bad.id / "postgres" / "auth" / "0003.dat.zst")
    answer = offsite.run(part_size=5)
    assert answer["failed"]
    assert answer["problems"] == [f"{bad.id}: postgres/auth/0003.dat.zst is damaged on this machine: its bytes are not those that the manifest lists"]
    assert [row["name"] for row in answer["objects"]] == [good.id]
    assert (offsite.ids(), offsite.noted(), offsite.uploads()) == ([good.id], [good.id], [])
    assert not any(key.endswith("0003.dat.zst") for key in offsite.objects())


def test_a_set_with_a_file_too_short_or_missing_is_not_begun(offsite: Offsite) -> None:
    short, missing = write_set(offsite.store, 1), write_set(offsite.store, 2)
    os.truncate(offsite.store.folder / short.id / "redis/redis.rdb", 7)
    (offsite.store.folder / missing.id / "postgres/server.json").unlink()
    told = offsite.refused()
    assert f"{short.id}: it is damaged on this machine: redis/redis.rdb has 7 bytes" in told
    assert f"{missing.id}: it is damaged on this machine: postgres/server.json is missing" in told
    assert offsite.objects() == []


def test_an_object_that_was_deleted_or_cut_short_is_listed_and_sent_again(offsite: Offsite) -> None:
    one = write_set(offsite.store)
    offsite.done()
    lost, cut = f"deep/down/{one.id}/postgres/globals.sql", f"deep/down/{one.id}/redis/redis.rdb"
    offsite.server.client.delete_object(Bucket=offsite.bucket, Key=lost)
    offsite.put(cut, offsite.body(cut)[:-1])
    (listed,) = offsite.listed()["sets"]
    assert [problem.split()[0] for problem in listed["problems"]] == ["postgres/globals.sql", "redis/redis.rdb"]
    fetch = {"state": "fetched", "id": one.id, "backup_dir": str(offsite.store.folder / "elsewhere")}
    assert "redis/redis.rdb is missing in the bucket, or has another size" in offsite.refused(**fetch)
    assert not (offsite.store.folder / "elsewhere").exists()
    planned = offsite.done(check=True)
    done = offsite.done()
    assert (done["objects"], done["diff"], done["sent"]["files"]) == (planned["objects"], planned["diff"], 2)
    assert [row["action"] for row in done["objects"]] == ["update"]
    assert offsite.ids() == [one.id]


def test_a_changed_byte_in_the_bucket_is_found_when_it_is_fetched_and_nothing_is_left(offsite: Offsite, tmp_path: Path) -> None:
    one = write_set(offsite.store)
    offsite.done()
    key = f"deep/down/{one.id}/redis/redis.rdb"
    body = offsite.body(key)
    offsite.put(key, bytes([body[0] ^ 1]) + body[1:])
    answer = offsite.run(state="fetched", id=one.id, backup_dir=str(tmp_path / "bare"))
    assert "redis/redis.rdb is damaged in the bucket" in answer["msg"]
    assert [path.name for path in (tmp_path / "bare").iterdir()] == [".lock"]


@pytest.mark.parametrize(("times", "failed"), [(2, False), (99, True)])
def test_a_connection_that_breaks_while_a_file_is_fetched_is_tried_anew(offsite: Offsite, tmp_path: Path, times: int, failed: bool) -> None:
    one = write_set(offsite.store)
    offsite.done()
    bare = Store(tmp_path / "bare")
    bare.prepare()
    bare.begin(one.id)  # a run that was killed has left it
    with offsite.server.asked("cut", str(times)):
        answer = offsite.run(state="fetched", id=one.id, backup_dir=str(bare.folder))
    assert (answer["failed"], answer["changed"]) == (failed, not failed)
    assert [entry.id for entry in bare.entries()] == ([] if failed else [one.id])
    assert [path.name for path in bare.folder.iterdir() if path.name.startswith(".partial")] == []
    assert not failed or "run this again" in answer["msg"]


def test_a_set_here_that_is_damaged_or_another_one_is_not_overwritten(offsite: Offsite) -> None:
    one = write_set(offsite.store)
    offsite.done()
    other = Store(offsite.store.folder.parent / "other")
    write_set(other)
    fetch = {"state": "fetched", "id": one.id}
    told = offsite.refused(**fetch, backup_dir=str(other.folder))
    assert "has another set" in told
    flip(offsite.store.folder / one.id / "redis/redis.rdb")
    assert "is in" in (told := offsite.refused(**fetch))
    assert f"remove {offsite.store.folder / one.id}" in told
    assert "the bucket has another set of this name" in offsite.refused(backup_dir=str(other.folder))


def test_the_bucket_keeps_sets_by_its_own_rules_and_foreign_objects_survive(offsite: Offsite) -> None:
    sets = [write_set(offsite.store, serial, started=BEGIN + timedelta(hours=serial)) for serial in (1, 2, 3)]
    offsite.done()
    strangers = ["readme.txt", f"deep/down/{sets[0].id}/notes.txt", "deep/down/20200101_000000/redis/redis.rdb", "deep/down/other/manifest.json"]
    for key in strangers:
        offsite.put(key, b"mine")
    keep = {"retention": {"daily": 1, "minimum": 1}}
    planned = offsite.done(check=True, **keep)
    assert offsite.ids() == [one.id for one in sets]
    before = len(offsite.server.requests())
    done = offsite.done(**keep)
    assert (done["objects"], done["diff"]) == (planned["objects"], planned["diff"])
    assert [(row["name"], row["action"]) for row in done["objects"]] == [(one.id, "delete") for one in sets[:2]]
    removed = [line.split()[1] for line in offsite.server.requests()[before:] if line.startswith("DELETE")]
    assert removed[0].endswith(f"{sets[0].id}/manifest.json")
    assert offsite.ids() == [sets[2].id]
    assert {key for key in offsite.objects() if sets[2].id not in key} == set(strangers)
    assert len(offsite.store.entries()) == 3
    assert offsite.noted() == [sets[2].id]
    assert not offsite.done(**keep)["changed"]


def test_a_removal_that_was_interrupted_is_finished(offsite: Offsite) -> None:
    old, new = (write_set(offsite.store, serial, started=BEGIN + timedelta(hours=serial)) for serial in (1, 2))
    offsite.done()
    offsite.server.client.delete_object(Bucket=offsite.bucket, Key=f"deep/down/{old.id}/manifest.json")
    done = offsite.done(retention={"daily": 1, "minimum": 1})
    assert done["objects"] == [{"kind": "remains of a copy", "name": old.id, "action": "delete"}]
    assert {key.split("/")[2] for key in offsite.objects()} == {new.id}


def test_a_folder_whose_numbers_are_behind_the_buckets_removes_nothing(offsite: Offsite) -> None:
    sets = [write_set(offsite.store, serial, started=BEGIN + timedelta(hours=serial)) for serial in (1, 2, 3)]
    offsite.done()
    fresh = Store(offsite.store.folder.parent / "fresh")
    late = write_set(fresh, 1, started=BEGIN + timedelta(hours=9))
    answer = offsite.done(backup_dir=str(fresh.folder), retention={"daily": 1, "minimum": 1})
    assert "fetch that set" in answer["notices"][0]
    assert offsite.ids() == sorted([*(one.id for one in sets), late.id], key=lambda one: (one != sets[0].id, one != late.id, one))
    offsite.done(state="fetched", id=sets[2].id, backup_dir=str(fresh.folder))
    newest = write_set(fresh, 4, started=BEGIN + timedelta(hours=10))
    offsite.done(backup_dir=str(fresh.folder), retention={"daily": 1, "minimum": 1})
    assert offsite.ids() == [newest.id]


def test_one_set_alone_is_copied_by_its_id(offsite: Offsite) -> None:
    old, _new = (write_set(offsite.store, serial, started=BEGIN + timedelta(hours=serial)) for serial in (1, 2))
    done = offsite.done(id=old.id, retention={"daily": 1, "minimum": 1})
    assert ([row["name"] for row in done["objects"]], offsite.ids()) == ([old.id], [old.id])
    assert not offsite.done(id=old.id)["changed"]


def test_a_set_of_another_stack_is_neither_copied_nor_removed(offsite: Offsite) -> None:
    write_set(offsite.store)
    assert not offsite.done(stack="shop")["changed"]
    offsite.done()
    assert not offsite.done(stack="shop", retention={"daily": 1})["changed"]
    assert len(offsite.ids()) == 1


def test_check_mode_counts_with_the_set_that_would_be_taken_before(offsite: Offsite) -> None:
    old = write_set(offsite.store, started=BEGIN)
    offsite.done()
    planned = offsite.done(check=True, coming=True, retention={"daily": 1, "minimum": 1})
    assert [(row["name"], row["action"]) for row in planned["objects"]] == [("new", "create"), (old.id, "delete")]
    assert not offsite.done(coming=True)["changed"]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("changed", "words"),
    one_in(
        3,
        [
            ({"bucket": "nowhere"}, "there is no bucket 'nowhere' at http://127.0.0.1"),
            ({"secret_key": "wrong-secret-key"}, "refuses the access key for listing the bucket"),
            ({"access_key": "unknown-access-key"}, "(InvalidAccessKeyId"),
            ({"endpoint_url": "http://127.0.0.1:%d"}, "cannot be reached"),
            ({"endpoint_url": "https://127.0.0.1:%d"}, "cannot be reached"),
            ({"endpoint_url": "ftp//x"}, "check endpoint_url"),
            ({"id": "20200101_000000"}, "there is no set 20200101_000000 of the stack nexanest"),
            ({"id": "20200101_000000", "state": "fetched"}, "there is no set 20200101_000000 in s3://"),
            ({"bucket": "nowhere", "id": "20200101_000000", "state": "fetched"}, "there is no bucket 'nowhere'"),
            ({"id": "yesterday"}, "a set is called like 20250531_123456"),
            ({"retention": {"daily": -1}}, "below zero"),
            ({"part_size": 0}, "say 5 to 5120"),
            ({"ca_bundle": "/nowhere/ca.pem"}, "is no file on the managed host"),
        ],
    ),
)
def test_what_cannot_work_is_one_sentence_and_changes_nothing(offsite: Offsite, changed: dict[str, Any], words: str) -> None:
    write_set(offsite.store)
    if "endpoint_url" in changed and "%d" in changed["endpoint_url"]:
        changed = {"endpoint_url": changed["endpoint_url"] % closed_port()}
    told = offsite.refused(**changed)
    assert words in told
    assert "\n" not in told
    assert (offsite.objects(), offsite.noted()) == ([], [])


def test_a_full_disk_is_told_before_the_first_byte_is_fetched(offsite: Offsite, tmp_path: Path) -> None:
    one = write_set(offsite.store)
    offsite.done()
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(small)], check=True, timeout=10)
    try:
        assert "make room" in offsite.refused(state="fetched", id=one.id, backup_dir=str(small / "sets"))
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True, timeout=10)


def test_two_copies_of_one_folder_do_not_run_at_once(offsite: Offsite) -> None:
    write_set(offsite.store)
    with offsite.store.locked("a copy", wait=0, lock=".copy.lock"):
        assert "another run works in" in offsite.run()["msg"]
    with offsite.store.locked("a backup", wait=0):
        offsite.done()
