# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets are taken from a real server, opened with stock tools, and looked at in every byte."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from backups import BACKUP_ROLE, ODD, SHOP, Shop, shop

from ansible_collections.nexanest.database.plugins.module_utils._backup_postgres import folder_name


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("sets")) as found:
        yield found


@pytest.fixture(scope="module")
def taken(filled: Shop) -> tuple[Shop, str]:
    """One set, and its id."""
    result = filled.backup()
    assert not result["failed"], result
    return filled, result["set"]["id"]


def opened(shop_: Shop, path: Path) -> bytes:
    """A file of a set, decrypted with the stock tool."""
    return subprocess.run(["age", "--decrypt", "--identity", str(shop_.key), str(path)], check=True, capture_output=True, timeout=60).stdout


def test_every_file_of_a_set_is_in_its_manifest_with_both_checksums(taken: tuple[Shop, str]) -> None:
    shop_, name = taken
    folder = shop_.folder / name
    manifest = shop_.manifest(name)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    assert there == {file["path"] for file in manifest["files"]}
    for file in manifest["files"]:
        stored = (folder / file["path"]).read_bytes()
        plain = opened(shop_, folder / file["path"])
        assert (len(stored), hashlib.sha256(stored).hexdigest()) == (file["bytes"], file["sha256"])
        assert (len(plain), hashlib.sha256(plain).hexdigest()) == (file["plain_bytes"], file["plain_sha256"])


def test_only_the_owner_can_read_a_set(taken: tuple[Shop, str]) -> None:
    shop_, name = taken
    for path in [shop_.folder, shop_.folder / name, *(shop_.folder / name).rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_rows_are_counted_where_they_are(taken: tuple[Shop, str]) -> None:
    shop_, name = taken
    databases = {database["name"]: database for database in shop_.manifest(name)["servers"]["postgres"]["databases"]}
    rows = {f"{table['schema']}.{table['name']}": table["rows"] for table in databases[SHOP]["tables"]}
    assert rows == {"app.users": 500, "app.orders": 5000, "app.events_1": 1085, "app.events_2": 915}
    assert {f"{table['schema']}.{table['name']}": table["rows"] for table in databases[ODD]["tables"]} == {"public.t": 10}


def test_a_manifest_holds_no_secret_and_the_roles_with_their_verifiers_are_encrypted(taken: tuple[Shop, str]) -> None:
    shop_, name = taken
    folder = shop_.folder / name
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"SCRAM-SHA-256" not in path.read_bytes(), path
    text = opened(shop_, folder / "postgres" / "globals.sql.age").decode()
    assert f"CREATE ROLE {BACKUP_ROLE}" in text
    assert "SCRAM-SHA-256" in text


def test_a_dump_opens_with_stock_tools(taken: tuple[Shop, str], tmp_path: Path) -> None:
    shop_, name = taken
    plain = tmp_path / "plain"
    plain.mkdir()
    for path in (shop_.folder / name / "postgres" / folder_name(ODD)).iterdir():
        (plain / path.name.removesuffix(".age")).write_bytes(opened(shop_, path))
    image = subprocess.run(["docker", "inspect", "--format", "{{.Image}}", shop_.server.container], capture_output=True, text=True, check=True).stdout.strip()
    mount = f"type=bind,source={plain},target=/plain,readonly"
    listed = subprocess.run(
        [
            "docker",
            "run",
            "--rm",
            "--network",
            "none",
            "--user",
            "0:0",
            "--mount",
            mount,
            "--entrypoint",
            "pg_restore",
            image,
            "--data-only",
            "--file=-",
            "/plain",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "COPY public.t (n) FROM stdin;\n1\n2\n" in listed


def test_nothing_else_is_left(taken: tuple[Shop, str]) -> None:
    shop_, _name = taken
    assert sorted(path.name for path in shop_.folder.iterdir() if not path.name[0].isdigit()) == [".lock"]
    left = subprocess.run(["docker", "ps", "--all", "--quiet", "--filter", f"label=nexanest.database.bulk={shop_.folder}"], capture_output=True, check=True)
    assert left.stdout == b""


@pytest.mark.parametrize("name", [".", "..", "globals.sql", "server.json", "a/b"])
def test_no_database_is_called_like_a_file_beside_the_dumps(name: str) -> None:
    assert not {".", "/"} & set(folder_name(name))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"retention": {"daily": -1}}, "below zero"),
        ({"recipients": []}, "no recipient was named"),
        ({"recipients": ["age1nobody"]}, "is no public key of age"),
        ({"id": "yesterday"}, "a set is called like 20250531_123456"),
        ({"unless_newer_than": "soon"}, "write a number with s, m, h or d"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(taken: tuple[Shop, str], changed: dict[str, object], words: str) -> None:
    shop_, _name = taken
    before = sorted(path.name for path in shop_.folder.iterdir())
    result = shop_.backup(**changed)
    assert result["failed"]
    assert words in result["msg"]
    assert sorted(path.name for path in shop_.folder.iterdir()) == before


def test_a_database_that_must_be_there_and_a_wrong_password_are_named(taken: tuple[Shop, str]) -> None:
    shop_, _name = taken
    (source,) = shop_.arguments()["servers"]
    missing = shop_.backup(servers=[{**source, "databases": [SHOP, "orders"]}])
    assert "databases that cannot be dumped: orders" in missing["msg"]
    refused = shop_.backup(servers=[{**source, "login_password": "wrong"}])
    assert "password authentication failed" in refused["msg"]


def test_a_set_that_was_asked_for_by_name_is_made_once(taken: tuple[Shop, str]) -> None:
    shop_, name = taken
    again = shop_.backup(id=name)
    assert (again["failed"], again["changed"]) == (False, False)
    assert not shop_.backup(unless_newer_than="1h")["changed"]
