# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access proof without a server: what an end means, what Redis' rules mean, and the text for people."""

from __future__ import annotations

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._access_facts import Facts, Inside, Policy, Relation, Role, Sample
from ansible_collections.nexanest.database.plugins.module_utils._access_model import (
    ALLOWED,
    DENIED,
    DONE,
    FAILED,
    LOST,
    NOTHING,
    REFUSED,
    Attempt,
    Reply,
    judge,
    summary,
)
from ansible_collections.nexanest.database.plugins.module_utils._access_plan_rights import rights
from ansible_collections.nexanest.database.plugins.module_utils._access_plan_rows import rows
from ansible_collections.nexanest.database.plugins.module_utils._access_redis_policy import allowed, covers, named, prefixes
from ansible_collections.nexanest.database.plugins.module_utils._access_structure import structure
from ansible_collections.nexanest.database.plugins.module_utils._access_table import failed, report
from ansible_collections.nexanest.database.plugins.module_utils._access_wanted import Wanted, wanted
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._redis_acl import parse

NO_ROLES = {"backup_role": None, "replication_role": None}


def attempt(expected: str) -> Attempt:
    return Attempt("rows", "shop_app", "shop", "a door", expected, "close it")


@pytest.mark.parametrize(
    ("expected", "reply", "ok"),
    [
        (REFUSED, Reply(DENIED, words="no"), True),
        (REFUSED, Reply(DONE), False),
        (ALLOWED, Reply(DONE), True),
        (ALLOWED, Reply(DENIED, words="no"), False),
        (NOTHING, Reply(DENIED, words="no"), True),
        (NOTHING, Reply(DONE, 0), True),
        (NOTHING, Reply(DONE, 1), False),
        *((expected, Reply(kind, words="odd"), False) for expected in (REFUSED, ALLOWED, NOTHING) for kind in (FAILED, LOST)),
    ],
)
def test_only_the_expected_end_is_a_pass(expected: str, reply: Reply, ok: bool) -> None:
    outcome = judge(attempt(expected), reply)
    assert (outcome.ok, outcome.tried) == (ok, reply.kind != LOST)
    assert ("remedy" in outcome.as_dict()) is not ok


def test_nothing_to_hide_is_a_pass_that_proves_nothing() -> None:
    outcomes = [judge(attempt(NOTHING), Reply(DONE), hides=hides) for hides in (True, False)]
    assert [(outcome.ok, outcome.proves) for outcome in outcomes] == [(True, True), (True, False)]
    assert summary(outcomes, 1.26) == {"attempts": 2, "failed": 0, "not_tried": 0, "nothing_to_hide": 1, "groups": {"rows": 2}, "seconds": 1.3}


CATEGORIES = {"read": {"get", "scan", "keys"}, "dangerous": {"keys", "config|get", "config|set"}, "connection": {"client|tracking", "client|id"}}


@pytest.mark.parametrize(
    ("rules", "command", "has"),
    [
        ("-@all +@read", "get", True),
        ("-@all +@read -scan", "scan", False),
        ("-@all +@read -@dangerous", "keys", False),
        ("-@all +@read -@dangerous +keys", "keys", True),
        ("+@all -config", "config|set", False),
        ("-@all +config|get", "config|get", True),
        ("-@all +config|get", "config|set", False),
        ("-@all +@connection -client|tracking", "client|tracking", False),
        ("-@all +@connection -client|tracking", "client|id", True),
        ("", "get", False),
    ],
)
def test_what_rules_give(rules: str, command: str, has: bool) -> None:
    assert allowed(rules.split(), command, CATEGORIES) is has


def test_a_command_by_its_category_is_no_intention() -> None:
    assert not named(["-@all", "+@dangerous"], "config|set")
    assert named(["-@all", "+config"], "config|set")
    assert not named(["+config", "-config|set"], "config|set")


def test_keys_of_patterns() -> None:
    user = parse(["user a on ~a:* ~b ~c?:* %R~d:* ~e\\*:*"])["a"]
    assert prefixes(user) == ["a:"]
    names = {"a:1": True, "b": True, "bb": False, "cx:1": True, "c:1": False, "d:1": True, "e*:1": True, "ex:1": False}
    assert {name: covers(user.keys, name) for name in names} == names
    assert covers({"~[a-c]x"}, "bx")
    assert not covers({"~[^a-c]x"}, "bx")


def test_a_missing_password_is_refused_by_the_roles_name() -> None:
    params = {
        "databases": [{"name": "shop", "service": None}],
        "passwords": {"shop_app": "secret"},
        "user_token_keys": {},
        "backup_role": None,
        "replication_role": None,
    }
    with pytest.raises(InputError, match="passwords lacks shop_readonly, shop_migrator") as refused:
        wanted({**params, "user_column": "user_id"})
    assert "secret" not in str(refused.value)


def product(**changes: object) -> tuple[Wanted, Facts]:
    """One service with one guarded table."""
    passwords = {f"shop_{kind}": "x" for kind in ("app", "readonly", "migrator")}
    params = {
        "databases": [{"name": "shop", "service": None}],
        "passwords": passwords,
        "user_token_keys": {"shop": "k"},
        "backup_role": None,
        "replication_role": None,
    }
    policy = Policy("own_rows", "*", permissive=True, roles=frozenset({"PUBLIC"}), own_rows=True)
    sound = {"row_security": True, "forced": True, "policies": (policy,), "readers": frozenset({"shop_app"}), "writable": True}
    table = Relation("shop", "orders", "r", "shop_owner", "uuid", **{**sound, **changes})  # type: ignore[arg-type]
    kinds = ("owner", "migrator", "app", "readonly")
    memberships = {"shop_migrator": ("shop_owner",)}
    roles = {name: Role(name, login=True, powers=(), member_of=memberships.get(name, ())) for name in (f"shop_{kind}" for kind in kinds)}
    facts = Facts("admin", roles, {"shop": frozenset()}, {}, frozenset(), {"shop": Inside((table,), samples={table.key: Sample("1", "2")})})
    return wanted({**params, "user_column": "user_id"}), facts


def test_a_sound_catalog_holds() -> None:
    assert [outcome.seen for outcome in structure(*product()) if not outcome.ok] == []


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({"row_security": False}, "row security is off"),
        ({"forced": False}, "it is not FORCEd: the owner sees every row"),
        ({"policies": ()}, "it has no policy"),
        (
            {"policies": (Policy("all", "*", permissive=True, roles=frozenset({"shop_app"}), own_rows=False),)},
            "the policy all lets pass more than the rows of the user who is set",
        ),
        ({"partition": True, "forced": False}, "it is not FORCEd: the owner sees every row and shop_app may read it"),
    ],
)
def test_a_catalog_that_lacks_something_says_what(changes: dict[str, object], lacking: str) -> None:
    assert [outcome.seen for outcome in structure(*product(**changes)) if not outcome.ok] == [lacking]


def test_a_partition_that_nobody_may_ask_needs_no_policy() -> None:
    changes = {"partition": True, "row_security": False, "forced": False, "policies": (), "readers": frozenset()}
    assert [outcome.seen for outcome in structure(*product(**changes)) if not outcome.ok] == []


def test_the_plan_names_every_statement_with_its_values_and_no_secret() -> None:
    want, facts = product()
    probes = [*rights(want, facts), *rows(want, facts.inside["shop"], want.databases[0])]
    texts = [step.text() for probe in probes for step in probe.steps if probe.victim is None]
    assert 'SELECT count(*) FROM (SELECT FROM "shop"."orders" LIMIT 1) probe' in texts
    assert {probe.role for probe in probes} == {"shop_app", "shop_readonly", "shop_migrator"}
    assert len({(probe.role, probe.attempt.what) for probe in probes}) == len(probes)


def test_the_text_tells_failures_first_and_counts_all() -> None:
    bad = judge(attempt(NOTHING), Reply(DONE, 1)).as_dict()
    good = judge(attempt(NOTHING), Reply(DONE), hides=False).as_dict()
    servers = [{"server": "postgres", "attempts": [good, *[bad] * 12], "summary": {"seconds": 2.0}}]
    lines = report(servers, "/somewhere.json").splitlines()
    assert failed(servers) == 12
    assert lines[:3] == ["WRONG  postgres, database shop, shop_app: a door", "       should be: nothing; was: rows", "       -> close it"]
    assert "WRONG  postgres: 2 more of the kind rows" in lines
    assert lines[-2:] == ["13 attempts in 2 s: 12 ended otherwise than they should", "every attempt: /somewhere.json"]
    assert [line.split() for line in lines if line.startswith("postgres")] == [["postgres", "rows", "13", "1", "12", "-", "1"]]


OWN = "(user_id = ( SELECT session.user_id() AS user_id))"


@pytest.mark.parametrize(
    ("condition", "sound"),
    [
        (OWN, True),
        ("(user_id = session.user_id())", True),
        (f"({OWN} AND (NOT hidden))", True),
        (f"({OWN} OR shared)", False),
        (f"(({OWN} AND hidden) OR true)", False),
        ("(user_id IS NOT NULL)", False),
        ("(user_id = (current_setting('app.user'::text))::uuid)", False),
        ("(NOT (user_id IS DISTINCT FROM ( SELECT session.user_id() AS user_id)))", False),
    ],
)
def test_what_a_policy_may_say_where_users_are_set_by_tokens(condition: str, sound: bool) -> None:
    policy = Policy("mine", "*", permissive=True, roles=frozenset({"PUBLIC"}), own_rows=True, conditions=(OWN, condition))
    lacking = [outcome for outcome in structure(*product(policies=(policy,))) if "the policy mine" in outcome.seen]
    assert bool(lacking) is not sound
