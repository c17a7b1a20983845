# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup sets as data and as a text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Database, Manifest, Server
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Entry
from ansible_collections.nexanest.database.plugins.module_utils._status_report import UNKNOWN, duration, size, table

HEADINGS = ("SET", "AGE", "SIZE", "TOOK", "DATABASES", "ROWS", "REDIS KEYS", "ENCRYPTED", "VERIFIED")
# Of each set, so many problems are told in a text; the result has all.
TOLD = 20


def moment(text: str) -> datetime | None:
    """A date of a manifest in UTC; None where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def age(manifest: Manifest, now: datetime) -> int | None:
    """Seconds since the set was begun, as its data is not newer; below zero where a clock was set back since."""
    started = moment(manifest.started)
    return None if started is None else int((now - started).total_seconds())


def described(entry: Entry, now: datetime, problems: Sequence[str] = ()) -> dict[str, Any]:
    """One set as data. problems: what was found beside what the entry says itself."""
    found = {
        "id": entry.id,
        "folder": str(entry.folder),
        "problems": [*([entry.problem] if entry.problem else []), *problems],
        "verified": {"at": entry.verified.at, "content": entry.verified.content} if entry.verified else None,
    }
    return {**found, **(_content(entry.manifest, now) if entry.manifest else _NOTHING)}


def _content(manifest: Manifest, now: datetime) -> dict[str, Any]:
    started, finished = moment(manifest.started), moment(manifest.finished)
    return {
        "age": age(manifest, now),
        "bytes": manifest.bytes,
        "started": manifest.started,
        "finished": manifest.finished,
        "seconds": int((finished - started).total_seconds()) if started and finished else None,
        "stack": manifest.stack,
        "host": manifest.host,
        "encryption": manifest.encryption.method,
        "servers": {name: _server(server) for name, server in manifest.servers.items()},
        "redis": {name: {"version": instance.version, "keys": instance.keys} for name, instance in manifest.redis.items()},
    }


_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("age", "bytes", "started", "finished", "seconds", "stack", "host", "encryption")),
    "servers": {},
    "redis": {},
}


def _server(server: Server) -> dict[str, Any]:
    return {
        "kind": server.kind,
        "version": server.version,
        "databases": [_database(database) for database in server.databases],
        "left_out": [{"name": item.name, "why": item.why, "data": item.data} for item in server.left_out],
    }


def _database(database: Database) -> dict[str, Any]:
    return {"name": database.name, "rows": database.rows, "bytes": database.bytes, "tables": len(database.tables)}


def report(sets: Sequence[Mapping[str, Any]], folder: str) -> str:
    """A table, the newest set first, then what is wrong with which set."""
    if not sets:
        return f"there is no backup set in {folder}"
    lines = table([HEADINGS, *(_row(one) for one in reversed(sets))])
    found = [line for one in sets for line in complaints(one)]
    left_out = [f"{sets[-1]['id']}: {name}: {item['name']} is not in it: {item['why']}" for name, item in _left_out(sets[-1])]
    return "\n".join([*lines, *([""] if left_out or found else []), *left_out, *found])


def complaints(one: Mapping[str, Any]) -> list[str]:
    """The first problems of a set, a line each."""
    more = len(one["problems"]) - TOLD
    return [f"{one['id']}: {problem}" for problem in one["problems"][:TOLD]] + ([f"{one['id']}: and {more} more like these"] if more > 0 else [])


def _left_out(one: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What may be lost with the server."""
    return [(name, item) for name, server in one["servers"].items() for item in server["left_out"] if item["data"]]


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    if one["encryption"] is None:
        return (one["id"], *[UNKNOWN] * (len(HEADINGS) - 2), "cannot be read")
    return (one["id"], age_text(one), size(one["bytes"]), duration(one["seconds"]), *content_columns(one), _verified(one))


def age_text(one: Mapping[str, Any]) -> str:
    return "in the future" if one["age"] is not None and one["age"] < 0 else duration(one["age"])


def content_columns(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Of a set's row: numbers of databases, rows and keys of Redis, and the encryption."""
    databases = [database for server in one["servers"].values() for database in server["databases"]]
    return (
        str(len(databases)),
        str(sum(database["rows"] for database in databases)),
        str(sum(instance["keys"] for instance in one["redis"].values())),
        "no" if one["encryption"] == "none" else one["encryption"],
    )


def _verified(one: Mapping[str, Any]) -> str:
    if one["problems"]:
        return "WRONG"
    if one["verified"] is None:
        return "never"
    at = one["verified"]["at"][:16].replace("T", " ")
    return at if one["verified"]["content"] else f"{at} (stored bytes only)"
