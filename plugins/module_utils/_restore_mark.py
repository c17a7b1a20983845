# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Was a restored database changed since? A text that any write changes; what cannot be told counts as changed."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from ansible_collections.nexanest.database.plugins.module_utils import _backup_facts as facts
from ansible_collections.nexanest.database.plugins.module_utils import _catalog
from ansible_collections.nexanest.database.plugins.module_utils import _restore_timescale as timescale
from ansible_collections.nexanest.database.plugins.module_utils import _security_labels as labels
from ansible_collections.nexanest.database.plugins.module_utils import _user_mappings as user_mappings
from ansible_collections.nexanest.database.plugins.module_utils._restore_settings import settings

if TYPE_CHECKING:
    import psycopg2.extensions

# Counters of every table of the database's own and of the large objects; a file's number changes with TRUNCATE. Numbers of sequences stand beside.
_COUNTERS = """
SELECT c.oid, c.relfilenode, pg_stat_get_tuples_inserted(c.oid), pg_stat_get_tuples_updated(c.oid), pg_stat_get_tuples_deleted(c.oid),
  CASE WHEN c.relkind = 'S' THEN pg_sequence_last_value(c.oid) END
FROM pg_class c
WHERE c.relkind IN ('r', 'm', 'S') AND c.relpersistence <> 't'
  AND (c.oid IN ('pg_largeobject'::regclass, 'pg_largeobject_metadata'::regclass) OR c.relnamespace NOT IN ('pg_catalog'::regnamespace,
    'information_schema'::regnamespace))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.oid
"""

# A session tells its counters when it ends, or some seconds after it fell idle.
_FRESH = """
SELECT count(*) FROM pg_stat_activity a
WHERE a.datid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
  AND (a.state <> 'idle' OR a.state_change > now() - interval '65 seconds')
"""


def mark(session: psycopg2.extensions.connection, awake: list[int]) -> str:
    """awake: jobs of TimescaleDB that rest in a copy and will not when it is in use."""
    with session.cursor() as cursor:
        cursor.execute(_COUNTERS)
        counters = cursor.fetchall()
        # Without labels the mark is the one of before they were looked at.
        besides = [user_mappings.read(cursor), *filter(None, [labels.everything(cursor)])]
    found = facts.database(session, "", "")
    catalog = [[kind, name, properties] for (kind, name), properties in _catalog.snapshot(session).items()]
    jobs = timescale.jobs(session, awake) if timescale.is_in(session) else []
    own = [found.owner, found.comment, repr(found.acl), settings(session, session.info.dbname), found.extensions, *besides]
    return hashlib.sha256(json.dumps([counters, catalog, jobs, own], sort_keys=True, default=str).encode()).hexdigest()


def settled(session: psycopg2.extensions.connection) -> bool:
    """Have all who could have written told so?"""
    with session.cursor() as cursor:
        cursor.execute(_FRESH)
        return bool(cursor.fetchall()[0][0] == 0)
