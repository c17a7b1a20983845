# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the schema `session` of a database: one query, and of the keys their checksums alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils._connection import connect
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import DEFINER, KINDS, Grant, Grants
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens import COLUMNS, Function, Session, TokenDatabase

if TYPE_CHECKING:
    import psycopg2.extensions

EXISTING = "SELECT current_setting('is_superuser') = 'on', (SELECT array_agg(datname::text) FROM pg_database WHERE datname = ANY (%s)), \
(SELECT array_agg(rolname::text) FROM pg_roles WHERE rolname = ANY (%s))"

# Grants on single columns count as grants on the table: none is wanted.
SESSION = """
WITH acl AS (
  SELECT n.oid, a.* FROM pg_namespace n CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    WHERE n.nspname = 'session' AND a.grantee <> n.nspowner
  UNION ALL SELECT t.oid, a.* FROM pg_class t CROSS JOIN LATERAL aclexplode(coalesce(t.relacl, acldefault('r', t.relowner))) a
    WHERE t.oid = to_regclass('session.keys') AND a.grantee <> t.relowner
  UNION ALL SELECT c.attrelid, a.grantor, a.grantee, a.privilege_type || ' ' || c.attname, a.is_grantable
    FROM pg_attribute c CROSS JOIN LATERAL aclexplode(c.attacl) a WHERE c.attrelid = to_regclass('session.keys')
  UNION ALL SELECT p.oid, a.* FROM pg_proc p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE p.pronamespace = to_regnamespace('session')),
grants AS (
  SELECT oid, json_agg(json_build_object(
      'grantee', CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END, 'privilege', privilege_type,
      'grantor', pg_get_userbyid(grantor), 'grantable', is_grantable)) AS list
  FROM acl GROUP BY oid)
SELECT json_build_object(
  'owner', pg_get_userbyid(n.nspowner),
  'trusted', NOT EXISTS (
      SELECT FROM pg_roles r WHERE NOT r.rolsuper AND (r.oid = n.nspowner OR r.oid IN (SELECT relowner FROM pg_class WHERE relnamespace = n.oid))),
  'grants', (SELECT list FROM grants g WHERE g.oid = n.oid),
  'columns', (SELECT json_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
      FROM pg_attribute a WHERE a.attrelid = to_regclass('session.keys') AND a.attnum > 0 AND NOT a.attisdropped),
  'table_grants', (SELECT list FROM grants g WHERE g.oid = to_regclass('session.keys')),
  'functions', (SELECT json_object_agg(p.proname || '(' || oidvectortypes(p.proargtypes) || ')', json_build_object(
        'owner', pg_get_userbyid(p.proowner), 'returns', format_type(p.prorettype, NULL), 'source', p.prosrc, 'language', l.lanname,
        'volatility', p.provolatile, 'parallel', p.proparallel, 'definer', p.prosecdef, 'strict', p.proisstrict, 'leakproof', p.proleakproof,
        'settings', p.proconfig, 'grants', (SELECT list FROM grants g WHERE g.oid = p.oid)))
      FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
      WHERE p.pronamespace = n.oid AND (p.proname, oidvectortypes(p.proargtypes)) IN (('set_user', 'text'), ('user_id', ''))))
FROM pg_namespace n
WHERE n.nspname = 'session'
"""

KEYS = "SELECT key_id, encode(sha256(secret || inner_pad || outer_pad), 'hex') FROM session.keys"


def missing(maintenance: psycopg2.extensions.connection, params: Mapping[str, Any], databases: Sequence[TokenDatabase]) -> tuple[set[str], set[str]]:
    """Databases, and roles of theirs, that the server does not have."""
    names = {database.name for database in databases}
    roles = {database.role(kind) for database in databases for kind in (*KINDS, DEFINER)}
    with maintenance.cursor() as cursor:
        cursor.execute(EXISTING, [sorted(names), sorted(roles)])
        superuser, found, found_roles = cursor.fetchall()[0]
    if not superuser:
        raise InputError(f"login_user {params['login_user']!r} is no superuser, and only one can keep the keys from the service: log in as the administrator")
    return names - set(found or ()), roles - set(found_roles or ())


def read(params: Mapping[str, Any], database: TokenDatabase) -> Session | None:
    """What the database has; None where it has no schema `session`."""
    with contextlib.closing(connect(params, database.name)) as session, session.cursor() as cursor:
        cursor.execute(SESSION)
        row = cursor.fetchone()
        if row is None:
            return None
        found = row[0]
        columns = None if found["columns"] is None else tuple(found["columns"])
        cursor.execute(KEYS if found["trusted"] and columns == COLUMNS else "SELECT WHERE false")
        keys = dict(cursor.fetchall())
    return Session(
        owner=found["owner"],
        trusted=found["trusted"],
        grants=_grants(found["grants"]),
        columns=columns,
        table_grants=_grants(found["table_grants"]),
        functions={title: _function(item) for title, item in (found["functions"] or {}).items()},
        keys=keys,
    )


def _function(item: Mapping[str, Any]) -> Function:
    return Function(**{**item, "settings": tuple(item["settings"] or ()), "grants": _grants(item["grants"])})


def _grants(items: Iterable[Mapping[str, Any]] | None) -> Grants:
    return frozenset(Grant(**item) for item in items or ())
