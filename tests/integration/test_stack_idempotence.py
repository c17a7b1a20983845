# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same command again changes nothing; check mode says nothing of a converged stack."""

from __future__ import annotations

from clients import query
from containers import started
from stack import Stack


def test_a_second_run_changes_and_restarts_nothing(stack: Stack) -> None:
    before = started(stack.name)
    assert len(before) == 4
    assert stack.playbook("site").checked().changed == []
    assert started(stack.name) == before


def test_check_mode_of_a_converged_stack_is_empty(stack: Stack) -> None:
    result = stack.playbook("site", check=True).checked()
    assert result.changed == []
    assert "--- before" not in result.stdout


def test_settings_that_a_reload_applies_do_not_restart(stack: Stack) -> None:
    before = started(stack.name)
    result = stack.playbook("site", "--tags", "docker,images,postgres", "-e", '{"postgres_settings": {"log_min_duration_statement": "777ms"}}').checked()
    assert result.changed
    assert query(stack, "postgres", "postgres", "SELECT setting FROM pg_settings WHERE name = 'log_min_duration_statement'") == [("777",)]
    assert started(stack.name) == before
    assert stack.playbook("site", "--tags", "docker,images,postgres").checked().changed
    assert stack.playbook("site").checked().changed == []


def test_a_setting_that_the_server_would_refuse_never_reaches_it(stack: Stack) -> None:
    before = started(stack.name)
    for settings, word in (
        ('{"wrok_mem": "4MB"}', "wrok_mem"),
        ('{"work_mem": "4 bananas"}', "work_mem"),
        ('{"pg_stat_statements.max": "1"}', "pg_stat_statements.max"),
    ):
        result = stack.playbook("site", "--tags", "docker,images,postgres", "-e", f'{{"postgres_settings": {settings}}}')
        assert result.rc != 0
        assert word in result.stdout
    assert started(stack.name) == before
    assert stack.playbook("site").checked().changed == []
