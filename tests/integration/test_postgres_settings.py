# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running server made to use its configuration files."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from modules import run_module
from servers import Server, postgres_server

from ansible_collections.nexanest.database.plugins.module_utils._sizing import postgres_settings

CONF = "/data/pgdata/postgresql.conf"
HBA = "/data/pgdata/pg_hba.conf"
ORIGINAL: list[str] = []


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with postgres_server(prefix="tc") as server:
        ORIGINAL.append(execute(server, "cat", CONF))
        yield server


@pytest.fixture
def server(started: Server) -> Iterator[Server]:
    """A server with fresh files, which it has read."""
    write(started, CONF, "jit = on\n")
    converge(started, {"jit": True})
    yield started
    started.query("ALTER SYSTEM RESET ALL")
    write(started, HBA, "local all all trust\nhost all all all scram-sha-256\n")


def execute(server: Server, *argv: str, stdin: str = "") -> str:
    return subprocess.run(["docker", "exec", "-i", server.container, *argv], input=stdin, text=True, check=True, timeout=30, capture_output=True).stdout


def write(server: Server, path: str, text: str) -> None:
    """Replace a file by rename, as Ansible does; postgresql.conf keeps what initdb wrote."""
    before = ORIGINAL[0] if path == CONF else ""
    execute(server, "sh", "-c", f"cat >{path}.new && mv {path}.new {path}", stdin=before + text)


def converge(server: Server, settings: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
    return run_module("postgres_settings", {**server.login, "settings": settings, **options}, check)


def loaded(server: Server) -> Any:
    return server.query("SELECT pg_conf_load_time()")[0][0]


def test_a_new_value_is_loaded_once_and_holds(server: Server) -> None:
    wanted = {"work_mem": "8MB", "jit": "off", "log_min_duration_statement": "1s"}
    write(server, CONF, "work_mem = 8MB\njit = off\nlog_min_duration_statement = 1s\n")
    first = converge(server, wanted)
    assert (first["changed"], first["reloaded"], first["restart_required"]) == (True, True, [])
    assert server.query("SELECT current_setting('work_mem'), current_setting('jit')") == [("8MB", "off")]
    moment = loaded(server)
    second = converge(server, wanted)
    assert (second["changed"], second["reloaded"], second["diff"]) == (False, False, {"before": "", "after": ""})
    assert loaded(server) == moment


def test_check_mode_predicts_before_the_file_is_written(server: Server) -> None:
    moment = loaded(server)
    planned = converge(server, {"work_mem": "16MB", "jit": True, "max_connections": 77}, check=True)
    assert planned["objects"] == [
        {"kind": "setting", "name": "max_connections", "action": "update"},
        {"kind": "setting", "name": "work_mem", "action": "update"},
    ]
    assert planned["restart_required"] == ["max_connections"]
    assert "value: 4MB" in planned["diff"]["before"]
    assert "value: 16MB" in planned["diff"]["after"]
    assert loaded(server) == moment
    write(server, CONF, "work_mem = 16MB\nmax_connections = 77\n")
    assert converge(server, {"work_mem": "16MB", "jit": True, "max_connections": 77})["objects"] == planned["objects"]


def test_a_server_that_will_have_begun_anew_has_only_what_wins_over_its_files_left(server: Server) -> None:
    wanted = {"work_mem": "9MB", "max_connections": 61, "maintenance_work_mem": "66MB"}
    server.query("ALTER SYSTEM SET maintenance_work_mem = '67MB'")
    server.query("SELECT pg_reload_conf(), pg_sleep(0.2)")
    planned = converge(server, wanted, check=True, restarts=True)
    assert [one["name"] for one in planned.get("objects", [])] == ["maintenance_work_mem"], planned
    assert planned["restart_required"] == []
    assert "check mode alone" in converge(server, wanted, restarts=True)["msg"]


def test_a_setting_that_needs_a_restart_is_reported_and_the_server_is_not_restarted(server: Server) -> None:
    begun = server.query("SELECT pg_postmaster_start_time()")
    command_line = converge(server, {"shared_buffers": "40MB"})
    assert "shared_buffers is 4096 by the server's command line" in command_line["msg"]
    write(server, CONF, "max_locks_per_transaction = 128\n")
    first = converge(server, {"max_locks_per_transaction": 128})
    again = converge(server, {"max_locks_per_transaction": 128})
    assert first["restart_required"] == again["restart_required"] == ["max_locks_per_transaction"]
    assert server.query("SELECT pg_postmaster_start_time()") == begun


def test_a_library_and_its_settings_come_with_the_restart() -> None:
    wanted = {"shared_preload_libraries": "pg_stat_statements,pg_cron", "cron.timezone": "UTC", "cron.max_running_jobs": 3}
    with postgres_server(prefix="tc") as fresh:
        planned = converge(fresh, wanted, check=True)
        text = "shared_preload_libraries = 'pg_stat_statements,pg_cron'\ncron.timezone = 'UTC'\ncron.max_running_jobs = 3\n"
        execute(fresh, "sh", "-c", f"cat >>{CONF}", stdin=text)
        first = converge(fresh, wanted)
        assert first["objects"] == planned["objects"]
        assert first["restart_required"] == converge(fresh, wanted)["restart_required"] == ["shared_preload_libraries"]


def test_a_new_hba_file_is_loaded_although_no_setting_differs(server: Server) -> None:
    write(server, HBA, "local all all trust\nhost all nobody all reject\nhost all all all scram-sha-256\n")
    result = converge(server, {"jit": True})
    assert (result["changed"], result["newer_files"]) == (True, [HBA])
    assert converge(server, {"jit": True})["changed"] is False


def test_a_wrong_hba_line_is_named_with_file_and_line_and_nothing_is_loaded(server: Server) -> None:
    moment = loaded(server)
    write(server, HBA, "local all all trust\nhost all all all scram-sha-512\n")
    result = converge(server, {"jit": True})
    assert f'{HBA}, line 2: invalid authentication method "scram-sha-512"' in result["msg"]
    assert loaded(server) == moment


def test_a_wrong_line_in_the_settings_file_is_named(server: Server) -> None:
    write(server, CONF, "jit = on\nwork_mem = lots\n")
    assert f"{CONF}, line {ORIGINAL[0].count(chr(10)) + 2}: work_mem = 'lots': setting could not be applied" in converge(server, {"jit": True})["msg"]


def test_what_alter_system_set_by_hand_is_taken_back_and_said(server: Server) -> None:
    server.query("ALTER SYSTEM SET work_mem = '64MB'")
    server.query("ALTER SYSTEM SET maintenance_work_mem = '65MB'")
    server.query("SELECT pg_reload_conf()")
    time.sleep(0.5)
    write(server, CONF, "work_mem = 8MB\n")
    result = converge(server, {"work_mem": "8MB"})
    assert result["reset"] == ["work_mem"]
    assert "set_by: ALTER SYSTEM" in result["diff"]["before"]
    assert server.query("SELECT current_setting('work_mem'), current_setting('maintenance_work_mem')") == [("8MB", "65MB")]


def test_a_role_s_own_settings_do_not_hide_the_server_s(server: Server) -> None:
    write(server, CONF, "work_mem = 6MB\n")
    server.query("ALTER ROLE nexanest SET work_mem = '1MB'")
    assert converge(server, {"work_mem": "6MB", "synchronous_commit": True})["changed"]
    assert not converge(server, {"work_mem": "6MB", "synchronous_commit": True})["changed"]
    server.query("ALTER ROLE nexanest RESET work_mem")


def test_a_file_that_does_not_hold_the_wanted_value_is_an_error(server: Server) -> None:
    for wanted in ({"work_mem": "9MB"}, {"max_connections": 99}):
        assert "write the file before this task runs" in converge(server, wanted)["msg"]


def test_an_unknown_setting_is_refused_with_the_nearest_one(server: Server) -> None:
    assert "no setting work_men; did you mean work_mem?" in converge(server, {"work_men": "9MB"}, check=True)["msg"]


def test_a_setting_that_left_the_file_is_planned_back_to_its_default(server: Server) -> None:
    kept = dict(server.query("SELECT name, setting FROM pg_settings WHERE source = 'configuration file' AND name <> 'jit'"))
    planned = converge(server, kept, check=True, complete=True)
    assert [item["name"] for item in planned["objects"]] == ["jit"]
    write(server, CONF, "")
    assert converge(server, kept, complete=True)["changed"]
    assert not converge(server, kept, complete=True)["changed"]


def test_a_server_that_does_not_exist_yet_is_planned_from_the_wanted_settings_alone() -> None:
    args = {"login_user": "x", "login_password": "y", "login_port": 1, "settings": {"work_mem": "4MB"}, "assume_empty": True}
    assert run_module("postgres_settings", args, check=True)["objects"] == [{"kind": "setting", "name": "work_mem", "action": "create"}]
    assert "for check mode alone" in run_module("postgres_settings", args)["msg"]


def test_every_kind_of_setting_is_recognised_once_it_is_in_force() -> None:
    wanted: dict[str, Any] = {
        **postgres_settings(400, cpus=2, connections=20),
        "listen_addresses": "*",
        "shared_preload_libraries": ["pg_stat_statements"],
        "pg_stat_statements.track": "top",
        "pg_stat_statements.max": 1000,
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "timezone": "UTC",
        "log_autovacuum_min_duration": "10min",
        "log_parameter_max_length": 0,
        "wal_compression": "zstd",
        "wal_level": "replica",
        "track_io_timing": True,
        "checkpoint_completion_target": 0.9,
        "client_connection_check_interval": "10s",
        "log_file_mode": "0640",
        "my.own": "x",
    }
    settings = [f"{name}={'on' if value is True else ','.join(value) if isinstance(value, list) else value}" for name, value in wanted.items()]
    with postgres_server(prefix="tc", settings=settings) as server:
        # initdb wrote the files in the second in which this server started, so the first call may load them again.
        first, second = (run_module("postgres_settings", {**server.login, "settings": wanted}) for _call in range(2))
    assert (first.get("msg"), second.get("msg")) == (None, None)
    assert [item for item in first["objects"] if item["kind"] == "setting"] == []
    assert (second["diff"]["after"], second["changed"]) == ("", False)
