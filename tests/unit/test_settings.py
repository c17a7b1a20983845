# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wanted settings compared with what a server has."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._settings import Setting, compare, same, shown, text


def setting(name: str = "x", value: str = "", **more: Any) -> Setting:
    return Setting(name, value, **{"context": "sighup", "source": "configuration file", **more})


@pytest.mark.parametrize(
    ("value", "unit", "wanted"),
    [
        ("65536", "8kB", "512MB"),
        ("65536", "8kB", "0.5GB"),
        ("65536", "8kB", "65536"),
        ("4096", "kB", "4 MB"),
        ("4096", "kB", "4096kB"),
        ("1024", "MB", "1GB"),
        ("300", "s", "5min"),
        ("300000", "ms", "5min"),
        ("1440", "min", "1d"),
        ("500", "ms", "0.5s"),
        ("-1", "kB", "-1"),
        ("0", "ms", "0"),
        ("100", None, "100"),
        ("255", None, "0xff"),
        ("384", None, "0600"),
        ("10", None, "1e1"),
    ],
)
def test_numbers_are_equal_whatever_their_unit(value: str, unit: str | None, wanted: str) -> None:
    assert same(setting(value=value, unit=unit, vartype="integer"), wanted)


@pytest.mark.parametrize(
    ("value", "unit", "wanted"), [("65536", "8kB", "511MB"), ("300", "s", "5MB"), ("1024", "kB", "1mb"), ("100", None, "many"), ("4", "kB", "")]
)
def test_different_numbers_and_wrong_units_differ(value: str, unit: str | None, wanted: str) -> None:
    assert not same(setting(value=value, unit=unit, vartype="integer"), wanted)


@pytest.mark.parametrize(
    ("value", "vartype", "wanted", "equal"),
    [
        ("0.9", "real", ".90", True),
        ("1.1", "real", "1.10", True),
        ("4", "real", "4.0", True),
        ("4", "real", "4.5", False),
        ("on", "bool", "true", True),
        ("on", "bool", "yes", True),
        ("off", "bool", "0", True),
        ("off", "bool", "on", False),
        ("off", "bool", "maybe", False),
        ("replica", "enum", "REPLICA", True),
        ("on", "enum", "true", True),
        ("local", "enum", "on", False),
        ("Europe/Zurich", "string", "Europe/Zurich", True),
        ("a b", "string", "a  b", False),
    ],
)
def test_each_type_is_compared_by_its_own_rule(value: str, vartype: str, wanted: str, equal: bool) -> None:
    assert same(setting(value=value, vartype=vartype), wanted) is equal


def test_white_space_in_a_list_means_nothing_but_its_order_does() -> None:
    libraries = setting("shared_preload_libraries", "pg_stat_statements,pg_cron")
    assert same(libraries, "pg_stat_statements , pg_cron")
    assert same(libraries, text(["pg_stat_statements", "pg_cron"]))
    assert not same(libraries, "pg_cron, pg_stat_statements")


def test_a_value_that_the_server_computed_equals_the_sentinel_that_asked_for_it() -> None:
    assert same(setting("wal_buffers", "2048", unit="8kB", vartype="integer", source="override", boot_value="-1"), "-1")
    assert not same(setting("wal_buffers", "2048", unit="8kB", vartype="integer", boot_value="-1"), "-1")


def test_what_only_the_asking_session_has_is_not_what_the_server_gives() -> None:
    commit = setting("synchronous_commit", "local", vartype="enum", source="client", boot_value="on")
    assert same(commit, "on")
    assert not same(setting("work_mem", "9999", unit="kB", vartype="integer", source="user", in_file="4MB", boot_value="4096"), "9999kB")


@pytest.mark.parametrize(("given", "written"), [(True, "on"), (False, "off"), (4, "4"), (0.9, "0.9"), (["a", "b"], "a, b"), ("%m ", "%m "), ("x\n", "x")])
def test_yaml_values_become_the_file_s_text(given: object, written: str) -> None:
    assert text(given) == written


def test_differences_say_what_needs_a_restart_and_what_was_set_by_hand() -> None:
    running = {
        "shared_buffers": setting("shared_buffers", "16384", unit="8kB", vartype="integer", context="postmaster"),
        "work_mem": setting("work_mem", "4096", unit="kB", vartype="integer", context="user", source_file="/data/postgresql.auto.conf"),
        "jit": setting("jit", "on", vartype="bool", context="user"),
    }
    found = compare({"work_mem": "8MB", "shared_buffers": "512MB", "jit": True}, running)
    assert [(one.name, one.before, one.after, one.restart, one.altered) for one in found.differences] == [
        ("shared_buffers", "128MB", "512MB", True, False),
        ("work_mem", "4MB", "8MB", False, True),
    ]
    assert found.problems == ()


def test_settings_of_a_library_that_the_next_start_loads_wait_for_it() -> None:
    running = {"shared_preload_libraries": setting("shared_preload_libraries", "pg_stat_statements", context="postmaster", source="configuration file")}
    wanted = {"shared_preload_libraries": "pg_stat_statements,pg_cron", "cron.timezone": "UTC", "pgaudit.log": "ddl"}
    found = compare(wanted, running)
    assert [(one.name, one.before, one.after, one.restart) for one in found.differences] == [
        ("cron.timezone", "not loaded", "UTC", True),
        ("shared_preload_libraries", "pg_stat_statements", "pg_stat_statements,pg_cron", True),
    ]
    assert [problem.partition(";")[0] for problem in found.problems] == ["the server knows no setting pgaudit.log"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"work_men": "1MB"}, "the server knows no setting work_men; did you mean work_mem?"),
        ({"pg_stat_statements.max": 1}, "needs the extension in shared_preload_libraries"),
        ({"work_mem": None}, "work_mem has no value"),
        ({"block_size": 4096}, "block_size is fixed when the server is built"),
        ({"port": 5433}, "port is 5432 by the server's command line"),
    ],
)
def test_what_a_reload_cannot_make_right_is_a_problem(wanted: dict[str, object], said: str) -> None:
    running = {
        "work_mem": setting("work_mem", "4096", unit="kB", vartype="integer"),
        "block_size": setting("block_size", "8192", vartype="integer", context="internal"),
        "port": setting("port", "5432", vartype="integer", context="postmaster", source="command line"),
    }
    (problem,) = compare(wanted, running).problems
    assert said in problem


def test_a_setting_that_left_the_file_goes_back_to_its_default_only_when_the_file_is_complete() -> None:
    running = {"jit": setting("jit", "off", vartype="bool"), "x.y": setting("x.y", "1", source="default")}
    assert compare({}, running).differences == ()
    assert [(one.name, one.after) for one in compare({}, running, complete=True).differences] == [("jit", "default")]


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [("65536", "8kB", "512MB"), ("300", "s", "5min"), ("-1", "kB", "-1"), ("0", "ms", "0"), ("100", None, "100"), ("1500", "ms", "1500ms")],
)
def test_running_values_are_shown_with_units(value: str, unit: str | None, said: str) -> None:
    assert shown(setting(value=value, unit=unit, vartype="integer")) == said


def test_a_restart_is_waited_for_only_where_it_would_change_the_value() -> None:
    assert setting(value="1", in_file="2", pending_restart=True).waits_for_restart
    assert setting(value="1", in_file=None, pending_restart=True).waits_for_restart  # removed from the file
    assert not setting(value="1", in_file=None, source="default", pending_restart=True).waits_for_restart  # never was in force
    assert not setting(value="1", in_file="1", pending_restart=True).waits_for_restart
    assert not setting(value="1", in_file="2", source="command line", pending_restart=True).waits_for_restart


def test_what_the_server_shows_only_of_the_asking_connection_is_taken_from_the_file() -> None:
    assert same(setting("tcp_keepalives_idle", "7200", unit="s", vartype="integer", in_file="0"), "0")
    assert same(setting("archive_command", "(disabled)", in_file="cp %p /archive/%f"), "cp %p /archive/%f")
