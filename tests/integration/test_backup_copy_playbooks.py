# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of off-site copies, on a stack without services: what they say, and where the keys come from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from backup_sets import write_set
from s3_server import S3, s3_server
from stack import ROOT, Run, ansible_playbook

from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store, now

STACK = "offsitetest"
SECRETS = yaml.safe_load((ROOT / "inventory" / "nexanest" / "group_vars" / "all" / "secrets.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as found:
        found.client.create_bucket(Bucket="backups")
        yield found


@dataclass(frozen=True)
class Product:
    """A stack of this machine with a bucket and no services."""

    folder: Path
    server: S3

    @property
    def store(self) -> Store:
        return Store(self.folder / f"backups.{STACK}")

    def make_keys(self) -> None:
        folder = self.folder / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, value in (("access_key", self.server.access_key), ("secret_key", self.server.secret_key)):
            (folder / f"offsite_{name}").write_text(value)
            (folder / f"offsite_{name}").chmod(0o600)

    def play(self, name: str, *arguments: str, check: bool = False, **variables: Any) -> Run:
        inventory = self.folder / "inventory" / STACK / "hosts.yml"
        inventory.parent.mkdir(parents=True, exist_ok=True)
        values = {
            "stack_name": STACK,
            "stack_services": [],
            "stack_secrets_dir": str(self.folder / "secrets"),
            "backup_encrypt": False,
            "backup_recipients": [],
            "backup_offsite": {"endpoint_url": self.server.endpoint, "bucket": "backups"},
            **{name: SECRETS[name] for name in ("backup_offsite_access_key", "backup_offsite_secret_key")},
            **variables,
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        inventory.write_text(json.dumps({"database": {"hosts": {"localhost": local}, "vars": values}}))
        mode = ["--check", "--diff"] if check else ["--diff", *(["-vvv"] if name == "backup" else [])]
        run = ansible_playbook(ROOT / "playbooks" / f"{name}.yml", "--inventory", str(inventory), *mode, *arguments)
        assert self.server.secret_key not in run.stdout + run.stderr
        return run


@pytest.fixture
def product(tmp_path: Path, server: S3) -> Product:
    found = Product(tmp_path, server)
    found.make_keys()
    return found


def test_a_backup_is_copied_listed_fetched_and_seen_in_the_status(product: Product) -> None:
    old = write_set(product.store, started=now() - timedelta(days=1), stack=STACK)
    planned = product.play("backup", check=True).checked()
    done = product.play("backup").checked()
    copies = [[row for row in run.changed if "Copy the sets" in row["task"]] for run in (planned, done)]
    assert [[(item["kind"], item["action"]) for item in rows[0]["objects"]] for rows in copies] == [[("copy of a set", "create")] * 2] * 2
    newest = product.store.entries()[-1].id
    assert f"s3://backups/{STACK} at {product.server.endpoint} has what it should have" in done.stdout
    assert f"off-site up to {newest}" in product.play("status").stdout
    listed = product.play("backups", "-e", "backup_list_offsite=true").checked().stdout
    assert [name in listed for name in (old.id, newest, "IN THE BUCKET")] == [True] * 3
    product.store.remove(old.id)
    assert f"The set {old.id} is whole in {product.store.folder}" in product.play("backup_offsite", "-e", f"backup_offsite_fetch={old.id}").checked().stdout
    assert product.store.entry(old.id).manifest == old


@pytest.mark.long
def test_a_copy_that_fails_fails_the_run_and_says_that_the_set_is_whole(product: Product) -> None:
    (product.folder / "secrets" / "offsite_secret_key").unlink()
    run = product.play("backup")
    assert run.rc != 0
    (entry,) = product.store.entries()
    assert f"The set {entry.id} is whole in {product.store.folder}, but the off-site copy failed: " in run.stdout
    assert "offsite_secret_key does not exist yet: put the secret key of the bucket into it" in run.stdout


@pytest.mark.long
def test_a_damaged_set_keeps_no_other_one_from_being_copied(product: Product) -> None:
    good, bad = (write_set(product.store, serial, stack=STACK) for serial in (1, 2))
    (product.store.folder / bad.id / "redis/redis.rdb").unlink()
    run = product.play("backup_offsite", backup_offsite={"endpoint_url": product.server.endpoint, "bucket": "backups", "prefix": "damaged"})
    assert run.rc != 0
    assert f"{bad.id}: it is damaged on this machine: redis/redis.rdb is missing" in run.stdout
    assert [entry.id for entry in product.store.entries() if entry.copied] == [good.id]


def test_without_a_bucket_the_run_stops_with_what_to_do(product: Product) -> None:
    (product.folder / "secrets" / "offsite_secret_key").unlink()
    assert "No bucket is named for the stack offsitetest: set backup_offsite" in product.play("backup_offsite", backup_offsite={}).stdout
