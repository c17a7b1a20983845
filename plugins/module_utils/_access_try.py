# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries a plan at a PostgreSQL server: real logins over TCP, every transaction rolled back."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._access_model import DENIED, DONE, FAILED, LOST, Outcome, Reply, judge
from ansible_collections.nexanest.database.plugins.module_utils._access_probe import ALONE, READ, Login, Probe
from ansible_collections.nexanest.database.plugins.module_utils._access_wanted import Wanted
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import SCHEMA, mint

try:
    import psycopg2
    import psycopg2.errorcodes
    from psycopg2 import sql
except ImportError:
    pass  # reading the facts said so already

SESSIONS = 4
TOKEN_LIFE = 300  # seconds
DENIAL = "42501"
# Classes whose words name objects, never a row's values.
SPEAKING = ("0A", "25", "28", "3D", "42", "55", "57")
# The server is there, but had no time: no answer.
NO_ANSWER = ("08", "53", "57", "58", "40")
LOCK_TIMEOUT = "55P03"
TRAPPED = "22012"
# A refused login has no SQLSTATE in the client: its words, before which the server is known to answer.
SHUT = re.compile(
    r"password authentication failed|no password supplied|permission denied for database|no pg_hba\.conf entry|is not permitted to log in"
    r"|permission denied to start WAL sender|must be superuser or replication role|peer authentication failed"
)
OPTIONS = "-c lock_timeout=1500 -c client_min_messages=error -c default_transaction_read_only=off -c application_name=nexanest.access"


class Trial:
    """Tries logins and probes at one server. timeout: of a statement, in seconds."""

    def __init__(self, params: Mapping[str, Any], wanted: Wanted, *, timeout: int) -> None:
        self.params, self.wanted = params, wanted
        self.options = f"{OPTIONS} -c statement_timeout={timeout * 1000}"

    def run(self, logins: Sequence[Login], probes: Sequence[Probe]) -> list[Outcome]:
        """Outcomes in the order of the plan; a few sessions at a time, one for each role in a database."""
        groups: dict[tuple[str, str], list[Probe]] = {}
        for probe in probes:
            groups.setdefault((probe.role, probe.database), []).append(probe)
        by_role: dict[str, list[Login]] = {}
        for login in logins:
            by_role.setdefault(login.attempt.role, []).append(login)
        with ThreadPoolExecutor(max_workers=SESSIONS) as pool:
            entered = pool.map(lambda group: [judge(login.attempt, self.login(login)) for login in group], by_role.values())
            tried = pool.map(self._group, groups.values())
            return [outcome for part in (entered, tried) for outcomes in part for outcome in outcomes]

    def login(self, login: Login) -> Reply:
        """Open a connection and close it."""
        extra: dict[str, Any] = {} if login.replication is None else {"replication": login.replication}
        try:
            self._connect(login.user, login.database, login.password, **extra).close()
        except psycopg2.OperationalError as error:
            words = _one_line(error)
            return Reply(DENIED if SHUT.search(words) else LOST, words=words)
        return Reply(DONE)

    def _connect(self, user: str, database: str, password: str, **extra: Any) -> Any:
        # No password from a file or the environment: an empty one is no password.
        return psycopg2.connect(
            host=self.params["login_host"], port=self.params["login_port"], user=user, dbname=database, password=password,
            passfile="/nonexistent/pgpass", connect_timeout=self.params["connect_timeout"], client_encoding="UTF8",
            options="" if extra else self.options, **extra,
        )  # fmt: skip

    def _group(self, probes: Sequence[Probe]) -> list[Outcome]:
        """All probes of one role in one database, in one session; a lost session is opened once more."""
        outcomes: list[Outcome] = []
        session: Any = None
        for probe in probes:
            try:
                if session is None or session.closed:
                    session = self._connect(probe.role, probe.database, self.wanted.passwords[probe.role])
                    session.autocommit = True
                reply = self._try(session, probe)
            except psycopg2.OperationalError as error:
                reply = Reply(LOST, words=_one_line(error))
            outcomes.append(judge(probe.attempt, reply, hides=probe.hides))
        if session is not None:
            session.close()
        return outcomes

    def _try(self, session: Any, probe: Probe) -> Reply:
        with session.cursor() as cursor:
            try:
                if probe.mode != ALONE:
                    cursor.execute("BEGIN READ ONLY" if probe.mode == READ else "BEGIN READ WRITE")
                return self._steps(cursor, probe)
            finally:
                if not session.closed:
                    cursor.execute("ROLLBACK")

    def _steps(self, cursor: Any, probe: Probe) -> Reply:
        try:
            if probe.user is not None:
                cursor.execute(sql.SQL("SELECT {}({})").format(sql.Identifier(SCHEMA, "set_user"), sql.Literal(self._token(probe))))
            for step in probe.steps[:-1]:
                cursor.execute(step.compose(sql))
        except psycopg2.Error as error:
            return Reply(LOST, words=f"it could not be prepared: {told(error)}")
        with self._victim(probe) as arguments:
            try:
                cursor.execute(sql.SQL(probe.steps[-1].template).format(*arguments) if arguments else probe.steps[-1].compose(sql))
            except psycopg2.Error as error:
                return Reply(DONE, 1) if probe.trap and error.pgcode == TRAPPED else reply_to(error, probe.denials)
        return Reply(DONE, _count(cursor))

    def _token(self, probe: Probe) -> str:
        return mint(str(self.wanted.database(probe.database).key), probe.user, int(time.time()) + TOKEN_LIFE)

    @contextlib.contextmanager
    def _victim(self, probe: Probe) -> Iterator[list[Any]]:
        """A session of the victim's, ours to lose: its number is the step's argument."""
        if probe.victim is None:
            yield []
            return
        homes = self.wanted.homes(probe.victim)
        password = self.wanted.passwords[probe.victim] if homes else self.params["login_password"]
        with contextlib.closing(self._connect(probe.victim, homes[0] if homes else self.params["login_db"], password)) as session:
            yield [sql.Literal(session.info.backend_pid)]


def reply_to(error: Any, denials: Iterable[str] = ()) -> Reply:
    """What an error means: refused, no answer, or something else."""
    code = error.pgcode or ""
    if code == DENIAL or code in denials:
        return Reply(DENIED, words=told(error))
    # 57014 and 55P03: too slow, or locked.
    lost = not code or code == LOCK_TIMEOUT or code[:2] in NO_ANSWER
    return Reply(LOST if lost else FAILED, words=told(error))


def told(error: Any) -> str:
    """The server's words where they cannot hold a row's values, else the name of its code."""
    code = error.pgcode or ""
    if not code:
        return _one_line(error)
    words = error.diag.message_primary if code[:2] in SPEAKING else psycopg2.errorcodes.lookup(code).lower()
    return f"{words} ({code})"


def _count(cursor: Any) -> int:
    """The number that a query answered with, or the rows that a write touched."""
    if cursor.description is None:
        return max(0, int(cursor.rowcount))
    row = cursor.fetchone()
    first: object = row[0] if row else 0
    return first if isinstance(first, int) else 0


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
