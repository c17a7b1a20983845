# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access proof of Redis: green with the role's own policy, red when any single protection is missing, and without a trace."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from modules import run_module
from redis_servers import APPEND_ONLY, RedisServer, redis_server
from sampling import one_in

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("auth", "portfolio", "mail")
EXTRA = {"auth": "session:"}


def policy() -> str:
    """The rules that the role gives every user."""
    defaults = yaml.safe_load((ROOT / "roles/redis/defaults/main.yml").read_text(encoding="utf-8"))
    return " ".join([*defaults["redis_user_commands"], *defaults["redis_denied_commands"]])


def line(server: RedisServer, name: str, rules: str = "") -> str:
    prefixes = [f"{name}:", *([EXTRA[name]] if name in EXTRA else [])]
    keys = " ".join(f"~{prefix}*" for prefix in prefixes)
    channels = " ".join(["&" + name + ":*", *(f"&__keyspace@0__:{prefix}*" for prefix in prefixes)])
    digest = hashlib.sha256(server.passwords[name].encode()).hexdigest()
    return f"user {name} on #{digest} {keys} resetchannels {channels} -@all {policy()} {rules}".strip()


def declared(server: RedisServer) -> list[str]:
    return [*server.acl[:5], *(line(server, name) for name in SERVICES)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    # Without protected mode, which would shut everybody out as soon as `default` needs no password.
    with redis_server(tmp_path_factory.mktemp("redis") / "conf", configuration=f"{APPEND_ONLY}protected-mode no\n", users=SERVICES) as started:
        restore(started)
        boss = started.client("boss")
        boss.set("auth:token", "theirs", ex=3600)
        boss.set("portfolio:1", "theirs")
        yield started


def restore(server: RedisServer) -> None:
    boss = server.client("boss")
    for user in boss.acl_users():
        if user not in ("boss", "default", "health", "converge", "backup", *SERVICES):
            boss.acl_deluser(user)
    for text in declared(server):
        _user, name, *rules = text.split(" ")
        if name != "boss":
            boss.execute_command("ACL", "SETUSER", name, "reset", *rules)


def report(server: RedisServer, **changes: Any) -> dict[str, Any]:
    passwords = {name: server.passwords[name] for name in ("backup", *SERVICES)}
    arguments = {"login_port": server.port, "login_user": "boss", "login_password": server.passwords["boss"], "acl": declared(server), "passwords": passwords}
    found = run_module("redis_access_info", {**arguments, **changes})
    assert not found["failed"], found
    return found


def failures(found: dict[str, Any]) -> list[str]:
    return [f"{row['role']} {row['what']}: {row['seen']}" for row in found["attempts"] if not row["ok"]]


def contents(server: RedisServer) -> list[Any]:
    boss = server.client("boss")
    return [sorted((key, boss.get(key)) for key in boss.keys("*")), boss.info("keyspace").keys(), boss.acl_list(), boss.config_get("*")]


def test_the_roles_own_policy_passes_and_nothing_is_left_behind(server: RedisServer) -> None:
    before = contents(server)
    found = report(server)
    assert failures(found) == []
    assert contents(server) == before
    assert found["summary"]["attempts"] > 500
    assert not found["changed"]
    told = json.dumps(found, ensure_ascii=False)
    assert [secret for secret in (*server.passwords.values(), "theirs") if secret in told] == []


MUTATIONS = {
    "all keys": ("auth ~*", r"auth GET <other>, a key of portfolio:: allowed"),
    "a prefix too many": ("mail ~session:*", r"mail EVAL .*ARGV.* 0 <other>, a key of session:: allowed"),
    "reading another's": ("mail %R~portfolio:*", r"mail COPY <other> <own> REPLACE, a key of portfolio:: allowed"),
    "all channels": ("mail &*", r"mail SUBSCRIBE <other>, a channel of auth:: allowed"),
    "the events of all keys": ("auth &__keyevent@0__:*", r"auth SUBSCRIBE __keyevent@0__:expired: allowed"),
    "default on": ("default on nopass", r"nobody PING without a login|default .*: it is on"),
    "default on with all": ("default on nopass ~* +@all", r"nobody GET probe without a login: allowed"),
    "a user without a password": ("auth nopass", r"auth log in with a wrong password: allowed"),
    "another password": ("auth resetpass >another", r"auth log in: refused"),
    "CONFIG": ("auth +config", r"auth CONFIG GET maxmemory: allowed"),
    "FLUSHALL": ("auth +flushall", r"auth may FLUSHALL: allowed"),
    "SHUTDOWN": ("auth +shutdown", r"auth may SHUTDOWN NOSAVE: allowed"),
    "the dangerous": ("portfolio +@dangerous", r"portfolio may KEYS \*: allowed"),
    "SCAN": ("portfolio +scan", r"portfolio SCAN 0: allowed"),
    "names through tracking": ("portfolio +client|tracking", r"portfolio CLIENT TRACKING ON BCAST: allowed"),
    "a debugger of scripts": ("portfolio +script|debug", r"portfolio may SCRIPT DEBUG SYNC: allowed"),
    "health may read": ("health +get ~*", r"health GET probe as health, who has no password: allowed"),
    "a backup user that asks": ("backup +info", r"backup INFO: allowed"),
    "a backup user that reads": ("backup +get ~*", r"backup GET <other>, a key of auth:: allowed"),
    "a backup user that writes": ("backup +@write ~*", r"backup DEL <other>, a key of auth:: allowed"),
    "a backup user that saves nothing": ("backup -sync", r"backup may SYNC: refused"),
    "an unknown user": ("stranger on nopass ~* +@all", r"all the users are the declared ones: stranger is there"),
    "a right less": ("mail -get", r"mail write and read below mail:: refused"),
}


@pytest.mark.parametrize("name", one_in(2, MUTATIONS))
def test_a_missing_protection_is_named(server: RedisServer, name: str) -> None:
    change, named = MUTATIONS[name]
    boss = server.client("boss")
    boss.execute_command("ACL", "SETUSER", *change.split(" "))
    try:
        seen = failures(report(server))
    finally:
        restore(server)
    assert [text for text in seen if re.search(named, text)], seen
    assert boss.get("portfolio:1") == "theirs"


def test_with_every_protection_back_it_passes(server: RedisServer) -> None:
    assert failures(report(server)) == []


def test_a_policy_that_is_too_wide_is_named_before_anybody_breaks_it(server: RedisServer) -> None:
    """What is declared by a category is no intention; what is declared by name is one."""
    boss = server.client("boss")
    for rules, wrong in (("+@admin", True), ("+slowlog|get", False)):
        boss.execute_command("ACL", "SETUSER", "mail", *rules.split(" "))
        try:
            acl = [*declared(server)[:-1], line(server, "mail", rules)]
            seen = failures(report(server, acl=acl))
        finally:
            restore(server)
        assert any("mail may SLOWLOG GET" in text for text in seen) is wrong
        assert bool(seen) is wrong


def test_a_server_that_does_not_answer_and_a_wrong_password_are_errors(server: RedisServer) -> None:
    passwords = {name: server.passwords[name] for name in SERVICES}
    arguments = {"login_port": server.port, "login_user": "boss", "acl": declared(server), "passwords": passwords}
    assert "WRONGPASS" in run_module("redis_access_info", {**arguments, "login_password": "wrong"})["msg"]
    assert "does not answer" in run_module("redis_access_info", {**arguments, "login_password": "x", "login_port": 1})["msg"]
    stray = run_module("redis_access_info", {**arguments, "login_password": server.passwords["boss"], "passwords": {"nobody": "x"}})
    assert "passwords names nobody" in stray["msg"]
