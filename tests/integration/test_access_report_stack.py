# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access proof of the whole deployed stack, by its playbook."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from clients import query, redis_client
from stack import Run, Stack

USERS = "auth.users"
# What removes a protection of the stack's own, what restores it, and what must be named.
MUTATIONS = {
    "drop FORCE": (
        f"ALTER TABLE {USERS} NO FORCE ROW LEVEL SECURITY",
        f"ALTER TABLE {USERS} FORCE ROW LEVEL SECURITY",
        f"row security guards {USERS}",
    ),
    "drop a policy": (
        "DROP POLICY own_rows ON auth.user_profiles",
        "CREATE POLICY own_rows ON auth.user_profiles USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()))",
        "row security guards auth.user_profiles",
    ),
    "grant CONNECT to PUBLIC": (
        "GRANT CONNECT ON DATABASE auth TO PUBLIC",
        "REVOKE CONNECT ON DATABASE auth FROM PUBLIC",
        "portfolio_app: log in to auth",
    ),
    "add a leaking view": (
        f"CREATE VIEW auth.leak AS SELECT email FROM {USERS}; GRANT SELECT ON auth.leak TO auth_app",
        "DROP VIEW auth.leak",
        "the view auth.leak shows nobody else's rows",
    ),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.json"


def access(stack: Stack, file: Path, **run: Any) -> Run:
    return stack.playbook("access_report", "--extra-vars", json.dumps({"stack_access_file": str(file)}), **run)


@pytest.mark.long
def test_missing_protections_turn_it_red(stack: Stack, file: Path) -> None:
    """All at once here; one by one, on throw-away servers, in the other tests of the access proof."""
    boss = redis_client(stack)
    sound = next(line for line in boss.acl_list() if line.startswith("user analytics ")).split(" ")[2:]
    for remove, _restore, _named in MUTATIONS.values():
        query(stack, "postgres", "auth", remove)
    boss.execute_command("ACL", "SETUSER", "analytics", "~*", "+keys")
    try:
        run = access(stack, file)
    finally:
        for _remove, restore, _named in MUTATIONS.values():
            query(stack, "postgres", "auth", restore)
        boss.execute_command("ACL", "SETUSER", "analytics", "reset", *sound)
    assert run.rc != 0
    assert "ended otherwise than they should" in run.failed[0]["message"]
    wrong = [line for line in run.stdout.splitlines() if "WRONG" in line]
    for name, (_remove, _restore, named) in MUTATIONS.items():
        assert [line for line in wrong if named in line], name
    assert [line for line in wrong if "analytics: may KEYS *" in line]


def test_with_all_of_them_back_the_stack_passes_with_far_more_than_150_attempts(stack: Stack, file: Path) -> None:
    run = access(stack, file).checked()
    assert run.hosts["localhost"]["changed"] == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = json.loads(file.read_text(encoding="utf-8"))
    assert [server["server"] for server in found["servers"]] == ["postgres", "timescaledb", "redis", "pgadmin"]
    attempts = [attempt for server in found["servers"] for attempt in server["attempts"]]
    assert len(attempts) > 1500
    assert (found["failed"], [attempt for attempt in attempts if not (attempt["ok"] and attempt["tried"])]) == (0, [])
    told = file.read_text(encoding="utf-8") + run.stdout
    assert [name for name, secret in stack.secrets().items() if secret in told] == []


@pytest.mark.long
def test_a_plan_tries_and_writes_no_file(stack: Stack, file: Path) -> None:
    assert access(stack, file, check=True).checked().hosts["localhost"]["changed"] == 0
    assert not file.exists()
