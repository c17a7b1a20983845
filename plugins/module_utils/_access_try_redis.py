# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries a plan at a Redis server: a connection of its own for every attempt, and the proof's keys taken away at the end."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._access_model import DENIED, DONE, FAILED, LOST, Outcome, Reply, judge
from ansible_collections.nexanest.database.plugins.module_utils._access_plan_redis import Command, Declared, RedisProbe

LIFE = "120"  # seconds that the proof's keys live if nobody takes them away
REFUSALS = ("NOPERM", "NOAUTH", "WRONGPASS")
# In scripts and for the client without a name Redis has words instead of a code.
REFUSING = ("ACL failure in script", "AUTH <password> called without any password configured")


class RedisError(Exception):
    """Redis answered with an error; the text is its own."""


class NoAnswer(Exception):
    """The connection could not be made, or broke."""


class Line:
    """One connection that speaks RESP. A client library would log in, and hide what came back."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        try:
            self._socket = socket.create_connection((host, port), timeout)
        except OSError as error:
            raise NoAnswer(f"{host}:{port} does not answer: {error}") from error
        self._file = self._socket.makefile("rb")

    def ask(self, *words: str) -> Any:
        """One command and its answer. Raises RedisError, NoAnswer."""
        parts = [word.encode() for word in words]
        try:
            self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            return self._answer()
        except OSError as error:
            raise NoAnswer(str(error)) from error

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _answer(self) -> Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise NoAnswer("the connection was closed")
        kind, rest = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"-":
            raise RedisError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self._file.read(int(rest) + 2)[:-2].decode(errors="replace")
        if kind == b"*":
            return [self._element() for _number in range(int(rest))]
        return rest

    def _element(self) -> Any:
        try:
            return self._answer()
        except RedisError as error:
            return str(error)


class RedisTrial:
    """Tries probes. params: the login of the administrator."""

    def __init__(self, params: Mapping[str, Any], declared: Declared) -> None:
        self.params, self.declared = params, declared

    def run(self, probes: Sequence[RedisProbe]) -> list[Outcome]:
        """Outcomes in the order of the plan."""
        keys = [key for found in self.declared.keys().values() for key in found] + [self.declared.mark]
        with contextlib.closing(administrator(self.params)) as boss:
            try:
                for key in keys:
                    boss.ask("SET", key, "x", "EX", LIFE)
                return [judge(probe.attempt, self._reply(boss, probe)) for probe in probes]
            finally:
                self._clean(boss, keys)

    def _clean(self, boss: Line, keys: Sequence[str]) -> None:
        for database in ("1", "0"):
            boss.ask("SELECT", database)
            boss.ask("UNLINK", *keys)

    def _reply(self, boss: Line, probe: RedisProbe) -> Reply:
        try:
            if probe.dry:
                return _dry(boss, str(probe.user), probe.commands[-1])
            with self._session(probe) as line:
                return self._steps(line, probe)
        except NoAnswer as error:
            return Reply(LOST, words=str(error))

    @contextlib.contextmanager
    def _session(self, probe: RedisProbe) -> Iterator[Line]:
        with contextlib.closing(Line(self.params["login_host"], self.params["login_port"], self.params["connect_timeout"])) as line:
            yield line

    def _steps(self, line: Line, probe: RedisProbe) -> Reply:
        steps = [*([probe.login] if probe.login else []), *probe.commands]
        if probe.user is not None:
            steps.insert(0, ("AUTH", probe.user, self.declared.passwords[probe.user]))
        try:
            for step in steps[:-1]:
                line.ask(*step)
        except RedisError as error:
            return Reply(LOST, words=f"it could not be prepared: {error}")
        try:
            line.ask(*steps[-1])
        except RedisError as error:
            return _refusal(str(error))
        return Reply(DONE)


def administrator(params: Mapping[str, Any]) -> Line:
    """A session that may do everything. Raises RedisError, NoAnswer."""
    line = Line(params["login_host"], params["login_port"], params["connect_timeout"])
    line.ask("AUTH", params["login_user"], params["login_password"])
    return line


def _dry(boss: Line, user: str, command: Command) -> Reply:
    """What Redis would say to the user, without doing it."""
    try:
        answer = boss.ask("ACL", "DRYRUN", user, *command)
    except RedisError as error:
        # A command that this Redis does not know is no door.
        return Reply(DENIED if "not found" in str(error) else FAILED, words=str(error))
    return Reply(DONE) if answer == "OK" else Reply(DENIED, words=str(answer))


def _refusal(words: str) -> Reply:
    # A command that this Redis does not know is no door either.
    refused = words.startswith((*REFUSALS, "ERR unknown command")) or any(part in words for part in REFUSING)
    return Reply(DENIED if refused else FAILED, words=words)
