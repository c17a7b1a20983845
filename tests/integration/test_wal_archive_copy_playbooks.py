# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that copy continuous backups off-site, on a stack of one archived server: what they say, in which order, and what fails alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from archives import ADMIN, Archived, archived_server
from s3_server import S3, s3_server
from stack import ROOT, Run, ansible_playbook

SECRETS = yaml.safe_load((ROOT / "inventory" / "nexanest" / "group_vars" / "all" / "secrets.yml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Product:
    """A stack whose TimescaleDB is archived, as far as these playbooks look at it."""

    folder: Path
    server: Archived
    s3: S3

    @property
    def archives(self) -> Path:
        return self.folder / "archives"

    def play(self, name: str, *, check: bool = False, **variables: Any) -> Run:
        inventory = self.folder / "inventory" / self.server.name / "hosts.yml"
        inventory.parent.mkdir(parents=True, exist_ok=True)
        values = {
            "stack_name": self.server.name,
            "stack_services": [],
            "stack_secrets_dir": str(self.folder / "secrets"),
            "stack_config_dir": str(self.folder / self.server.name),
            "stack_archive_dir": str(self.archives),
            "timescaledb_archive": True,
            "timescaledb_port": self.server.port,
            "timescaledb_admin_user": ADMIN,
            "timescaledb_password": self.server.password,
            "backup_encrypt": False,
            "backup_recipients": [],
            "backup_offsite": {"endpoint_url": self.s3.endpoint, "bucket": "backups"},
            **{name: SECRETS[name] for name in ("backup_offsite_access_key", "backup_offsite_secret_key")},
            **variables,
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        inventory.write_text(json.dumps({"database": {"hosts": {"localhost": local}, "vars": values}}))
        run = ansible_playbook(ROOT / "playbooks" / f"{name}.yml", "--inventory", str(inventory), *(["--check"] if check else []), "--diff")
        assert self.s3.secret_key not in run.stdout + run.stderr
        return run


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    with s3_server(tmp_path_factory.mktemp("s3")) as s3, archived_server("nexaoff") as server:
        s3.client.create_bucket(Bucket="backups")
        (folder / "secrets").mkdir(mode=0o700)
        for name, value in (("access_key", s3.access_key), ("secret_key", s3.secret_key)):
            (folder / "secrets" / f"offsite_{name}").write_text(value)
            (folder / "secrets" / f"offsite_{name}").chmod(0o600)
        found = Product(folder, server, s3)
        found.archives.mkdir(mode=0o700)
        (folder / server.name).mkdir()
        (found.archives / "timescaledb").symlink_to(server.archive)
        (folder / server.name / "timescaledb").symlink_to(server.folder / "timescaledb")
        yield found


def system_id(product: Product) -> str:
    return str(product.server.query("SELECT system_identifier::text FROM pg_control_system()")[0][0])


def said(run: Run) -> str:
    """Without the ends of lines, which come where a message is too long for one."""
    return " ".join(run.stdout.split())


@pytest.mark.long
def test_a_base_backup_is_copied_listed_and_seen_in_the_status_and_a_second_run_changes_nothing(product: Product) -> None:
    done = product.play("base_backup").checked()
    assert f"s3://backups/{product.server.name} at {product.s3.endpoint} has the archive of timescaledb ({system_id(product)}) until " in said(done)
    again = product.play("wal_archive_offsite").checked()
    assert "0 files and 0.0 MB were sent" in said(again)
    assert again.changed_tasks == []
    listed = product.play("backups", backup_list_offsite=True).checked().stdout
    assert [name in listed for name in ("there is no backup set in", f"timescaledb/{system_id(product)}", "BASE BACKUPS")] == [True] * 3


@pytest.mark.long
def test_the_copy_is_drilled_out_of_the_bucket_also_where_no_set_is(product: Product) -> None:
    product.play("base_backup").checked()
    sets = product.folder / f"backups.{product.server.name}"
    sets.mkdir(mode=0o700, exist_ok=True)
    planned = product.play("restore_drill", check=True, backup_drill_offsite=True)
    where = f"The continuous backup of timescaledb in s3://backups/{product.server.name} at {product.s3.endpoint}"
    assert f"{where} would be drilled: " in said(planned), planned.stdout
    assert not (sets / ".drills").exists()
    done = product.play("restore_drill", backup_drill_offsite=True)
    assert f"{where} is proven: the latest moment was fetched and recovered elsewhere in " in said(done), done.stdout
    assert (done.rc != 0, f"there is no backup set of {product.server.name} in s3://backups" in said(done)) == (True, True)
    lines = [json.loads(line) for line in (sets / ".drills" / "drills.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["source"], line["result"]) for line in lines] == [("set", "refused"), ("archive timescaledb", "passed")]
    nowhere = product.play("restore_drill", backup_drill_offsite=True, backup_offsite={})
    assert said(nowhere).count("No bucket is named for the stack") >= 1
    assert len((sets / ".drills" / "drills.jsonl").read_text(encoding="utf-8").splitlines()) == len(lines)


@pytest.mark.long
def test_a_backup_copies_both_and_tries_the_second_where_the_first_fails(product: Product) -> None:
    planned, done = product.play("backup", check=True).checked(), product.play("backup").checked()
    assert [("Copy the archives" in said(run), "Copy the sets" in said(run)) for run in (planned, done)] == [(True, True)] * 2
    assert "has the archive of timescaledb" in said(done)
    both = product.play("backup_offsite").checked()
    assert ("has what it should have" in said(both), "has the archive of timescaledb" in said(both)) == (True, True)
    # The sets' part fails: the folder of the sets has a damaged one. The archive is copied all the same.
    (one,) = [path for path in (product.folder / f"backups.{product.server.name}").iterdir() if path.name.startswith("20")]
    manifest = one / "manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8") + " ", encoding="utf-8")
    failed = product.play("backup_offsite")
    assert failed.rc != 0
    assert "does another machine copy to the same prefix?" in said(failed)
    assert "has the archive of timescaledb" in said(failed)


@pytest.mark.long
def test_one_that_is_fetched_says_how_to_go_on(product: Product) -> None:
    product.play("wal_archive_offsite").checked()
    lost = system_id(product)
    wrong = product.play("wal_archive_offsite", wal_archive_offsite_fetch="timescaledb/x").stdout
    assert "timescaledb/x is no archive of a server that is archived here (timescaledb)" in wrong
    (product.server.archive / "current").rename(product.server.archive / "elsewhere")
    (product.server.archive / "current").mkdir(mode=0o700)
    try:
        done = product.play("wal_archive_offsite", wal_archive_offsite_fetch=f"timescaledb/{lost}").checked()
    finally:
        shutil.rmtree(product.server.archive / "current")
        (product.server.archive / "elsewhere").rename(product.server.archive / "current")
    assert f"-e server=timescaledb -e cluster={lost}" in said(done)
    assert (product.server.archive / lost / "repository").is_dir()


@pytest.mark.long
def test_without_a_bucket_the_run_stops_with_what_to_do(product: Product) -> None:
    assert "No bucket is named for the stack" in product.play("wal_archive_offsite", backup_offsite={}).stdout
