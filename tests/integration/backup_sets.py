# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup sets without a server: files of the right names with random content, written by the collection's own store and sealer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Sealer
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import (
    Database,
    Encryption,
    File,
    Grant,
    LeftOut,
    Manifest,
    Redis,
    Server,
    Table,
)
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store

BEGIN = datetime(2025, 5, 31, 12, 34, 56, tzinfo=UTC)


@dataclass(frozen=True)
class Key:
    """private: the key's line; public: its recipient."""

    private: str
    public: str


def new_key() -> Key:
    """A key pair, as age makes it."""
    lines = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    return Key(lines[-1], lines[1].removeprefix("# public key: "))


def write_set(
    store: Store, serial: int = 1, *, recipients: Sequence[str] = (), started: datetime | None = None, size: int = 20_000, stack: str = "nexanest"
) -> Manifest:
    """A whole set in the store; size: of each of its data files."""
    moment = started or BEGIN + timedelta(days=serial)
    name = moment.strftime("%Y%m%d_%H%M%S")
    store.prepare()
    partial = store.begin(name)
    plain = store.folder / f".staging-{name}"
    plain.mkdir()
    files = [_seal(Sealer(partial, tuple(recipients)), plain, path, size) for path in _paths()]
    plain.rmdir()
    stored = {file.path.removesuffix(".age"): file.path for file in files}
    manifest = Manifest(
        id=name,
        serial=serial,
        stack=stack,
        collection_version="0.1.0",
        host="database",
        started=moment.isoformat(timespec="seconds"),
        finished=(moment + timedelta(seconds=44)).isoformat(timespec="seconds"),
        encryption=Encryption("age" if recipients else "none", list(recipients)),
        servers={"postgres": _server(stored)},
        redis={"redis": Redis("8.0.2", stored["redis/redis.rdb"], 512, 100, 1)},
        files=files,
    )
    store.finish(partial, manifest)
    return manifest


def _paths() -> list[str]:
    dumps = [f"postgres/{name}/{file}" for name in ("auth", "odd%2Fname") for file in ("toc.dat", "0001.dat.zst", "0002.dat.zst")]
    return [*dumps, "postgres/auth.catalog.json", "postgres/odd%2Fname.catalog.json", "postgres/globals.sql", "postgres/server.json", "redis/redis.rdb"]


def _seal(sealer: Sealer, plain: Path, path: str, size: int) -> File:
    source = plain / "file"
    source.write_bytes(os.urandom(size if path.endswith((".zst", ".rdb")) else 100))
    return sealer.seal(source, path)


def _server(stored: dict[str, str]) -> Server:
    return Server(
        kind="postgresql",
        version="17.5",
        version_num=170005,
        system_identifier="7510000000000000001",
        lsn="0/1A2B3C4",
        timescaledb_license=None,
        globals=stored["postgres/globals.sql"],
        description=stored["postgres/server.json"],
        databases=[
            _database("auth", "postgres/auth", stored["postgres/auth.catalog.json"]),
            _database("odd/name", "postgres/odd%2Fname", stored["postgres/odd%2Fname.catalog.json"]),
        ],
        left_out=[LeftOut("scratch", "it allows no connections", data=True), LeftOut("postgres", "it holds nothing but the server's own", data=False)],
    )


def _database(name: str, path: str, catalog: str) -> Database:
    return Database(
        name=name,
        path=path,
        catalog=catalog,
        owner=f"{name}_owner",
        encoding="UTF8",
        locale_provider="builtin",
        locale="C.UTF-8",
        collate="C",
        ctype="C",
        conn_limit=-1,
        comment=None,
        acl=[Grant("", "nexanest", "CONNECT", grantable=False)],
        bytes=9_437_184,
        tables=[Table("public", "users", 1200), Table("public", "sessions", 34)],
        extensions={"pgcrypto": "1.3"},
    )
