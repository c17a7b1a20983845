# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions of an autocommit session."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

# A statement with a key, a verifier or a password in it is written nowhere, whatever the server logs otherwise.
UNLOGGED = (
    "SET LOCAL log_statement = 'none'",
    "SET LOCAL log_min_duration_statement = -1",
    "SET LOCAL log_min_duration_sample = -1",
    "SET LOCAL log_transaction_sample_rate = 0",
    "SET LOCAL log_min_error_statement = 'panic'",
    "SET LOCAL pgaudit.log = 'none'",
)


@contextlib.contextmanager
def transaction(cursor: Any) -> Iterator[None]:
    """All of it or nothing."""
    cursor.execute("BEGIN")
    try:
        yield
        cursor.execute("COMMIT")
    except BaseException:
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def unlogged(cursor: Any) -> Iterator[None]:
    """The same, for statements with secrets."""
    with transaction(cursor):
        for statement in UNLOGGED:
            cursor.execute(statement)
        yield
