# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a restored database beside what every restore asks: its indexes and heaps, sequences, sampled rows, extensions, jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_samples as samples
from ansible_collections.nexanest.database.plugins.module_utils import _restore_archive as archive
from ansible_collections.nexanest.database.plugins.module_utils import _restore_timescale as timescale
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Database
from ansible_collections.nexanest.database.plugins.module_utils._drill_party import Findings

try:
    import psycopg2
    from psycopg2 import sql
except ImportError:  # _connection.connect() says so
    pass

# Of tables up to this size each row is looked up in the index too.
WHOLE = 256 * 2**20

_AMCHECK = "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'"
_OFFERED = "SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'"

_INDEXES = """
SELECT c.oid, format('%%I.%%I', n.nspname, c.relname), pg_relation_size(i.indrelid) <= %(whole)s
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am m ON m.oid = c.relam
WHERE m.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND i.indisready AND c.relpersistence <> 't' ORDER BY 2
"""
_HEAPS = """
SELECT c.oid, format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am m ON m.oid = c.relam
WHERE m.amname = 'heap' AND c.relkind IN ('r', 'm', 't') AND c.relpersistence <> 't' ORDER BY 2
"""
_VALIDATED = "SELECT count(*) FROM pg_constraint WHERE convalidated AND contype IN ('c', 'f', 'p', 'u', 'x')"
_OWNED = """
SELECT n.nspname, c.relname, tn.nspname, t.relname, a.attname FROM pg_sequence s
JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE s.seqincrement > 0 AND n.nspname !~ '^_timescaledb_' AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) ORDER BY 1, 2
"""
_SEQUENCE = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s::regclass"
_SETVAL = re.compile(r"setval\('((?:[^']|'')*)', (-?\d+), (true|false)\)")


@dataclass(frozen=True)
class Checks:
    """Of one database. session: of the administrator, on the copy; contents: the dump's table of contents; label: for people.

    jobs: of TimescaleDB in the dump.
    """

    session: Any
    database: Database
    contents: Path
    label: str
    jobs: frozenset[int] = frozenset()

    def run(self) -> Findings:
        """All of them, whatever one finds."""
        found = Findings()
        with self.session.cursor() as cursor:
            cursor.execute(_VALIDATED)  # each was checked when it was made, and is as the set says
            found.checks += int(cursor.fetchall()[0][0])
            for one in (self._samples, self._sequences, self._extensions, self._jobs, self._structures):
                found.add(one(cursor))
        found.problems = [f"{self.label}: {text}" for text in found.problems]
        found.notes = [f"{self.label}: {text}" for text in found.notes]
        return found

    def _samples(self, cursor: Any) -> Findings:
        sampled = [table for table in self.database.tables if table.sample is not None]
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            return Findings(samples.differences(cursor, sampled), checks=len(sampled))
        finally:
            if not self.session.closed:
                cursor.execute("ROLLBACK")

    def _extensions(self, cursor: Any) -> Findings:
        """A newer one is what a restore to this image gives."""
        cursor.execute("SELECT extname, extversion FROM pg_extension")
        there = dict(cursor.fetchall())
        wanted = self.database.extensions
        notes = [
            f"the extension {name} comes back as {there.get(name)}, it was {wanted[name]}: ALTER EXTENSION UPDATE makes them equal"
            for name in sorted(wanted)
            if there.get(name) != wanted[name]
        ]
        return Findings(notes=notes, checks=len(wanted))

    def _jobs(self, _cursor: Any) -> Findings:
        """All are there, and rest."""
        if not self.jobs:
            return Findings()
        there = {int(job["id"]): bool(job["scheduled"]) for job in timescale.jobs(self.session, [])}
        problems = [f"the job {number} of TimescaleDB is missing" for number in sorted(self.jobs - set(there))]
        problems += [f"the job {number} of TimescaleDB runs in the copy" for number, awake in sorted(there.items()) if awake]
        return Findings(problems, checks=len(there))

    def _sequences(self, cursor: Any) -> Findings:
        """They stand where the dump says; one that is behind its column was so already."""
        found = Findings()
        for name, value, called in _set_sequences(self.contents):
            cursor.execute(_SEQUENCE, (name,))
            schema, sequence = cursor.fetchall()[0]
            now = _position(cursor, schema, sequence)
            found.checks += 1
            if now != (value, called):
                found.problems.append(f"the sequence {name} stands at {now[0]}, the set says {value}")
        cursor.execute(_OWNED)
        for schema, sequence, table_schema, table, column in cursor.fetchall():
            value, called = _position(cursor, schema, sequence)
            cursor.execute(sql.SQL("SELECT max({}) FROM {}").format(sql.Identifier(column), sql.Identifier(table_schema, table)))
            largest = cursor.fetchall()[0][0]
            if largest is not None and (largest > value or (largest == value and not called)):
                found.notes.append(f"the sequence {schema}.{sequence} is at {value}, and {table}.{column} has {largest}: as in the live database")
        return found

    def _structures(self, cursor: Any) -> Findings:
        """amcheck on every B-tree and every heap."""
        cursor.execute(_OFFERED)
        if not cursor.fetchall()[0][0]:
            return Findings(notes=["the image has no extension amcheck, so that indexes were not looked into"])
        cursor.execute("CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA pg_catalog")
        cursor.execute(_AMCHECK)
        place = cursor.fetchall()[0][0]
        found = Findings()
        index = sql.SQL("SELECT {}(%s::oid::regclass, %s)").format(sql.Identifier(place, "bt_index_check"))
        cursor.execute(_INDEXES, {"whole": WHOLE})
        for oid, name, whole in cursor.fetchall():
            found.checks += 1
            try:
                cursor.execute(index, (oid, whole))
            except psycopg2.Error as error:
                found.problems.append(f"the index {name} is damaged: {' '.join(str(error).split())}")
        heap = sql.SQL("SELECT blkno, msg FROM {}(%s::oid::regclass, on_error_stop => true)").format(sql.Identifier(place, "verify_heapam"))
        cursor.execute(_HEAPS)
        for oid, name in cursor.fetchall():
            found.checks += 1
            cursor.execute(heap, (oid,))
            found.problems += [f"the table {name} is damaged in block {block}: {text}" for block, text in cursor.fetchall()[:1]]
        return found


def _position(cursor: Any, schema: str, sequence: str) -> tuple[int, bool]:
    cursor.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, sequence)))
    value, called = cursor.fetchall()[0]
    return int(value), bool(called)


def _set_sequences(contents: Path) -> Iterator[tuple[str, int, bool]]:
    """Name, position, and whether it was used, as a dump sets them. A name that is no UTF-8 is left out."""
    for entry in archive.read(contents.read_bytes()).entries:
        if entry.kind == b"SEQUENCE SET" and entry.statement and not (entry.namespace or b"").startswith(b"_timescaledb_"):
            found = _SETVAL.search(entry.statement.decode(errors="replace"))
            if found and "\N{REPLACEMENT CHARACTER}" not in found[1]:
                yield found[1].replace("''", "'"), int(found[2]), found[3] == "true"
