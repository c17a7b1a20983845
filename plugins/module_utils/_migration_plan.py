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
REPEATABLE = re.compile(r"R_[A-Za-z0-9][A-Za-z0-9_.-]*\.sql")


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
    def repeatable(self) -> bool:
        """Run again whenever its text changed."""
        return REPEATABLE.fullmatch(self.name) is not None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


@dataclass(frozen=True)
class Applied:
    """One row of the ledger for a versioned file."""

    number: int
    name: str
    sha256: str


@dataclass(frozen=True)
class Ledger:
    """What was applied to a database; repeated: the repeatable files as they were when they ran last."""

    applied: tuple[Applied, ...] = ()
    repeated: tuple[File, ...] = ()


NOTHING = Ledger()


@dataclass(frozen=True)
class Pending:
    """A file that can be run: one that is not in the ledger yet, or one that is run again in a shadow."""

    file: File
    migration: Migration


@dataclass(frozen=True)
class Plan:
    """For one database: the files to apply in order, or the problems for which nothing may be applied."""

    database: str
    pending: tuple[Pending, ...]
    problems: tuple[str, ...]


def plan(database: str, files: Sequence[File], ledger: Ledger) -> Plan:
    """Compare a directory with a ledger. A plan with problems has nothing pending."""
    versioned = [file for file in files if not file.repeatable]
    problems = _directory_problems(database, files, versioned)
    if not problems:
        problems = _ledger_problems(database, versioned, ledger.applied)
    pending: list[Pending] = []
    for file in [*_new(versioned, ledger), *_changed(files, ledger)]:
        try:
            pending.append(_pending(file))
        except UnfitText as error:
            problems.append(f"{database}/{file.name}: {error}")
    return Plan(database, () if problems else tuple(pending), tuple(problems))


def replayed(files: Sequence[File], ledger: Ledger) -> tuple[Pending, ...]:
    """What the ledger says, as files to run anew. Raises UnfitText, its text begins with the file's name."""
    known = {row.number for row in ledger.applied}
    again = [file for file in sorted(files, key=lambda item: item.number) if file.number in known]
    found: list[Pending] = []
    for file in [*again, *sorted(ledger.repeated, key=lambda item: item.name)]:
        try:
            found.append(_pending(file))
        except UnfitText as error:
            raise UnfitText(f"{file.name}: {error}") from error
    return tuple(found)


def gone(files: Sequence[File], ledger: Ledger) -> tuple[str, ...]:
    """Repeatable files that ran and are no longer in the directory."""
    names = {file.name for file in files}
    return tuple(file.name for file in ledger.repeated if file.name not in names)


def without(ledger: Ledger, names: Sequence[str]) -> Ledger:
    """The ledger without these repeatable files."""
    return Ledger(ledger.applied, tuple(file for file in ledger.repeated if file.name not in names))


def adopted(files: Sequence[File], baseline: int) -> Ledger:
    """The ledger as if the versioned files up to `baseline` had been applied. Raises UnfitText where there is no such file."""
    versioned = {file.number: file for file in files if not file.repeatable}
    if baseline not in versioned:
        raise UnfitText(f"baseline is {baseline:04d}, but there is no such file; the last is {max(versioned, default=0):04d}")
    return Ledger(tuple(Applied(number, versioned[number].name, versioned[number].sha256) for number in sorted(versioned) if number <= baseline))


def _new(versioned: Sequence[File], ledger: Ledger) -> list[File]:
    known = {row.number for row in ledger.applied}
    return sorted((file for file in versioned if file.number >= 0 and file.number not in known), key=lambda item: item.number)


def _changed(files: Sequence[File], ledger: Ledger) -> list[File]:
    """Repeatable files whose text is not the one that ran last."""
    known = {(file.name, file.sha256) for file in ledger.repeated}
    return sorted((file for file in files if file.repeatable and (file.name, file.sha256) not in known), key=lambda item: item.name)


def _pending(file: File) -> Pending:
    migration = parse(file.text)
    if file.repeatable and not migration.transaction:
        raise UnfitText("a repeatable file runs in a transaction; put what cannot into a versioned one")
    return Pending(file, migration)


def _directory_problems(database: str, files: Sequence[File], versioned: Sequence[File]) -> list[str]:
    if not files:
        return [f"{database}: its directory holds no migration (NNNN_what.sql)"]
    badly_named = [file.name for file in versioned if file.number < 0]
    if badly_named:
        rule = "a migration is named NNNN_what.sql, as 0001_users.sql, or R_what.sql where it is repeatable (letters, digits, `_`, `.`, `-`)"
        return [f"{database}/{name}: {rule}" for name in sorted(badly_named)]
    names: dict[int, list[str]] = {}
    for file in versioned:
        names.setdefault(file.number, []).append(file.name)
    twins = [(number, " and ".join(sorted(found))) for number, found in sorted(names.items()) if len(found) > 1]
    problems = [f"{database}: the number {number:04d} is used twice, by {found}" for number, found in twins]
    missing = [number for number in range(1, max(names, default=0) + 1) if number not in names]
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
        problems.append(f"{database}: the ledger knows {max(applied):04d} but {_numbers(skipped)} missing; was a row deleted by hand?")
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
