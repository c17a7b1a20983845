# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access proof as a text for people: what went wrong first, then a table of all groups. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HEADINGS = ("SERVER", "DOORS", "TRIED", "AS THEY SHOULD", "OTHERWISE", "NOT TRIED", "NO ROWS TO HIDE")
# Of each kind of door, so many failures are told; the file has all.
TOLD = 10


def report(servers: Sequence[Mapping[str, Any]], file: str = "") -> str:
    """servers: [{server, attempts, summary}]; file: where every attempt stands, "" where nothing was written."""
    lines = [line for server in servers for line in _failures(server)]
    rows = [HEADINGS, *(row for server in servers for row in _groups(server))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines += [*([""] if lines else []), *(_line(row, widths) for row in rows), ""]
    every = [attempt for server in servers for attempt in server["attempts"]]
    wrong = failed(servers)
    took = sum(server["summary"]["seconds"] for server in servers)
    ending = "all ended as they should" if not wrong else f"{wrong} ended otherwise than they should"
    lines.append(f"{len(every)} attempts in {took:.0f} s: {ending}")
    return "\n".join([*lines, *([f"every attempt: {file}"] if file else [])])


def failed(servers: Sequence[Mapping[str, Any]]) -> int:
    """How many ended otherwise than they should, or could not be tried."""
    return sum(not attempt["ok"] for server in servers for attempt in server["attempts"])


def _failures(server: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for group, attempts in _by_group(server).items():
        wrong = [attempt for attempt in attempts if not attempt["ok"]]
        for attempt in wrong[:TOLD]:
            place = "" if attempt["place"] in ("server", server["server"]) else f", database {attempt['place']}"
            lines.append(f"WRONG  {server['server']}{place}, {attempt['role']}: {attempt['what']}")
            lines.append(f"       should be: {attempt['expected']}; was: {attempt['seen']}")
            lines.append(f"       -> {attempt['remedy']}")
        if len(wrong) > TOLD:
            lines.append(f"WRONG  {server['server']}: {len(wrong) - TOLD} more of the kind {group}")
    return lines


def _groups(server: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [(server["server"], group, *_counts(attempts)) for group, attempts in _by_group(server).items()]


def _counts(attempts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    untried = sum(not attempt["tried"] for attempt in attempts)
    right = sum(attempt["ok"] for attempt in attempts)
    empty = sum(not attempt["proves"] for attempt in attempts)
    return tuple(str(number) if number else "-" for number in (len(attempts) - untried, right, len(attempts) - untried - right, untried, empty))


def _by_group(server: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for attempt in server["attempts"]:
        found.setdefault(attempt["group"], []).append(attempt)
    return found


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Words to the left, numbers to the right."""
    return "  ".join(cell.ljust(width) if column < 2 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
