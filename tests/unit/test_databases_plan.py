# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: from states as data to statements, without a server."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from psycopg2 import sql

from ansible_collections.nexanest.database.plugins.module_utils import _databases_sql as statements
from ansible_collections.nexanest.database.plugins.module_utils import _scram
from ansible_collections.nexanest.database.plugins.module_utils._changes import diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_input import desired
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import (
    PUBLIC,
    Database,
    Desired,
    Grant,
    Membership,
    Role,
    State,
    empty_server,
)
from ansible_collections.nexanest.database.plugins.module_utils._databases_plan import plan
from ansible_collections.nexanest.database.plugins.module_utils._databases_rights import Subject, converge
from ansible_collections.nexanest.database.plugins.module_utils._databases_settings import elements
from ansible_collections.nexanest.database.plugins.module_utils._databases_steps import Phase

PASSWORDS = {"auth_app": "secret", "auth_migrator": "secret", "auth_readonly": "secret"}


def wanted(**keys: Any) -> Desired:
    return desired({"login_user": "admin", "databases": [{"name": "auth", **keys}], "passwords": PASSWORDS})


def with_database(**properties: Any) -> State:
    state = empty_server("admin")
    database = Database("auth", "auth_owner", "UTF8", "builtin", "C.UTF-8", frozenset())
    return replace(state, databases={**state.databases, "auth": replace(database, **properties)})


def test_work_runs_in_the_order_of_its_phases() -> None:
    phases = [work.phase for work in plan(wanted(), empty_server("admin")).work]
    assert phases == sorted(phases)
    assert phases[0] is Phase.ROLES
    assert phases[-1] is Phase.INSIDE


def test_new_database_lets_nobody_in_until_its_rights_are_set() -> None:
    queries = plan(wanted(), empty_server("admin")).queries
    create = next(index for index, query in enumerate(queries) if query.startswith("CREATE DATABASE"))
    assert queries[create].endswith("CONNECTION LIMIT 0")
    assert queries.index('REVOKE ALL ON DATABASE "auth" FROM PUBLIC CASCADE') < queries.index('ALTER DATABASE "auth" CONNECTION LIMIT -1')


def test_plan_prints_no_secret() -> None:
    found = plan(wanted(), empty_server("admin"))
    text = repr((found, diff(found.changes), objects(found.changes), found.queries))
    assert "secret" not in text
    assert "SCRAM" not in text


def test_equal_password_is_kept_and_another_is_changed() -> None:
    for stored, changed in (("secret", False), ("old", True)):
        role = Role("auth_app", login=True, verifier=_scram.verifier(stored))
        found = plan(wanted(), replace(empty_server("admin"), roles={"auth_app": role}))
        assert any(query.startswith('ALTER ROLE "auth_app" PASSWORD') for query in found.queries) is changed


def test_foreign_member_leaves_by_its_own_grantor() -> None:
    strange = Membership("auth_app", "guest", "boss", admin=False, inherit=True, set=True)
    found = plan(wanted(), replace(empty_server("admin"), roles={"auth_app": Role("auth_app")}, memberships=(strange,)))
    assert 'REVOKE "auth_app" FROM "guest" GRANTED BY "boss" CASCADE' in found.queries


@pytest.mark.parametrize(
    ("keys", "properties", "words"),
    [
        ({"encoding": "UTF8"}, {"encoding": "SQL_ASCII"}, "has the encoding 'SQL_ASCII', not 'UTF8'"),
        ({"locale": "de-DE"}, {}, "has the locale 'C.UTF-8', not 'de-DE'"),
        ({"locale_provider": "icu"}, {}, "has the locale_provider 'builtin', not 'icu'"),
        ({}, {"allow_connections": False}, "lets nobody in"),
        ({}, {"conn_limit": -2}, "dropped half-way"),
        ({"state": "absent"}, {}, "add its name to confirm_drop"),
    ],
)
def test_what_would_lose_data_is_refused(keys: dict[str, Any], properties: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        plan(wanted(**keys), with_database(**properties))


def test_encoding_and_locale_are_compared_as_the_server_reads_them() -> None:
    plan(wanted(encoding="utf-8", locale="C.utf8"), with_database())


def test_old_servers_are_refused() -> None:
    with pytest.raises(InputError, match="needs 16 or later"):
        plan(wanted(), replace(empty_server("admin"), version=150004))
    with pytest.raises(InputError, match="since 17"):
        plan(wanted(locale_provider="builtin"), replace(empty_server("admin"), version=160004))


def test_unknown_extension_is_refused_only_where_the_server_was_asked() -> None:
    assert plan(wanted(extensions=["x"]), empty_server("admin")).steps
    with pytest.raises(InputError, match="which the server does not have"):
        plan(wanted(extensions=["x"]), replace(empty_server("admin"), extensions=frozenset()))


def test_rights_are_exact_for_whom_they_are_judged() -> None:
    subject = Subject("DATABASE {}", (statements.name("d"),))
    actual = frozenset({Grant(PUBLIC, "CONNECT", "o"), Grant("app", "CONNECT", "o"), Grant("guest", "CONNECT", "o")})
    assert [s.text() for s in converge(subject, actual, {"app": ("CONNECT",)}, judged={PUBLIC, "app"}, owner="o")] == [
        'REVOKE ALL ON DATABASE "d" FROM PUBLIC CASCADE'
    ]
    assert len(converge(subject, actual, {"app": ("CONNECT",)}, owner="o")) == 2


@pytest.mark.parametrize(
    ("stored", "names"),
    [("auth, public", ("auth", "public")), ('"a ""b"", c", D', ('a "b", c', "d")), ("", ()), ('""', ("",)), ('"$user", public', ("$user", "public"))],
)
def test_lists_of_names_are_read_as_postgresql_writes_them(stored: str, names: tuple[str, ...]) -> None:
    assert elements(stored) == names


def test_statements_quote_names_and_values_and_mask_secrets() -> None:
    one = statements.statement("X {} {} {} {}", statements.name('a"b', "c"), statements.value("it's", -1), statements.Secret("s"), statements.Keyword("PUBLIC"))
    assert one.text() == "X \"a\"\"b\".\"c\" 'it''s', -1 '********' PUBLIC"
    assert "Identifier('a\"b', 'c')" in repr(one.compose(sql))
    with pytest.raises(ValueError, match="not a keyword"):
        statements.Keyword("x; drop")
