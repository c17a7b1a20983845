# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of redis_settings."""

from __future__ import annotations

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._changes import diff
from ansible_collections.nexanest.database.plugins.module_utils._redis_acl import parse
from ansible_collections.nexanest.database.plugins.module_utils._redis_plan import PlanError, Running, Wanted, plan, plan_from_nothing, plan_without_login

RUNNING = Running(
    settings={"maxmemory": "268435456", "maxmemory-policy": "noeviction", "databases": "16", "masterauth": "old"},
    users=parse(["user default off -@all", "user a on >one ~a:* +get"]),
    databases=frozenset({0, 5}),
)


def test_equal_servers_need_nothing() -> None:
    done = plan(Wanted(settings={"maxmemory": "256mb"}, users=RUNNING.users), RUNNING)
    assert (dict(done.set), done.load_acl, done.restart, done.changes) == ({}, False, (), ())


def test_settings_are_set_or_wait_for_a_restart() -> None:
    done = plan(Wanted(settings={"maxmemory-policy": "allkeys-lru", "databases": "32"}, users=None), RUNNING)
    assert done.set == {"maxmemory-policy": "allkeys-lru"}
    assert done.restart == ("databases",)
    assert [change.title for change in done.changes] == ["redis setting maxmemory-policy", "redis setting databases"]


@pytest.mark.parametrize(
    "lines",
    [
        ["user default off -@all", "user a on >two ~a:* +get"],
        ["user default off -@all"],
        ["user default off -@all", "user a on >one ~a:* +get", "user b on"],
        ["user default off -@all", "user a on >one ~b:* +get"],
    ],
)
def test_any_other_user_means_that_the_acl_is_loaded(lines: list[str]) -> None:
    done = plan(Wanted(settings={}, users=parse(lines)), RUNNING)
    assert done.load_acl
    assert len(done.changes) == 1


def test_a_new_password_shows_in_the_diff_without_its_hash() -> None:
    text = diff(plan(Wanted(settings={}, users=parse(["user default off -@all", "user a on >two ~a:* +get"])), RUNNING).changes)
    assert text["before"] != text["after"]
    assert not any(digest in str(text) for digest in RUNNING.users["a"].hashes)


def test_passwords_among_the_settings_do_not_show_in_the_diff() -> None:
    text = str(diff(plan(Wanted(settings={"masterauth": "new"}, users=None), RUNNING).changes))
    assert "new" not in text
    assert "old" not in text


def test_without_a_list_of_users_they_are_left_alone() -> None:
    assert not plan(Wanted(settings={}, users=None), RUNNING).load_acl


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(PlanError, match="no setting maxmemry: did you mean maxmemory"):
        plan(Wanted(settings={"maxmemry": "1gb"}, users=None), RUNNING)


def test_fewer_databases_than_are_in_use_are_refused() -> None:
    with pytest.raises(PlanError, match="ask for at least 6"):
        plan(Wanted(settings={"databases": "4"}, users=None), RUNNING)
    assert plan(Wanted(settings={"databases": "6"}, users=None), RUNNING).restart == ("databases",)


def test_the_plan_from_nothing_names_all_of_it() -> None:
    done = plan_from_nothing(Wanted(settings={"maxmemory": "1gb"}, users=parse(["user a on"])))
    assert [(change.title, change.before) for change in done.changes] == [("redis setting maxmemory", None), ("redis user a", None)]


def test_a_refused_login_asks_for_a_restart() -> None:
    assert plan_without_login("x").restart == ("acl",)
    assert plan_without_login("x").changes
