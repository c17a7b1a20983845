# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed user tokens without a server: minting, and the statements that make the schema."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from psycopg2 import sql

from ansible_collections.nexanest.database.plugins.module_utils._changes import diff
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens import (
    CURRENT,
    Session,
    TokenDatabase,
    checksum,
    functions,
    key_statements,
    plan,
    session_statements,
)
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import mint, pads

KEY = "a key of at least thirty-two characters"
AUTH = TokenDatabase("auth", "auth", keys={CURRENT: KEY})


def test_token_is_text_and_its_hmac() -> None:
    token = mint("key", "u", 1700000000)
    assert token == "v1.u.1700000000." + hmac.new(b"key", b"v1.u.1700000000", "sha256").hexdigest()


@pytest.mark.parametrize("key", ["k", "k" * 64, "k" * 65, "☃" * 40])
def test_two_hashes_with_the_pads_are_the_hmac(key: str) -> None:
    inner, outer = pads(key)
    made = hashlib.sha256(outer + hashlib.sha256(inner + b"text").digest()).hexdigest()
    assert made == hmac.new(key.encode(), b"text", "sha256").hexdigest()


def test_statements_for_a_shadow_hold_no_key_and_end_closed() -> None:
    texts = [found.text() for found in session_statements("auth")]
    assert texts[0] == 'CREATE SCHEMA "session"'
    assert 'REVOKE ALL ON FUNCTION "session"."set_user"(text) FROM PUBLIC CASCADE' in texts
    assert not [text for text in texts if "INSERT" in text]
    assert [found.compose(sql) for found in session_statements("auth")]


def test_keys_are_masked_and_written_unlogged() -> None:
    texts = [found.text() for found in key_statements(KEY, "p" * 40)]
    assert "SET LOCAL log_statement = 'none'" in texts[:-2]
    assert all(text.startswith("INSERT") and text.count("'********'") == 3 for text in texts[-2:])
    assert KEY not in repr(key_statements(KEY)) + repr(AUTH)


def test_what_is_as_wanted_needs_nothing() -> None:
    made = plan(AUTH, None)
    keys = {CURRENT: checksum(KEY)}
    again = plan(AUTH, Session("admin", keys=keys, columns=("key_id smallint", "secret bytea", "inner_pad bytea", "outer_pad bytea")))
    assert [found.change.kind for found in made] == ["schema", "table", "function", "function", "user token key"]
    assert "user token key" not in [found.change.kind for found in again]
    assert KEY not in str(diff([found.change for found in made]))


def test_other_type_of_ids_and_foreign_schema_are_refused() -> None:
    there = Session("admin", functions=functions(AUTH))
    with pytest.raises(InputError, match="policies depend on it"):
        plan(TokenDatabase("auth", "auth", "bigint"), there)
    with pytest.raises(InputError, match="kept for user tokens"):
        plan(AUTH, Session("auth_owner", trusted=False))
    with pytest.raises(InputError, match="which is not this module's"):
        plan(AUTH, Session("admin", columns=("id integer",)))
