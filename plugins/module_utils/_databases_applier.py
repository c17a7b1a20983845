# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a plan: neighbouring statements in one transaction, what cannot be in one alone."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._connection import connect, disk_full
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_roles import changed_settings
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Statement, Value
from ansible_collections.nexanest.database.plugins.module_utils._databases_steps import MAINTENANCE, Phase, Work

try:  # connect() says so where it is missing
    import psycopg2
    import psycopg2.extensions
    from psycopg2 import errorcodes, sql
except ImportError:
    pass

LOCK = 0x6E65786461746162  # ours among advisory locks
LOCK_TIMEOUT = "120s"


class ApplyError(Exception):
    """The server refused a statement: the text holds it, masked, and the server's own words."""


class ConcurrentChange(ApplyError):
    """Someone else changed the same objects meanwhile: reading again and planning anew can end well."""


@contextlib.contextmanager
def maintenance_session(params: Mapping[str, Any]) -> Iterator[psycopg2.extensions.connection]:
    """A session of the maintenance database that only one run has at a time; the lock ends with the session."""
    with contextlib.closing(connect(params)) as session, session.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
        try:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        except psycopg2.errors.LockNotAvailable as error:
            raise ApplyError(f"another run has been converging this server for {LOCK_TIMEOUT}: wait for it or end it, then run again") from error
        try:
            yield session
        except psycopg2.Error as error:
            raise ApplyError(f"the session with the server broke: {_words(error)}; see that the server is up, and run again") from error


def check_settings(maintenance: psycopg2.extensions.connection, work: Iterable[Work]) -> None:
    """Let the server judge new values of settings before anything is changed. Raises InputError."""
    for key, values in changed_settings(one.statement for one in work).items():
        if key != "role":  # the role may not be there yet
            for value in values:
                _check_setting(maintenance, key, value)


def apply(maintenance: psycopg2.extensions.connection, params: Mapping[str, Any], work: Sequence[Work]) -> None:
    """Run the statements in their order. Raises ApplyError."""
    for (database, phase), group in itertools.groupby(work, key=lambda one: (one.database, _transaction(one.phase))):
        statements = [one.statement for one in group]
        if database == MAINTENANCE:
            _run(maintenance, statements, in_transaction=phase is None)
        else:
            with contextlib.closing(connect(params, database)) as session:
                _run(session, [Statement(f"SET lock_timeout = '{LOCK_TIMEOUT}'"), *statements], in_transaction=True)


def _transaction(phase: Phase) -> Phase | None:
    """None: in the neighbours' transaction."""
    return None if phase.in_transaction else phase


def _run(session: psycopg2.extensions.connection, statements: Sequence[Statement], *, in_transaction: bool) -> None:
    with session.cursor() as cursor:
        if in_transaction:
            cursor.execute("BEGIN")
        for statement in statements:
            try:
                cursor.execute(statement.compose(sql))
            except psycopg2.Error as error:
                if in_transaction:
                    with contextlib.suppress(psycopg2.Error):  # the session may be gone
                        cursor.execute("ROLLBACK")
                raise _failure(statement, error) from error
        if in_transaction:
            cursor.execute("COMMIT")


def _failure(statement: Statement, error: psycopg2.Error) -> ApplyError:
    concurrent = {
        errorcodes.DUPLICATE_OBJECT,
        errorcodes.DUPLICATE_DATABASE,
        errorcodes.DUPLICATE_SCHEMA,
        errorcodes.UNIQUE_VIOLATION,
        errorcodes.UNDEFINED_OBJECT,
        errorcodes.INVALID_CATALOG_NAME,
        errorcodes.OBJECT_IN_USE,
        errorcodes.DEADLOCK_DETECTED,
    }
    words = _words(error)
    detail = f" ({' '.join(error.diag.message_detail.split())})" if error.diag.message_detail else ""
    text = f"the server refused `{statement.text()}`: {words}{detail}{disk_full(error)}"
    return ConcurrentChange(text) if error.pgcode in concurrent or words == "tuple concurrently updated" else ApplyError(text)


def _words(error: psycopg2.Error) -> str:
    """diag, not str(error): the latter quotes the statement, secrets included."""
    return error.diag.message_primary or "the connection was lost"


def _check_setting(maintenance: psycopg2.extensions.connection, key: str, value: Value) -> None:
    items = [str(item) for item in value.items]
    text = items[0] if len(items) == 1 else ", ".join('"{}"'.format(item.replace('"', '""')) for item in items)
    with maintenance.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            cursor.execute("SELECT set_config(%s, %s, true)", [key, text])
        except psycopg2.errors.CantChangeRuntimeParam:
            pass  # one that a session gets only at its start
        except psycopg2.Error as error:
            raise InputError(f"the server would refuse the setting {key} = {text!r}: {error.diag.message_primary}") from error
        finally:
            cursor.execute("ROLLBACK")
