# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what the server has: one query for the cluster, one per database for what lives inside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils._connection import connect
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import (
    OWNER,
    SYSTEM_DATABASES,
    Database,
    Desired,
    DesiredDatabase,
    Extension,
    Grant,
    Grants,
    Inside,
    Membership,
    Role,
    Schema,
    State,
)

if TYPE_CHECKING:
    import psycopg2.extensions

# to_jsonb: the column of a database's locale has another name in each major version.
CLUSTER = """
WITH wanted_roles AS (SELECT unnest(%(roles)s::text[]) AS name),
     grants AS (
       SELECT d.datname, coalesce(grantee.rolname, '') AS grantee, acl.privilege_type AS privilege, grantor.rolname AS grantor, acl.is_grantable AS grantable
       FROM pg_database d
       CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) acl
       JOIN pg_authid grantor ON grantor.oid = acl.grantor
       LEFT JOIN pg_authid grantee ON grantee.oid = acl.grantee
       WHERE d.datname = ANY (%(databases)s) AND acl.grantee <> d.datdba)
SELECT json_build_object(
  'superuser', (SELECT rolsuper FROM pg_authid WHERE rolname = current_user),
  'roles', (SELECT json_agg(json_build_object(
      'name', rolname, 'login', rolcanlogin, 'superuser', rolsuper, 'createdb', rolcreatedb, 'createrole', rolcreaterole, 'bypassrls', rolbypassrls,
      'replication', rolreplication, 'inherit', rolinherit, 'conn_limit', rolconnlimit,
      'expires', coalesce(rolvaliduntil <> 'infinity', false), 'verifier', rolpassword))
    FROM pg_authid WHERE rolname IN (SELECT name FROM wanted_roles)),
  'memberships', (SELECT json_agg(json_build_object(
      'role', role.rolname, 'member', member.rolname, 'grantor', grantor.rolname,
      'admin', m.admin_option, 'inherit', m.inherit_option, 'set', m.set_option) ORDER BY role.rolname, member.rolname)
    FROM pg_auth_members m
    JOIN pg_authid role ON role.oid = m.roleid
    JOIN pg_authid member ON member.oid = m.member
    JOIN pg_authid grantor ON grantor.oid = m.grantor
    WHERE role.rolname IN (SELECT name FROM wanted_roles) OR member.rolname IN (SELECT name FROM wanted_roles)),
  'databases', (SELECT json_agg(json_build_object(
      'name', d.datname, 'owner', owner.rolname, 'encoding', pg_encoding_to_char(d.encoding),
      'locale_provider', CASE d.datlocprovider WHEN 'b' THEN 'builtin' WHEN 'i' THEN 'icu' ELSE 'libc' END,
      'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate),
      'conn_limit', d.datconnlimit, 'allow_connections', d.datallowconn, 'comment', shobj_description(d.oid, 'pg_database'),
      'grants', (SELECT json_agg(to_jsonb(g) - 'datname') FROM grants g WHERE g.datname = d.datname)))
    FROM pg_database d JOIN pg_authid owner ON owner.oid = d.datdba WHERE d.datname = ANY (%(databases)s)),
  'settings', (SELECT json_agg(json_build_array(coalesce(d.datname, ''), coalesce(r.rolname, ''), s.setconfig) ORDER BY d.datname, r.rolname)
    FROM pg_db_role_setting s
    LEFT JOIN pg_database d ON d.oid = s.setdatabase
    LEFT JOIN pg_authid r ON r.oid = s.setrole
    -- What a restore replaced is closed, and is kept with all its settings.
    WHERE d.datname = ANY (%(databases)s) OR (d.datallowconn IS NOT FALSE AND r.rolname IN (SELECT name FROM wanted_roles))),
  'extensions', (SELECT json_agg(name) FROM pg_available_extensions WHERE name = ANY (%(extensions)s)))
"""

INSIDE = """
SELECT json_build_object(
  'schemas', (SELECT json_agg(json_build_object('name', n.nspname, 'owner', pg_get_userbyid(n.nspowner), 'grants', (
        SELECT json_agg(json_build_object(
            'grantee', CASE acl.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(acl.grantee) END, 'privilege', acl.privilege_type,
            'grantor', pg_get_userbyid(acl.grantor), 'grantable', acl.is_grantable))
        FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) acl WHERE acl.grantee <> n.nspowner)))
    FROM pg_namespace n WHERE n.nspname = ANY (%(schemas)s)),
  'extensions', (SELECT json_agg(json_build_object('name', e.extname, 'version', e.extversion, 'schema', n.nspname))
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace),
  'defaults', (SELECT json_agg(json_build_object('schema', coalesce(n.nspname, ''), 'kind', a.defaclobjtype, 'grants', (
        SELECT json_agg(json_build_object(
            'grantee', CASE acl.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(acl.grantee) END, 'privilege', acl.privilege_type,
            'grantor', pg_get_userbyid(acl.grantor), 'grantable', acl.is_grantable))
        FROM aclexplode(a.defaclacl) acl WHERE acl.grantee <> a.defaclrole)))
    FROM pg_default_acl a LEFT JOIN pg_namespace n ON n.oid = a.defaclnamespace
    WHERE pg_get_userbyid(a.defaclrole) = %(owner)s))
"""

_KINDS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS"}


def read(maintenance: psycopg2.extensions.connection, params: Mapping[str, Any], desired: Desired) -> State:
    """The state of everything that `desired` names, over `maintenance` and one short session per database."""
    found = _cluster(maintenance, desired)
    if not found["superuser"]:
        raise InputError(f"login_user {params['login_user']!r} is no superuser, and only one can converge databases: log in as the administrator")
    databases = {item["name"]: Database(**{**item, "grants": _grants(item["grants"])}) for item in _rows(found, "databases")}
    return State(
        version=maintenance.server_version,
        administrator=params["login_user"],
        roles={item["name"]: Role(**item) for item in _rows(found, "roles")},
        memberships=tuple(Membership(**item) for item in _rows(found, "memberships")),
        databases=databases,
        settings={(database, role): _settings(config) for database, role, config in _rows(found, "settings")},
        inside={one.name: _inside(params, one) for one in desired.databases if _is_open(databases.get(one.name))},
        extensions=frozenset(_rows(found, "extensions")),
    )


def _cluster(maintenance: psycopg2.extensions.connection, desired: Desired) -> dict[str, Any]:
    values = {
        "roles": [*desired.roles, *desired.dropped_roles],
        "databases": [*SYSTEM_DATABASES, *(database.name for database in desired.databases), *desired.dropped],
        "extensions": sorted({extension.name for database in desired.databases for extension in database.extensions}),
    }
    return _document(maintenance, CLUSTER, values)


def _inside(params: Mapping[str, Any], database: DesiredDatabase) -> Inside:
    owner = database.role(OWNER)
    with contextlib.closing(connect(params, database.name)) as session:
        found = _document(session, INSIDE, {"schemas": [*database.schemas, "public"], "owner": owner})
    return Inside(
        schemas={item["name"]: Schema(item["owner"], _grants(item["grants"])) for item in _rows(found, "schemas")},
        extensions={item["name"]: Extension(item["schema"], item["version"]) for item in _rows(found, "extensions")},
        defaults={(owner, item["schema"], _KINDS[item["kind"]]): _grants(item["grants"]) for item in _rows(found, "defaults") if item["kind"] in _KINDS},
    )


def _is_open(database: Database | None) -> bool:
    """What is closed is refused by the plan, in words of its own."""
    return database is not None and database.allow_connections and database.conn_limit != -2


def _document(session: psycopg2.extensions.connection, query: str, values: Mapping[str, Any]) -> dict[str, Any]:
    with session.cursor() as cursor:
        cursor.execute(query, values)
        row = cursor.fetchone()
    return dict(row[0]) if row else {}


def _rows(document: Mapping[str, Any], key: str) -> Iterable[Any]:
    return document[key] or ()


def _grants(items: Iterable[Mapping[str, Any]] | None) -> Grants:
    return frozenset(Grant(**item) for item in items or ())


def _settings(config: Iterable[str]) -> dict[str, str]:
    pairs = (item.partition("=") for item in config)
    return {key.lower(): value for key, _equals, value in pairs}
