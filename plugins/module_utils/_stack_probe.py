# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the services of a stack and their containers how they are; changes nothing."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.nexanest.database.plugins.module_utils._connection import PSYCOPG2_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._engine import Engine
from ansible_collections.nexanest.database.plugins.module_utils._redis import REDIS_ERROR, RedisFailed, RedisLoginRefused, RedisServer
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import REFUSED, UNASKED, UNREACHABLE, Facts
from ansible_collections.nexanest.database.plugins.module_utils._stack_schedule import notices
from ansible_collections.nexanest.database.plugins.module_utils._stack_schema import schema_drift

TIMEOUT = 5
WRONG_PASSWORD = "password authentication failed"  # noqa: S105  a message, no password

POSTGRES_QUERY = """
SELECT current_setting('server_version'),
       (SELECT sum(pg_database_size(oid)) FROM pg_database WHERE datallowconn)::bigint,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int,
       current_setting('max_connections')::int,
       ARRAY(SELECT name FROM pg_settings WHERE pending_restart ORDER BY name),
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')
"""


class Probe:
    """Asks one service after the other. engine: the host's Docker engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def service(self, service: Mapping[str, Any]) -> Facts:
        """Everything about one service; what cannot be asked is missing, and the facts say why."""
        document = self.engine.get(f"/containers/{quote(service['container'])}/json")
        if document is None:
            return Facts()
        if document["State"]["Status"] != "running":
            return Facts(document=document)
        answer = ASK[service["kind"]](service, document)
        return Facts(document=document, memory_used=self._memory(document["Id"]), **answer)

    def _memory(self, container: str) -> int | None:
        stats = self.engine.get(f"/containers/{container}/stats?stream=false&one-shot=true") or {}
        return memory_in(stats.get("memory_stats") or {})


def memory_in(stats: Mapping[str, Any]) -> int | None:
    """Memory that a container cannot give back, as the docker client computes it: without the cache of files."""
    if "usage" not in stats:
        return None
    details = stats.get("stats") or {}
    return max(0, int(stats["usage"]) - int(details.get("total_inactive_file", details.get("inactive_file", 0))))


def ask_postgres(service: Mapping[str, Any], _document: Mapping[str, Any]) -> dict[str, Any]:
    """Version, size and settings over TCP, as the administrator."""
    problem = _closed(service)
    if problem or PSYCOPG2_ERROR:
        return problem or {"trouble": UNASKED, "reason": f"Python's psycopg2 is missing: {PSYCOPG2_ERROR}"}
    params = {"connect_timeout": TIMEOUT, **{key: service[key] for key in ("login_user", "login_password", "login_db")}}
    try:
        with contextlib.closing(connect({**params, "login_host": service["host"], "login_port": service["port"]})) as connection, connection.cursor() as cursor:
            cursor.execute(POSTGRES_QUERY)
            version, size, connections, most, pending, extension = cursor.fetchone() or ("", None, 0, 0, [], None)
        drift = schema_drift({**params, "login_host": service["host"], "login_port": service["port"]})
        schedule = notices({**params, "login_host": service["host"], "login_port": service["port"]})
    except ServerUnreachable as error:
        return {"trouble": REFUSED if WRONG_PASSWORD in str(error) else UNREACHABLE, "reason": str(error)}
    wanted = service["kind"] == "timescaledb"
    details = {"connections": connections, "max_connections": most, "pending_restart": pending, "database": service["login_db"], "schema_drift": drift}
    details["schedule"] = schedule
    # Debian adds its package's version in brackets.
    version = version.split()[0] + (f" + {extension}" if wanted and extension else "")
    return {"version": version, "size": size, "details": {**details, "extension_missing": wanted and extension is None}}


class _Redis(RedisServer):
    def info(self) -> dict[str, Any]:
        return dict(self._ask("INFO"))


def ask_redis(service: Mapping[str, Any], _document: Mapping[str, Any]) -> dict[str, Any]:
    """INFO, as the administrator."""
    problem = _closed(service)
    if problem or REDIS_ERROR:
        return problem or {"trouble": UNASKED, "reason": f"Python's redis is missing: {REDIS_ERROR}"}
    params = {"login_user": service["login_user"], "login_password": service["login_password"], "connect_timeout": TIMEOUT}
    try:
        info = _Redis({**params, "login_host": service["host"], "login_port": service["port"]}).info()
    except RedisLoginRefused as error:
        return {"trouble": REFUSED, "reason": str(error)}
    except RedisFailed as error:
        return {"trouble": UNREACHABLE, "reason": str(error)}
    return {"version": str(info.get("redis_version", "")), "size": int(info.get("used_memory", 0)), "details": info}


def ask_pgadmin(service: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """The version out of the login page, the size of its volume."""
    problem = _closed(service)
    if problem:
        return problem
    connection = http.client.HTTPConnection(service["host"], service["port"], timeout=TIMEOUT)
    try:
        connection.request("GET", "/login?next=/")
        page = connection.getresponse().read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return {"trouble": UNREACHABLE, "reason": str(error)}
    finally:
        connection.close()
    volumes = [mount["Source"] for mount in document.get("Mounts", []) if mount.get("Type") == "volume"]
    return {"version": pgadmin_version(page), "size": sum(folder_size(Path(volume)) for volume in volumes)}


def pgadmin_version(page: str) -> str:
    """pgAdmin's pages ask for their files with its version as a number: ver=91800 is 9.18."""
    found = re.search(r"[?&]ver=(\d+)(\d\d)(\d\d)\b", page)
    return f"{int(found[1])}.{int(found[2])}" if found else ""


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; those that vanish meanwhile count nothing."""
    total = 0
    for root, _folders, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                total += Path(root, file).lstat().st_size
    return total


def _closed(service: Mapping[str, Any]) -> dict[str, Any]:
    """Why the port cannot be reached; empty where it can."""
    try:
        socket.create_connection((service["host"], service["port"]), TIMEOUT).close()
    except OSError as error:
        return {"trouble": UNREACHABLE, "reason": error.strerror or str(error)}
    return {}


ASK = {"postgresql": ask_postgres, "timescaledb": ask_postgres, "redis": ask_redis, "pgadmin": ask_pgadmin}
