# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The query that pictures a database's catalog: one row (kind, space, name, properties) per object, without what differs between equal servers.

Left out: PostgreSQL's own schemas, our ledger, what belongs to an extension (chunks of hypertables included), and what timescaledb_hypertables
makes: the schema _rollup, aggregates' views, TimescaleDB's own triggers. Range partitions are made
ahead by jobs and so are as many as the days that passed: their parent's row says what they have that it has not itself, and nothing else.
"""

from __future__ import annotations

import re

# What stands in < > below is replaced by these; their own words stand in < > again. Rights: ALL is what an owner has from the start, * may be handed on.
_MACROS = {
    r"<access (\w+) (\w+) (\w+)>": """
(SELECT jsonb_object_agg(given.who, given.rights) FROM (
  SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END AS who,
    CASE WHEN count(DISTINCT a.privilege_type) FILTER (WHERE NOT a.is_grantable) =
              (SELECT count(*) FROM aclexplode(acldefault('\\3', \\1.\\2owner)) d WHERE d.grantee = \\1.\\2owner) THEN 'ALL'
         ELSE string_agg(DISTINCT a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END, ', ') END AS rights
  FROM aclexplode(coalesce(\\1.\\2acl, acldefault('\\3', \\1.\\2owner))) a GROUP BY 1) given)""",
    r"<granted (\S+)>": """
(SELECT jsonb_object_agg(given.who, given.rights) FROM (
  SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END AS who,
    string_agg(DISTINCT a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END, ', ') AS rights
  FROM aclexplode(\\1) a GROUP BY 1) given)""",
    r"<row security (\w+)>": """
CASE WHEN \\1.relrowsecurity THEN 'on' ELSE 'off' END || CASE WHEN \\1.relforcerowsecurity THEN ', also for the owner' ELSE '' END""",
    r"<policy (\w+)>": """
jsonb_strip_nulls(jsonb_build_object(
    'for', CASE \\1.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
    'kind', CASE WHEN \\1.polpermissive THEN 'permissive' ELSE 'restrictive' END,
    'roles', (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END, ', ' ORDER BY 1) FROM unnest(\\1.polroles) r),
    'using', pg_get_expr(\\1.polqual, \\1.polrelid), 'with check', pg_get_expr(\\1.polwithcheck, \\1.polrelid)))""",
}

_SCOPE = """
members AS MATERIALIZED (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
spaces AS MATERIALIZED (
  SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_namespace n
  WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', '_ledger', '_rollup')
    AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid)),
relations AS MATERIALIZED (
  SELECT c.*, s.nspname AS space, format('%I.%I', s.nspname, c.relname) AS name,
    c.relispartition AND EXISTS (
      SELECT FROM pg_partition_ancestors(c.oid) a JOIN pg_partitioned_table p ON p.partrelid = a.relid
      WHERE a.relid <> c.oid AND p.partstrat = 'r') AS made_by_time
  FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
  WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)),
counted AS MATERIALIZED (SELECT * FROM relations WHERE NOT made_by_time)
"""

# Names of partitions are cut out of the texts, so that twelve equal months are one entry.
_OF_PARTITIONS = """
(SELECT coalesce(jsonb_agg(DISTINCT own.what) FILTER (WHERE own.what <> '{}'), '[]') FROM (
  SELECT jsonb_strip_nulls(jsonb_build_object(
    'owner', CASE WHEN q.relowner <> c.relowner THEN pg_get_userbyid(q.relowner) END,
    'access', CASE WHEN qa.access IS DISTINCT FROM ca.access THEN qa.access END,
    'row security', CASE WHEN (q.relrowsecurity, q.relforcerowsecurity) <> (c.relrowsecurity, c.relforcerowsecurity) THEN <row security q> END,
    'options', CASE WHEN q.reloptions IS DISTINCT FROM c.reloptions THEN coalesce(array_to_string(q.reloptions, ', '), 'none') END,
    'access to columns', (SELECT jsonb_object_agg(a.attname, <granted a.attacl>) FROM pg_attribute a
      WHERE a.attrelid = q.oid AND a.attacl IS NOT NULL),
    'partition by', pg_get_partkeydef(q.oid),
    'constraints', (SELECT jsonb_agg(pg_get_constraintdef(k.oid) ORDER BY pg_get_constraintdef(k.oid)) FROM pg_constraint k
      WHERE k.conrelid = q.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0 AND k.coninhcount = 0),
    'indexes', (SELECT jsonb_agg(x.text ORDER BY x.text) FROM (
        SELECT CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || substring(pg_get_indexdef(i.indexrelid) FROM ' (USING .*)') AS text FROM pg_index i
        WHERE i.indrelid = q.oid AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)
          AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))) x),
    'triggers', (SELECT jsonb_agg(replace(pg_get_triggerdef(t.oid), q.name, '*') ORDER BY t.tgname) FROM pg_trigger t
      WHERE t.tgrelid = q.oid AND NOT t.tgisinternal AND t.tgparentid = 0),
    'triggers otherwise enabled', (SELECT jsonb_object_agg(t.tgname, t.tgenabled) FROM pg_trigger t JOIN pg_trigger p ON p.oid = t.tgparentid
      WHERE t.tgrelid = q.oid AND NOT t.tgisinternal AND t.tgenabled <> p.tgenabled),
    'foreign keys', (SELECT 'not enforced by every trigger' FROM pg_trigger t JOIN pg_trigger p ON p.oid = t.tgparentid
      WHERE t.tgrelid = q.oid AND t.tgisinternal AND t.tgenabled <> p.tgenabled LIMIT 1),
    'columns', (SELECT jsonb_object_agg(a.attname, jsonb_build_object('not null', CASE WHEN a.attnotnull THEN 'yes' ELSE 'no' END,
          'default', coalesce(pg_get_expr(d.adbin, d.adrelid), 'none')))
      FROM pg_attribute a JOIN pg_attribute b ON b.attrelid = c.oid AND b.attname = a.attname
      LEFT JOIN pg_attrdef d ON d.adrelid = q.oid AND d.adnum = a.attnum LEFT JOIN pg_attrdef e ON e.adrelid = c.oid AND e.adnum = b.attnum
      WHERE a.attrelid = q.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND (a.attnotnull, pg_get_expr(d.adbin, d.adrelid)) IS DISTINCT FROM (b.attnotnull, pg_get_expr(e.adbin, e.adrelid))),
    'policies', (SELECT jsonb_object_agg(p.polname, <policy p>) FROM pg_policy p WHERE p.polrelid = q.oid))) AS what
  FROM pg_inherits h JOIN relations q ON q.oid = h.inhrelid
  CROSS JOIN LATERAL (SELECT <access q rel r> AS access) qa
  CROSS JOIN LATERAL (SELECT <access c rel r> AS access) ca
  WHERE h.inhparent = c.oid AND q.made_by_time) own
HAVING count(*) > 0)"""

_SCHEMAS = """
SELECT 'schema', s.nspname, format('%I', s.nspname), jsonb_build_object('owner', pg_get_userbyid(s.nspowner),
  'access', <access s nsp n>, 'comment', obj_description(s.oid, 'pg_namespace'))
FROM spaces s"""

_TABLES = """
SELECT 'table', c.space, c.name, jsonb_build_object(
  'kind', CASE c.relkind WHEN 'f' THEN 'foreign' WHEN 'p' THEN 'partitioned' END,
  'owner', pg_get_userbyid(c.relowner), 'access', <access c rel r>, 'row security', <row security c>,
  'order of columns', (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'persistence', CASE c.relpersistence WHEN 'u' THEN 'unlogged' END, 'options', array_to_string(c.reloptions, ', '),
  'options of long values', (SELECT array_to_string(o.reloptions, ', ') FROM pg_class o WHERE o.oid = c.reltoastrelid),
  'replica identity', CASE c.relreplident WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full' WHEN 'i' THEN 'index' END,
  'inherits', (SELECT string_agg(h.inhparent::regclass::text, ', ' ORDER BY h.inhseqno) FROM pg_inherits h WHERE h.inhrelid = c.oid),
  'bound', pg_get_expr(c.relpartbound, c.oid), 'partition by', pg_get_partkeydef(c.oid),
  'default partition', (SELECT 'yes' FROM pg_partitioned_table p WHERE p.partrelid = c.oid AND p.partdefid <> 0),
  'partitions', CASE WHEN c.relkind = 'p' THEN <of partitions> END,
  'server', (SELECT s.srvname FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = c.oid),
  'options of the server''s table', (SELECT array_to_string(f.ftoptions, ', ') FROM pg_foreign_table f WHERE f.ftrelid = c.oid),
  'comment', obj_description(c.oid, 'pg_class'))
FROM counted c WHERE c.relkind IN ('r', 'p', 'f')"""

# Of a column's options those that somebody can set: Debian's server keeps a number of its own (pg_attver) among them.
_COLUMNS = """
SELECT 'column', c.space, format('%s.%I', c.name, a.attname), jsonb_build_object(
  'type', format_type(a.atttypid, a.atttypmod), 'not null', CASE WHEN a.attnotnull THEN 'yes' END,
  'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
  'generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,
  'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
  'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
  'storage', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END,
  'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
  'statistics', CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
  'options', (SELECT string_agg(o, ', ') FROM unnest(a.attoptions || a.attfdwoptions) o WHERE o LIKE 'n\\_distinct%' OR o = ANY (a.attfdwoptions)),
  'access', <granted a.attacl>, 'comment', col_description(c.oid, a.attnum))
FROM counted c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p', 'f') OR (c.relkind IN ('v', 'm') AND (a.attacl IS NOT NULL OR a.atthasdef OR col_description(c.oid, a.attnum) IS NOT NULL))"""

# NOT NULL is said by the column (since PostgreSQL 18 it is a constraint too); a constraint trigger is a trigger. A foreign key is checked by triggers,
# which DISABLE TRIGGER ALL on either table puts out of work.
_CONSTRAINTS = """
SELECT 'constraint', c.space, format('%s.%I', c.name, k.conname), jsonb_build_object(
  'definition', pg_get_constraintdef(k.oid), 'comment', obj_description(k.oid, 'pg_constraint'),
  'enforced', (SELECT 'not by every trigger' FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgisinternal AND t.tgenabled <> 'O' LIMIT 1),
  'valid', CASE WHEN NOT i.indisvalid THEN 'no' END, 'clustered', CASE WHEN i.indisclustered THEN 'yes' END,
  'replica identity', CASE WHEN i.indisreplident THEN 'yes' END, 'options', array_to_string(x.reloptions, ', '))
FROM counted c JOIN pg_constraint k ON k.conrelid = c.oid
LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x') LEFT JOIN pg_class x ON x.oid = i.indexrelid
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0 AND (k.conislocal OR k.coninhcount = 0)"""

_INDEXES = """
SELECT 'index', c.space, format('%I.%I', c.space, x.relname), jsonb_build_object(
  'definition', pg_get_indexdef(i.indexrelid), 'valid', CASE WHEN NOT i.indisvalid THEN 'no' END,
  'clustered', CASE WHEN i.indisclustered THEN 'yes' END, 'replica identity', CASE WHEN i.indisreplident THEN 'yes' END,
  'comment', obj_description(i.indexrelid, 'pg_class'))
FROM counted c JOIN pg_index i ON i.indrelid = c.oid JOIN pg_class x ON x.oid = i.indexrelid
WHERE c.relkind IN ('r', 'p', 'm') AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))"""

# The number in the name of what an aggregate of TimescaleDB stores differs between servers.
_VIEWS = """
SELECT CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, c.space, c.name, jsonb_build_object(
  'owner', pg_get_userbyid(c.relowner), 'access', <access c rel r>, 'options', array_to_string(c.reloptions, ', '),
  'definition', regexp_replace(regexp_replace(pg_get_viewdef(c.oid), '_materialized_hypertable_\\d+', '_materialized_hypertable_N', 'g'),
                               'cagg_watermark\\(\\d+\\)', 'cagg_watermark(N)', 'g'),
  'comment', obj_description(c.oid, 'pg_class'))
FROM counted c WHERE c.relkind IN ('v', 'm') AND NOT EXISTS (
  SELECT FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
  JOIN pg_class m ON m.oid = d.refobjid
  WHERE r.ev_class = c.oid AND m.relnamespace::regnamespace::text IN ('_rollup', '_timescaledb_internal'))"""

_SEQUENCES = """
SELECT 'sequence', c.space, c.name, jsonb_build_object(
  'owner', pg_get_userbyid(c.relowner), 'access', <access c rel s>, 'type', format_type(s.seqtypid, NULL), 'start', s.seqstart,
  'increment', s.seqincrement, 'minimum', s.seqmin, 'maximum', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle,
  'column', (SELECT format('%s.%I', d.refobjid::regclass, a.attname) FROM pg_depend d
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0),
  'comment', obj_description(c.oid, 'pg_class'))
FROM counted c JOIN pg_sequence s ON s.seqrelid = c.oid"""

_FUNCTIONS = """
SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, s.nspname,
  format('%I.%I(%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), jsonb_build_object(
  'owner', pg_get_userbyid(p.proowner), 'access', <access p pro f>,
  'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) ELSE
    (SELECT format('state %s, function %s, final %s, start %s', format_type(g.aggtranstype, NULL), g.aggtransfn, g.aggfinalfn, coalesce(g.agginitval, 'NULL'))
     FROM pg_aggregate g WHERE g.aggfnoid = p.oid) END,
  'comment', obj_description(p.oid, 'pg_proc'))
FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))"""

_TRIGGERS = """
SELECT 'trigger', c.space, format('%s.%I', c.name, t.tgname), jsonb_build_object('definition', pg_get_triggerdef(t.oid),
  'enabled', CASE t.tgenabled WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END, 'comment', obj_description(t.oid, 'pg_trigger'))
FROM counted c JOIN pg_trigger t ON t.tgrelid = c.oid JOIN pg_proc f ON f.oid = t.tgfoid
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND f.pronamespace::regnamespace::text NOT IN ('_rollup', '_timescaledb_functions')"""

_POLICIES = """
SELECT 'policy', c.space, format('%s.%I', c.name, p.polname), <policy p> || jsonb_build_object('comment', obj_description(p.oid, 'pg_policy'))
FROM counted c JOIN pg_policy p ON p.polrelid = c.oid"""

_RULES = """
SELECT 'rule', c.space, format('%s.%I', c.name, r.rulename), jsonb_build_object('definition', pg_get_ruledef(r.oid),
  'enabled', CASE WHEN r.ev_enabled <> 'O' THEN r.ev_enabled END)
FROM counted c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN'"""

_TYPES = """
SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, s.nspname, format('%I.%I', s.nspname, t.typname), jsonb_build_object(
  'owner', pg_get_userbyid(t.typowner), 'access', <access t typ T>,
  'labels', (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
  'attributes', (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
    FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
  'subtype', (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid),
  'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, 'default', t.typdefault,
  'not null', CASE WHEN t.typnotnull THEN 'yes' END,
  'constraints', (SELECT jsonb_object_agg(k.conname, pg_get_constraintdef(k.oid)) FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'),
  'comment', obj_description(t.oid, 'pg_type'))
FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace LEFT JOIN pg_class r ON r.oid = t.typrelid
WHERE (t.typtype IN ('e', 'd', 'r') OR r.relkind = 'c')
  AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
  AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = t.typrelid)"""

# An extension's version follows the image; postgres_databases keeps it.
_EXTENSIONS = """
SELECT 'extension', '', format('%I', e.extname), jsonb_build_object('schema', n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"""

_DEFAULTS = """
SELECT 'default privileges', coalesce(n.nspname, ''), format('%s of %I in %s',
    CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
      WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE 'large objects' END,
    pg_get_userbyid(d.defaclrole), coalesce(quote_ident(n.nspname), 'all schemas')),
  jsonb_build_object('access', <granted d.defaclacl>)
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace"""

_PUBLICATIONS = """
SELECT 'publication', '', format('%I', p.pubname), jsonb_build_object('owner', pg_get_userbyid(p.pubowner),
  'publishes', concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                         CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END),
  'all tables', CASE WHEN p.puballtables THEN 'yes' END, 'as their root', CASE WHEN p.pubviaroot THEN 'yes' END,
  'tables', (SELECT string_agg(concat_ws(' ', r.prrelid::regclass, r.prattrs, pg_get_expr(r.prqual, r.prrelid)), ', ' ORDER BY r.prrelid::regclass::text)
             FROM pg_publication_rel r WHERE r.prpubid = p.oid),
  'schemas', (SELECT string_agg(r.pnnspid::regnamespace::text, ', ' ORDER BY 1) FROM pg_publication_namespace r WHERE r.pnpubid = p.oid))
FROM pg_publication p"""

_EVENT_TRIGGERS = """
SELECT 'event trigger', '', format('%I', e.evtname), jsonb_build_object('owner', pg_get_userbyid(e.evtowner), 'event', e.evtevent,
  'function', e.evtfoid::regprocedure::text, 'tags', array_to_string(e.evttags, ', '), 'enabled', CASE WHEN e.evtenabled <> 'O' THEN e.evtenabled END)
FROM pg_event_trigger e WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_event_trigger'::regclass AND m.objid = e.oid)"""

_STATISTICS = """
SELECT 'statistics', s.nspname, format('%I.%I', s.nspname, x.stxname), jsonb_build_object('definition', pg_get_statisticsobjdef(x.oid),
  'owner', pg_get_userbyid(x.stxowner), 'target', CASE WHEN x.stxstattarget >= 0 THEN x.stxstattarget END)
FROM pg_statistic_ext x JOIN spaces s ON s.oid = x.stxnamespace"""

_SERVERS = """
SELECT 'foreign server', '', format('%I', v.srvname), jsonb_build_object('owner', pg_get_userbyid(v.srvowner), 'access', <access v srv S>,
  'wrapper', w.fdwname, 'options', array_to_string(v.srvoptions, ', '))
FROM pg_foreign_server v JOIN pg_foreign_data_wrapper w ON w.oid = v.srvfdw"""

# Of what is rarely made, that it is there, and what can be changed in it or is easily replaced.
_RARE = """
SELECT i.type, coalesce(i.schema, ''), i.identity, CASE i.type
  WHEN 'cast' THEN (SELECT jsonb_build_object('function', CASE WHEN k.castfunc <> 0 THEN k.castfunc::regprocedure::text END,
      'kind', concat(k.castcontext, k.castmethod)) FROM pg_cast k WHERE k.oid = o.oid)
  WHEN 'collation' THEN (SELECT to_jsonb(k) - '{oid,collname,collnamespace,collowner,collversion}'::text[]
      || jsonb_build_object('owner', pg_get_userbyid(k.collowner)) FROM pg_collation k WHERE k.oid = o.oid)
  WHEN 'operator' THEN (SELECT jsonb_build_object('owner', pg_get_userbyid(k.oprowner), 'function', k.oprcode::oid::regprocedure::text)
      FROM pg_operator k WHERE k.oid = o.oid)
  WHEN 'text search configuration' THEN (SELECT jsonb_build_object('owner', pg_get_userbyid(k.cfgowner), 'mapping', (
      SELECT string_agg(concat_ws(' ', m.maptokentype, m.mapdict::regdictionary), ', ' ORDER BY m.maptokentype, m.mapseqno)
      FROM pg_ts_config_map m WHERE m.mapcfg = k.oid)) FROM pg_ts_config k WHERE k.oid = o.oid)
  WHEN 'text search dictionary' THEN (SELECT jsonb_build_object('owner', pg_get_userbyid(k.dictowner), 'options', k.dictinitoption)
      FROM pg_ts_dict k WHERE k.oid = o.oid)
  WHEN 'foreign-data wrapper' THEN (SELECT jsonb_build_object('owner', pg_get_userbyid(k.fdwowner), 'access', <granted k.fdwacl>,
      'options', array_to_string(k.fdwoptions, ', ')) FROM pg_foreign_data_wrapper k WHERE k.oid = o.oid)
  ELSE '{}' END
FROM (SELECT tableoid, oid FROM pg_operator UNION ALL SELECT tableoid, oid FROM pg_opclass UNION ALL SELECT tableoid, oid FROM pg_opfamily
      UNION ALL SELECT tableoid, oid FROM pg_cast UNION ALL SELECT tableoid, oid FROM pg_collation UNION ALL SELECT tableoid, oid FROM pg_conversion
      UNION ALL SELECT tableoid, oid FROM pg_ts_config UNION ALL SELECT tableoid, oid FROM pg_ts_dict UNION ALL SELECT tableoid, oid FROM pg_language
      UNION ALL SELECT tableoid, oid FROM pg_foreign_data_wrapper UNION ALL SELECT tableoid, oid FROM pg_subscription
        WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())) o
CROSS JOIN LATERAL pg_identify_object(o.tableoid, o.oid, 0) i
WHERE o.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.tableoid AND d.objid = o.oid AND d.deptype IN ('e', 'i'))"""

# The only way to ask a view that may not be there: as a text, run only where it is. It runs as the administrator: not where somebody else made such a view.
_HYPERTABLES = """
SELECT 'hypertable', found[1], found[2], jsonb_build_object('dimensions', found[3])
FROM (SELECT CASE WHEN NOT EXISTS (SELECT FROM pg_class v JOIN pg_namespace n ON n.oid = v.relnamespace JOIN pg_roles a ON a.oid = v.relowner
      JOIN pg_roles b ON b.oid = n.nspowner
      WHERE v.oid = to_regclass('timescaledb_information.dimensions') AND a.rolsuper AND b.rolsuper) THEN '' ELSE query_to_xml(
  $$SELECT hypertable_schema AS a, pg_catalog.format('%I.%I', hypertable_schema, hypertable_name) AS b, pg_catalog.string_agg(pg_catalog.concat_ws(' ',
      column_name, time_interval, integer_interval, num_partitions), ', ' ORDER BY dimension_number) AS c
    FROM timescaledb_information.dimensions WHERE hypertable_schema NOT LIKE '\\_timescaledb\\_%' GROUP BY 1, 2$$, true, false, '')::text END AS document) x
CROSS JOIN LATERAL regexp_matches(x.document, '<a>(.*?)</a>\\s*<b>(.*?)</b>\\s*<c>(.*?)</c>', 'g') found"""

_PARTS = (
    _SCHEMAS, _EXTENSIONS, _TYPES, _TABLES, _COLUMNS, _CONSTRAINTS, _INDEXES, _VIEWS, _SEQUENCES, _FUNCTIONS, _TRIGGERS, _POLICIES, _RULES,
    _STATISTICS, _HYPERTABLES, _DEFAULTS, _PUBLICATIONS, _EVENT_TRIGGERS, _SERVERS, _RARE,
)  # fmt: skip


_OBJECTS = f"WITH {_SCOPE}, objects(kind, space, name, properties) AS ({' UNION ALL '.join(_PARTS)})"


def _expanded(text: str) -> str:
    text = text.replace("<objects>", _OBJECTS).replace("<of partitions>", _OF_PARTITIONS)
    for pattern, replacement in _MACROS.items():
        text = re.sub(pattern, replacement, text)
    return text


SNAPSHOT = _expanded("""<objects>
SELECT kind, name, jsonb_strip_nulls(properties) FROM objects ORDER BY name COLLATE "C", kind COLLATE "C"
""")

# What other modules converge at every run is not the migrations': schemas, extensions, default privileges, hypertables, the schema of user tokens.
# What only range partitions have is left to the whole comparison: where the migrations make none, a job may have made some since.
FINGERPRINT = _expanded("""<objects>
SELECT encode(sha256(convert_to(coalesce(string_agg(concat_ws(E'\\t', kind, name, jsonb_strip_nulls(properties - 'partitions')), E'\\n'
  ORDER BY kind COLLATE "C", name COLLATE "C"), ''), 'UTF8')), 'hex')
FROM objects WHERE kind NOT IN ('schema', 'extension', 'default privileges', 'hypertable') AND space <> 'session'
""")
