# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running server says of its settings and configuration files, and how it is made to read them again."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.nexanest.database.plugins.module_utils._settings import Setting

with contextlib.suppress(ImportError):  # _connection.connect() says so
    from psycopg2 import sql

if TYPE_CHECKING:
    import psycopg2.extensions

_SETTINGS = """
WITH files AS MATERIALIZED (
    SELECT DISTINCT ON (lower(name)) lower(name) AS name, setting FROM pg_catalog.pg_file_settings ORDER BY lower(name), seqno DESC
)
SELECT lower(s.name), s.name, s.setting, s.unit, s.vartype, s.context, s.source, s.sourcefile, s.boot_val, s.pending_restart, f.setting
FROM pg_catalog.pg_settings s
LEFT JOIN files f ON f.name = lower(s.name)
"""
# A setting whose extension is not loaded, and one that a user made up, has no row in pg_settings.
_CUSTOM = "SELECT name, pg_catalog.current_setting(name, true) FROM unnest(%s::text[]) AS name"

# What only a restart applies is no error of the file, although the view calls it one: a new value (with its line), or a removed one (without).
_FILE_ERRORS = """
SELECT f.sourcefile, f.sourceline, f.name, f.setting, f.error
FROM pg_catalog.pg_file_settings f
LEFT JOIN pg_catalog.pg_settings s ON lower(s.name) = lower(f.name)
WHERE f.error IS NOT NULL AND s.context IS DISTINCT FROM 'postmaster'
  AND NOT (f.sourcefile IS NULL AND EXISTS (
      SELECT FROM pg_catalog.pg_settings p WHERE p.context = 'postmaster' AND strpos(f.error, pg_catalog.format('"%s"', p.name)) > 0))
ORDER BY f.seqno
"""
# A line for TLS is in force as soon as TLS is: no error, although the view calls it one.
_HBA_ERRORS = """
SELECT file_name, line_number, error FROM pg_catalog.pg_hba_file_rules
WHERE error IS NOT NULL AND error NOT LIKE 'hostssl record cannot match%' ORDER BY line_number
"""
_IDENT_ERRORS = "SELECT file_name, line_number, error FROM pg_catalog.pg_ident_file_mappings WHERE error IS NOT NULL ORDER BY line_number"

# pg_stat_file() gives whole seconds: a file written later in the second of the last load counts as newer.
_NEWER = """
WITH files AS (
    SELECT pg_catalog.current_setting(name) AS file FROM unnest(ARRAY['config_file', 'hba_file', 'ident_file']) AS name
    UNION SELECT sourcefile FROM pg_catalog.pg_file_settings
    UNION SELECT file_name FROM pg_catalog.pg_hba_file_rules
    UNION SELECT file_name FROM pg_catalog.pg_ident_file_mappings
)
SELECT file, s.modification + interval '1 second' <= pg_catalog.clock_timestamp()
FROM files, pg_catalog.pg_stat_file(file, true) AS s
WHERE file <> '' AND s.modification + interval '1 second' > pg_catalog.pg_conf_load_time()
ORDER BY file
"""


class ReloadNotSeen(Exception):
    """The server did not read its files again in time."""


@dataclass(frozen=True)
class State:
    """settings by lower-case name; newer: files changed since the last load; errors: what is wrong in the files."""

    settings: dict[str, Setting]
    newer: tuple[str, ...]
    errors: tuple[str, ...]


def read(connection: psycopg2.extensions.connection, wanted: list[str]) -> State:
    """Everything that a plan needs; wanted: names, for those that pg_settings does not list."""
    with connection.cursor() as cursor:
        cursor.execute(_SETTINGS)
        settings = {row[0]: Setting(*row[1:]) for row in cursor.fetchall()}
        cursor.execute(_CUSTOM, ([name.lower() for name in wanted if "." in name and name.lower() not in settings],))
        settings |= {name: Setting(name, value, source="configuration file") for name, value in cursor.fetchall() if value is not None}
        cursor.execute(_NEWER)
        newer = tuple(row[0] for row in cursor.fetchall())
        return State(settings, newer, tuple(_errors(cursor)))


def reset(connection: psycopg2.extensions.connection, names: list[str]) -> None:
    """Take back what ALTER SYSTEM set."""
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))


def reload(connection: psycopg2.extensions.connection, *, wait: float = 10) -> None:
    """Make the server read its files, and wait until this session has the new values too.

    Waits first until the second in which a file was written is over: otherwise the file would count as newer for ever.
    """
    deadline = time.monotonic() + wait
    with connection.cursor() as cursor:
        while _too_young(cursor) and time.monotonic() < deadline:
            time.sleep(0.1)
        cursor.execute("SELECT pg_catalog.pg_conf_load_time(), pg_catalog.pg_reload_conf()")
        before = _first(cursor)
        while time.monotonic() < deadline:
            cursor.execute("SELECT pg_catalog.pg_conf_load_time()")
            if _first(cursor) > before:
                return
            time.sleep(0.05)
    raise ReloadNotSeen(f"the server did not load its configuration within {wait:.0f} s after pg_reload_conf(); its log says why")


def _too_young(cursor: Any) -> bool:
    cursor.execute(_NEWER)
    return any(not over for _file, over in cursor.fetchall())


def _first(cursor: Any) -> Any:
    return cursor.fetchone()[0]


def _errors(cursor: Any) -> list[str]:
    cursor.execute(_FILE_ERRORS)
    found = [
        f"{file}, line {line}: {name} = {value!r}: {error}" if name else f"{file}, line {line}: {error}" for file, line, name, value, error in cursor.fetchall()
    ]
    for query in (_HBA_ERRORS, _IDENT_ERRORS):
        cursor.execute(query)
        found += [f"{file}, line {line}: {error}" for file, line, error in cursor.fetchall()]
    return found
