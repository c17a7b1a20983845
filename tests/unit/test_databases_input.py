# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module refuses before it touches a server, and what it makes of short input."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_input import desired
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import Desired, DesiredExtension


def parsed(*databases: Any, **params: Any) -> Desired:
    names = [item.get("service") or item["name"] for item in databases if isinstance(item, dict) and "name" in item]
    passwords = {f"{name}_{kind}": "secret" for name in names for kind in ("app", "migrator", "readonly")}
    return desired({"login_user": "admin", "databases": list(databases), "passwords": passwords, **params})


def test_a_name_is_enough() -> None:
    found = parsed({"name": "auth"})
    database = found.databases[0]
    assert (database.service, database.schemas, database.settings) == ("auth", ("auth",), {"search_path": ("auth", "public")})
    assert [(role.name, role.login, role.password) for role in found.roles.values()] == [
        ("auth_owner", False, None),
        ("auth_migrator", True, "secret"),
        ("auth_app", True, "secret"),
        ("auth_readonly", True, "secret"),
    ]
    assert database.role_settings["app"]["statement_timeout"] == "30s"
    assert database.role_settings["migrator"]["role"] == "auth_owner"


def test_null_is_the_same_as_not_given() -> None:
    keys = ("service", "comment", "encoding", "locale", "locale_provider", "conn_limit", "settings", "extensions", "schemas", "roles")
    assert parsed({"name": "auth", **dict.fromkeys(keys)}) == parsed({"name": "auth"})


def test_null_removes_a_guard_rail_and_values_become_text() -> None:
    found = parsed({"name": "a", "roles": {"app": {"settings": {"Statement_Timeout": None, "work_mem": 64, "jit": False}}}, "conn_limit": "5"})
    assert found.databases[0].role_settings["app"] == {
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
        "work_mem": "64",
        "jit": "off",
    }
    assert found.databases[0].conn_limit == 5


def test_extensions_are_names_or_mappings() -> None:
    found = parsed({"name": "a", "extensions": ["x", {"name": "y", "schema": "a", "version": 1.6}]})
    assert found.databases[0].extensions == (DesiredExtension("x"), DesiredExtension("y", "a", "1.6"))


def test_passwords_are_in_no_representation() -> None:
    assert "secret" not in repr(parsed({"name": "auth"}, backup_role={"name": "b", "password": "secret"}))


@pytest.mark.parametrize(
    ("database", "words"),
    [
        ({"name": "a", "extension": []}, "did you mean 'extensions'?"),
        ({"name": "a", "roles": {"ap": {}}}, "did you mean 'app'?"),
        ({"name": "a", "roles": {"app": {"setings": {}}}}, "did you mean 'settings'?"),
        ({"name": "a", "roles": {"owner": {"settings": {}}}}, "known are login"),
        ({"name": "a", "state": "abscent"}, "did you mean 'absent'?"),
        ({"name": "a", "locale_provider": "lib"}, "did you mean 'libc'?"),
        ({"names": "a"}, "did you mean 'name'?"),
        ({"name": ""}, "must be a name"),
        ({"name": 5}, "must be a name"),
        ({"name": "a\0b"}, "NUL"),
        ({"name": "postgres"}, "belongs to the server itself"),
        ({"name": "template1"}, "belongs to the server itself"),
        ({"name": "x" * 64}, "has 64 bytes, PostgreSQL takes 63"),
        ({"name": "x" * 55}, f"the role {'x' * 55 + '_migrator'!r} has 64 bytes"),
        ({"name": "ü" * 32}, "has 64 bytes"),
        ({"name": "a", "service": "pg_a"}, "keeps for itself"),
        ({"name": "a", "conn_limit": "many"}, "whole number"),
        ({"name": "a", "conn_limit": -2}, "at least -1"),
        ({"name": "a", "conn_limit": True}, "whole number"),
        ({"name": "a", "schemas": ["pg_x"]}, "belongs to PostgreSQL"),
        ({"name": "a", "schemas": ["x", "x"]}, "twice"),
        ({"name": "a", "schemas": "x"}, "must be a list"),
        ({"name": "a", "settings": "x"}, "must be a mapping"),
        ({"name": "a", "settings": {"work mem": 1}}, "not the name of a setting"),
        ({"name": "a", "settings": {"work_mem": [1]}}, "must be one value"),
        ({"name": "a", "roles": {"migrator": {"settings": {"role": "x"}}}}, "set by the module itself"),
        ({"name": "a", "extensions": [{"name": "x", "schema": "y"}]}, "add it to schemas"),
        ({"name": "a", "roles": {"owner": {"login": "perhaps"}}}, "true or false"),
        ("a", "must be a mapping"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(database: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parsed(database)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"passwords": {}}, "passwords lacks the role 'a_migrator'"),
        ({"passwords": {"a_ap": "x"}}, "did you mean 'a_app'?"),
        ({"passwords": {"a_app": "", "a_migrator": "x", "a_readonly": "x"}}, "the password of role 'a_app' must be text"),
        ({"passwords": {"a_owner": "x"}}, "nobody logs in as"),
        ({"login_user": "a_app"}, "is login_user, the administrator"),
        ({"backup_role": {"name": "a_app", "password": "x"}}, "both want the role 'a_app' twice"),
        ({"backup_role": {"name": "pg_backup", "password": "x"}}, "keeps for itself"),
    ],
)
def test_bad_roles_are_refused_by_name(params: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        parsed({"name": "a"}, **params)
    assert words in str(caught.value)


def test_twins_and_disagreement_are_refused() -> None:
    with pytest.raises(InputError, match="names the database 'a' twice"):
        parsed({"name": "a"}, {"name": "a"})
    with pytest.raises(InputError, match="disagree about the role 'a_app'"):
        parsed({"name": "a"}, {"name": "b", "service": "a", "roles": {"app": {"conn_limit": 1}}})
    assert len(parsed({"name": "a"}, {"name": "b", "service": "a"}).roles) == 4


def test_roles_of_a_shared_service_outlive_one_of_its_databases() -> None:
    found = parsed({"name": "a"}, {"name": "b", "service": "a", "state": "absent"})
    assert (found.dropped, found.dropped_roles) == (("b",), ("a_definer",))
