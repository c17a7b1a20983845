# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the empty host, before the stack was deployed, named what the run then made, and what the machine has."""

from __future__ import annotations

import pytest
from clients import query
from containers import docker
from stack import LABEL, Stack
from timescale import edition, image

# What both name as an object. A first start brings settings, Redis' users and the servers in pgAdmin by its files; what the engine has is asked below.
KINDS = {
    "base backup", "built-in job", "continuous aggregate", "database", "default privileges", "extension", "function", "hypertable", "job", "migration",
    "retention", "role", "role settings", "schema", "stanza", "table", "user token key",
}  # fmt: skip


def test_the_run_did_what_was_planned(stack: Stack) -> None:
    planned, done = ({row for row in stack.first_changes(which) if row[0] in KINDS} for which in ("planned", "done"))
    assert planned == done
    assert {row[0] for row in planned} == (KINDS if edition(image()) == "apache" else KINDS - {"built-in job"})


@pytest.mark.parametrize(("kind", "options"), [("container", ["--all", "--format", "{{.Names}}"]), ("volume", ["--quiet"])])
def test_the_engine_has_what_was_planned(stack: Stack, kind: str, options: list[str]) -> None:
    names = docker(kind, "ls", *options, "--filter", f"label={LABEL}={stack.name}").split()
    assert set(names) == {name for found, name, action in stack.first_changes("planned") if (found, action) == (kind, "create")}


def test_the_server_has_the_databases_that_were_planned(stack: Stack) -> None:
    planned = {name for kind, name, action in stack.first_changes("planned") if (kind, action) == ("database", "create")}
    there = {
        name
        for server in ("postgres", "timescaledb")
        for (name,) in query(stack, server, "postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
    }
    assert planned == {name for name in there if not name.startswith("_restore_")}
