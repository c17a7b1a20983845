# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the catalog that the access proof asks as the administrator. Each answers with one JSON value."""

from __future__ import annotations

ROLES = """
SELECT coalesce(json_agg(json_build_object(
  'name', r.rolname, 'login', r.rolcanlogin,
  'powers', array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
    CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END], NULL),
  'member_of', ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid ORDER BY 1))), '[]')
FROM pg_roles r
"""

DATABASES = """
SELECT json_object_agg(d.datname, json_build_object(
  'public', ARRAY(SELECT privilege_type FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) WHERE grantee = 0),
  'connectors', ARRAY(SELECT pg_get_userbyid(grantee)::text FROM aclexplode(d.datacl)
    WHERE grantee NOT IN (0, d.datdba) AND privilege_type = 'CONNECT')))
FROM pg_database d WHERE d.datallowconn
"""

PARAMETERS = """
SELECT coalesce(json_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END), '[]')
FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) a WHERE a.grantee <> 10
"""

# What belongs to no extension: @catalog@ and @alias@ stand for its kind.
_OURS = """n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '@catalog@'::regclass AND e.objid = @alias@.oid AND e.deptype = 'e')"""

# %(roles)s: the roles to judge, with `public` for everybody; %(column)s: the user column.
RELATIONS = """
WITH RECURSIVE uses(viewer, base) AS (
  SELECT r.ev_class, d.refobjid FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
  UNION SELECT u.viewer, d.refobjid FROM uses u JOIN pg_rewrite r ON r.ev_class = u.base
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
)
SELECT coalesce(json_agg(json_build_object(
  'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'owner', pg_get_userbyid(c.relowner),
  'partition', c.relispartition OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid),
  'row_security', c.relrowsecurity, 'forced', c.relforcerowsecurity,
  'invoker', coalesce((SELECT option_value::bool FROM pg_options_to_table(c.reloptions) WHERE option_name = 'security_invoker'), false),
  'writable', c.relkind IN ('r', 'p') OR c.relkind = 'v' AND pg_relation_is_updatable(c.oid, false) & 28 = 28,
  'user_type', coalesce((SELECT format_type(a.atttypid, NULL) FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attname = %(column)s AND a.attnum > 0 AND NOT a.attisdropped), ''),
  'stored', c.relkind IN ('r', 'p', 'm') AND EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
    WHERE a.attrelid = c.oid AND a.attname = %(column)s AND a.attnum > 0 AND b.typnamespace = 'pg_catalog'::regnamespace AND b.typtype = 'b'),
  'policies', (SELECT json_agg(json_build_object('name', p.polname, 'command', p.polcmd, 'permissive', p.polpermissive,
      'roles', ARRAY(SELECT CASE g WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g)::text END FROM unnest(p.polroles) g),
      'own_rows', coalesce(position(quote_ident(%(column)s) IN pg_get_expr(p.polqual, p.polrelid)) > 0, true)
        AND coalesce(position(quote_ident(%(column)s) IN pg_get_expr(p.polwithcheck, p.polrelid)) > 0, true),
      'conditions', array_remove(ARRAY[pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)], NULL)))
    FROM pg_policy p WHERE p.polrelid = c.oid),
  'readers', ARRAY(SELECT g FROM unnest(%(roles)s) g WHERE has_schema_privilege(g, n.oid, 'USAGE')
    AND (has_table_privilege(g, c.oid, 'SELECT') OR has_any_column_privilege(g, c.oid, 'SELECT'))),
  'powers', (SELECT json_object_agg(g, ARRAY(SELECT w FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) w
      WHERE has_table_privilege(g, c.oid, w) OR w IN ('INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(g, c.oid, w)))
    FROM unnest(%(roles)s) g),
  'bases', (SELECT json_agg(DISTINCT jsonb_build_array(bn.nspname, b.relname)) FROM uses u JOIN pg_class b ON b.oid = u.base
    JOIN pg_namespace bn ON bn.oid = b.relnamespace WHERE u.viewer = c.oid),
  'fillers', (SELECT json_object_agg(a.attname, CASE WHEN a.atthasdef OR a.attidentity <> '' THEN 'NULL' ELSE 'now()' END)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> %(column)s AND c.relkind IN ('r', 'p')
      AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE '%%nextval(%%'
        OR a.attnotnull AND NOT a.atthasdef AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)))
)), '[]')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND @ours@
""".replace("@ours@", _OURS.replace("@catalog@", "pg_class").replace("@alias@", "c"))

FUNCTIONS = """
SELECT coalesce(json_agg(json_build_object(
  'schema', n.nspname, 'name', p.proname, 'signature', pg_get_function_identity_arguments(p.oid), 'owner', pg_get_userbyid(p.proowner),
  'definer', p.prosecdef, 'search_path', (SELECT substr(s, 13) FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%%'),
  'returns_set', p.proretset,
  'returns_user', EXISTS (SELECT FROM generate_subscripts(p.proallargtypes, 1) i WHERE p.proargmodes[i] IN ('o', 'b', 't') AND p.proargnames[i] = %(column)s)
    OR EXISTS (SELECT FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid WHERE t.oid = p.prorettype AND a.attname = %(column)s AND a.attnum > 0),
  'executors', ARRAY(SELECT g FROM unnest(%(roles)s) g WHERE has_function_privilege(g, p.oid, 'EXECUTE') AND has_schema_privilege(g, n.oid, 'USAGE'))
    || ARRAY(SELECT 'public' FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0),
  'arguments', (SELECT json_agg(json_build_array(coalesce(p.proargnames[i], ''), format_type(p.proargtypes[i - 1], NULL)) ORDER BY i)
    FROM generate_series(1, p.pronargs) i)
)), '[]')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind = 'f' AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND @ours@
""".replace("@ours@", _OURS.replace("@catalog@", "pg_proc").replace("@alias@", "p"))

SCHEMAS = """
SELECT json_agg(json_build_object('name', n.nspname, 'owner', pg_get_userbyid(n.nspowner),
  'creators', ARRAY(SELECT g FROM unnest(%(roles)s) g WHERE has_schema_privilege(g, n.oid, 'CREATE'))))
FROM pg_namespace n WHERE n.nspname !~ '^pg_(toast|temp)'
"""

# Both sides have the user column; a partition's copy of its parent's key is left out.
FOREIGN_KEYS = """
SELECT coalesce(json_agg(json_build_object('name', k.conname, 'table', n.nspname || '.' || c.relname, 'target', tn.nspname || '.' || t.relname,
  'tied', k.confkey = ARRAY[ta.attnum] OR EXISTS (
    SELECT FROM generate_subscripts(k.conkey, 1) i WHERE k.conkey[i] = a.attnum AND k.confkey[i] = ta.attnum))), '[]')
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %(column)s AND NOT a.attisdropped
JOIN pg_attribute ta ON ta.attrelid = t.oid AND ta.attname = %(column)s AND NOT ta.attisdropped
WHERE k.contype = 'f' AND k.conparentid = 0
"""

# Rights in the system's own schema that neither initdb nor an extension gave.
SYSTEM_RIGHTS = """
WITH given AS (
  SELECT 'pg_proc'::regclass::oid AS class, p.oid, 0 AS part, 'f'::"char" AS kind, p.proowner AS owner, p.oid::regprocedure::text AS title, a.*
    FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a WHERE p.pronamespace = 'pg_catalog'::regnamespace
  UNION ALL SELECT 'pg_class'::regclass, c.oid, 0, 'r', c.relowner, c.relname, a.*
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE c.relnamespace = 'pg_catalog'::regnamespace
  UNION ALL SELECT 'pg_class'::regclass, c.oid, t.attnum, 'c', c.relowner, c.relname || '.' || t.attname, a.*
    FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE c.relnamespace = 'pg_catalog'::regnamespace)
SELECT coalesce(json_agg(json_build_array(CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END, g.privilege_type || ' on ' || g.title)
  ORDER BY g.title, g.grantee), '[]')
FROM given g LEFT JOIN pg_init_privs i ON (i.classoid, i.objoid, i.objsubid) = (g.class, g.oid, g.part)
WHERE (g.grantee = 0 OR pg_get_userbyid(g.grantee) = ANY (%(roles)s)) AND NOT EXISTS (
  SELECT FROM aclexplode(coalesce(i.initprivs, acldefault(g.kind, g.owner))) a WHERE (a.grantee, a.privilege_type) = (g.grantee, g.privilege_type))
"""

# Triggers that do not fire: a table's own guards, or those of its foreign keys.
SILENT_TRIGGERS = """
SELECT coalesce(json_agg(DISTINCT n.nspname || '.' || c.relname || ': ' || CASE WHEN t.tgisinternal THEN 'its foreign keys' ELSE t.tgname END), '[]')
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgenabled IN ('D', 'R') AND @ours@
""".replace("@ours@", _OURS.replace("@catalog@", "pg_class").replace("@alias@", "c"))

# Row security lets a leakproof function see rows before the policy does.
LEAKPROOF = """
SELECT coalesce(json_agg(n.nspname || '.' || p.proname), '[]') FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.proleakproof AND @ours@
""".replace("@ours@", _OURS.replace("@catalog@", "pg_proc").replace("@alias@", "p"))

# What ALTER ROLE and ALTER DATABASE say, on the whole server: names, no values.
SETTINGS = """
SELECT coalesce(json_agg(json_build_array(CASE s.setrole WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(s.setrole)::text END, split_part(c, '=', 1))), '[]')
FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) c
"""

EXTENSIONS = "SELECT json_agg(extname) FROM pg_extension"

STATISTICS = "SELECT to_json(EXISTS (SELECT FROM pg_stats WHERE (schemaname, tablename) IN (SELECT * FROM unnest(%(schemas)s::text[], %(names)s::text[]))))"
