# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets in a bucket as data and as a text for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_list import age_text, complaints, content_columns, described
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Entry
from ansible_collections.nexanest.database.plugins.module_utils._offsite_plan import Stored
from ansible_collections.nexanest.database.plugins.module_utils._status_report import UNKNOWN, size, table

HEADINGS = ("SET", "AGE", "SIZE", "STACK", "DATABASES", "ROWS", "REDIS KEYS", "ENCRYPTED", "IN THE BUCKET", "HERE")


def listed(one: Stored, here: Collection[str], now: datetime) -> dict[str, Any]:
    """One set as data. here: ids of the sets on this machine."""
    found = described(Entry(one.id, Path(one.id), one.manifest), now, one.problems)
    return {key: value for key, value in found.items() if key not in ("folder", "verified")} | {"here": one.id in here}


def report(sets: Sequence[Mapping[str, Any]], where: str) -> str:
    """A table, the newest set first, then what is wrong with which set."""
    if not sets:
        return f"there is no backup set in {where}"
    lines = [where, *table([HEADINGS, *(_row(one) for one in reversed(sets))])]
    found = [line for one in sets for line in complaints(one)]
    return "\n".join([*lines, *(["", *found] if found else [])])


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    state, here = "DAMAGED" if one["problems"] else "complete", "yes" if one["here"] else "no"
    if one["encryption"] is None:
        return (one["id"], *[UNKNOWN] * (len(HEADINGS) - 3), state, here)
    return (one["id"], age_text(one), size(one["bytes"]), one["stack"], *content_columns(one), state, here)
