# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few rows of each table as a checksum: whether a restored copy has the same rows, and not only as many.

The first ones by the primary key, which an index gives at once. A key of a collation that another version of a library sorts otherwise has none. Of each row
the short values count: what could be large is never read whole, as this runs in the live server.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Sample, Table

try:
    import psycopg2
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

MOST, LEAST = 300, 5
# Values of one table; rows are fewer where they have many columns.
VALUES = 9000
# Characters of a text, bytes of a bytea.
BEGINNING = 200
# Texts of values depend on these.
_SETTINGS = {
    "search_path": "pg_catalog",
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
}

_KEYS = """
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY k.place)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN LATERAL unnest(i.indkey[:i.indnkeyatts - 1]) WITH ORDINALITY k (number, place) ON true
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
LEFT JOIN pg_collation l ON l.oid = a.attcollation JOIN pg_database d ON d.datname = current_database()
WHERE i.indisprimary AND i.indisvalid AND c.relkind = 'r'
GROUP BY c.oid, n.nspname, c.relname
HAVING bool_and(a.attcollation = 0 OR l.collprovider = 'b' OR l.collcollate IN ('C', 'POSIX')
  OR (l.collprovider = 'd' AND (d.datlocprovider = 'b' OR (d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX')))))
"""

# A domain counts as what it is of.
_COLUMNS = """
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum),
  array_agg(b.typlen < 0 AND b.typname IN ('text', 'varchar', 'bpchar', 'bytea') ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
JOIN pg_type t ON t.oid = a.atttypid JOIN pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
  AND (b.typlen > 0 OR (b.typnamespace = 'pg_catalog'::regnamespace AND b.typname IN ('text', 'varchar', 'bpchar', 'bytea', 'numeric', 'inet', 'cidr')))
GROUP BY c.oid, n.nspname, c.relname
"""

# Rows of a hypertable are in its chunks; those of a compressed one would have to be decompressed.
_HYPERTABLES = "SELECT schema_name, table_name, compression_state <> 0 FROM _timescaledb_catalog.hypertable"

Name = tuple[str, str]


@dataclass(frozen=True)
class _Way:
    """How a table is sampled. columns: name, and whether its beginning is enough; whole: its rows are in other tables."""

    key: Sequence[str]
    columns: Sequence[tuple[str, bool]]
    whole: bool


def take(cursor: Any, tables: Sequence[Table]) -> list[Table]:
    """The tables with samples, in an open transaction, whose settings are others from then on.

    A table that cannot be sampled has none: no backup fails for it.
    """
    ways = _ready(cursor)
    return [_sampled(cursor, table, ways) if table.rows and (table.schema, table.name) in ways else table for table in tables]


def differences(cursor: Any, tables: Sequence[Table]) -> list[str]:
    """Tables whose sampled rows are others; in a transaction as `take`."""
    ways = _ready(cursor)
    texts = []
    for table in tables:
        way = ways.get((table.schema, table.name))
        if table.sample is not None and (way is None or _digest(cursor, table, way, table.sample.rows) != table.sample.sha256):
            texts.append(f"the first {table.sample.rows} rows of {table.schema}.{table.name} are others than the set says")
    return texts


def _sampled(cursor: Any, table: Table, ways: Mapping[Name, _Way]) -> Table:
    way = ways[table.schema, table.name]
    rows = max(LEAST, min(MOST, VALUES // len(way.columns)))
    cursor.execute("SAVEPOINT sample")
    try:
        found = dataclasses.replace(table, sample=Sample(rows, _digest(cursor, table, way, rows)))
    except psycopg2.Error:
        cursor.execute("ROLLBACK TO SAVEPOINT sample")  # fails where the session is gone
        found = table
    cursor.execute("RELEASE SAVEPOINT sample")
    return found


def _ready(cursor: Any) -> dict[Name, _Way]:
    """How each table that can be sampled is."""
    for name, value in _SETTINGS.items():
        cursor.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
    cursor.execute(_COLUMNS)
    columns = {(schema, table): list(zip(names, long, strict=True)) for schema, table, names, long in cursor.fetchall()}
    cursor.execute(_KEYS)
    keys = {(schema, table): key for schema, table, key in cursor.fetchall()}
    roots = _hypertables(cursor)
    return {name: _Way(key, columns[name], name in roots) for name, key in keys.items() if name in columns and not roots.get(name, False)}


def _hypertables(cursor: Any) -> dict[Name, bool]:
    """Each, and whether it is compressed."""
    cursor.execute("SELECT to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL")
    if not cursor.fetchall()[0][0]:
        return {}
    cursor.execute(_HYPERTABLES)
    return {(schema, table): bool(compressed) for schema, table, compressed in cursor.fetchall()}


def _digest(cursor: Any, table: Table, way: _Way, rows: int) -> str:
    values = [sql.SQL("substr({}, 1, {})" if long else "{}").format(sql.Identifier(name), sql.Literal(BEGINNING)) for name, long in way.columns]
    key = sql.SQL(", ").join(map(sql.Identifier, way.key))
    statement = sql.SQL(
        "SELECT encode(sha256(coalesce(string_agg(convert_to(v, getdatabaseencoding()), '\\x0a' ORDER BY n), '')), 'hex') FROM "
        "(SELECT ROW({values})::text AS v, row_number() OVER () AS n FROM (SELECT * FROM {only} {table} ORDER BY {key} LIMIT {rows}) t) x"
    ).format(
        values=sql.SQL(", ").join(values),
        key=key,
        only=sql.SQL("" if way.whole else "ONLY"),
        table=sql.Identifier(table.schema, table.name),
        rows=sql.Literal(rows),
    )
    cursor.execute(statement)
    return str(cursor.fetchall()[0][0])
