# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: from what a server has to what it shall have, as data. Refuses what cannot be done without loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_content import inside_steps
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import (
    KINDS,
    OWNER,
    PUBLIC,
    SYSTEM_DATABASES,
    Database,
    Desired,
    DesiredDatabase,
    Settings,
    State,
    database_grants,
)
from ansible_collections.nexanest.database.plugins.module_utils._databases_rights import Rights, Subject, converge, renamed, shown, shown_wanted
from ansible_collections.nexanest.database.plugins.module_utils._databases_roles import drop_steps, role_steps, setting_statements, shown_settings
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Statement, name, statement, value
from ansible_collections.nexanest.database.plugins.module_utils._databases_steps import Phase, Step, Work, step

OLDEST = 160000
BUILTIN_SINCE = 170000
ENCODING, LOCALE = "UTF8", "C.UTF-8"


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...]

    @property
    def changes(self) -> list[Change]:
        return [found.change for found in self.steps]

    @property
    def work(self) -> list[Work]:
        """All statements in the order in which they run."""
        return sorted((work for found in self.steps for work in found.work), key=lambda work: (work.phase, work.database))

    @property
    def queries(self) -> list[str]:
        return [work.statement.text() for work in self.work]


def plan(desired: Desired, state: State) -> Plan:
    """What to do. Raises InputError for what is refused."""
    if state.version < OLDEST:
        raise InputError(f"the server is PostgreSQL {state.version // 10000}, this module needs 16 or later: upgrade the server")
    for database in desired.databases:
        _refuse_loss(database, state)
    _refuse_drops(desired, state)
    steps = role_steps(desired, state)
    for system in SYSTEM_DATABASES:
        steps += _system_step(system, desired, state)
    for database in desired.databases:
        steps += _database_step(database, desired, state)
        steps += _role_setting_steps(database, state)
        steps += inside_steps(database, desired, state)
    steps += _stray_setting_steps(desired, state)
    for dropped in desired.dropped:
        steps += _drop_step(dropped, state)
    return Plan(tuple(steps + drop_steps(desired, state)))


def _refuse_loss(database: DesiredDatabase, state: State) -> None:
    actual = state.databases.get(database.name)
    where = f"database {database.name!r}"
    if actual is None:
        if database.locale_provider == "builtin" and state.version < BUILTIN_SINCE:
            raise InputError(f"{where} wants the locale provider builtin, which PostgreSQL has since 17: ask for icu or libc")
        return
    if actual.conn_limit == -2:
        raise InputError(f"{where} was dropped half-way and cannot be used: finish that with state: absent and its name in confirm_drop, then create it anew")
    if not actual.allow_connections:
        raise InputError(
            f"{where} lets nobody in (a restore may be under way): finish that, or open it with ALTER DATABASE … ALLOW_CONNECTIONS true, and run again"
        )
    for key in ("encoding", "locale_provider", "locale"):
        wanted, found = getattr(database, key), getattr(actual, key)
        if wanted is not None and _folded(wanted) != _folded(found):
            raise InputError(
                f"{where} has the {key} {found!r}, not {wanted!r}, and cannot change it: ask for {found!r}, or dump it, drop it and restore it into a new one"
            )


def _folded(word: str) -> str:
    """C.UTF-8 and c.utf8 are one locale, UTF8 and utf-8 one encoding."""
    return word.lower().replace("-", "").replace("_", "")


def _refuse_drops(desired: Desired, state: State) -> None:
    for database in desired.dropped:
        if database in state.databases and database not in desired.confirm_drop:
            raise InputError(f"database {database!r} has state: absent, and dropping it loses its data: add its name to confirm_drop if that is meant")


def _system_step(system: str, desired: Desired, state: State) -> list[Step]:
    """PUBLIC has no business in the server's own databases; the backup role reads the list of databases there."""
    actual = state.databases.get(system)
    if actual is None:
        return []
    judged = {PUBLIC, *desired.roles}
    wanted: Rights = {desired.backup: ("CONNECT",)} if desired.backup else {}
    statements = converge(Subject("DATABASE {}", (name(system),)), actual.grants, wanted, judged=judged, owner=actual.owner)
    before, after = {"access": shown(actual.grants, judged)}, {"access": shown_wanted(wanted)}
    return step("database", system, before=before, after=after, work=_cluster(statements))


def _database_step(database: DesiredDatabase, desired: Desired, state: State) -> list[Step]:
    found = state.databases.get(database.name)
    owner = database.role(OWNER)
    created = _created(database, owner)
    actual = found or created
    settings: Settings = state.settings.get((database.name, ""), {})
    access = _access(database, desired)
    work = [] if found else [Work(Phase.CREATE, _create(database, created, state.version))]
    work += _cluster(_alterations(database, actual, owner, access))
    work += _cluster(setting_statements("ALTER DATABASE {}", (name(database.name),), settings, database.settings))
    before = None if found is None else {**_properties(found, shown(found.grants)), "settings": shown_settings(settings)}
    wanted = {"owner": owner, "conn_limit": database.conn_limit, "comment": actual.comment if database.comment is None else database.comment or None}
    after = {**_properties(actual, shown_wanted(access)), **wanted, "settings": shown_settings(database.settings)}
    return step("database", database.name, before=before, after=after, work=work)


def _created(database: DesiredDatabase, owner: str) -> Database:
    """The database just after CREATE DATABASE: closed to all but superusers until its rights are set."""
    return Database(
        name=database.name,
        owner=owner,
        encoding=database.encoding or ENCODING,
        locale_provider=database.locale_provider or "",
        locale=database.locale or LOCALE,
        grants=database_grants(owner),
        conn_limit=0,
    )


def _properties(database: Database, access: dict[str, str]) -> dict[str, Any]:
    return {
        "owner": database.owner,
        "encoding": database.encoding,
        "locale": database.locale,
        "conn_limit": database.conn_limit,
        "comment": database.comment,
        "access": access,
    }


def _create(database: DesiredDatabase, created: Database, version: int) -> Statement:
    provider = database.locale_provider or ("builtin" if version >= BUILTIN_SINCE else "libc")
    locale = {"icu": "LOCALE_PROVIDER icu ICU_LOCALE {} LOCALE 'C.UTF-8'", "libc": "LOCALE_PROVIDER libc LOCALE {}"}.get(
        provider, "LOCALE_PROVIDER builtin BUILTIN_LOCALE {} LOCALE 'C.UTF-8'"
    )
    return statement(
        f"CREATE DATABASE {{}} OWNER {{}} TEMPLATE template0 ENCODING {{}} {locale} CONNECTION LIMIT 0",
        name(database.name),
        name(created.owner),
        value(created.encoding),
        value(created.locale),
    )


def _access(database: DesiredDatabase, desired: Desired) -> Rights:
    """The owner needs no grant; TEMPORARY is its alone, since a temporary object can hide a real one."""
    wanted: dict[str, tuple[str, ...]] = {database.role(kind): ("CONNECT",) for kind in KINDS if kind != OWNER}
    if desired.backup:
        wanted[desired.backup] = ("CONNECT",)
    return wanted


def _alterations(database: DesiredDatabase, actual: Database, owner: str, access: Rights) -> list[Statement]:
    subject = name(database.name)
    found: list[Statement] = []
    if actual.owner != owner:
        found.append(statement("ALTER DATABASE {} OWNER TO {}", subject, name(owner)))
    found += converge(Subject("DATABASE {}", (subject,)), renamed(actual.grants, actual.owner, owner), access, owner=owner)
    if actual.conn_limit != database.conn_limit:
        found.append(statement("ALTER DATABASE {} CONNECTION LIMIT {}", subject, value(database.conn_limit)))
    if database.comment is not None and (actual.comment or "") != database.comment:
        found.append(statement("COMMENT ON DATABASE {} IS {}", subject, value(database.comment)))
    return found


def _role_setting_steps(database: DesiredDatabase, state: State) -> Iterator[Step]:
    for kind, wanted in database.role_settings.items():
        role = database.role(kind)
        key = (database.name, role)
        statements = setting_statements("ALTER ROLE {} IN DATABASE {}", (name(role), name(database.name)), state.settings.get(key, {}), wanted)
        before = shown_settings(state.settings[key]) if key in state.settings else None
        yield from step("role settings", f"{role} in {database.name}", before=before, after=shown_settings(wanted), work=_cluster(statements))


def _stray_setting_steps(desired: Desired, state: State) -> Iterator[Step]:
    """Settings of our roles in databases where none are asked for."""
    asked = {(database.name, database.role(kind)) for database in desired.databases for kind in database.role_settings}
    for (database, role), settings in state.settings.items():
        if database and role in desired.roles and (database, role) not in asked and database not in desired.dropped:
            reset = statement("ALTER ROLE {} IN DATABASE {} RESET ALL", name(role), name(database))
            yield from step("role settings", f"{role} in {database}", before=shown_settings(settings), after=None, work=_cluster([reset]))


def _drop_step(database: str, state: State) -> list[Step]:
    actual = state.databases.get(database)
    if actual is None:
        return []
    drop = statement("DROP DATABASE {} WITH (FORCE)", name(database))
    before = {"owner": actual.owner, "encoding": actual.encoding, "locale": actual.locale}
    return step("database", database, before=before, after=None, work=[Work(Phase.DROP, drop)])


def _cluster(statements: Sequence[Statement]) -> list[Work]:
    return [Work(Phase.CLUSTER, found) for found in statements]
