# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which databases of a server are not what their migrations made: each one's fingerprint now against the one in its ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _catalog
from ansible_collections.nexanest.database.plugins.module_utils import _migration_fingerprint as fingerprint
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._migration_ledger import LedgerUnusable

_DATABASES = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY datname"


def schema_drift(params: Mapping[str, Any]) -> list[dict[str, str]]:
    """One entry for each database that differs: name, and what is to be said. One query each; a database without a ledger is not looked at."""
    with contextlib.closing(connect(params)) as connection, connection.cursor() as cursor:
        cursor.execute(_DATABASES)
        names = [row[0] for row in cursor.fetchall()]
    found = [_difference(params, name) for name in names]
    return [difference for difference in found if difference is not None]


def _difference(params: Mapping[str, Any], name: str) -> dict[str, str] | None:
    try:
        with contextlib.closing(connect(params, name)) as connection:
            record = fingerprint.read(connection)
            # One of an older form cannot be compared: the next run of the migrations takes it anew.
            if record is None or record.form != _catalog.form(connection) or record.sha256 == _catalog.fingerprint(connection):
                return None
    except LedgerUnusable as error:
        return {"database": name, "what": f"cannot be compared with its migrations: {error}"}
    except (ServerUnreachable, STATEMENT_ERROR) as error:
        return {"database": name, "what": f"could not be compared with its migrations: {' '.join(str(error).split())}"}
    return {"database": name, "what": f"differs from its migrations since {record.taken:%Y-%m-%d %H:%M} or later"}
