# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module pgadmin_account on a throw-away pgAdmin."""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from containers import newest_image
from modules import run_module

from ansible_collections.nexanest.database.plugins.module_utils._pgadmin import PgAdminError, accepts_login

EMAIL = "admin@shop.local"
PASSWORD = "odd: \\ ' \" % $HOME é #&=+"
SERVER = {"name": "PostgreSQL", "host": "postgres", "port": 5432, "username": "shop", "maintenance_db": "postgres", "sslmode": "prefer"}


@dataclass(frozen=True)
class Trial:
    """A running pgAdmin and the options that the module needs for it."""

    container: str
    url: str

    def run(self, check: bool = False, **other: Any) -> dict[str, Any]:
        options = {"container": self.container, "url": self.url, "email": EMAIL, "password": PASSWORD, "servers": [SERVER], "passfile": "/run/pgpass"}
        return run_module("pgadmin_account", {**options, **other}, check)

    def login(self, password: str = PASSWORD, email: str = EMAIL) -> bool:
        return accepts_login(self.url, email, password)

    def sql(self, statement: str) -> list[list[Any]]:
        program = "import json, sqlite3, sys; d = sqlite3.connect('/var/lib/pgadmin/pgadmin4.db', timeout=20)"
        program += "; r = d.execute(sys.stdin.read()).fetchall(); d.commit(); print(json.dumps(r))"
        return list(json.loads(docker("exec", "-i", self.container, "/venv/bin/python3", "-c", program, stdin=statement)))


def docker(*argv: str, stdin: str = "") -> str:
    done = subprocess.run(["docker", *argv], input=stdin, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"docker {argv[0]}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def pgadmin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("pgadmin")
    folder.chmod(0o755)
    (folder / "password").write_text(secrets.token_urlsafe())
    name = f"test-pgadmin-{secrets.token_hex(4)}"
    docker(
        "run", "--detach", "--init", "--name", name, "--label", "nexanest.database.test", "--user", "5050:5050", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--memory", "512m", "--publish", "127.0.0.1::8080", "--volume", f"{folder}:/start:ro",
        "--tmpfs", "/var/lib/pgadmin:uid=5050,gid=5050,mode=0700", "--tmpfs", "/run/pgadmin:uid=5050,gid=5050,mode=0700", "--tmpfs", "/tmp:mode=1777",
        "--env", f"PGADMIN_DEFAULT_EMAIL={EMAIL}", "--env", "PGADMIN_DEFAULT_PASSWORD_FILE=/start/password", "--env", "PGADMIN_LISTEN_PORT=8080",
        "--env", "PGADMIN_CONFIG_ALLOW_SPECIAL_EMAIL_DOMAINS=['local']", "--env", "PGADMIN_CONFIG_UPGRADE_CHECK_ENABLED=False",
        "--env", "PGADMIN_CUSTOM_CONFIG_DISTRO_FILE=/run/pgadmin/config_distro.py", "--env", "PGADMIN_DISABLE_POSTFIX=1",
        newest_image("pgadmin"),
    )  # fmt: skip
    try:
        trial = Trial(container=name, url=f"http://127.0.0.1:{docker('port', name, '8080/tcp').split()[0].rpartition(':')[2]}")
        wait_for_login_page(trial)
        yield trial
    finally:
        docker("rm", "--force", "--volumes", name)


def wait_for_login_page(trial: Trial) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            trial.login("not this one", "nobody@shop.local")
        except PgAdminError:
            assert time.monotonic() < deadline, subprocess.run(["docker", "logs", trial.container], capture_output=True, text=True, check=False).stderr
            time.sleep(0.5)
        else:
            return


@pytest.fixture
def converged(pgadmin: Trial) -> Trial:
    result = pgadmin.run()
    assert not result["failed"], result
    return pgadmin


def test_the_first_run_sets_all_and_the_second_nothing(pgadmin: Trial) -> None:
    predicted = pgadmin.run(check=True)
    assert not pgadmin.login("nothing was set yet")
    first = pgadmin.run()
    assert first["changed"]
    assert (first["diff"], first["objects"]) == (predicted["diff"], predicted["objects"])
    assert pgadmin.login()
    assert "odd:" not in json.dumps({key: first[key] for key in ("diff", "objects")})
    second = pgadmin.run()
    assert (second["changed"], second["diff"]) == (False, {"before": "", "after": ""})
    assert pgadmin.run(check=True)["changed"] is False


def test_no_change_takes_less_than_a_second_and_leaves_no_session_behind(converged: Trial) -> None:
    converged.run()
    began = time.monotonic()
    assert converged.run()["changed"] is False
    # Two thirds of it are the start of the test's own interpreter.
    assert time.monotonic() - began < 3


def test_a_changed_password_is_in_force_and_the_old_one_is_refused(converged: Trial) -> None:
    assert converged.run(password="second one")["changed"]
    assert converged.login("second one")
    assert not converged.login()
    assert converged.run()["changed"]
    assert converged.login()


def test_check_mode_changes_nothing_and_never_locks_the_account(converged: Trial) -> None:
    for _attempt in range(5):
        assert converged.run(check=True, password="another one")["changed"]
    assert converged.sql("SELECT login_attempts, locked FROM user") == [[0, 0]]
    assert converged.login()


def test_an_account_locked_by_failed_logins_is_opened_again(converged: Trial) -> None:
    for _attempt in range(4):
        assert not converged.login("guessed")
    assert not converged.login()
    assert "locked: true" in converged.run(check=True)["diff"]["before"]
    assert converged.run()["changed"]
    assert converged.login()
    assert converged.run()["changed"] is False


@pytest.mark.parametrize("stored", ["'$argon2id$v=19$m=65536,t=3,p=4$YWJj$YWJj'", "''", "'$pbkdf2-sha512$25000$broken'"])
def test_a_broken_stored_password_is_replaced(converged: Trial, stored: str) -> None:
    converged.sql(f"UPDATE user SET password = {stored}")
    assert converged.run()["changed"]
    assert converged.login()


def test_a_changed_address_renames_the_account(converged: Trial) -> None:
    assert converged.run(email="new@shop.local")["changed"]
    assert converged.login(email="new@shop.local")
    assert not converged.login()
    assert converged.sql("SELECT count(*) FROM user") == [[1]]
    assert converged.run(email="new@shop.local")["changed"] is False
    assert converged.run()["changed"]


def test_a_deactivated_or_degraded_account_is_restored(converged: Trial) -> None:
    converged.sql("UPDATE user SET active = 0")
    converged.sql("UPDATE roles_users SET role_id = (SELECT id FROM role WHERE name = 'User')")
    before = converged.run()["diff"]["before"]
    assert "active: false" in before
    assert "administrator: false" in before
    assert converged.login()


def test_entries_follow_and_a_persons_own_are_kept(converged: Trial) -> None:
    converged.sql(
        "INSERT INTO server (user_id, servergroup_id, name, host, port, shared) SELECT user_id, servergroup_id, 'Mine', 'there', 5432, 0 FROM server LIMIT 1"
    )
    second = {**SERVER, "name": "TimescaleDB", "host": "timescaledb"}
    assert converged.run(servers=[{**SERVER, "port": 5433}, second])["objects"] == [
        {"kind": "server entry", "name": "PostgreSQL", "action": "update"},
        {"kind": "server entry", "name": "TimescaleDB", "action": "create"},
    ]
    assert converged.sql("SELECT name, host, port FROM server ORDER BY name") == [
        ["Mine", "there", 5432],
        ["PostgreSQL", "postgres", 5433],
        ["TimescaleDB", "timescaledb", 5432],
    ]
    assert converged.run()["objects"][-1] == {"kind": "server entry", "name": "TimescaleDB", "action": "delete"}
    converged.sql("DELETE FROM server WHERE name = 'Mine'")


def test_assume_empty_plans_without_any_container() -> None:
    planned = Trial(container="test-not-there", url="http://127.0.0.1:9").run(check=True, assume_empty=True)
    assert [row["action"] for row in planned["objects"]] == ["create", "create", "create"]


def test_a_missing_container_is_one_clear_sentence() -> None:
    failed = Trial(container="test-not-there", url="http://127.0.0.1:9").run()
    assert failed["failed"]
    assert "could not look into the container test-not-there" in failed["msg"]
    assert PASSWORD not in json.dumps(failed)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"password": "12345"}, "shorter than the six characters"),
        ({"servers": [SERVER, SERVER]}, "have the same name"),
        ({"url": "http://127.0.0.1:9"}, "does not answer"),
    ],
)
def test_wrong_input_is_one_clear_sentence(converged: Trial, options: dict[str, Any], text: str) -> None:
    failed = converged.run(**options)
    assert failed["failed"]
    assert text in failed["msg"]


def test_another_program_on_the_port_is_named(converged: Trial) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it
            del format, args

    server = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.handle_request, daemon=True).start()
    failed = converged.run(url=f"http://127.0.0.1:{server.server_port}")
    server.server_close()
    assert "does another program listen on this port" in failed["msg"]


def test_password_and_program_never_stand_in_argv_or_environment(converged: Trial, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    stop = threading.Event()

    def watch() -> None:
        with seen.open("ab") as file:
            while not stop.is_set():
                for process in Path("/proc").glob("[0-9]*"):
                    for part in ("cmdline", "environ"):
                        try:
                            file.write((process / part).read_bytes())
                        except OSError:
                            continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    converged.run(password="a-needle-in-argv")
    stop.set()
    watcher.join()
    text = seen.read_bytes()
    assert b"docker" in text
    assert b"a-needle-in-argv" not in text
    assert b"a-needle-in-argv" not in docker("inspect", converged.container).encode()
