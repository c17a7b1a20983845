# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the empty host, before the stack was deployed, named what the run then made, and what the machine has."""

from __future__ import annotations

import pytest
from clients import query
from containers import docker
from stack import LABEL, Stack

# Left out are Redis' settings and users, which a first start brings by its files, and packages: they depend on what the machine had.
KINDS = {
    "image", "network", "volume", "container", "administrator", "database", "role", "role settings", "schema", "extension", "default privileges", "migration",
}  # fmt: skip


def test_the_run_did_what_was_planned(stack: Stack) -> None:
    planned, done = ({row for row in stack.first_changes(which) if row[0] in KINDS} for which in ("planned", "done"))
    assert planned == done
    assert {row[0] for row in planned} >= KINDS - {"image"}, "images may have been there"


@pytest.mark.parametrize(("kind", "every"), [("container", ["--all", "--format", "{{.Names}}"]), ("volume", []), ("network", ["--format", "{{.Name}}"])])
def test_the_engine_has_what_was_planned(stack: Stack, kind: str, every: list[str]) -> None:
    names = docker(kind, "ls", *every, "--filter", f"label={LABEL}={stack.name}", *([] if every else ["--quiet"])).split()
    assert set(names) == {name for found, name, action in stack.first_changes("planned") if (found, action) == (kind, "create")}


def test_the_server_has_the_databases_that_were_planned(stack: Stack) -> None:
    planned = {name for kind, name, action in stack.first_changes("planned") if (kind, action) == ("database", "create")}
    there = {
        name
        for server in ("postgres", "timescaledb")
        for (name,) in query(stack, server, "postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
    }
    assert planned == {name for name in there if not name.startswith("_restore_")}
