# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0-or-later (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first door: statements over TCP with psycopg2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    import psycopg2
    import psycopg2.errors
    import psycopg2.extensions

    PSYCOPG2_ERROR: str | None = None
except ImportError as missing:
    PSYCOPG2_ERROR = str(missing)

# community.postgresql's names (its doc fragment `postgres`); described in doc_fragments/login.py.
# A role that an option names, with its password.
LOGIN_ROLE_ARGUMENTS = {"name": {"type": "str", "required": True}, "password": {"type": "str", "required": True, "no_log": True}}
LOGIN_ARGUMENTS: dict[str, dict[str, Any]] = {
    "login_host": {"type": "str", "default": "127.0.0.1"},
    "login_port": {"type": "int", "default": 5432},
    "login_user": {"type": "str", "required": True},
    "login_password": {"type": "str", "required": True, "no_log": True},
    "login_db": {"type": "str", "default": "postgres"},
    "connect_timeout": {"type": "int", "default": 10},
}

# A dead synchronous companion must not hang a run (CREATE ROLE hung without it).
SESSION_OPTIONS = "-c synchronous_commit=local -c client_min_messages=warning"

# The owner of a database's schemas may make functions there that fit better than the system's, and the administrator would run them. SET, not an option
# of the connection: RESET gives a migration the path of its database.
PINNED = "SET search_path = pg_catalog"


class ServerUnreachable(Exception):
    """No session could be opened: the text says to where, as whom, why, and what to do."""


class NoDriver(Exception):
    """Stands in for psycopg2.Error where psycopg2 is missing; nothing raises it, as connect() fails first."""


# What the server may answer to any statement; modules catch it at their edge.
STATEMENT_ERROR: type[Exception] = psycopg2.Error if PSYCOPG2_ERROR is None else NoDriver


def connect(params: Mapping[str, Any], database: str | None = None, *, options: str = "", pinned: bool = True) -> psycopg2.extensions.connection:
    """Open an autocommit session on `database` (default: login_db), in which bare names mean the system's functions.

    options: more settings that it begins with, as `-c name=value`; pinned: False where the first statement must be the caller's own.
    Raises ServerUnreachable, also where psycopg2 is missing on the host.
    """
    if PSYCOPG2_ERROR is not None:
        raise ServerUnreachable(
            f"Python's psycopg2 is missing on the managed host ({PSYCOPG2_ERROR}): run the role nexanest.database.docker, which installs it"
        )
    name = database or params["login_db"]
    try:
        connection = psycopg2.connect(
            host=params["login_host"],
            port=params["login_port"],
            user=params["login_user"],
            password=params["login_password"],
            dbname=name,
            connect_timeout=params["connect_timeout"],
            application_name="nexanest.database",
            client_encoding="UTF8",
            options=f"{SESSION_OPTIONS} {options}",
        )
    except psycopg2.OperationalError as error:
        where = f"{params['login_host']}:{params['login_port']}"
        reason = " ".join(str(error).split())
        raise ServerUnreachable(f"could not log in to {where}, database {name}, as {params['login_user']}: {reason}") from error
    connection.autocommit = True
    if pinned:
        with connection.cursor() as cursor:
            cursor.execute(PINNED)
    return connection


def disk_full(error: psycopg2.Error) -> str:
    """What to add to the server's words, which name a file and not the reason; empty where its disk is not full."""
    if not isinstance(error, psycopg2.errors.DiskFull):
        return ""
    return ". The disk of the server's volume is full: make room on it, then run this again, which completes what was begun (docs/troubleshooting.md)"
