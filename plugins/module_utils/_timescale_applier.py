# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a plan: each step in one transaction, what must be alone by itself, everything as the role that the plan says."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._connection import connect, disk_full
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import name, statement, value
from ansible_collections.nexanest.database.plugins.module_utils._timescale_model import Database, State
from ansible_collections.nexanest.database.plugins.module_utils._timescale_steps import Step, Work

try:  # connect() says so where it is missing
    import psycopg2
    from psycopg2 import sql
except ImportError:
    pass

LOCK = 0x6E6578617473  # ours among advisory locks
LOCK_TIMEOUT = "60s"


class ApplyError(Exception):
    """The server refused a statement: the text holds it and the server's own words."""


@contextlib.contextmanager
def sessions(params: Mapping[str, Any], database: Database) -> Iterator[tuple[Any, Any]]:
    """A session of the database, which only one run has at a time, and one of the maintenance database."""
    with contextlib.closing(connect(params, database.name)) as session, contextlib.closing(connect(params)) as maintenance:
        with session.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false), set_config('timezone', 'UTC', false)", [LOCK_TIMEOUT])
            cursor.execute("SET intervalstyle = 'postgres'")
            try:
                cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            except psycopg2.errors.LockNotAvailable as error:
                raise ApplyError(f"another run has been converging {database.name} for {LOCK_TIMEOUT}: wait for it or end it, then run again") from error
        try:
            yield session, maintenance
        except psycopg2.Error as error:
            raise ApplyError(f"the session with {database.name} broke: {_words(error)}; see that the server is up, and run again") from error


def apply(session: Any, maintenance: Any, steps: Sequence[Step], state: State) -> None:
    """Run the steps in their order. Raises ApplyError."""
    for one in steps:
        for (alone, elsewhere), group in itertools.groupby(one.work, key=lambda work: (work.alone, work.maintenance)):
            works = list(group)
            with (maintenance if elsewhere else session).cursor() as cursor:
                if not elsewhere:
                    _search_path(cursor, state)
                if alone:
                    _alone(cursor, works)
                else:
                    _together(cursor, works)


def _together(cursor: Any, works: Sequence[Work]) -> None:
    cursor.execute("BEGIN")
    try:
        for work in works:
            cursor.execute((statement("SET LOCAL ROLE {}", name(work.role)) if work.role else statement("SET LOCAL ROLE NONE")).compose(sql))
            _execute(cursor, work)
        cursor.execute("COMMIT")
    except psycopg2.Error as error:
        raise ApplyError(f"the server could not commit: {_words(error)}") from error
    finally:
        with contextlib.suppress(psycopg2.Error):  # the session may be gone
            cursor.execute("ROLLBACK")


def _alone(cursor: Any, works: Sequence[Work]) -> None:
    for work in works:
        if work.role:
            cursor.execute(statement("SET ROLE {}", name(work.role)).compose(sql))
        try:
            _execute(cursor, work)
        finally:
            with contextlib.suppress(psycopg2.Error):
                cursor.execute("RESET ROLE")


def _execute(cursor: Any, work: Work) -> None:
    try:
        cursor.execute(work.statement.compose(sql))
    except psycopg2.Error as error:
        text = " ".join(work.statement.text().split())
        detail = f" ({' '.join(error.diag.message_detail.split())})" if error.diag.message_detail else ""
        shown = text if len(text) <= 300 else text[:300] + " …"
        raise ApplyError(f"the server refused `{shown}`: {_words(error)}{detail}{disk_full(error)}") from error


def _search_path(cursor: Any, state: State) -> None:
    # Expressions of the inventory name first(), last() and others without their schema.
    cursor.execute(statement("SELECT set_config('search_path', {}, false)", value('"{}"'.format(state.extension_schema.replace('"', '""')))).compose(sql))


def _words(error: psycopg2.Error) -> str:
    return error.diag.message_primary or "the connection was lost"
