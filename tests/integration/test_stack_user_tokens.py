# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory makes of user tokens, scheduled jobs and the backup role on a whole stack."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from clients import query
from stack import ROOT, Stack, docker, environment

from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import mint

ANNA = "a0000000-0000-4000-8000-00000000000a"


def acts(stack: Stack, key: str) -> bool:
    """Whether auth's application can act for a user with this key."""
    login = {"host": "127.0.0.1", "port": stack.ports.postgres, "dbname": "auth", "user": "auth_app", "password": stack.secret("postgres/auth_app")}
    with contextlib.closing(psycopg2.connect(**login)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute("SELECT session.set_user(%s)", [mint(key, ANNA, int(time.time()) + 300)])
        except psycopg2.errors.InvalidAuthorizationSpecification:
            return False
        cursor.execute("SELECT session.user_id()::text")
        return bool(cursor.fetchall() == [(ANNA,)])


@pytest.fixture
def key_file(stack: Stack) -> Iterator[Path]:
    yield stack.secrets_dir / "user_tokens_auth"
    (stack.secrets_dir / "user_tokens_auth.previous").unlink(missing_ok=True)


def test_service_acts_with_its_own_key_alone(stack: Stack) -> None:
    assert acts(stack, stack.secret("user_tokens/auth"))
    assert not acts(stack, stack.secret("user_tokens/portfolio"))


@pytest.mark.long
def test_key_is_changed_by_renaming_its_file(stack: Stack, key_file: Path) -> None:
    old = stack.secret("user_tokens/auth")
    key_file.rename(f"{key_file}.previous")
    changed = stack.playbook("site", "--tags", "data_model").checked().changed
    assert {(row["name"], row["action"]) for task in changed for row in task["objects"]} == {("auth current", "update"), ("auth previous", "create")}
    assert stack.secret("user_tokens/auth") != old
    assert acts(stack, old)
    assert acts(stack, stack.secret("user_tokens/auth"))
    Path(f"{key_file}.previous").unlink()
    changed = stack.playbook("site", "--tags", "data_model").checked().changed
    assert [(row["name"], row["action"]) for task in changed for row in task["objects"]] == [("auth previous", "delete")]
    assert not acts(stack, old)
    assert acts(stack, stack.secret("user_tokens/auth"))


def test_credentials_say_where_the_key_is_and_never_the_key(stack: Stack) -> None:
    argv = [str(ROOT / ".venv" / "bin" / "ansible-playbook"), "-i", str(stack.inventory), "playbooks/credentials.yml"]
    reporting = environment(ANSIBLE_STDOUT_CALLBACK="nexanest.database.report")
    del reporting["ANSIBLE_CALLBACKS_ENABLED"]
    for service in ("auth", "timescale"):
        extra = json.dumps({"stack_credentials_service": service})
        done = subprocess.run(
            [*argv, "-e", extra],
            cwd=ROOT,
            env=reporting,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert done.stdout.startswith(f"postgresql://{service}_app:")
        assert done.stdout.count("\n") == 1
        assert done.stderr.strip() == f"# the key that {service} signs its users with: {stack.secrets_dir}/user_tokens_{service}"
        assert stack.secret(f"user_tokens/{service}") not in done.stdout + done.stderr


def test_declared_jobs_are_scheduled_as_the_migrator(stack: Stack) -> None:
    rows = query(stack, "postgres", "postgres", "SELECT DISTINCT username, database FROM cron.job WHERE jobname LIKE 'auth/%' AND active")
    assert rows == [("auth_migrator", "auth")]
    settings = "SELECT current_setting('cron.use_background_workers'), current_setting('cron.timezone')"
    for server in ("postgres", "timescaledb"):
        assert query(stack, server, "postgres", settings) == [("on", "UTC")]


@pytest.mark.parametrize(("server", "database"), [("postgres", "auth"), ("timescaledb", "timescale")])
def test_backup_role_can_dump_a_whole_database(stack: Stack, server: str, database: str) -> None:
    # From the network's side, by password: the socket lets the administrator alone in.
    role, secret = f"{stack.name}_backup", stack.secret(f"{server}/backup")
    login = f"host=127.0.0.1 port=5432 user={role} dbname={database}"
    script = (
        'umask 077 && printf "127.0.0.1:5432:*:*:%s" "$(cat)" >/tmp/backup.pass && PGPASSFILE=/tmp/backup.pass pg_dump "$0" | wc -c; rm -f /tmp/backup.pass'
    )
    done = subprocess.run(
        ["docker", "exec", "--interactive", stack.container(server), "bash", "-o", "pipefail", "-c", script, login],
        input=secret,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert int(done.stdout) > 5000, done.stderr
    assert "permission denied" not in done.stderr
    assert docker("exec", stack.container(server), "ls", "/tmp").count("backup.pass") == 0
