# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real clients of a deployed stack."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg2
import redis
from stack import Stack

ADMINISTRATORS = {"postgres": "POSTGRES_PASSWORD", "timescaledb": "TIMESCALE_PASSWORD"}


def administrator(stack: Stack, server: str) -> str:
    return "timescale" if server == "timescaledb" else stack.name


def postgres(stack: Stack, server: str, database: str, *, user: str = "", password: str = "") -> psycopg2.extensions.connection:
    """An autocommit session; as the administrator unless a user is named, with the user's own secret unless one is given."""
    role = user or administrator(stack, server)
    secret = password or stack.secret(f"{server}/{role}" if user else ADMINISTRATORS[server])
    connection = psycopg2.connect(host="127.0.0.1", port=getattr(stack.ports, server), dbname=database, user=role, password=secret, connect_timeout=5)
    connection.autocommit = True
    return connection


def query(stack: Stack, server: str, database: str, statement: str, *, user: str = "") -> list[tuple[Any, ...]]:
    """The rows of one statement; [] where it has none."""
    with contextlib.closing(postgres(stack, server, database, user=user)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def redis_client(stack: Stack, *, user: str = "", password: str = "", database: int = 0) -> redis.Redis:
    """As the administrator unless a user is named."""
    name = user or stack.name
    secret = password or stack.secret(f"redis/{user}" if user else "REDIS_PASSWORD")
    return redis.Redis(host="127.0.0.1", port=stack.ports.redis, username=name, password=secret, db=database, decode_responses=True)
