# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All secrets changed at once, the old ones forgotten: the old are refused, the new accepted, no data lost, PostgreSQL not restarted.

Check mode of the stack has nothing to say then.
"""

from __future__ import annotations

import shutil

import psycopg2
import pytest
import redis
from clients import administrator, postgres, query, redis_client
from containers import started
from stack import Stack

# Every odd character that a shell, a URL, YAML, Jinja, libpq's passfile or Redis could trip over.
ODD = "p'a\"s s#w$o%r{{d}}\\:@/?&=+;!*~`^|<>(),[é€]"


def _write_env(stack: Stack) -> None:
    lines = [f"{name}={ODD}{number}" for number, name in enumerate(("POSTGRES_PASSWORD", "TIMESCALE_PASSWORD", "REDIS_PASSWORD", "PGADMIN_PASSWORD"))]
    stack.env_file.write_text("\n".join([*lines, f"PGADMIN_EMAIL={stack.pgadmin_email}"]) + "\n", encoding="utf-8")
    stack.env_file.chmod(0o600)


@pytest.mark.long
def test_all_secrets_rotate_while_the_stack_runs_and_a_check_then_is_empty(stack: Stack) -> None:
    old = {name: stack.secret(name) for name in ("POSTGRES_PASSWORD", "TIMESCALE_PASSWORD", "REDIS_PASSWORD", "postgres/auth_app", "redis/auth")}
    query(stack, "postgres", "auth", "SELECT auth.register_user('kept@example.org', '$argon2id$x')", user="auth_app")
    redis_client(stack).set("rotation:kept", "1")
    before = started(stack.name)

    passphrase = stack.secret("timescaledb/archive")
    shutil.rmtree(stack.secrets_dir)
    _write_env(stack)
    # What an archive is encrypted with is no password: without it the archive is lost, so that another one is refused.
    refused = stack.playbook("site", "--tags", "timescaledb")
    assert "encrypted with another passphrase" in " ".join(row["message"] for row in refused.failed)
    file = stack.secrets_dir / "timescaledb_archive"
    file.write_text(f"{passphrase}\n", encoding="utf-8")
    stack.playbook("site").checked()

    after = started(stack.name)
    assert {name: after[name] for name in before if "postgres" in name or "timescale" in name} == {
        name: before[name] for name in before if "postgres" in name or "timescale" in name
    }
    assert query(stack, "postgres", "auth", "SELECT count(*) FROM auth.find_account('kept@example.org')", user="auth_app") == [(1,)]
    assert query(stack, "timescaledb", "timescale", "SELECT 1") == [(1,)]
    assert redis_client(stack).get("rotation:kept") == "1"
    assert redis_client(stack, user="auth").ping()
    _refused(stack, old)
    again = stack.playbook("site", check=True).checked()
    assert again.changed == []
    assert "--- before" not in again.stdout, "check mode of a converged stack says nothing"


def _refused(stack: Stack, old: dict[str, str]) -> None:
    for server, database, user, secret in (
        ("postgres", "auth", administrator(stack, "postgres"), "POSTGRES_PASSWORD"),
        ("timescaledb", "timescale", administrator(stack, "timescaledb"), "TIMESCALE_PASSWORD"),
        ("postgres", "auth", "auth_app", "postgres/auth_app"),
    ):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            postgres(stack, server, database, user=user, password=old[secret])
    for name, secret in (("", "REDIS_PASSWORD"), ("auth", "redis/auth")):
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis_client(stack, user=name, password=old[secret]).ping()
