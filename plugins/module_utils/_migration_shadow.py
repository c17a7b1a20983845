# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's databases built anew in a throw-away server, from the same data and by the same code: what the migrations make, and would make."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _migration_ledger as ledger
from ansible_collections.nexanest.database.plugins.module_utils import _shadow
from ansible_collections.nexanest.database.plugins.module_utils._catalog import Catalog, snapshot
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._databases_applier import ApplyError, apply, maintenance_session
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_input import desired
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import APP, MIGRATOR, READONLY
from ansible_collections.nexanest.database.plugins.module_utils._databases_plan import plan
from ansible_collections.nexanest.database.plugins.module_utils._databases_reader import read
from ansible_collections.nexanest.database.plugins.module_utils._migration_apply import MigrationFailed, Options
from ansible_collections.nexanest.database.plugins.module_utils._migration_apply import apply as apply_file
from ansible_collections.nexanest.database.plugins.module_utils._migration_plan import Pending
from ansible_collections.nexanest.database.plugins.module_utils._shadow import ShadowFailed, ShadowUnavailable
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens import session_statements

try:
    from psycopg2 import sql
except ImportError:  # connect() says so
    pass


# What a small server has too little of (memory, the disk that is memory here), and what writing to a full disk may say.
_NO_RESOURCES = ("53", "58030")


@dataclass(frozen=True)
class Database:
    """One of the databases whose files are run; session_role: who runs them."""

    name: str
    session_role: str | None


class Shadow:
    """A running throw-away server with the desired roles and databases, still without migrations."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def catalog(self, database: Database) -> Catalog:
        with contextlib.closing(connect(self._params, database.name)) as connection:
            return snapshot(connection)

    def run(self, database: Database, files: Sequence[Pending]) -> Catalog:
        """Run files and give the catalog after them. Raises MigrationFailed, or ShadowFailed where the server itself broke."""
        with contextlib.closing(connect(self._params, database.name)) as connection:
            ledger.create(connection)
            # Nobody else is there to wait for.
            options = Options(database.session_role, lock_timeout="60s", lock_retries=0, version="shadow")
            try:
                for file in files:
                    apply_file(connection, database.name, file, options)
            except MigrationFailed as error:
                if connection.closed or (error.code or "").startswith(_NO_RESOURCES):
                    raise ShadowFailed(f"the throw-away server broke down ({error.what}); is its memory limit too small?") from error
                raise
            return snapshot(connection)


@contextlib.contextmanager
def shadow(params: Mapping[str, Any], databases: Sequence[Database]) -> Iterator[Shadow]:
    """Start and converge it. params: the module's, with the option `shadow`. Raises ShadowUnavailable and ShadowFailed."""
    wanted = _options(params)
    with _shadow.server(wanted) as login:
        try:
            _converge(login, params["shadow"])
            _fill_up(login, databases)
        except (ApplyError, InputError, ServerUnreachable, STATEMENT_ERROR) as error:
            raise ShadowFailed(f"the databases could not be made in a throw-away server of {wanted.image}: {' '.join(str(error).split())}") from error
        yield Shadow(login)


def _options(params: Mapping[str, Any]) -> _shadow.Options:
    given = params["shadow"]
    if given is None:
        raise ShadowUnavailable("the option shadow is not given")
    image, uid, gid = given["image"], given["uid"], given["gid"]
    if image is None:
        image, user = _shadow.image_of(given["container"])
        uid, gid = user or (uid, gid)
    libraries = given["preload_libraries"]
    if libraries is None:
        libraries = [] if params.get("assume_empty") else _preloaded(params)
    return _shadow.Options(image, uid, gid, params["login_user"], given["label"], tuple(libraries), given["memory_mb"])


def _preloaded(params: Mapping[str, Any]) -> list[str]:
    with contextlib.closing(connect(params)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW shared_preload_libraries")
        return [library.strip() for library in cursor.fetchall()[0][0].split(",") if library.strip()]


def _converge(login: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """What postgres_databases and postgres_user_tokens make, with passwords that nobody knows and without keys."""
    entries = given["databases"]
    names = [f"{entry.get('service') or entry['name']}_{kind}" for entry in entries for kind in (MIGRATOR, APP, READONLY)]
    wanted = desired({**login, "databases": entries, "passwords": {name: secrets.token_hex(16) for name in names}})
    with maintenance_session(login) as session:
        apply(session, login, plan(wanted, read(session, login, wanted)).work)
    for entry in entries:
        if entry.get("user_tokens") and entry.get("state", "present") == "present":
            _make_tokens(login, entry, given["user_id_type"])


def _make_tokens(login: Mapping[str, Any], entry: Mapping[str, Any], user_id_type: str) -> None:
    with contextlib.closing(connect(login, entry["name"])) as connection, connection.cursor() as cursor:
        for statement in session_statements(entry.get("service") or entry["name"], user_id_type=user_id_type):
            cursor.execute(statement.compose(sql))


def _fill_up(login: Mapping[str, Any], databases: Sequence[Database]) -> None:
    """Databases and roles that the desired set does not name, as the module was called without one."""
    with contextlib.closing(connect(login)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT array(SELECT datname::text FROM pg_catalog.pg_database), array(SELECT rolname::text FROM pg_catalog.pg_roles)")
        there, roles = cursor.fetchall()[0]
        for role in {database.session_role for database in databases if database.session_role} - set(roles):
            cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        for database in databases:
            if database.name not in there:
                owner = sql.Identifier(database.session_role or login["login_user"])
                create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'")
                cursor.execute(create.format(sql.Identifier(database.name), owner))
