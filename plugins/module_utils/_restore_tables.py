# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count the rows of a restored database and collect its statistics, several tables at a time."""

from __future__ import annotations

import contextlib
import functools
import queue
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_facts as facts
from ansible_collections.nexanest.database.plugins.module_utils import _parallel
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Table

if TYPE_CHECKING:
    import psycopg2.extensions

try:
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

Opener = Callable[[], contextlib.AbstractContextManager["psycopg2.extensions.connection"]]
_Task = Callable[["psycopg2.extensions.connection"], None]

# What ANALYZE looks at where nothing is named; a partition comes with its root. The largest first: several sessions then end at about the same time.
_ANALYZED = """
SELECT n.nspname, c.relname, CASE WHEN c.relkind = 'p' THEN (SELECT sum(pg_table_size(t.relid)) FROM pg_partition_tree(c.oid) t) ELSE pg_table_size(c.oid) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND NOT c.relisshared AND NOT c.relispartition ORDER BY 3 DESC
"""


def count_and_analyze(open_session: Opener, sessions: int) -> list[Table]:
    """Every table with its rows; plans of the first queries shall not be guesses. Nobody else works in the database."""
    with open_session() as session:
        countable, sizes, analyzed = facts.countable(session), facts.sizes(session), _analyzed(session)
    counted: list[Table] = []
    tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
    for one in sorted(countable, key=lambda one: -sizes.get((one.schema, one.name), 0)):
        tasks.put(functools.partial(_count, one, counted))
    for name in analyzed:
        tasks.put(functools.partial(_analyze, name))
    stop = _parallel.Stop()
    _parallel.each(lambda _number: _work(open_session, tasks, stop), range(sessions), workers=sessions, stop=stop)
    return sorted(counted, key=lambda table: (table.schema, table.name))


def _analyzed(session: psycopg2.extensions.connection) -> list[tuple[str, str]]:
    with session.cursor() as cursor:
        _roots, parts = facts.timescale_tables(cursor)  # a hypertable's parts come with it too
        cursor.execute(_ANALYZED)
        return [(schema, name) for schema, name, _size in cursor.fetchall() if (schema, name) not in parts]


def _work(open_session: Opener, tasks: queue.SimpleQueue[_Task], stop: _parallel.Stop) -> None:
    with open_session() as session, contextlib.suppress(queue.Empty):
        while True:
            stop.check()
            tasks.get_nowait()(session)


def _count(one: facts.Countable, counted: list[Table], session: psycopg2.extensions.connection) -> None:
    counted.append(facts.count(session, one))


def _analyze(name: Sequence[str], session: Any) -> None:
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*name)))
