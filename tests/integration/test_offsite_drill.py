# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills out of a bucket: sets are fetched into a folder of the drill's own and restored there; what is damaged, too large or killed leaves nothing."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import disk
from backups import SHOP, Shop, new_key, recipient_of, shop
from modules import run_module, start_module
from s3_server import S3, s3_server
from stack import ROOT, Run, ansible_playbook

from ansible_collections.nexanest.database.plugins.module_utils._age import Age
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File
from ansible_collections.nexanest.database.plugins.module_utils._drill_bucket import HEAD_BYTES, BucketOrigin
from ansible_collections.nexanest.database.plugins.module_utils._drill_origin import NoSet
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import BucketError, Object
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress

DEEP = "deep/down"


@dataclasses.dataclass(frozen=True)
class Drilled:
    """A folder of sets, and the bucket that has them."""

    source: Shop
    s3: S3
    bucket: str
    set: str
    folder: Path

    def arguments(self, **changed: Any) -> dict[str, Any]:
        server = {"name": "postgres", "container": self.source.server.container, "superuser": self.source.server.user}
        keys = {"stack": "shop", "servers": [server], "identities": [self.source.identity], "memory_mb": 512}
        return {"backup_dir": str(self.folder), **keys, **self.s3.login(self.bucket, DEEP), **changed}

    def run(self, *, check: bool = False, **changed: Any) -> dict[str, Any]:
        answer = run_module("restore_drill", self.arguments(**changed), check)
        assert self.s3.secret_key not in json.dumps(answer)
        assert (self.litter(), self.sets()) == ([], []), "neither what a drill works with, nor a set that would look like one of this machine"
        return answer

    def origin(self, folder: Path | None = None) -> BucketOrigin:
        """Asked alone. folder: of the sets of this machine."""
        reached = {"region": "us-east-1", "ca_bundle": None, "addressing": "auto", "checksums": True, **self.s3.login(self.bucket, DEEP)}
        return BucketOrigin({**reached, "backup_dir": str(folder or self.folder)})

    def copy(self) -> None:
        """Whatever the bucket lacks."""
        done = run_module("backup_copy", {"backup_dir": str(self.source.folder), "stack": "shop", **self.s3.login(self.bucket, DEEP)})
        assert not done["failed"], done

    def history(self) -> list[dict[str, Any]]:
        file = self.folder / ".drills" / "drills.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def litter(self) -> list[str]:
        argv = ["docker", "ps", "--all", "--format", "{{.Names}}", "--filter", f"label=nexanest.database.bulk={self.folder} drill"]
        containers = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.split()
        return [*(path.name for path in self.folder.glob(".drill-*")), *containers]

    def sets(self) -> list[str]:
        return [path.name for path in self.folder.glob("2*")] + [path.name for path in self.folder.glob(".partial*")]

    def status(self, overdue: str = "35d", **schedule: Any) -> tuple[str, str]:
        """Of a machine that has the set as well: how it is, and what is said."""
        (self.folder / self.set).symlink_to(self.source.folder / self.set)
        options = {"dir": str(self.folder), "drill_overdue_after": "8d", "offsite_drill_overdue_after": overdue, "schedule": schedule or None}
        offsite = {"endpoint_url": self.s3.endpoint, "bucket": self.bucket, "prefix": DEEP}
        said = run_module("stack_info", {"stack": "shop", "services": [], "backups": {**options, "offsite": offsite}})
        (self.folder / self.set).unlink()
        assert not said["failed"], said
        return str(said["status"]["overall"]), str(said["report"])

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
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A server with a set of it."""
    with shop(tmp_path_factory.mktemp("source")) as found:
        made = found.backup()
        assert not made["failed"], made
        yield found


@pytest.fixture
def drilled(source: Shop, s3: S3, tmp_path: Path) -> Drilled:
    """A bucket with the set, and a folder without one."""
    bucket = f"sets-{secrets.token_hex(4)}"
    s3.client.create_bucket(Bucket=bucket)
    (name,) = [path.name for path in source.folder.glob("2*")]
    (tmp_path / "sets").mkdir(mode=0o700)
    found = Drilled(source, s3, bucket, name, tmp_path / "sets")
    found.copy()
    return found


def test_a_set_is_proven_out_of_the_bucket_and_a_flipped_bit_turns_the_status_red(drilled: Drilled) -> None:
    planned = drilled.run(check=True)
    assert not planned["failed"], planned
    assert (planned["changed"], drilled.history()) == (True, [])
    done = drilled.run()
    assert not done["failed"], done
    where = f"s3://{drilled.bucket}/{DEEP} at {drilled.s3.endpoint}"
    assert (done["set"], done["offsite"], done["result"], done["content"]) == (drilled.set, where, "passed", True)
    assert [done[key] for key in ("diff", "plan", "needs")] == [planned[key] for key in ("diff", "plan", "needs")]
    assert f"MB out of {where}, 2 databases; it needs" in done["plan"]
    assert {unit["name"]: unit["rows"] for unit in done["databases"]}[f"postgres/{SHOP}"] == 7500
    (line,) = drilled.history()
    assert (line["offsite"], line["source"], line["result"], line["rto"] > 0, line["rpo"] >= 0) == (where, "set", "passed", True, True)
    assert not drilled.run(unless_newer_than="1h")["changed"]
    overall, said = drilled.status()
    assert re.search(rf"off-site restore drill: the last one \d+s ago, {drilled.set} proven in \d+s", said), said
    assert (overall, "restore drill: none yet" in said) == ("yellow", True), "it is none of a set of this machine"

    drilled.flip(drilled.keys(".dat")[-1])
    failed = drilled.run()
    assert failed["failed"]
    assert "is damaged in the bucket" in failed["msg"], failed["msg"]
    assert (drilled.history()[-1]["result"], drilled.history()[-1]["offsite"]) == ("failed", where)
    overall, said = drilled.status()
    assert (overall, "the last off-site restore drill" in said, "is damaged in the bucket" in said) == ("red", True, True), said


@pytest.mark.long
def test_without_a_key_the_checksums_alone_are_compared_and_that_is_said(drilled: Drilled, tmp_path: Path) -> None:
    for identities in ([], [new_key(tmp_path).read_text(encoding="utf-8")]):
        done = drilled.run(identities=identities)
        assert (done["failed"], done["result"], done["content"], done["rto"]) == (False, "passed", False, None), done
        assert "its content is not proven" in done["notes"][0]
    overall, said = drilled.status()
    assert (overall, "the content of what is off-site is not proven" in said) == ("yellow", True), said
    drilled.flip(drilled.keys(".dat")[-1])
    assert "is damaged in the bucket" in drilled.run(identities=[])["msg"]


@pytest.mark.long
def test_what_cannot_work_is_refused_with_one_sentence_and_nothing_is_fetched(drilled: Drilled, tmp_path: Path) -> None:
    drilled.s3.client.create_bucket(Bucket=f"{drilled.bucket}-empty")
    cases: dict[str, dict[str, Any]] = {
        "there is no backup set of shop in": {"bucket": f"{drilled.bucket}-empty"},
        "there is no backup set of other in": {"stack": "other"},
        "there is no set 20200101_000000 in": {"id": "20200101_000000"},
        "is no name of a set": {"id": "../../etc"},
        "there is no bucket 'nosuch'": {"bucket": "nosuch"},
        "refuses the access key": {"access_key": "wrong"},
        "needs access_key and secret_key": {"secret_key": ""},
        "cannot be reached": {"endpoint_url": "http://127.0.0.1:9"},
        "which is no file on the managed host": {"ca_bundle": "/nonexistent"},
        "is not on this host": {"servers": [{"name": "postgres", "image": "nexanest-database/postgres:none"}]},
        "MB of memory": {"memory_mb": 10**6},
    }
    for words, changed in cases.items():
        planned, told = drilled.run(check=True, **changed), drilled.run(**changed)
        assert (planned["failed"], told["failed"], told["refused"]) == (True, True, True), told
        assert words in planned["msg"], planned["msg"]
        assert planned["msg"] == told["msg"] or words == "MB of memory"
    assert [record["result"] for record in drilled.history()] == ["refused"] * len(cases)
    assert drilled.status()[0] == "yellow"
    with disk(tmp_path / "small", "64M") as small:
        (small.folder / "sets").mkdir()
        narrow = dataclasses.replace(drilled, folder=small.folder / "sets")
        told = narrow.run()
        assert (told["refused"], "MB on the file system of the sets, and" in told["msg"]) == (True, True), told
        assert narrow.history()[-1]["result"] == "refused"


@pytest.mark.long
@pytest.mark.parametrize("part", ["manifest.json", ".age"])
def test_a_set_that_is_damaged_or_lacks_something_is_not_passed_over(drilled: Drilled, part: str) -> None:
    key = drilled.keys(part)[0]
    drilled.flip(key)
    told = drilled.run()
    assert (told["failed"], told["refused"], drilled.history()[-1]["result"]) == (True, False, "failed"), told
    drilled.s3.client.delete_object(Bucket=drilled.bucket, Key=drilled.keys(".dat")[0])
    assert "cannot be used" in drilled.run(check=True)["msg"]
    assert "cannot be used" in drilled.run()["msg"]
    assert [record["result"] for record in drilled.history()] == ["failed"] * 2
    assert drilled.status()[0] == "red"
    drilled.s3.client.delete_object(Bucket=drilled.bucket, Key=key)
    drilled.copy()
    assert not drilled.run()["failed"], "what was removed was sent again"


@pytest.mark.long
def test_a_set_that_is_removed_while_it_is_fetched_is_no_failure(drilled: Drilled) -> None:
    origin = drilled.origin()
    chosen = origin.choose("", "shop")
    for key in drilled.keys(".dat"):
        drilled.s3.client.delete_object(Bucket=drilled.bucket, Key=key)
    with pytest.raises(Damaged, match="it is gone"):
        origin.bring(chosen, drilled.folder / "1", Progress(""))
    drilled.s3.client.delete_object(Bucket=drilled.bucket, Key=drilled.keys("manifest.json")[0])
    with pytest.raises(NoSet, match="was removed from"):
        origin.bring(chosen, drilled.folder / "2", Progress(""))


@pytest.mark.long
@pytest.mark.parametrize("silent", [False, True])
def test_a_service_that_does_not_give_a_set_to_the_end_says_nothing_of_it(drilled: Drilled, monkeypatch: pytest.MonkeyPatch, silent: bool) -> None:
    origin = drilled.origin()
    chosen = origin.choose("", "shop")

    def slow(key: str) -> bytes:
        raise BucketError(f"SlowDown for {key}")

    def away() -> list[Object]:
        raise BucketError("it cannot be reached")

    monkeypatch.setattr(origin.bucket, "document", slow)
    if silent:
        monkeypatch.setattr(origin.bucket, "objects", away)
    with pytest.raises(NoSet, match="could not be fetched: SlowDown"):
        origin.bring(chosen, drilled.folder / "1", Progress(""))


@pytest.mark.long
def test_what_this_machine_knows_of_a_set_is_compared_with_the_bucket(drilled: Drilled) -> None:
    origin, key = drilled.origin(drilled.source.folder), drilled.keys("manifest.json")[0]
    assert origin.choose("", "shop").manifest.id == drilled.set
    text = drilled.s3.client.get_object(Bucket=drilled.bucket, Key=key)["Body"].read()
    drilled.s3.client.put_object(Bucket=drilled.bucket, Key=key, Body=text + b"\n")
    assert drilled.origin().choose("", "shop").manifest.id == drilled.set, "who does not have the set cannot know"
    with pytest.raises(Damaged, match="has another manifest than the one in"):
        origin.choose("", "shop")
    drilled.s3.client.delete_object(Bucket=drilled.bucket, Key=key)
    for name in ("", drilled.set):
        with pytest.raises(Damaged, match=f"the set {drilled.set} was copied to .* not there any more"):
            origin.choose(name, "shop")
        with pytest.raises(NoSet):
            drilled.origin().choose(name, "shop")
    drilled.copy()
    assert origin.choose("", "shop").manifest.id == drilled.set


@pytest.mark.long
def test_whether_a_key_opens_a_large_file_is_seen_from_its_beginning(drilled: Drilled, tmp_path: Path) -> None:
    plain, sealed = io.BytesIO(secrets.token_bytes(3 * HEAD_BYTES)), io.BytesIO()
    Age().encrypt(plain, sealed, [recipient_of(drilled.source.key)])
    drilled.s3.client.put_object(Bucket=drilled.bucket, Key=f"{DEEP}/{drilled.set}/large.age", Body=sealed.getvalue())
    origin = drilled.origin()
    chosen, large = origin.choose("", "shop"), File("large.age", len(sealed.getvalue()), "", plain.tell(), "")
    assert origin.opens(chosen, large, [drilled.source.identity])
    assert not origin.opens(chosen, large, [new_key(tmp_path).read_text(encoding="utf-8")])


@pytest.mark.long
@pytest.mark.parametrize(("how", "moment"), [(signal.SIGKILL, "the fetch"), (signal.SIGTERM, "the fetch"), (signal.SIGKILL, "the server")])
def test_one_that_is_killed_leaves_nothing_when_the_next_one_has_run(drilled: Drilled, how: int, moment: str) -> None:
    run = start_module("restore_drill", drilled.arguments())
    deadline = time.monotonic() + 60
    while not list(drilled.folder.glob(".drill-*/fetched/.partial-*/*" if moment == "the fetch" else ".drill-*/plain/*")):
        assert time.monotonic() < deadline, f"the drill did not come to {moment}"
        time.sleep(0.002)
    run.send_signal(how)
    run.communicate(timeout=60)
    if how == signal.SIGKILL:
        assert list(drilled.folder.glob(".drill-*")), "it had ended already"
    assert drilled.run()["result"] == "passed"
    first = drilled.history()[0]
    assert (first["result"], first["offsite"]) == ("failed", drilled.history()[1]["offsite"])
    assert ("cut off" if how == signal.SIGKILL else "ended by a signal") in first["problems"][0]


@pytest.mark.long
def test_the_verb_says_what_it_fetches_and_what_it_proved(drilled: Drilled, tmp_path: Path) -> None:
    planned = said(play(drilled, tmp_path, "--check", "--diff", backup_drill_offsite=True).checked())
    assert re.search(rf"The set {drilled.set} in s3://{drilled.bucket}/{DEEP} at \S+ would be drilled: \S+ MB out of s3://", planned), planned
    assert drilled.history() == []
    done = said(play(drilled, tmp_path, backup_drill_offsite=True).checked())
    assert re.search(rf"The set {drilled.set} in s3://\S+ at \S+ is proven: fetched, restored and checked in", done), done
    drilled.flip(drilled.keys("manifest.json")[0])
    assert "NOT proven" in said(play(drilled, tmp_path, backup_drill_offsite=True))
    assert [record["result"] for record in drilled.history()] == ["passed", "failed"], "what is seen at the first look is noted as well"
    assert "No bucket is named for the stack shop" in said(play(drilled, tmp_path, backup_drill_offsite=True, backup_offsite={}))


def play(drilled: Drilled, tmp_path: Path, *options: str, **variables: Any) -> Run:
    """The playbook, on a stack of this server alone."""
    inventory = tmp_path / "inventory" / "shop" / "hosts.yml"
    inventory.parent.mkdir(parents=True, exist_ok=True)
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    server = drilled.source.server
    service = {"service": "postgres", "kind": "postgresql", "container": server.container, "port": server.port, "login_user": server.user}
    login = drilled.s3.login(drilled.bucket, DEEP)
    keys = {"backup_key_file": str(drilled.source.key), "backup_identities": [drilled.source.identity]}
    keys |= {"backup_offsite_access_key": login["access_key"], "backup_offsite_secret_key": login["secret_key"]}
    offsite = {name: login[name] for name in ("endpoint_url", "bucket", "prefix")}
    values = {"stack_name": "shop", "stack_services": [service], "backup_dir": str(drilled.folder), "backup_drill_memory_mb": 512, "backup_offsite": offsite}
    inventory.write_text(json.dumps({"database": {"hosts": {"localhost": local}, "vars": {**values, **keys, **variables}}}))
    run = ansible_playbook(ROOT / "playbooks" / "restore_drill.yml", "--inventory", str(inventory), *options)
    assert drilled.s3.secret_key not in run.stdout + run.stderr
    assert drilled.litter() == []
    return run


def said(run: Run) -> str:
    """Without the ends of lines, which come where a message is too long for one."""
    return " ".join(run.stdout.split())
