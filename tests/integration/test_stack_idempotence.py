# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same command again changes nothing; a setting changes no more than it must."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clients import query
from containers import started
from stack import Stack, read_until, site_begun


def test_a_second_run_changes_and_restarts_nothing_and_one_beside_it_is_told_who_runs(stack: Stack) -> None:
    before = started(stack.name)
    assert len(before) == 5
    with ThreadPoolExecutor(max_workers=1) as beside, site_begun(stack) as first:
        read_until(first, "networks")
        other = beside.submit(stack.playbook, "site")
        rest = first.communicate(timeout=600)[0]
    assert first.returncode == 0, rest[-3000:]
    assert " changed=0 " in rest
    assert started(stack.name) == before
    assert other.result().rc != 0
    assert str(first.pid) in " ".join(row["message"] for row in other.result().failed)


@pytest.mark.long
def test_settings_that_a_reload_applies_do_not_restart(stack: Stack) -> None:
    before = started(stack.name)
    result = stack.playbook("site", "--tags", "postgres", "-e", '{"postgres_settings": {"log_min_duration_statement": "777ms"}}').checked()
    assert result.changed
    assert query(stack, "postgres", "postgres", "SELECT setting FROM pg_settings WHERE name = 'log_min_duration_statement'") == [("777",)]
    assert started(stack.name) == before
    assert stack.playbook("site", "--tags", "postgres").checked().changed
    assert started(stack.name) == before


def test_a_setting_that_the_server_would_refuse_never_reaches_it(stack: Stack) -> None:
    before = started(stack.name)
    result = stack.playbook("site", "--tags", "postgres", "-e", '{"postgres_settings": {"wrok_mem": "4MB"}}')
    assert result.rc != 0
    assert "wrok_mem" in result.stdout
    assert started(stack.name) == before
    assert "wrok_mem" not in Path(f"/etc/nexanest-database/{stack.name}/postgres/conf/postgresql.conf").read_text(encoding="utf-8")


@pytest.mark.long
def test_a_plan_over_a_stopped_stack_says_what_it_cannot_know(stack: Stack) -> None:
    stack.playbook("stop").checked()
    result = stack.playbook("site", check=True).checked()
    assert [row["task"].split(" : ")[-1] for row in result.changed] == ["container | Converge the container"] * 5
    assert f"{stack.container('postgres')} has data but does not run" in result.stdout
    stack.playbook("start").checked()
    assert stack.healthy()
