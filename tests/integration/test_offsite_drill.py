# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills out of a bucket: sets are fetched into a folder of the drill's own and restored there; what is damaged, too large or killed leaves nothing."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import disk
from backups import SHOP, Shop, new_key, shop
from modules import run_module, start_module
from s3_server import S3, s3_server

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

    def history(self) -> list[dict[str, Any]]:
        file = self.folder / ".drills" / "drills.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def litter(self) -> list[str]:
        argv = ["docker", "ps", "--all", "--format", "{{.Names}}", "--filter", f"label=nexanest.database.bulk={self.folder} drill"]
        return [path.name for path in self.folder.glob(".drill-*")] + subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.split()

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
    copied = run_module("backup_copy", {"backup_dir": str(source.folder), "stack": "shop", **s3.login(bucket, DEEP)})
    assert not copied["failed"], copied
    (name,) = [path.name for path in source.folder.glob("2*")]
    (tmp_path / "sets").mkdir(mode=0o700)
    return Drilled(source, s3, bucket, name, tmp_path / "sets")


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
