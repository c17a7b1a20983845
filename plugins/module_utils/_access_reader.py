# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the facts for the access proof: as the administrator, in transactions that can write nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _access_queries as queries
from ansible_collections.nexanest.database.plugins.module_utils._access_facts import (
    PUBLIC,
    Facts,
    ForeignKey,
    Function,
    Inside,
    Policy,
    Relation,
    Role,
    Sample,
    Schema,
)
from ansible_collections.nexanest.database.plugins.module_utils._connection import STATEMENT_ERROR, connect

try:
    from psycopg2 import sql
except ImportError:
    pass  # connect() says so

SAMPLE_TIMEOUT = "10s"


def read(params: Mapping[str, Any], databases: Mapping[str, Sequence[str]], column: str) -> Facts:
    """The facts of a server. databases: the roles to judge in each; column: the user column."""
    with contextlib.closing(_session(params, params["login_db"])) as session:
        asked = {"roles": queries.ROLES, "databases": queries.DATABASES, "parameters": queries.PARAMETERS, "settings": queries.SETTINGS}
        shared = {key: _ask(session, query) for key, query in asked.items()}
    return Facts(
        administrator=params["login_user"],
        roles={row["name"]: Role(row["name"], row["login"], tuple(row["powers"]), tuple(row["member_of"])) for row in shared["roles"]},
        public={name: frozenset(row["public"]) for name, row in shared["databases"].items()},
        connectors={name: frozenset(row["connectors"]) for name, row in shared["databases"].items()},
        parameters=frozenset(shared["parameters"]),
        inside={name: _inside(params, name, roles, column) for name, roles in databases.items() if name in shared["databases"]},
        settings=frozenset((role, name) for role, name in shared["settings"]),
    )


def _session(params: Mapping[str, Any], database: str) -> Any:
    session = connect(params, database)
    with session.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        cursor.execute(f"SET statement_timeout = '{SAMPLE_TIMEOUT}'")
    return session


def _ask(session: Any, query: str, values: Mapping[str, Any] | None = None) -> Any:
    with session.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchone()[0]


def _inside(params: Mapping[str, Any], database: str, roles: Sequence[str], column: str) -> Inside:
    values = {"roles": [*roles, "public"], "column": column}
    with contextlib.closing(_session(params, database)) as session:
        relations = tuple(_relation(row) for row in _ask(session, queries.RELATIONS, values))
        owned = [relation for relation in relations if relation.user_type]
        names = {"schemas": [relation.schema for relation in owned], "names": [relation.name for relation in owned]}
        return Inside(
            relations=relations,
            functions=tuple(_function(row) for row in _ask(session, queries.FUNCTIONS, values)),
            schemas=tuple(Schema(row["name"], row["owner"], _public(row["creators"])) for row in _ask(session, queries.SCHEMAS, values)),
            foreign_keys=tuple(ForeignKey(**row) for row in _ask(session, queries.FOREIGN_KEYS, values)),
            extensions=frozenset(_ask(session, queries.EXTENSIONS)),
            samples=_samples(session, owned, column),
            has_statistics=bool(_ask(session, queries.STATISTICS, names)),
            system_rights=tuple((role, right) for role, right in _ask(session, queries.SYSTEM_RIGHTS, values)),
            silent_triggers=tuple(_ask(session, queries.SILENT_TRIGGERS, values)),
            leakproof=tuple(_ask(session, queries.LEAKPROOF, values)),
        )


def _relation(row: dict[str, Any]) -> Relation:
    policies = [_policy(policy) for policy in row.pop("policies") or ()]
    powers = {_named(role): frozenset(words) for role, words in (row.pop("powers") or {}).items()}
    bases = frozenset((schema, name) for schema, name in row.pop("bases") or ())
    fillers = row.pop("fillers") or {}
    return Relation(**{**row, "readers": _public(row["readers"])}, policies=tuple(policies), powers=powers, bases=bases, fillers=fillers)


def _policy(row: dict[str, Any]) -> Policy:
    return Policy(**{**row, "roles": frozenset(row["roles"]), "conditions": tuple(row["conditions"])})


def _function(row: dict[str, Any]) -> Function:
    arguments = tuple((name, kind) for name, kind in row.pop("arguments") or ())
    return Function(**{**row, "executors": _public(row["executors"])}, arguments=arguments)


def _named(role: str) -> str:
    return PUBLIC if role == "public" else role


def _public(roles: Iterable[str]) -> frozenset[str]:
    return frozenset(_named(role) for role in roles)


def _samples(session: Any, owned: Sequence[Relation], column: str) -> dict[tuple[str, str], Sample]:
    """By relation. A view is not asked, as the administrator would run what its owner put into it: it has the users of the tables that it reads."""
    found = {relation.key: _sample(session, relation, column) for relation in owned if relation.stored}
    views = {relation.key: _behind(relation, found) for relation in owned if not relation.stored and relation.kind != "f"}
    return {**found, **views}


def _behind(view: Relation, found: Mapping[tuple[str, str], Sample]) -> Sample:
    behind = [sample for key, sample in found.items() if key in view.bases] or list(found.values())
    first = next((sample for sample in behind if sample.user_a is not None), Sample())
    return Sample(first.user_a, first.user_b, any(sample.strangers for sample in behind))


def _sample(session: Any, relation: Relation, column: str) -> Sample:
    """Two users out of the rows. A relation that takes too long to ask has none that are known."""
    names = {"relation": sql.Identifier(relation.schema, relation.name), "column": sql.Identifier(column)}
    try:
        user_a = _first(session, "SELECT {column}::text FROM {relation} WHERE {column} IS NOT NULL LIMIT 1", names)
        user_b = None if user_a is None else _first(session, "SELECT {column}::text FROM {relation} WHERE {column} <> {user} LIMIT 1", names, user_a)
        strangers = _first(session, "SELECT 'yes' FROM {relation} WHERE {column} IS NULL LIMIT 1", names) is not None
    except STATEMENT_ERROR:
        return Sample(strangers=True)
    return Sample(user_a, user_b, strangers)


def _first(session: Any, template: str, names: Mapping[str, Any], user: str = "") -> str | None:
    with session.cursor() as cursor:
        cursor.execute(sql.SQL(template).format(**names, user=sql.Literal(user)))
        row = cursor.fetchone()
    return None if row is None else str(row[0])
