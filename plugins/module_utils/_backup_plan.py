# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new set will take, and whether one is needed at all: from sizes and earlier sets, without asking anybody."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Manifest

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Share of a database's size that its dump takes, where no earlier set tells; measured on real ones it is 0.1 to 0.4.
FIRST_SHARE = 0.6
MARGIN = 1.25
# What every set takes beside its dumps.
FLOOR = 64 * 2**20


class PlanError(Exception):
    """An option cannot be understood; the text says how it looks like."""


def age_limit(text: str) -> timedelta:
    """`20h`, `90m`, `7d` or seconds."""
    found = re.fullmatch(r"\s*(\d+)\s*([smhd]?)\s*", text)
    if not found:
        raise PlanError(f"unless_newer_than is '{text}': write a number with s, m, h or d, such as 20h")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2] or "s"])


def new_id(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%d_%H%M%S")


def finished(manifest: Manifest) -> datetime:
    return datetime.fromisoformat(manifest.finished)


def new_enough(sets: Sequence[Manifest], now: datetime, limit: timedelta) -> Manifest | None:
    """A set that is younger than the limit. One from the future says that a clock was wrong, not that it is young."""
    young = [manifest for manifest in sets if timedelta(0) <= now - finished(manifest) < limit]
    return max(young, key=lambda manifest: manifest.serial, default=None)


def expected_bytes(sizes: Mapping[tuple[str, str], int], last: Manifest | None) -> dict[tuple[str, str], int]:
    """Bytes in a set by (server, database), from the databases' sizes and from what the last set made of them."""
    shares = _shares(last) if last is not None else {}
    usual = sum(shares.values()) / len(shares) if shares else FIRST_SHARE
    return {key: int(size * shares.get(key, usual)) for key, size in sizes.items()}


def needed_bytes(expected: Mapping[tuple[str, str], int], *, encrypted: bool) -> int:
    """Free space that a new set needs: itself, and what lies there in plain meanwhile (the two largest dumps)."""
    largest = sum(sorted(expected.values())[-2:]) if encrypted else 0
    return int((sum(expected.values()) + largest) * MARGIN) + FLOOR


def unrestorable(manifest: Manifest) -> list[str]:
    """Databases that no restore can make a copy of: pg_cron lets itself into one database of a server alone, by its name."""
    return [
        f"{server}/{database.name} has the extension pg_cron, and no restore can make a copy with it: let it be in the database postgres alone"
        for server, data in manifest.servers.items()
        for database in data.databases
        if "pg_cron" in database.extensions
    ]


def moved(manifest: Manifest) -> list[str]:
    """Databases that lie elsewhere than the others: whoever restores them on another server has to know."""
    return [
        f"{server}/{database.name} needs the tablespaces {', '.join(spaces)}: a restore wants them on its server too (CREATE TABLESPACE)"
        for server, data in manifest.servers.items()
        for database in data.databases
        if (spaces := sorted({database.tablespace, *database.tablespaces} - {""}))
    ]


def _shares(last: Manifest) -> dict[tuple[str, str], float]:
    found = {}
    for name, server in last.servers.items():
        for database in server.databases:
            stored = sum(file.bytes for file in last.below(database.path))
            found[name, database.name] = stored / database.bytes if database.bytes else FIRST_SHARE
    return found
