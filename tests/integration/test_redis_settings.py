# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""redis_settings on real servers: what it changes, what it leaves, and what it says."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from modules import run_module
from redis_servers import RedisServer, redis_server

from ansible_collections.nexanest.database.plugins.module_utils._redis_acl import parse
from ansible_collections.nexanest.database.plugins.module_utils._redis_values import RESTART_SETTINGS

WANTED = {"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru", "save": "300 100 3600 1", "notify-keyspace-events": "EKA", "lazyfree-lazy-eviction": True}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis") / "conf", users=("auth", "portfolio")) as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    """The shared server with WANTED and its own users, whatever the test before did."""
    shared.write()
    result = run_module("redis_settings", shared.arguments(settings=WANTED))
    assert not result["failed"], result
    return shared


def test_the_second_run_changes_nothing(server: RedisServer) -> None:
    for check in (False, True):
        result = run_module("redis_settings", server.arguments(settings=WANTED), check=check)
        assert (result["changed"], result["diff"], result["restart_required"]) == (False, {"before": "", "after": ""}, [])


def test_check_mode_predicts_what_the_run_does_and_does_nothing(server: RedisServer) -> None:
    server.client("boss").execute_command("ACL SETUSER", "intruder", "on", "nopass", "+@all", "~*")
    server.client("boss").config_set("maxmemory-policy", "noeviction")
    arguments = server.arguments(settings={**WANTED, "maxmemory": "65mb"})
    predicted = run_module("redis_settings", arguments, check=True)
    assert server.client("intruder", "x").ping()
    done = run_module("redis_settings", arguments)
    assert predicted == done
    assert done["settings_set"] == ["maxmemory", "maxmemory-policy"]
    assert [(item["kind"], item["name"], item["action"]) for item in done["objects"]] == [
        ("redis setting", "maxmemory", "update"),
        ("redis setting", "maxmemory-policy", "update"),
        ("redis user", "intruder", "delete"),
    ]
    assert server.client("boss").config_get("maxmemory") == {"maxmemory": str(65 * 2**20)}
    with pytest.raises(redis.RedisError, match="invalid username-password"):
        server.client("intruder", "x").ping()


def test_a_changed_password_is_taken_without_a_restart(server: RedisServer) -> None:
    old = server.passwords["auth"]
    with server.client("auth").client() as connected:
        connected.set("auth:1", "kept")
        server.passwords["auth"] = "a new one"
        server.write()
        result = run_module("redis_settings", server.arguments(settings=WANTED))
        assert (result["changed"], result["acl_loaded"], result["restart_required"]) == (True, True, [])
        # As in PostgreSQL: who is logged in stays; who comes needs the new password.
        assert connected.get("auth:1") == "kept"
    with pytest.raises(redis.RedisError, match="invalid username-password"):
        server.client("auth", old).ping()
    assert server.client("auth").get("auth:1") == "kept"
    assert not run_module("redis_settings", server.arguments(settings=WANTED))["changed"]


def test_rights_that_are_taken_away_end_in_open_connections_too(server: RedisServer) -> None:
    boss = server.client("boss")
    boss.execute_command("ACL SETUSER", "auth", "allkeys")
    boss.execute_command("ACL SETUSER", "intruder", "on", "nopass", "+@all", "~*")
    with server.client("auth").client() as auth, server.client("intruder", "x").client() as intruder:
        assert auth.get("portfolio:1") is None
        assert intruder.ping()
        assert run_module("redis_settings", server.arguments(settings=WANTED))["acl_loaded"]
        with pytest.raises(redis.exceptions.NoPermissionError):
            auth.get("portfolio:1")
        with pytest.raises(redis.RedisError):
            intruder.ping()


def test_no_password_and_no_hash_stands_in_the_result(server: RedisServer) -> None:
    server.passwords["auth"] = "another new one"
    server.write()
    result = run_module("redis_settings", server.arguments(settings={**WANTED, "masterauth": "hunter2"}))
    assert result["changed"]
    said = str({name: value for name, value in result.items() if name != "invocation"})
    hashes = {digest for user in parse(server.acl).values() for digest in user.hashes}
    assert not [secret for secret in (*server.passwords.values(), *hashes, "hunter2") if secret in said]
    server.client("boss").config_set("masterauth", "")


def test_when_every_password_is_forgotten_a_restart_is_asked_for_and_keeps_the_data(server: RedisServer) -> None:
    server.client("auth").set("auth:2", "kept")
    server.passwords.update({name: secrets.token_urlsafe(12) for name in server.passwords})
    server.write()
    for check in (True, False):
        result = run_module("redis_settings", server.arguments(settings=WANTED), check=check)
        assert (result["failed"], result["changed"], result["restart_required"]) == (False, True, ["acl"])
    server.restart()
    assert server.client("auth").get("auth:2") == "kept"
    assert run_module("redis_settings", server.arguments(settings={}))["restart_required"] == []


def test_an_unknown_setting_is_refused_before_anything_is_changed(server: RedisServer) -> None:
    for check in (True, False):
        result = run_module("redis_settings", server.arguments(settings={"maxmemory": "99mb", "maxmemory-polcy": "noeviction"}), check=check)
        assert result["failed"]
        assert result["msg"] == "this Redis has no setting maxmemory-polcy: did you mean maxmemory-policy?"
    assert server.client("boss").config_get("maxmemory") == {"maxmemory": str(64 * 2**20)}


def test_a_bad_value_fails_with_the_words_of_redis_and_sets_nothing(server: RedisServer) -> None:
    result = run_module("redis_settings", server.arguments(settings={"maxmemory": "99mb", "maxmemory-policy": "none"}))
    assert result["failed"]
    assert "argument(s) must be one of the following: volatile-lru" in result["msg"]
    assert server.client("boss").config_get("maxmemory") == {"maxmemory": str(64 * 2**20)}


def test_a_setting_that_needs_a_restart_is_named_and_the_others_are_set(server: RedisServer) -> None:
    result = run_module("redis_settings", server.arguments(settings={"maxmemory": "66mb", "databases": 32}))
    assert (result["changed"], result["restart_required"], result["settings_set"]) == (True, ["databases"], ["maxmemory"])


def test_fewer_databases_than_hold_keys_are_refused(server: RedisServer) -> None:
    with server.client("boss").client() as client:
        client.select(9)
        client.set("x", 1)
    result = run_module("redis_settings", server.arguments(settings={"databases": 8}))
    assert result["failed"]
    assert "the logical database 9 holds keys" in result["msg"]


def test_the_list_of_settings_that_need_a_restart_is_that_of_the_server(server: RedisServer) -> None:
    client = server.client("boss")
    refused = set()
    for name, value in client.config_get("*").items():
        try:
            client.execute_command("CONFIG SET", name, value)
        except redis.ResponseError:
            refused.add(name)
    assert refused <= RESTART_SETTINGS


@pytest.mark.parametrize(
    "rules",
    [
        "on >one >two ~a:* ~b:* &a:* +@all -@dangerous +info -config|set",
        "on nopass %R~r:* %W~w:* %RW~rw:* allchannels nocommands +get +SET +@read -get",
        "off >x resetpass +config|get +config|set +config -config|get",
        "on >x ~* &* +@all -@all +@string +@all -keys",
        "on >x allkeys skip-sanitize-payload +@read +@write +@connection -@admin -@dangerous -scan -pubsub -script|flush -script|kill +@read",
        "on >x +memory|usage -memory +memory|usage +@connection -client|kill",
    ],
)
def test_a_user_reads_back_as_the_same_user(server: RedisServer, rules: str) -> None:
    boss = server.client("boss")
    boss.execute_command("ACL SETUSER", "odd", *rules.split())
    listed = next(line for line in boss.acl_list() if line.startswith("user odd "))
    boss.execute_command("ACL DELUSER", "odd")
    assert parse([listed]) == parse([f"user odd {rules}"])


def test_an_acl_file_that_redis_refuses_leaves_the_old_users(server: RedisServer) -> None:
    arguments = server.arguments(settings=WANTED)
    arguments["acl"] = [*server.acl, "user broken on +@nosuch"]
    (server.folder / "users.acl").write_text("\n".join(arguments["acl"]) + "\n")
    result = run_module("redis_settings", arguments)
    assert result["failed"]
    assert "Unknown command or category name in ACL" in result["msg"]
    assert server.client("auth").ping()


def test_another_file_than_the_asked_one_is_said(server: RedisServer) -> None:
    arguments = server.arguments(settings=WANTED)
    arguments["acl"] = [*server.acl, "user more on"]
    result = run_module("redis_settings", arguments)
    assert result["failed"]
    assert "its users are not the asked ones" in result["msg"]


def test_services_are_kept_to_their_keys_and_channels(server: RedisServer) -> None:
    auth = server.client("auth")
    assert auth.set("auth:1", "x")
    for forbidden in (
        lambda: auth.get("portfolio:1"),
        lambda: auth.publish("portfolio:events", "x"),
        lambda: auth.config_get("*"),
        auth.flushall,
        lambda: auth.keys("*"),
        auth.scan,
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            forbidden()
    with pytest.raises(redis.RedisError, match="invalid username-password"):
        server.client("auth", "wrong").ping()
    with pytest.raises(redis.RedisError, match=r"must be called with the client already authenticated|Authentication required"):
        server.client(None).ping()


def test_a_keyspace_event_is_received(server: RedisServer) -> None:
    with server.client("auth").pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.psubscribe("__keyspace@0__:auth:*")
        subscriber.get_message(timeout=5)
        server.client("auth").set("auth:event", "x")
        message = subscriber.get_message(timeout=5)
    assert (message["channel"], message["data"]) == ("__keyspace@0__:auth:event", "set")


def test_without_a_server_check_mode_plans_all_and_a_run_says_where(tmp_path: Path) -> None:
    arguments = {
        "login_port": 23999,
        "login_user": "converge",
        "login_password": "not needed",
        "settings": {"maxmemory": "1gb"},
        "acl": ["user a on nopass"],
        "connect_timeout": 1,
    }
    planned = run_module("redis_settings", {**arguments, "assume_empty": True}, check=True)
    assert [(item["kind"], item["name"], item["action"]) for item in planned["objects"]] == [
        ("redis setting", "maxmemory", "create"),
        ("redis user", "a", "create"),
    ]
    failed = run_module("redis_settings", arguments)
    assert failed["failed"]
    assert failed["msg"].startswith("could not reach Redis at 127.0.0.1:23999: ")
