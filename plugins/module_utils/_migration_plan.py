# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a directory are pending, or why none may be applied: files compared with the ledger."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.nexanest.database.plugins.module_utils._migration_text import Migration, UnfitText, parse

NAME = re.compile(r"(?P<number>[0-9]{4})_[A-Za-z0-9][A-Za-z0-9_.-]*\.sql")


@dataclass(frozen=True)
class File:
    """One file of a directory as it is now."""

    name: str
    text: str

    @property
    def number(self) -> int:
        found = NAME.fullmatch(self.name)
        return int(found["number"]) if found else -1

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


@dataclass(frozen=True)
class Applied:
    """One row of the ledger."""

    number: int
    name: str
    sha256: str


@dataclass(frozen=True)
class Pending:
    """A file that is not in the ledger yet, ready to run."""

    file: File
    migration: Migration


@dataclass(frozen=True)
class Plan:
    """For one database: the files to apply in order, or the problems for which nothing may be applied."""

    database: str
    pending: tuple[Pending, ...]
    problems: tuple[str, ...]


def plan(database: str, files: Sequence[File], ledger: Sequence[Applied]) -> Plan:
    """Compare a directory with a ledger. A plan with problems has nothing pending."""
    problems = _directory_problems(database, files)
    if not problems:
        problems = _ledger_problems(database, files, ledger)
    known = {row.number for row in ledger}
    pending: list[Pending] = []
    for file in sorted(files, key=lambda item: item.number):
        if file.number in known or (problems and file.number < 0):
            continue
        try:
            pending.append(Pending(file, parse(file.text)))
        except UnfitText as error:
            problems.append(f"{database}/{file.name}: {error}")
    return Plan(database, () if problems else tuple(pending), tuple(problems))


def _directory_problems(database: str, files: Sequence[File]) -> list[str]:
    if not files:
        return [f"{database}: its directory holds no migration (NNNN_what.sql)"]
    badly_named = [file.name for file in files if file.number < 0]
    if badly_named:
        return [f"{database}/{name}: a migration is named NNNN_what.sql, as 0001_users.sql (letters, digits, `_`, `.`, `-`)" for name in sorted(badly_named)]
    names: dict[int, list[str]] = {}
    for file in files:
        names.setdefault(file.number, []).append(file.name)
    twins = [(number, " and ".join(sorted(found))) for number, found in sorted(names.items()) if len(found) > 1]
    problems = [f"{database}: the number {number:04d} is used twice, by {found}" for number, found in twins]
    missing = [number for number in range(1, max(names) + 1) if number not in names]
    if 0 in names:
        problems.append(f"{database}/{names[0][0]}: numbers start at 0001")
    if missing:
        problems.append(f"{database}: {_numbers(missing)} missing before {sorted(names[max(names)])[0]}; numbers have no gaps")
    return problems


def _ledger_problems(database: str, files: Sequence[File], ledger: Sequence[Applied]) -> list[str]:
    present = {file.number: file for file in files}
    problems = [found for row in sorted(ledger, key=lambda item: item.number) if (found := _row_problem(database, row, present))]
    applied = {row.number for row in ledger}
    skipped = [number for number in range(1, max(applied, default=0)) if number not in applied]
    if skipped:
        problems.append(f"{database}: the ledger knows {max(applied):04d} but not {_numbers(skipped)}; was a row deleted by hand?")
    return problems


def _row_problem(database: str, row: Applied, present: Mapping[int, File]) -> str | None:
    file = present.get(row.number)
    if file is None:
        return f"{database}/{row.name} was applied but is no longer in the directory; put it back"
    if file.name != row.name:
        return f"{database}/{row.name} was applied, but the directory holds {file.name} in its place; rename it back, and put new SQL into a new file"
    if file.sha256 != row.sha256:
        checksums = f"ledger: sha256 {row.sha256}, file: sha256 {file.sha256}"
        return f"{database}/{row.name} was changed after it was applied ({checksums}); restore its text, and put the change into a new file"
    return None


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(f"{number:04d}" for number in numbers[:5])
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"{shown}{more} {'is' if len(numbers) == 1 else 'are'}" if not more else f"{shown}{more} are"
