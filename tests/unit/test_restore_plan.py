# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a set is restored, and why it cannot be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _restore_compare as compare
from ansible_collections.nexanest.database.plugins.module_utils import _restore_plan as plans
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Database, Encryption, Grant, LargeObjects, Manifest, Server, Table

LIVE = plans.Present(oid=1, connections=True, template=False, broken=False, prepared=0, slots=0)


def database(name: str, **changed: Any) -> Database:
    plain = Database(
        name, f"s/{name}", f"s/{name}.catalog.json", "owner", "UTF8", "builtin", "C.UTF-8", "C.UTF-8", "C.UTF-8", -1, None, None, 1000, [], {"plpgsql": "1.0"}
    )
    return dataclasses.replace(plain, **changed)


def server(*databases: Database, **changed: Any) -> Server:
    return dataclasses.replace(Server("postgresql", "17.1", 170001, "1", "0/0", None, "s/globals.sql", "s/server.json", list(databases), []), **changed)


def manifest(**servers: Server) -> Manifest:
    found = Manifest("20250531_123456", 1, "shop", "0.1.0", "host", "", "", Encryption("none", []), servers)
    return dataclasses.replace(found, redis={"main": object()})  # type: ignore[dict-item]


def found(**changed: Any) -> plans.Found:
    plain = plans.Found(
        170002,
        None,
        library=False,
        databases={},
        extensions={"plpgsql": ["1.0"], "citext": ["1.6", "1.5"], "timescaledb": ["2.19.3"]},
        roles=frozenset(),
        free=10**12,
    )
    return dataclasses.replace(plain, **changed)


def choose(of: Manifest, *asked: str, copy: str = "") -> tuple[plans.Choice, list[str]]:
    return plans.choose(of, asked, copy, servers=list(of.servers), redis=["main"])


def test_a_whole_set_is_everything_with_numbers_of_each_server() -> None:
    choice, problems = choose(manifest(a=server(database("x"), database("y")), b=server(database("z"))))
    assert (problems, choice.whole, choice.redis) == ([], True, ["main"])
    assert [(item.server, item.number, item.target) for item in choice.all] == [("a", 1, "x"), ("a", 2, "y"), ("b", 1, "z")]


def test_tablespaces_must_be_there() -> None:
    one = server(database("x", tablespace="fast", tablespaces=["cold", "fast"]))
    (items,) = choose(manifest(a=one))[0].items.values()
    assert [text.partition(",")[0] for text in plans.problems(one, items, found())] == ["a/x needs the tablespace cold", "a/x needs the tablespace fast"]
    assert plans.problems(one, items, found(tablespaces=frozenset({"cold", "fast"}))) == []


def test_large_objects_are_compared_where_the_set_counts_them() -> None:
    assert compare.large_objects(None, LargeObjects(1, 2)) == []
    assert compare.large_objects(LargeObjects(1, 2), LargeObjects(1, 2)) == []
    assert compare.large_objects(LargeObjects(2, 2), LargeObjects(1, 2)) == ["it has 1 large objects of 2 bytes, it had 2 of 2"]


def test_a_name_that_two_servers_have_needs_the_server() -> None:
    both = manifest(a=server(database("x")), b=server(database("x")))
    assert choose(both, "x")[1] == ["x is on a and b: write server/name"]
    choice, problems = choose(both, "b/x")
    assert (problems, choice.redis, [item.label for item in choice.all]) == ([], [], ["b/x"])


def test_a_redis_instance_can_be_chosen_alone() -> None:
    choice, problems = choose(manifest(a=server(database("x"))), "redis/main")
    assert (problems, choice.all, choice.redis) == ([], [], ["main"])


def test_what_is_chosen_needs_its_server_in_the_options() -> None:
    _choice, problems = plans.choose(manifest(a=server(database("x"))), [], "", servers=[], redis=[])
    assert len(problems) == 2


@pytest.mark.parametrize("name", ["postgres", "template1", "_restore_x", "ä" * 32])
def test_a_copy_needs_a_name_of_its_own(name: str) -> None:
    assert choose(manifest(a=server(database("x"))), "x", copy=name)[1]


def test_a_copy_keeps_clear_of_databases_that_are_there() -> None:
    one = server(database("x"))
    choice, _problems = choose(manifest(a=one), "x", copy="y")
    assert plans.problems(one, choice.items["a"], found(databases={"x": LIVE})) == []
    assert "has a database of that name" in plans.problems(one, choice.items["a"], found(databases={"y": LIVE}))[0]


def renamed(of: Manifest, names: dict[str, str], *asked: str, copy: str = "") -> tuple[list[str], list[str]]:
    choice, problems = plans.choose(of, asked, copy, servers=list(of.servers), redis=["main"], renamed=names)
    return [item.label for item in choice.all], problems + plans.renamed_problems(of, choice, names, copy)


def test_databases_get_the_names_that_they_are_mapped_to() -> None:
    both = manifest(a=server(database("x"), database("y")), b=server(database("x")))
    assert renamed(both, {"a/x": "p_x", "y": "x"}) == (["a/p_x", "a/x", "b/x"], [])
    assert renamed(both, {"a/x": "y", "y": "x"}) == (["a/y", "a/x", "b/x"], [])
    assert renamed(both, {"a/x": "p_x", "y": "p_y"}, "y") == (["a/p_y"], [])


@pytest.mark.parametrize(
    ("names", "copy", "words"),
    [
        ({"x": "p_x"}, "", ["database_map names x, which is on a and b: write server/name"]),
        ({"a/x": "y"}, "", ["x and y of the set would both be a/y"]),
        ({"a/x": "p", "y": "p"}, "", ["x and y of the set would both be a/p"]),
        ({"z": "p"}, "", ["database_map names z, and the set has no database of that name"]),
        ({"y": "ä" * 32}, "", ["is 64 bytes long and would be cut"]),
        ({"y": "postgres"}, "", ["which is the server's own"]),
        ({"y": "_restore_1"}, "", ["which is the server's own"]),
        ({"y": ""}, "", ["which is no name"]),
        ({"y": "p"}, "copy", ["say one of them"]),
    ],
)
def test_what_a_mapping_of_databases_must_be(names: dict[str, str], copy: str, words: list[str]) -> None:
    both = manifest(a=server(database("x"), database("y")), b=server(database("x")))
    _labels, problems = renamed(both, names, *(["y"] if copy else []), copy=copy)
    assert len(problems) == len(words), problems
    for word, text in zip(words, problems, strict=True):
        assert word in text


def test_a_mapped_database_takes_the_place_of_the_one_that_is_there() -> None:
    one = server(database("x"))
    choice, _problems = plans.choose(manifest(a=one), [], "", servers=["a"], redis=["main"], renamed={"x": "y"})
    assert plans.problems(one, choice.items["a"], found(databases={"y": LIVE})) == []
    assert "2 prepared" in plans.problems(one, choice.items["a"], found(databases={"y": dataclasses.replace(LIVE, prepared=2)}))[0]


@pytest.mark.parametrize(
    ("of_set", "of_server", "words"),
    [
        ({}, {}, ""),
        ({"version_num": 180000, "version": "18.0"}, {}, "has PostgreSQL 17"),
        ({"version_num": 160000, "version": "16.0"}, {}, ""),
        ({"databases": [database("x", extensions={"citext": "1.4"})]}, {}, ""),
        ({"databases": [database("x", extensions={"citext": "1.7"})]}, {}, "older 1.6"),
        ({"databases": [database("x", extensions={"vector": "1"})]}, {}, "needs the extension vector"),
        ({"databases": [database("x", extensions={"timescaledb": "2.18.0"})]}, {}, "to the same version alone"),
        ({"databases": [database("x", extensions={"timescaledb": "2.19.3"})], "timescaledb_license": "timescale"}, {"license": "apache"}, "Apache edition"),
        ({"databases": [database("x", extensions={"timescaledb": "2.19.3"})], "timescaledb_license": "timescale"}, {"license": "timescale"}, "Apache edition"),
        (
            {"databases": [database("x", extensions={"timescaledb": "2.19.3"})], "timescaledb_license": "timescale"},
            {"license": "timescale", "library": True},
            "",
        ),
        ({"databases": [database("x", extensions={"timescaledb": "2.19.3"})], "timescaledb_license": "apache"}, {"license": "timescale", "library": True}, ""),
        ({}, {"free": 1000}, "MB free"),
        ({}, {"databases": {"x": dataclasses.replace(LIVE, prepared=2)}}, "2 prepared transactions"),
        ({}, {"databases": {"x": dataclasses.replace(LIVE, slots=1)}}, "replication slots"),
        ({}, {"databases": {"x": dataclasses.replace(LIVE, broken=True)}}, "is broken"),
    ],
)
def test_what_a_server_must_have(of_set: dict[str, Any], of_server: dict[str, Any], words: str) -> None:
    one = server(**{"databases": [database("x")], **of_set})
    choice, _problems = choose(manifest(a=one))
    texts = plans.problems(one, choice.items["a"], found(**of_server))
    assert (words in texts[0]) if words else texts == []


def test_roles_that_a_part_needs_are_those_that_are_named_and_what_they_are_members_of() -> None:
    description = {
        "roles": [{"name": name} for name in ("owner", "app", "group", "above", "stranger")],
        "memberships": [{"role": "group", "member": "app"}, {"role": "above", "member": "group"}, {"role": "stranger", "member": "other"}],
    }
    catalog = [["table", "t", {"owner": "owner", "access": {"app": "SELECT"}}], ["policy", "p", {"roles": "app, PUBLIC"}]]
    assert plans.missing_roles(description, ["owner"], plans.mentioned(catalog)) == ["above", "app", "group"]
    assert plans.missing_roles(description, ["owner"], None) == ["above", "app", "group", "stranger"]


def test_settings_of_a_database_are_without_what_a_restore_sets_itself() -> None:
    description = {
        "settings": [
            {"database": "x", "role": "", "settings": ["timescaledb.restoring=on"]},
            {"database": "x", "role": "app", "settings": ["work_mem=8MB"]},
            {"database": "", "role": "app", "settings": ["work_mem=9MB"]},
        ]
    }
    assert plans.settings_of(description, "x") == [("app", ["work_mem=8MB"])]


def test_rows_and_tables_are_compared() -> None:
    wanted, is_now = [Table("a", "t", 5), Table("a", "u", 1)], [Table("a", "t", 4), Table("a", "v", 0)]
    assert compare.rows(wanted, wanted) == []
    assert compare.rows(wanted, is_now) == ["a.t has 4 rows, it had 5", "a.u has no table, it had 1", "a.v has 0 rows, it had no table"]


def test_rights_are_compared_without_who_granted_them() -> None:
    grants = [Grant("", "owner", "CONNECT", grantable=False), Grant("app", "boss", "CONNECT", grantable=True)]
    same = [Grant("app", "owner", "CONNECT", grantable=True), Grant("", "owner", "CONNECT", grantable=False)]
    assert compare.facts(database("x", acl=grants), database("x", acl=same), ([], [])) == []
    texts = compare.facts(database("x", acl=grants[1:]), database("x", acl=None), ([], []))
    assert texts == ["its rights are the default ones, they were CONNECT with grant option to app"]


def test_a_text_that_went_through_a_dump_is_the_same_one() -> None:
    key = ("constraint", "t.c")
    before = {key: {"definition": "CHECK (((kind)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))"}}
    after = {key: {"definition": "CHECK (((kind)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))"}}
    other = {key: {"definition": "CHECK (((kind)::text = ANY (ARRAY[('a'::character varying)::text, ('c'::character varying)::text])))"}}
    assert compare.catalogs(before, after, same_version=True) == []
    assert len(compare.catalogs(before, other, same_version=True)) == 1
    assert compare.catalogs(before, other, same_version=False) == []
    assert compare.catalogs(before, {}, same_version=False) == ["constraint t.c is missing"]


def test_row_security_that_is_off_is_a_difference() -> None:
    before = {("table", "t"): {"row security": "on, also for the owner"}}
    after = {("table", "t"): {"row security": "off"}}
    assert "row security is `off`, it was `on, also for the owner`" in compare.catalogs(before, after, same_version=True)[0]


def test_a_long_list_of_differences_is_cut() -> None:
    assert compare.shortened([str(n) for n in range(12)]) == "0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 2 more"
