# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/backup_manifest.schema.json describes what is written, and nothing else. Stock tools can open a set."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from backup_sets import new_key, write_set
from backups import ODD, SHOP, shop
from modules import run_module

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT = (DOCS / "backup_format.md").read_text(encoding="utf-8")
SCHEMA = json.loads((DOCS / "backup_manifest.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.mark.parametrize("encrypted", [True, False])
def test_what_is_written_is_what_the_schema_says(tmp_path: Path, encrypted: bool) -> None:
    manifest = write_set(Store(tmp_path / "sets"), recipients=[new_key().public] if encrypted else [])
    document = json.loads((tmp_path / "sets" / manifest.id / manifests.NAME).read_text(encoding="utf-8"))
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


def test_the_schema_is_valid_and_names_every_field_of_every_part() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    parts = {
        "encryption": manifests.Encryption,
        "file": manifests.File,
        "table": manifests.Table,
        "large_objects": manifests.LargeObjects,
        "grant": manifests.Grant,
        "database": manifests.Database,
        "left_out": manifests.LeftOut,
        "server": manifests.Server,
        "redis": manifests.Redis,
        "sample": manifests.Sample,
        "keys": manifests.Keys,
    }
    for name, part in parts.items():
        fields = [field.name for field in dataclasses.fields(part)]
        required = [name for name in fields if name not in manifests._LATER.get(part, set())]
        assert (list(SCHEMA["$defs"][name]["properties"]), SCHEMA["$defs"][name]["required"]) == (fields, required)
        assert SCHEMA["$defs"][name]["additionalProperties"] is False
    top = ["format", *(field.name for field in dataclasses.fields(manifests.Manifest)), "sha256"]
    assert (list(SCHEMA["properties"]), SCHEMA["required"], SCHEMA["additionalProperties"]) == (top, top, False)


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document.pop("serial"),
        lambda document: document.update(more=1),
        lambda document: document.update(format=2),
        lambda document: document.update(started="yesterday"),
        lambda document: document["files"][0].update(path="/etc/passwd"),
        lambda document: document["files"][0].update(path="postgres/../../x"),
        lambda document: document["files"][0].update(sha256="0"),
        lambda document: document["encryption"].update(recipients=["age1x"]),
        lambda document: document["servers"]["postgres"]["databases"][0].update(secret="x"),
    ],
)
def test_the_schema_refuses_what_a_manifest_must_not_be(tmp_path: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    manifest = write_set(Store(tmp_path / "sets"))
    document = json.loads(manifests.write(manifest))
    damage(document)
    assert not VALIDATOR.is_valid(document)


def test_a_set_of_a_real_server_is_what_the_schema_says_and_is_found_right(tmp_path: Path) -> None:
    with shop(tmp_path) as server:
        done = server.backup()
        assert not done["failed"], done
        document = server.manifest(done["set"]["id"])
        found = run_module("backup_set_info", {"backup_dir": str(server.folder), "verify": True, "identities": [server.identity]})
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    assert not found["failed"], found
    (one,) = found["sets"]
    assert (one["problems"], one["verified"]["content"]) == ([], True)
    assert {database["name"] for database in one["servers"]["postgres"]["databases"]} == {SHOP, ODD}


def test_the_commands_of_the_documentation_work_as_written(tmp_path: Path) -> None:
    """Those that need no server: is it whole, and what is in it."""
    key = new_key()
    manifest = write_set(Store(tmp_path / "backups"), recipients=[key.public])
    (tmp_path / "backup.key").write_text(key.private, encoding="utf-8")
    block = DOCUMENT.partition("```bash\n")[2].partition("```")[0]
    lines = [line.partition(" && redis-check-rdb")[0] for line in block.splitlines() if not line.startswith(("psql", "createdb"))]
    script = "\n".join(lines).replace("20250531_123456", manifest.id).replace("/root/plain", f"{tmp_path}/plain")
    script = script.replace("-i backup.key", f"-i {tmp_path}/backup.key")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    plain = {path.relative_to(tmp_path / "plain").as_posix(): path.stat().st_size for path in (tmp_path / "plain").rglob("*") if path.is_file()}
    opened = [file for file in manifest.files if "/auth/" in file.path or "globals" in file.path]
    wanted = {file.path.removesuffix(".age").removeprefix("postgres/"): file.plain_bytes for file in opened}
    assert plain == {**wanted, "dump.rdb": manifest.file("redis/redis.rdb.age").plain_bytes}


def test_age_alone_opens_a_file_of_a_set(tmp_path: Path) -> None:
    key = new_key()
    manifest = write_set(Store(tmp_path / "sets"), recipients=[key.public])
    (tmp_path / "key").write_text(key.private, encoding="utf-8")
    file = manifest.file("redis/redis.rdb.age")
    stored = tmp_path / "sets" / manifest.id / file.path
    opened = subprocess.run(["age", "--decrypt", "--identity", tmp_path / "key", stored], capture_output=True, check=True, timeout=30).stdout
    assert len(opened) == file.plain_bytes
    told = subprocess.run(["sha256sum"], input=opened, capture_output=True, check=True, timeout=30).stdout.split()[0].decode()
    assert told == file.plain_sha256
