# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two catalogs compared: what counts as a difference, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._catalog_diff import changes, words

TABLE = ("table", "auth.users")


def table(**properties: Any) -> dict[tuple[str, str], dict[str, Any]]:
    return {TABLE: {"owner": "auth_owner", **properties}}


def test_equal_catalogs_differ_in_nothing() -> None:
    assert changes("auth", table(), table()) == []
    assert words(table(), table()) == []


def test_objects_come_and_go_by_kind_and_name() -> None:
    index = {("index", "auth.i"): {"definition": "CREATE INDEX i ON auth.users (id)"}}
    assert words({**table(), **index}, table()) == ["index auth.i is there, but no migration makes it"]
    assert words(table(), {**table(), **index}) == ["index auth.i is missing"]
    (change,) = changes("auth", table(), {**table(), **index})
    assert (change.title, change.before, change.after) == ("index auth: auth.i", None, index["index", "auth.i"])


def test_a_change_shows_only_the_properties_that_differ() -> None:
    (change,) = changes("auth", table(comment="old", options="x=1"), table(comment="new", options="x=1", persistence="unlogged"))
    assert (change.before, change.after) == ({"comment": "old"}, {"comment": "new", "persistence": "unlogged"})


@pytest.mark.parametrize(
    ("wanted", "live", "said"),
    [
        ({"comment": "a"}, {}, "comment is none, the migrations make `a`"),
        ({"access": {"app": "SELECT"}}, {"access": {"app": "ALL", "bob": "SELECT"}}, "access of app is `ALL`, the migrations make `SELECT`; access of bob is"),
        ({"definition": "SELECT\n  1"}, {"definition": "SELECT\n  2"}, "definition differs from line 2: it is `2`, the migrations make `1`"),
        ({"definition": "SELECT 1"}, {"definition": "SELECT 1\nWHERE x"}, "definition differs from line 2: it is `WHERE x`, the migrations make none"),
        ({"partitions": []}, {"partitions": [{"owner": "bob"}]}, "some of the partitions: owner is `bob`, the migrations make none"),
        (
            {"partitions": [{"access": "x", "policies": "p"}]},
            {"partitions": [{"access": "x", "policies": "p"}, {"access": "y", "policies": "p"}]},
            "some of the partitions: access is `y`, the migrations make `x`",
        ),
        ({"partitions": [{"row security": "on"}]}, {"partitions": []}, 'none of the partitions has `{"row security": "on"}`'),
    ],
)
def test_a_difference_is_told_in_words(wanted: dict[str, Any], live: dict[str, Any], said: str) -> None:
    (found,) = words(table(**live), table(**wanted))
    assert found.startswith("table auth.users: ")
    assert said in found


def test_the_order_of_columns_counts_where_the_columns_are_the_same() -> None:
    key = "order of columns"
    assert words(table(**{key: "b, a"}), table(**{key: "a, b"})) == [f"table auth.users: {key} is `b, a`, the migrations make `a, b`"]
    assert words(table(**{key: "a, b, c"}), table(**{key: "a, b"})) == []


def test_partitions_are_not_compared_where_one_side_has_none() -> None:
    assert words(table(partitions=[{"owner": "bob"}]), table()) == []


def test_long_values_are_cut() -> None:
    (found,) = words(table(comment="x" * 500), table())
    assert len(found) < 250
