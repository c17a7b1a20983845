# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NexaNest's authentication: login with a rate limit, refresh tokens, links that work once, API keys, as the service uses them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from nexanest_server import PHC, NexaNest, sha256
from servers import postgres_server

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(scope="module")
def nexanest() -> Iterator[NexaNest]:
    with postgres_server(prefix="tnexb") as server:
        product = NexaNest(server)
        product.build()
        yield product


def address() -> str:
    return f"{secrets.token_hex(6)}@example.org"


def register(nexanest: NexaNest, email: str) -> str:
    return str(nexanest.run("auth", "SELECT auth.register_user(%s, %s)", email, PHC)[0][0])


def begin(nexanest: NexaNest, email: str, ip: str = HERE) -> dict[str, Any]:
    row = nexanest.run("auth", "SELECT attempt_id, allowed, retry_after, user_id, password_hash, status FROM auth.begin_login(%s, %s)", email, ip)[0]
    return dict(zip(("attempt", "allowed", "retry_after", "user", "hash", "status"), row, strict=True))


def sign_in(nexanest: NexaNest, user: str) -> tuple[str, bytes]:
    """A session and the hash of its first refresh token."""
    token = sha256(secrets.token_hex())
    with nexanest.session("auth", user=user) as cursor:
        cursor.execute("INSERT INTO auth.user_sessions (user_id, ip_address) VALUES (%s, %s) RETURNING session_id", (user, HERE))
        session = cursor.fetchone()[0]
        insert = "INSERT INTO auth.refresh_tokens (user_id, family_id, token_hash, expires_at) VALUES (%s, %s, %s, now() + interval '30 days')"
        cursor.execute(insert, (user, session, token))
    return session, token


def rotate(nexanest: NexaNest, presented: bytes, following: bytes | None = None) -> str:
    return str(nexanest.run("auth", "SELECT outcome FROM auth.rotate_refresh_token(%s, %s)", presented, following or sha256(secrets.token_hex()))[0][0])


def test_the_way_from_registration_to_a_session(nexanest: NexaNest) -> None:
    email = address()
    user = register(nexanest, email.upper())
    assert nexanest.run("auth", "SELECT auth.register_user(%s, %s)", email, PHC) == [(None,)]
    attempt = begin(nexanest, email)
    assert (attempt["allowed"], str(attempt["user"]), attempt["hash"], attempt["status"]) == (True, user, PHC, "pending")
    assert nexanest.run("auth", "SELECT auth.confirm_login(%s)", attempt["attempt"], user=user) == [(True,)]
    session, _token = sign_in(nexanest, user)
    assert nexanest.run("auth", "SELECT session_id FROM auth.open_sessions", user=user) == [(session,)]
    assert nexanest.run("auth", "SELECT outcome FROM auth.login_attempts", user=user) == [("succeeded",)]
    assert nexanest.run("auth", "SELECT auth.end_session(%s)", session, user=user) == [(True,)]
    assert nexanest.run("auth", "SELECT count(*) FROM auth.open_sessions", user=user) == [(0,)]


@pytest.mark.parametrize("text", ["hunter2", "$argon2id", "", "$UPPER$x", "$ok$with space"])
def test_a_password_that_is_no_hash_cannot_be_stored(nexanest: NexaNest, text: str) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation) as refused:
        nexanest.run("auth", "SELECT auth.register_user(%s, %s)", address(), text)
    assert refused.value.diag.constraint_name == "users_password_hash_form"


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("SELECT auth.register_user(%s, %s)", ("no-address-7c1f", "$argon2id$7c1f")),
        ("SELECT auth.register_user(%s, %s)", ("7c1f@example.org", "hunter 7c1f")),
        ("SELECT auth.register_user(%s, %s)", (None, "$argon2id$7c1f")),
        ("SELECT auth.register_user(%s, NULL)", ("7c1f@example.org",)),
        ("SELECT auth.change_password(%s)", ("hunter 7c1f",)),
        ("SELECT auth.reset_password(sha256('x'), %s)", ("hunter 7c1f",)),
    ],
)
def test_an_error_does_not_show_what_it_refuses(nexanest: NexaNest, statement: str, values: tuple[str | None, ...]) -> None:
    """It stands in the server's log: a password in clear that was taken for a hash, for one."""
    user = register(nexanest, address())
    with pytest.raises(psycopg2.errors.CheckViolation) as refused:
        nexanest.run("auth", statement, *values, user=user)
    told = f"{refused.value.diag.message_primary} {refused.value.diag.message_detail} {refused.value.diag.context}"
    assert "7c1f" not in told
    assert "Failing row" not in told


def test_no_other_role_can_hold_a_login_up(nexanest: NexaNest) -> None:
    email = address()
    with nexanest.session("auth") as cursor:
        cursor.execute("SELECT allowed FROM auth.begin_login(%s, %s)", (email, HERE))
        assert nexanest.admin("auth", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
    for kind in ("app", "readonly"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            nexanest.run("auth", "SET TRANSACTION READ WRITE; SELECT FROM auth.login_gates FOR KEY SHARE", kind=kind)


def test_the_fifth_failure_is_the_last_one_until_time_has_passed(nexanest: NexaNest) -> None:
    email = address()
    register(nexanest, email)
    assert [begin(nexanest, email)["allowed"] for _attempt in range(5)] == [True] * 5
    refused = begin(nexanest, email)
    assert (refused["allowed"], refused["user"], refused["hash"]) == (False, None, None)
    assert 890 < refused["retry_after"].total_seconds() <= 900
    assert begin(nexanest, email, ELSEWHERE)["allowed"]
    # Refused attempts do not prolong the wait.
    nexanest.admin("auth", "UPDATE auth.login_attempts SET attempted_at = attempted_at - interval '15 minutes' WHERE email_hash = %s", sha256(email))
    assert begin(nexanest, email)["allowed"]


def test_a_success_starts_the_count_anew(nexanest: NexaNest) -> None:
    email = address()
    user = register(nexanest, email)
    for _attempt in range(4):
        begin(nexanest, email)
    assert nexanest.run("auth", "SELECT auth.confirm_login(%s)", begin(nexanest, email)["attempt"], user=user) == [(True,)]
    assert [begin(nexanest, email)["allowed"] for _attempt in range(6)] == [True] * 5 + [False]


def test_many_attempts_at_once_do_not_slip_past_the_limit(nexanest: NexaNest) -> None:
    email = address()
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _n: begin(nexanest, email, "192.0.2.77")["allowed"], range(24)))
    assert sum(answers) == 5


def test_one_address_that_tries_many_accounts_is_refused(nexanest: NexaNest) -> None:
    answers = [begin(nexanest, address(), "192.0.2.99")["allowed"] for _attempt in range(52)]
    assert answers == [True] * 50 + [False] * 2


def test_a_login_does_not_wait_for_the_job_that_makes_months(nexanest: NexaNest) -> None:
    email = address()
    user = register(nexanest, email)
    with nexanest.session("auth", "migrator") as job:
        job.execute("SELECT auth.make_login_partitions(6)")
        assert job.fetchone() == (3,)
        for _again in range(7):  # a plan that is kept would come up by then
            with nexanest.session("auth") as service:
                service.execute("SET lock_timeout = '2s'")
                service.execute("SELECT attempt_id FROM auth.begin_login(%s, '192.0.2.33')", (email,))
                attempt = service.fetchone()[0]
            with nexanest.session("auth", user=user) as service:
                service.execute("SET lock_timeout = '2s'")
                service.execute("SELECT auth.confirm_login(%s)", (attempt,))
                assert service.fetchone() == (True,)
        job.connection.rollback()


def test_an_unknown_address_is_counted_without_keeping_what_was_typed(nexanest: NexaNest) -> None:
    typed = "my password by mistake"
    assert begin(nexanest, typed, "192.0.2.44")["user"] is None
    rows = nexanest.admin("auth", "SELECT a::text FROM auth.login_attempts a WHERE email_hash = %s", sha256(typed))
    assert len(rows) == 1
    assert "mistake" not in rows[0][0]


def test_only_the_user_confirms_their_own_attempt_and_only_once(nexanest: NexaNest) -> None:
    email, other = address(), register(nexanest, address())
    user = register(nexanest, email)
    attempt = begin(nexanest, email, "192.0.2.55")["attempt"]
    assert nexanest.run("auth", "SELECT auth.confirm_login(%s)", attempt, user=other) == [(False,)]
    assert nexanest.run("auth", "SELECT auth.confirm_login(%s)", attempt) == [(False,)]
    assert nexanest.run("auth", "SELECT auth.confirm_login(%s)", attempt, user=user) == [(True,)]
    assert nexanest.run("auth", "SELECT auth.confirm_login(%s)", attempt, user=user) == [(False,)]


def test_a_refresh_token_is_exchanged_once_and_its_second_use_ends_the_family(nexanest: NexaNest) -> None:
    user = register(nexanest, address())
    session, first = sign_in(nexanest, user)
    _other_session, unrelated = sign_in(nexanest, user)
    second = sha256("second" + user)
    assert rotate(nexanest, first, second) == "rotated"
    assert rotate(nexanest, second, sha256("third" + user)) == "rotated"
    assert rotate(nexanest, first) == "reused"
    assert nexanest.run("auth", "SELECT end_reason FROM auth.user_sessions WHERE session_id = %s", session, user=user) == [("token_reused",)]
    assert rotate(nexanest, sha256("third" + user)) == "revoked"
    assert rotate(nexanest, unrelated) == "rotated"
    assert rotate(nexanest, sha256("nobody's")) == "unknown"


def test_two_exchanges_at_once_give_one_token(nexanest: NexaNest) -> None:
    user = register(nexanest, address())
    _session, token = sign_in(nexanest, user)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _n: rotate(nexanest, token), range(8)))
    assert sorted(outcomes) == ["reused"] * 7 + ["rotated"]


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ("UPDATE auth.refresh_tokens SET issued_at = now() - interval '40 days', expires_at = now() - interval '1 s' WHERE user_id = %s", "expired"),
        ("UPDATE auth.users SET status = 'locked' WHERE user_id = %s", "revoked"),
        ("UPDATE auth.user_sessions SET ended_at = now(), end_reason = 'signed_out' WHERE user_id = %s", "revoked"),
        ("DELETE FROM auth.users WHERE user_id = %s", "unknown"),
    ],
)
def test_no_token_outlives_what_it_stands_for(nexanest: NexaNest, change: str, outcome: str) -> None:
    user = register(nexanest, address())
    _session, token = sign_in(nexanest, user)
    nexanest.admin("auth", change, user)
    assert rotate(nexanest, token) == outcome


def test_tokens_and_sessions_are_issued_as_the_user_alone(nexanest: NexaNest) -> None:
    """What injected SQL would need to become somebody else: the service's key."""
    victim, attacker = register(nexanest, address()), register(nexanest, address())
    session, _token = sign_in(nexanest, victim)
    refresh = "INSERT INTO auth.refresh_tokens (user_id, family_id, token_hash, expires_at) VALUES (%s, %s, %s, now() + interval '1 day')"
    reset = "INSERT INTO auth.password_reset_tokens (user_id, token_hash) VALUES (%s, %s)"
    key = "INSERT INTO auth.api_keys (user_id, name, prefix, key_hash) VALUES (%s, 'x', 'abcdefgh', %s)"
    mine = sha256("mine")
    for user in (attacker, None):
        for statement, values in ((refresh, (victim, session, mine)), (reset, (victim, mine)), (key, (victim, mine))):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
                nexanest.run("auth", statement, *values, user=user)


def test_a_reset_link_works_once_and_ends_all_sessions(nexanest: NexaNest) -> None:
    email = address()
    user = register(nexanest, email)
    session, token = sign_in(nexanest, user)
    link, second_link = sha256("link" + user), sha256("second link" + user)
    assert [str(row[0]) for row in nexanest.run("auth", "SELECT user_id FROM auth.find_account(%s)", email)] == [user]
    for one in (link, second_link):
        nexanest.run("auth", "INSERT INTO auth.password_reset_tokens (user_id, token_hash) VALUES (%s, %s)", user, one, user=user)
    new = "$argon2id$v=19$new"
    assert str(nexanest.run("auth", "SELECT auth.reset_password(%s, %s)", link, new)[0][0]) == user
    assert nexanest.run("auth", "SELECT auth.reset_password(%s, %s)", link, new) == [(None,)]
    assert nexanest.run("auth", "SELECT auth.reset_password(%s, %s)", second_link, new) == [(None,)]
    assert begin(nexanest, email, "192.0.2.60")["hash"] == new
    assert nexanest.run("auth", "SELECT session_id, end_reason FROM auth.user_sessions", user=user) == [(session, "password_changed")]
    assert rotate(nexanest, token) == "revoked"


def test_an_address_is_proven_and_changed_by_a_link(nexanest: NexaNest) -> None:
    email, new_email = address(), address()
    user = register(nexanest, email)
    insert = "INSERT INTO auth.email_verification_tokens (user_id, email, token_hash) VALUES (%s, %s, %s)"
    for proven in (email, new_email):
        nexanest.run("auth", insert, user, proven, sha256(proven), user=user)
        assert str(nexanest.run("auth", "SELECT auth.verify_email(%s)", sha256(proven))[0][0]) == user
        assert nexanest.run("auth", "SELECT auth.verify_email(%s)", sha256(proven)) == [(None,)]
        assert nexanest.run("auth", "SELECT email, status FROM auth.users", user=user) == [(proven, "active")]


@pytest.mark.parametrize("recovery", ["reset_password", "change_password", "verify_email"])
def test_who_takes_an_account_back_leaves_a_thief_no_link(nexanest: NexaNest, recovery: str) -> None:
    """A thief with the victim's session has asked for a change of the address, and for a reset link."""
    email = address()
    user = register(nexanest, email)
    ask = "INSERT INTO auth.email_verification_tokens (user_id, email, token_hash) VALUES (%s, %s, %s)"
    reset = "INSERT INTO auth.password_reset_tokens (user_id, token_hash) VALUES (%s, %s)"
    theirs, first, own = (sha256(f"{what} {user}") for what in ("theirs", "first", "own"))
    nexanest.run("auth", ask, user, address(), theirs, user=user)
    nexanest.run("auth", ask, user, email, first, user=user)
    nexanest.run("auth", reset, user, own, user=user)
    if recovery == "reset_password":
        assert str(nexanest.run("auth", "SELECT auth.reset_password(%s, %s)", own, PHC)[0][0]) == user
    elif recovery == "change_password":
        nexanest.run("auth", "SELECT auth.change_password(%s)", PHC, user=user)
    else:
        nexanest.run("auth", ask, user, address(), sha256(f"new {user}"), user=user)
        assert str(nexanest.run("auth", "SELECT auth.verify_email(%s)", sha256(f"new {user}"))[0][0]) == user
    assert nexanest.run("auth", "SELECT auth.verify_email(%s)", theirs) == [(None,)]
    assert nexanest.run("auth", "SELECT auth.reset_password(%s, %s)", own, PHC) == [(None,)]
    # The link to the account's own address still proves it, unless the address is another one by now.
    proven = nexanest.run("auth", "SELECT auth.verify_email(%s)::text", first)
    assert proven == [(None,)] if recovery == "verify_email" else proven == [(user,)]


def test_a_locked_account_keeps_its_address(nexanest: NexaNest) -> None:
    email = address()
    user = register(nexanest, email)
    link = sha256(f"locked {user}")
    nexanest.run("auth", "INSERT INTO auth.email_verification_tokens (user_id, email, token_hash) VALUES (%s, %s, %s)", user, address(), link, user=user)
    nexanest.admin("auth", "UPDATE auth.users SET status = 'locked' WHERE user_id = %s", user)
    assert nexanest.run("auth", "SELECT auth.verify_email(%s)", link) == [(None,)]
    assert nexanest.admin("auth", "SELECT email, status FROM auth.users WHERE user_id = %s", user) == [(email, "locked")]


def test_an_old_link_does_nothing(nexanest: NexaNest) -> None:
    user = register(nexanest, address())
    nexanest.run("auth", "INSERT INTO auth.password_reset_tokens (user_id, token_hash) VALUES (%s, %s)", user, sha256("old" + user), user=user)
    nexanest.admin(
        "auth", "UPDATE auth.password_reset_tokens SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour' WHERE user_id = %s", user
    )
    assert nexanest.run("auth", "SELECT auth.reset_password(%s, %s)", sha256("old" + user), PHC) == [(None,)]
    insert = "INSERT INTO auth.password_reset_tokens (user_id, token_hash, expires_at) VALUES (%s, %s, now() + interval '2 days')"
    with pytest.raises(psycopg2.errors.CheckViolation, match="password_reset_tokens_life"):
        nexanest.run("auth", insert, user, sha256("long"), user=user)


def test_changing_the_password_keeps_the_session_that_did_it(nexanest: NexaNest) -> None:
    user = register(nexanest, address())
    here, _token = sign_in(nexanest, user)
    sign_in(nexanest, user)
    nexanest.run("auth", "SELECT auth.change_password(%s, %s)", "$argon2id$v=19$other", here, user=user)
    assert nexanest.run("auth", "SELECT session_id FROM auth.open_sessions", user=user) == [(here,)]
    with pytest.raises(psycopg2.errors.InvalidAuthorizationSpecification, match="no user is set"):
        nexanest.run("auth", "SELECT auth.change_password(%s)", PHC)


def test_an_api_key_opens_until_it_is_revoked(nexanest: NexaNest) -> None:
    email = address()
    user, prefix, key = register(nexanest, email), secrets.token_hex(4), sha256(secrets.token_hex())
    insert = "INSERT INTO auth.api_keys (user_id, name, prefix, key_hash, scopes) VALUES (%s, 'sheet', %s, %s, '{portfolio:read}') RETURNING key_id"
    key_id = nexanest.run("auth", insert, user, prefix, key, user=user)[0][0]
    find = "SELECT user_id::text, scopes FROM auth.find_api_key(%s, %s)"
    assert nexanest.run("auth", find, prefix, key) == []  # the account is not active yet
    nexanest.admin("auth", "UPDATE auth.users SET status = 'active' WHERE user_id = %s", user)
    assert nexanest.run("auth", find, prefix, key) == [(user, ["portfolio:read"])]
    assert nexanest.run("auth", "SELECT last_used_at IS NOT NULL FROM auth.api_keys", user=user) == [(True,)]
    assert nexanest.run("auth", find, prefix, sha256("wrong")) == []
    assert nexanest.run("auth", "SELECT auth.revoke_api_key(%s)", key_id, user=user) == [(True,)]
    assert nexanest.run("auth", find, prefix, key) == []
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        nexanest.run("auth", "UPDATE auth.api_keys SET revoked_at = NULL", user=user)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE auth.users SET status = 'active'",
        "UPDATE auth.users SET email = 'x@example.org'",
        "UPDATE auth.user_sessions SET ended_at = NULL",
        "UPDATE auth.refresh_tokens SET used_at = NULL",
        "DELETE FROM auth.login_attempts",
        "INSERT INTO auth.users (email, password_hash) VALUES ('x@example.org', '$x$y')",
        "SELECT auth.make_login_partitions()",
        "SELECT auth.drop_login_partitions()",
    ],
)
def test_what_the_service_may_not_do_as_any_user(nexanest: NexaNest, statement: str) -> None:
    user = register(nexanest, address())
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        nexanest.run("auth", statement, user=user)


@pytest.mark.parametrize("by", ["the user", "erase_user"])
def test_an_account_goes_with_all_that_hangs_on_it(nexanest: NexaNest, by: str) -> None:
    email = address()
    user = register(nexanest, email)
    sign_in(nexanest, user)
    begin(nexanest, email, "192.0.2.61")
    nexanest.run("auth", "INSERT INTO auth.user_profiles (user_id, display_name) VALUES (%s, 'A')", user, user=user)
    if by == "erase_user":
        nexanest.admin("auth", "UPDATE auth.login_attempts SET user_id = NULL WHERE user_id = %s", user)  # from before the account was made
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            nexanest.run("auth", "SELECT auth.erase_user(%s)", user, user=user)
        assert nexanest.run("auth", "SELECT auth.erase_user(%s)", user, kind="migrator") == [(True,)]
        assert nexanest.run("auth", "SELECT auth.erase_user(%s)", user, kind="migrator") == [(False,)]
        assert nexanest.admin("auth", "SELECT count(*) FROM auth.login_attempts WHERE email_hash = %s", sha256(email)) == [(0,)]
    else:
        with nexanest.session("auth", user=user) as cursor:
            cursor.execute("DELETE FROM auth.users")
            assert cursor.rowcount == 1
    tables = [row[0] for row in nexanest.admin("auth", "SELECT attrelid::regclass::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid"
              " WHERE attname = 'user_id' AND relkind IN ('r', 'p') AND relnamespace = 'auth'::regnamespace")]  # fmt: skip
    assert {table: nexanest.admin("auth", f"SELECT count(*) FROM {table} WHERE user_id = %s", user)[0][0] for table in tables} == dict.fromkeys(tables, 0)
