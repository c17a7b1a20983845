# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of the modules about migrations, on throw-away servers, with a shadow."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from modules import run_module
from servers import LABEL, Server, postgres_image

from ansible_collections.nexanest.database.plugins.module_utils._catalog import Catalog, snapshot

Files = tuple[str, str]
# What postgres_databases gets for it; the module's own answer is the real database `auth` of these tests.
AUTH = {"name": "auth"}
PASSWORDS = {f"auth_{kind}": "x" * 20 for kind in ("app", "migrator", "readonly")}


def shadow_of(*entries: dict[str, Any], image: str | None = None, **options: Any) -> dict[str, Any]:
    """The option `shadow`; its containers carry the tests' label."""
    return {"image": image or postgres_image(), "databases": list(entries), "label": f"{LABEL}=shadow", **options}


@contextlib.contextmanager
def database_auth(server: Server, entry: Mapping[str, Any] = MappingProxyType(AUTH)) -> Iterator[Server]:
    """The server with the database `auth` and its roles, as postgres_databases makes them."""
    made = run_module("postgres_databases", {**server.login, "databases": [dict(entry)], "passwords": PASSWORDS})
    assert not made["failed"], made
    yield server
    dropped = run_module("postgres_databases", {**server.login, "databases": [{**entry, "state": "absent"}], "confirm_drop": ["auth"]})
    assert not dropped["failed"], dropped


def migrate(server: Server, *files: Files, check: bool = False, baseline: int | None = None, shadow: Any = "auth", **options: Any) -> dict[str, Any]:
    """postgres_migrations on the database `auth`; shadow: None for none."""
    given = shadow_of(AUTH) if shadow == "auth" else shadow
    return run_module("postgres_migrations", arguments(server, *files, baseline=baseline, shadow=given, **options), check)


def arguments(server: Server, *files: Files, baseline: int | None = None, **options: Any) -> dict[str, Any]:
    """The options of postgres_migrations for the database `auth`."""
    item = {**_item(files), **({} if baseline is None else {"baseline": baseline})}
    return {**server.login, "databases": [item], "collection_version": "0.1.0", **options}


def differences(server: Server, *files: Files, shadow: dict[str, Any] | None = None) -> list[str]:
    """What postgres_schema_info says of the database `auth`."""
    found = run_module("postgres_schema_info", {**server.login, "databases": [_item(files)], "shadow": shadow or shadow_of(AUTH)})
    assert not found["failed"], found
    return list(found["databases"][0]["differences"])


def warnings(result: dict[str, Any]) -> list[str]:
    """What a result warns of, whatever form this version of Ansible gives it."""
    return [one if isinstance(one, str) else one["event"]["msg"] for one in result.get("warnings", [])]


def catalog(server: Server, database: str = "auth") -> Catalog:
    with contextlib.closing(server.connect(database)) as connection:
        return snapshot(connection)


def shadows() -> list[str]:
    """Containers of shadows that this test's runs made; other processes' are there too."""
    argv = ["docker", "ps", "--all", "--no-trunc", "--filter", f"label={LABEL}=shadow", "--format", "{{.ID}} {{.Mounts}}"]
    found = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    makers = [(line.split()[0], re.search(r"nexanest-shadow-(\d+)-", line)) for line in found]
    return [container for container, maker in makers if maker is None or _ours(int(maker[1]))]


def _ours(pid: int) -> bool:
    """Is it below this process? One that was killed has no parents any more, and is taken for ours."""
    while pid not in (0, 1, os.getpid()):
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except OSError:
            return True
    return pid == os.getpid()


def in_ledger(server: Server) -> list[str]:
    """The versioned files in the ledger of `auth`."""
    if server.query("SELECT to_regclass('_ledger.migrations') IS NULL", database="auth") == [(True,)]:
        return []
    return [row[0] for row in server.query("SELECT file FROM _ledger.migrations ORDER BY id", database="auth")]


def _item(files: tuple[Files, ...]) -> dict[str, Any]:
    return {"name": "auth", "directory": "/unused", "session_role": "auth_owner", "files": [{"name": name, "text": text} for name, text in files]}
