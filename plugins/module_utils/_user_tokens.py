# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema `session` of a service database: what it shall be, and the plan from what is there. No driver."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import APP, DEFINER, MIGRATOR, OWNER, PUBLIC, READONLY, Grant, Grants
from ansible_collections.nexanest.database.plugins.module_utils._databases_rights import Rights, Subject, converge, shown, shown_wanted
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Keyword, Secret, Statement, name, statement, value
from ansible_collections.nexanest.database.plugins.module_utils._databases_steps import Phase, Step, Work, step
from ansible_collections.nexanest.database.plugins.module_utils._transaction import UNLOGGED
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import (
    SCHEMA,
    SEARCH_PATH,
    USER_ID_TYPES,
    pads,
    set_user_source,
    user_id_source,
)

CURRENT, PREVIOUS = 1, 2
KEY_NAMES = {CURRENT: "current", PREVIOUS: "previous"}
COLUMNS = ("key_id smallint", "secret bytea", "inner_pad bytea", "outer_pad bytea")

_KEYS = name(SCHEMA, "keys")
_TABLE = """CREATE TABLE {} (
  key_id smallint PRIMARY KEY,
  secret bytea NOT NULL,
  inner_pad bytea NOT NULL,
  outer_pad bytea NOT NULL)"""
_PUT = (
    "INSERT INTO {} (key_id, secret, inner_pad, outer_pad) VALUES ({}, {}, {}, {})"
    " ON CONFLICT (key_id) DO UPDATE SET secret = excluded.secret, inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad"
)


@dataclass(frozen=True)
class TokenDatabase:
    """A database whose users are set by tokens. keys: by CURRENT and PREVIOUS."""

    name: str
    service: str
    user_id_type: str = "uuid"
    keys: Mapping[int, str] = field(default_factory=dict, repr=False)

    def role(self, kind: str) -> str:
        return f"{self.service}_{kind}"


@dataclass(frozen=True)
class Function:
    """A function as the catalog has it; grants: everybody's, the owner's too."""

    owner: str
    returns: str
    source: str
    language: str = "plpgsql"
    volatility: str = "s"
    parallel: str = "r"
    definer: bool = True
    strict: bool = False
    leakproof: bool = False
    settings: tuple[str, ...] = (SEARCH_PATH,)
    grants: Grants = frozenset()


@dataclass(frozen=True)
class Session:
    """What a database has of it; columns: None without the table. trusted: schema and table belong to a superuser. keys: checksums by id."""

    owner: str
    trusted: bool = True
    grants: Grants = frozenset()
    columns: tuple[str, ...] | None = None
    table_grants: Grants = frozenset()
    functions: Mapping[str, Function] = field(default_factory=dict)
    keys: Mapping[int, str] = field(default_factory=dict)


def plan(database: TokenDatabase, actual: Session | None) -> list[Step]:
    """What to do in one database. Raises InputError."""
    if actual is not None:
        _refuse_strangers(database, actual)
    return [*_schema_step(database, actual), *_table_step(database, actual), *_function_steps(database, actual), *_key_steps(database, actual)]


def session_statements(service: str, *, user_id_type: str = "uuid") -> list[Statement]:
    """Everything but the keys, for a database that has nothing of it yet; the service's five roles must be there."""
    steps = plan(TokenDatabase("", service, user_id_type), None)
    return [work.statement for found in steps for work in found.work]


def key_statements(current: str, previous: str | None = None) -> list[Statement]:
    """The keys, for a database that has none yet."""
    keys = {CURRENT: current, **({} if previous is None else {PREVIOUS: previous})}
    return [work.statement for found in _key_steps(TokenDatabase("", "", keys=keys), None) for work in found.work]


def checksum(key: str) -> str:
    """What tells one stored key from another, and is no key."""
    return hashlib.sha256(b"".join([key.encode(), *pads(key)])).hexdigest()


def functions(database: TokenDatabase) -> dict[str, Function]:
    """The functions as they shall be, by name and arguments; grants apart."""
    owner, returns = database.role(DEFINER), database.user_id_type
    return {
        # Parallel workers have another pid than the backend that the user is bound to.
        "set_user(text)": Function(owner, returns, set_user_source(returns), volatility="v", parallel="u"),
        "user_id()": Function(owner, returns, user_id_source(returns), volatility="s", parallel="r"),
    }


def _refuse_strangers(database: TokenDatabase, actual: Session) -> None:
    where = f"database {database.name!r}"
    if not actual.trusted:
        raise InputError(
            f"{where} has a schema {SCHEMA!r} in which something belongs to another role than the administrator; the schema is kept for user tokens: "
            "move what is there elsewhere, drop it and run again"
        )
    if actual.columns is not None and actual.columns != COLUMNS:
        raise InputError(f"{where} has a table {SCHEMA}.keys with the columns {', '.join(actual.columns)}, which is not this module's: move it elsewhere")
    for title, function in actual.functions.items():
        if function.returns != database.user_id_type:
            raise InputError(
                f"{where} has {SCHEMA}.{title} for users of type {function.returns}, and policies depend on it; the wanted type is {database.user_id_type}: "
                "ask for the old one, or drop the function with its policies in a migration first"
            )


def _schema_step(database: TokenDatabase, actual: Session | None) -> list[Step]:
    statements = [statement("CREATE SCHEMA {}", name(SCHEMA))] if actual is None else []
    wanted: Rights = {database.role(kind): ("USAGE",) for kind in (OWNER, MIGRATOR, APP, READONLY, DEFINER)}
    grants = actual.grants if actual else frozenset()
    statements += converge(Subject("SCHEMA {}", (name(SCHEMA),)), grants, wanted, owner=actual.owner if actual else "")
    before = None if actual is None else {"access": shown(grants)}
    return step("schema", f"{database.name}.{SCHEMA}", before=before, after={"access": shown_wanted(wanted)}, work=_inside(database, statements))


def _table_step(database: TokenDatabase, actual: Session | None) -> list[Step]:
    there = actual is not None and actual.columns is not None
    statements = [] if there else [statement(_TABLE, _KEYS)]
    wanted: Rights = {database.role(DEFINER): ("SELECT",)}
    grants = actual.table_grants if actual else frozenset()
    statements += converge(Subject("TABLE {}", (_KEYS,)), grants, wanted, owner=actual.owner if actual else "")
    before = {"access": shown(grants)} if there else None
    return step("table", f"{database.name}.{SCHEMA}.keys", before=before, after={"access": shown_wanted(wanted)}, work=_inside(database, statements))


def _function_steps(database: TokenDatabase, actual: Session | None) -> Iterable[Step]:
    for title, wanted in functions(database).items():
        yield from _function_step(database, title, wanted, actual.functions.get(title) if actual else None)


def _function_step(database: TokenDatabase, title: str, wanted: Function, actual: Function | None) -> list[Step]:
    subject = name(SCHEMA, title.partition("(")[0])
    statements = [_create(subject, title, wanted)] if actual is None or _definition(actual) != _definition(wanted) else []
    if actual is None or actual.owner != wanted.owner:
        statements.append(statement(f"ALTER FUNCTION {{}}{_arguments(title)} OWNER TO {{}}", subject, name(wanted.owner)))
    access: Rights = {database.role(kind): ("EXECUTE",) for kind in (OWNER, MIGRATOR, APP, READONLY, DEFINER)}
    grants = actual.grants if actual else frozenset(Grant(grantee, "EXECUTE", wanted.owner) for grantee in (PUBLIC, wanted.owner))
    moved = frozenset(Grant(wanted.owner if actual and g.grantee == actual.owner else g.grantee, g.privilege, wanted.owner, g.grantable) for g in grants)
    statements += converge(Subject(f"FUNCTION {{}}{_arguments(title)}", (subject,)), moved, access)
    before = None if actual is None else {**_shown(actual), "access": shown(actual.grants)}
    after = {**_shown(wanted), "access": shown_wanted(access)}
    return step("function", f"{database.name}.{SCHEMA}.{title}", before=before, after=after, work=_inside(database, statements))


def _create(subject: object, title: str, wanted: Function) -> Statement:
    volatility, parallel = {"v": "VOLATILE", "s": "STABLE"}[wanted.volatility], {"u": "UNSAFE", "r": "RESTRICTED"}[wanted.parallel]
    arguments = "(token text)" if title.endswith("(text)") else "()"
    template = (
        f"CREATE OR REPLACE FUNCTION {{}}{arguments} RETURNS {{}} LANGUAGE plpgsql {volatility} CALLED ON NULL INPUT NOT LEAKPROOF"
        f" SECURITY DEFINER PARALLEL {parallel} SET search_path = pg_catalog, pg_temp AS {{}}"
    )
    return statement(template, subject, Keyword(USER_ID_TYPES[wanted.returns]), value(wanted.source))  # type: ignore[arg-type]


def _arguments(title: str) -> str:
    return title[title.index("(") :]


def _definition(function: Function) -> tuple[object, ...]:
    """All that CREATE OR REPLACE sets."""
    shape = (function.language, function.volatility, function.parallel, function.definer, function.strict, function.leakproof, function.settings)
    return (function.source, function.returns, *shape)


def _shown(function: Function) -> dict[str, object]:
    return {
        "owner": function.owner,
        "returns": function.returns,
        "language": function.language,
        "volatility": function.volatility,
        "parallel": function.parallel,
        "security_definer": function.definer,
        "settings": list(function.settings),
        "source": f"sha256 {hashlib.sha256(function.source.encode()).hexdigest()[:16]}",
    }


def _key_steps(database: TokenDatabase, actual: Session | None) -> Iterable[Step]:
    stored = dict(actual.keys) if actual else {}
    quiet = [statement(one) for one in UNLOGGED]
    for key_id in sorted({*stored, *database.keys}):
        key = database.keys.get(key_id)
        if key is not None and stored.get(key_id) == checksum(key):
            continue
        before = {"key": "set"} if key_id in stored else None
        after = None if key is None else {"key": "changed" if before else "set"}
        change = statement("DELETE FROM {} WHERE key_id = {}", _KEYS, value(key_id)) if key is None else _put(key_id, key)
        title = f"{database.name} {KEY_NAMES.get(key_id, key_id)}"
        yield from step("user token key", title, before=before, after=after, work=_inside(database, [*quiet, change]))
        quiet = []


def _put(key_id: int, key: str) -> Statement:
    inner, outer = pads(key)
    return statement(_PUT, _KEYS, value(key_id), *(Secret(f"\\x{part.hex()}") for part in (key.encode(), inner, outer)))


def _inside(database: TokenDatabase, statements: Iterable[Statement]) -> list[Work]:
    return [Work(Phase.INSIDE, found, database.name) for found in statements]
