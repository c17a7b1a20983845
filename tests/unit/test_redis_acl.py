# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ACL lines of Redis: which mean the same user, and which are refused."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._redis_acl import AclError, AclUser, parse

HASH = hashlib.sha256(b"secret").hexdigest()


def user(line: str) -> AclUser:
    return next(iter(parse([line]).values()))


@pytest.mark.parametrize(
    ("written", "read_back"),
    [
        ("user default off resetpass nocommands", "user default off sanitize-payload resetchannels -@all"),
        ("user health on nopass -@all +ping", "user health on nopass sanitize-payload resetchannels -@all +ping"),
        (f"user a on #{HASH} allkeys allchannels allcommands", f"user a on sanitize-payload #{HASH} ~* &* +@all"),
        ("user a on >secret ~b:* ~a:* +GET", f"user a on sanitize-payload #{HASH} ~a:* ~b:* resetchannels -@all +get"),
        (f"user a on #{HASH} %RW~a:* %R~b:*", f"user a on sanitize-payload #{HASH} ~a:* %R~b:* resetchannels -@all"),
        ("user a on +@read -get +get", "user a on sanitize-payload resetchannels -@all +@read +get"),
        ("user a on +config|get +config|set +config", "user a on sanitize-payload resetchannels -@all +config"),
        ("user a on +@all -@dangerous +@all", "user a on sanitize-payload resetchannels +@all"),
        ("user a on >x nopass ~a reset off", "user a off sanitize-payload resetchannels -@all"),
        (f"user a on >x #{HASH} <x", f"user a on sanitize-payload #{HASH} resetchannels -@all"),
    ],
)
def test_redis_own_wording_of_a_user_is_the_same_user(written: str, read_back: str) -> None:
    assert user(written) == user(read_back)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user a on ~a:*", "user a off ~a:*"),
        ("user a on ~a:*", "user a on %R~a:*"),
        ("user a on >x", "user a on >y"),
        ("user a on nopass", "user a on"),
        ("user a +@read -get", "user a -get +@read"),
        ("user a &a:*", "user a &b:*"),
    ],
)
def test_users_that_may_do_different_things_differ(one: str, other: str) -> None:
    assert user(one) != user(other)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["# a comment"], "does not begin with 'user <name>'"),
        (["user"], "does not begin with 'user <name>'"),
        (["user a on", "user a off"], "the user a twice"),
        (["user a on #123"], "64 lower-case hexadecimal"),
        (["user a on (~x +get)"], "selector"),
        (["user a on what"], "does not begin with one of"),
    ],
)
def test_lines_that_cannot_be_are_refused_in_one_sentence(lines: list[str], words: str) -> None:
    with pytest.raises(AclError, match=words) as refused:
        parse(lines)
    assert "\n" not in str(refused.value)


def test_a_running_server_may_have_selectors() -> None:
    assert parse(["user a on (~x resetchannels -@all +get)"], selectors=True)["a"].selectors == ("(~x resetchannels -@all +get)",)


def test_what_a_diff_shows_holds_no_hash() -> None:
    assert HASH not in str(user(f"user a on #{HASH} ~a:*").properties())


def test_empty_lines_are_no_users() -> None:
    assert parse(["", "  "]) == {}
