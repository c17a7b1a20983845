# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of user tokens: what makes a session somebody's, and all that must not. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.nexanest.database.plugins.module_utils._access_model import ALLOWED, NOTHING, REFUSED, Attempt
from ansible_collections.nexanest.database.plugins.module_utils._access_plan_rows import nobody
from ansible_collections.nexanest.database.plugins.module_utils._access_probe import ALONE, READ, WRITE, Probe
from ansible_collections.nexanest.database.plugins.module_utils._access_wanted import LOGINS, ServiceDatabase, Wanted
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Secret, Statement, name, statement, value
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import LONGEST_LIFE, SCHEMA, mint

GROUP = "tokens"
SETTING = "session.user"
REMEDY = "the module postgres_user_tokens makes the functions of the schema session anew: run site.yml"
KEYS = "REVOKE ALL ON session.keys FROM the role; a run of site.yml does it"
OTHER_KEY = "0" * 64  # a key of nobody's
# One where the session is somebody's.
SOMEBODY = "SELECT count({}()) AS somebody"


def _set(token: str) -> Statement:
    return statement("SELECT {}({})", name(SCHEMA, "set_user"), Secret(token))


def _somebody() -> Statement:
    return statement(SOMEBODY, name(SCHEMA, "user_id"))


class Tokens:
    """The plan for one role in one database that takes tokens."""

    def __init__(self, wanted: Wanted, database: ServiceDatabase, kind: str, user_type: str) -> None:
        self.database, self.role = database, database.role(kind)
        self.key = str(database.key)
        self.user, self.other = nobody(user_type), nobody(user_type, 2)
        stranger = next((found for found in wanted.databases if found.service != database.service and found.key is not None), None)
        self.foreign = stranger.key if stranger and stranger.key is not None else OTHER_KEY

    def probes(self) -> Iterator[Probe]:
        right = self._probe("a valid token makes its user", statement("SELECT 1 / count({}())", name(SCHEMA, "user_id")), expected=ALLOWED)
        yield replace(right, user=self.user)
        for what, token in self._forgeries(int(time.time())).items():
            yield self._probe(f"show {what}", _set(token), expected=REFUSED, denials=frozenset({"28000"}))
        yield from self._by_hand()
        yield from self._keys()

    def _probe(self, what: str, *steps: Statement, expected: str = NOTHING, mode: str = READ, denials: frozenset[str] = frozenset()) -> Probe:
        attempt = Attempt(GROUP, self.role, self.database.name, what, expected, REMEDY)
        return Probe(attempt, self.role, self.database.name, steps, mode, denials=denials)

    def _forgeries(self, now: int) -> dict[str, str]:
        good = mint(self.key, self.user, now + 60)
        flipped = good[:-1] + ("0" if good[-1] != "0" else "1")
        return {
            "a token with a false signature": flipped,
            "a token for one user with the signature for another": good.replace(self.user, self.other),
            "a token whose expiry was changed": good.replace(str(now + 60), str(now + 61)),
            "a token without a signature": good.rpartition(".")[0],
            "a token signed with the key of another service": mint(self.foreign, self.user, now + 60),
            "an expired token": mint(self.key, self.user, now - 5),
            "a token that lives too long": mint(self.key, self.user, now + LONGEST_LIFE + 300),
            "an empty token": "",
        }

    def _by_hand(self) -> Iterator[Probe]:
        """Without set_user: what an SQL injection, or a session that a pool hands on, could do."""
        for what, text in (("the user's id", self.user), ("an invented signature", f"{'0' * 64}.{self.user}")):
            put = statement("SELECT set_config({}, {}, true)", value(SETTING), value(text))
            yield self._probe(f"set {SETTING} by hand to {what}", put, _somebody())
        begin, commit = statement("BEGIN"), statement("COMMIT")
        token = _set(mint(self.key, self.user, int(time.time()) + 600))
        yield self._probe("still be the user after the transaction", begin, token, commit, _somebody(), mode=ALONE)
        copy = statement("SELECT set_config('nexanest.copy', current_setting({}), false)", value(SETTING))
        paste = statement("SELECT set_config({}, current_setting('nexanest.copy'), false)", value(SETTING))
        yield self._probe("keep the user by copying the setting into a later transaction", begin, token, copy, commit, paste, _somebody(), mode=ALONE)
        exchange = statement("SELECT set_config({}, replace(current_setting({}), {}, {}), true)", *map(value, (SETTING, SETTING, self.user, self.other)))
        yield self._probe("be another user by exchanging the id behind a valid signature", token, exchange, _somebody())

    def _keys(self) -> Iterator[Probe]:
        doors = {
            "read": "SELECT count(secret) FROM {}",
            # Each pad is the key, but for a constant.
            "read inner_pad of": "SELECT count(inner_pad) FROM {}",
            "read outer_pad of": "SELECT count(outer_pad) FROM {}",
            "add to": "INSERT INTO {} (key_id) VALUES (99)",
            "delete from": "DELETE FROM {} WHERE 1 / (random() * 0)::int = 1",
        }
        for what, text in doors.items():
            mode = READ if what.startswith("read") else WRITE
            found = self._probe(f"{what} the token keys", statement(text, name(SCHEMA, "keys")), expected=REFUSED, mode=mode)
            yield replace(found, attempt=Attempt(GROUP, self.role, self.database.name, found.attempt.what, REFUSED, KEYS))


def tokens(wanted: Wanted, database: ServiceDatabase, user_type: str) -> Iterator[Probe]:
    """All of one database that has a key."""
    if database.key is not None:
        for kind in LOGINS:
            yield from Tokens(wanted, database, kind, user_type).probes()
