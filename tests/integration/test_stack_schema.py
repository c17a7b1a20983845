# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployed stack's schemas are what the migrations make, and a change by hand is seen in the status and by playbooks/schema.yml."""

from __future__ import annotations

import contextlib

import psycopg2
import pytest
from stack import Stack

DATABASES = ("nexanest", "auth", "portfolio", "analytics", "notifications", "timescale")


def administrate(stack: Stack, statement: str) -> None:
    login = {"user": stack.name, "password": stack.secret("POSTGRES_PASSWORD"), "dbname": "auth"}
    with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=stack.ports.postgres, connect_timeout=10, **login)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


@pytest.mark.long
def test_a_change_by_hand_is_seen_in_the_status_and_told_in_words_and_nothing_else_is(stack: Stack) -> None:
    administrate(stack, "ALTER TABLE auth.users NO FORCE ROW LEVEL SECURITY")
    try:
        assert "yellow: postgres: the schema of auth differs from its migrations since" in stack.playbook("status").stdout
        told = stack.playbook("schema").checked().stdout
    finally:
        administrate(stack, "ALTER TABLE auth.users FORCE ROW LEVEL SECURITY")
    assert "auth: one difference" in told
    assert "table auth.users: row security is `on`, the migrations make `on, also for the owner`" in " ".join(told.split())
    assert [name for name in DATABASES if name != "auth" and f"{name}: what its migrations make" not in told] == [], told
    assert "the schema of" not in stack.playbook("status").stdout
