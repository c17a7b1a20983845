# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of continuous backups in a bucket as data and as a text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._archive_marker import Marker
from ansible_collections.nexanest.database.plugins.module_utils._status_report import UNKNOWN, size, table

HEADINGS = ("ARCHIVE", "STACK", "FROM", "UNTIL", "SIZE", "BASE BACKUPS", "HOST", "HERE")


def listed(marker: Marker, folder: Path | None) -> dict[str, Any]:
    """One copy as data. folder: of the stack's archives on this machine."""
    names = ("stack", "server", "system_id", "host", "copied", "until", "oldest", "newest", "segment", "timeline", "pgbackrest", "files", "bytes")
    here = folder is not None and (folder / marker.server / marker.system_id).is_dir()
    return {**{name: getattr(marker, name) for name in names}, "backups": len(marker.backups), "here": here, "problem": ""}


def broken(root: str, problem: str) -> dict[str, Any]:
    """One that cannot be used. root: what its keys begin with."""
    server, system_id = root.split("/")[1:3]
    return {"server": server, "system_id": system_id, "problem": problem}


def report(archives: Sequence[Mapping[str, Any]], where: str) -> str:
    """A table, then what is wrong with which copy."""
    if not archives:
        return f"there is no continuous backup in {where}"
    wrong = [f"{one['server']}/{one['system_id']}: {one['problem']}" for one in archives if one["problem"]]
    return "\n".join([where, *table([HEADINGS, *(_row(one) for one in archives)]), *(["", *wrong] if wrong else [])])


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    name = f"{one['server']}/{one['system_id']}"
    if one["problem"]:
        return (name, *[UNKNOWN] * (len(HEADINGS) - 2), "DAMAGED")
    moments = (one["oldest"].removesuffix("+00:00"), one["until"].removesuffix("+00:00"))
    return (name, one["stack"], *moments, size(one["bytes"]), str(one["backups"]), one["host"], "yes" if one["here"] else "no")
