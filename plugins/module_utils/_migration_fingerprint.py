# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog's fingerprint in the ledger: what the catalog was when it was known to be what the migrations make.

It is taken from the live catalog after a run, but only where the catalog was the known one before that run: a change by hand is never taken over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ansible_collections.nexanest.database.plugins.module_utils import _catalog
from ansible_collections.nexanest.database.plugins.module_utils import _migration_ledger as ledger

if TYPE_CHECKING:
    import psycopg2.extensions

# Stands for a catalog that was not the known one when a run changed it: equal to no fingerprint.
UNKNOWN = ""


@dataclass(frozen=True)
class Record:
    """A fingerprint, its form (only those of one form can be compared), and when it was taken."""

    form: str
    sha256: str
    taken: datetime


def read(connection: psycopg2.extensions.connection) -> Record | None:
    """The ledger's fingerprint. Raises LedgerUnusable."""
    if "catalog" not in ledger.tables(connection):
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT form, sha256, taken FROM _ledger.catalog")
        row = cursor.fetchone()
    return None if row is None else Record(*row)


def needs_proof(connection: psycopg2.extensions.connection) -> bool:
    """Is there nothing that the live catalog can be compared with?"""
    record = read(connection)
    return record is None or record.form != _catalog.form(connection) or record.sha256 == UNKNOWN


def is_known(connection: psycopg2.extensions.connection, *, fresh: bool) -> bool:
    """Is the live catalog what the migrations make? fresh: none was applied yet, so they make nothing."""
    record = read(connection)
    expected = _catalog.EMPTY if fresh else record.sha256 if record is not None and record.form == _catalog.form(connection) else None
    return expected is not None and expected == _catalog.fingerprint(connection)


def write(connection: psycopg2.extensions.connection, *, known: bool) -> None:
    """Record the live catalog's, or that it is not known to be the right one."""
    sha256 = _catalog.fingerprint(connection) if known else UNKNOWN
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO _ledger.catalog (form, sha256, taken) VALUES (%s, %s, pg_catalog.clock_timestamp())"
            " ON CONFLICT (one) DO UPDATE SET form = excluded.form, sha256 = excluded.sha256,"
            " taken = CASE WHEN excluded.sha256 = '' THEN _ledger.catalog.taken ELSE excluded.taken END",
            (_catalog.form(connection), sha256),
        )
