# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One server as a restore sees it: sessions of its administrator, its lock, and what it has."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils import _restore_ledger as ledger
from ansible_collections.nexanest.database.plugins.module_utils._backup_facts import MAINTENANCE
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._restore_plan import Found, Present

if TYPE_CHECKING:
    import psycopg2.extensions

# No guard rail that a role or a database has ends a session of ours, or makes it read only or another role; and no trigger on logins writes into a copy.
_UNGUARDED = (
    "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c transaction_timeout=0 -c idle_session_timeout=0 "
    "-c default_transaction_read_only=off -c event_triggers=off -c role=none"
)

_DATABASES = """
SELECT d.datname, d.oid, d.datallowconn, d.datistemplate, d.datconnlimit = -2,
  (SELECT count(*) FROM pg_prepared_xacts p WHERE p.database = d.datname), (SELECT count(*) FROM pg_replication_slots s WHERE s.datoid = d.oid),
  (SELECT count(*) FROM pg_subscription s WHERE s.subdbid = d.oid)
FROM pg_database d
"""

_SERVER = """
SELECT current_setting('server_version_num')::int, current_setting('timescaledb.license', true),
  coalesce((pg_stat_file((SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR') || '/timescaledb-tsl-' ||
    (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb') || '.so', true)).size IS NOT NULL, false),
  current_setting('data_directory'), (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
"""

_EXTENSIONS = """
SELECT e.name, e.default_version, array_agg(v.version) FROM pg_available_extensions e JOIN pg_available_extension_versions v USING (name) GROUP BY 1, 2
"""


class ServerUnfit(Exception):
    """A restore cannot work with this server; the text says why."""


@dataclass
class Server:
    """name: in the manifest; login: options of the administrator."""

    name: str
    container: str
    login: Mapping[str, Any]
    lock_wait: float
    _control: psycopg2.extensions.connection | None = None

    @contextlib.contextmanager
    def session(self, database: str) -> Iterator[psycopg2.extensions.connection]:
        with contextlib.closing(connect(self.login, database, options=_UNGUARDED)) as session:
            yield session

    @property
    def control(self) -> psycopg2.extensions.connection:
        """The session on the server's own database that holds the lock: no two restores work on one server."""
        if self._control is None or self._control.closed:
            self._control = connect(self.login, MAINTENANCE, options=_UNGUARDED)
            self._lock(self._control)
        return self._control

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    def alive(self, limit: float = 60) -> None:
        """Wait for a server that is starting again; its sessions are gone."""
        deadline = time.monotonic() + limit
        while True:
            try:
                with self.control.cursor() as cursor:
                    cursor.execute("SELECT 1")
                return
            except (ServerUnreachable, STATEMENT_ERROR):
                self.close()
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def look(self) -> Found:
        """What it has."""
        with self.control.cursor() as cursor:
            cursor.execute(_SERVER)
            version, licence, library, folder, superuser = cursor.fetchall()[0]
            if not superuser:
                raise ServerUnfit(f"{self.name}: {self.login['login_user']} is no superuser: log in as the administrator")
            cursor.execute(_DATABASES)
            databases = {name: Present(*row) for name, *row in cursor.fetchall()}
            cursor.execute(_EXTENSIONS)
            extensions = {name: [default, *(one for one in versions if one != default)] for name, default, versions in cursor.fetchall()}
            cursor.execute("SELECT rolname, rolsuper FROM pg_roles")
            roles = dict(cursor.fetchall())
            cursor.execute("SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')")
            spaces = frozenset(row[0] for row in cursor.fetchall())
        offered = extensions.get("timescaledb")
        if licence is None and offered:
            licence = self._license(offered[0])
        superusers = frozenset(name for name, is_one in roles.items() if is_one)
        return Found(version, licence, library, databases, extensions, frozenset(roles), self._free(folder), superusers=superusers, tablespaces=spaces)

    def _license(self, version: str) -> str | None:
        """TimescaleDB's setting, where the configuration has none: only its own library knows the default."""
        with self.session(MAINTENANCE) as session, session.cursor() as cursor:
            cursor.execute("LOAD %s", (f"$libdir/timescaledb-{version}",))
            cursor.execute("SELECT current_setting('timescaledb.license', true)")
            ((licence,),) = cursor.fetchall()
            return str(licence) if licence else None

    def _free(self, folder: str) -> int | None:
        """Free bytes where the server keeps its data, as it is seen in its container."""
        try:
            output = Docker().execute(self.container, ["df", "-Pk", folder])
            return int(output.stdout.splitlines()[1].split()[3]) * 1024 if output.code == 0 else None
        except (DockerError, IndexError, ValueError):
            return None

    def _lock(self, session: psycopg2.extensions.connection) -> None:
        deadline = time.monotonic() + self.lock_wait
        while True:
            with session.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", (ledger.LOCK,))
                if cursor.fetchall()[0][0]:
                    return
            if time.monotonic() >= deadline:
                session.close()
                raise ServerUnfit(f"another restore works on {self.name}: wait until it has ended, then run this again")
            time.sleep(0.5)
