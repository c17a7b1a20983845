# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which databases get sample data, or why none may: files compared with what was seeded and with rows that nobody seeded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Seed:
    """The sample data of one database as it is now: its SQL, for how many users, run as which role."""

    database: str
    session_role: str
    file: str
    text: str
    users: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


@dataclass(frozen=True)
class Sown:
    """One row of `_ledger.seeds`."""

    file: str
    sha256: str
    users: int


@dataclass(frozen=True)
class Soil:
    """What a database holds: what was seeded, and the tables of users' data (those with row security) that have rows."""

    sown: tuple[Sown, ...] = ()
    filled: tuple[str, ...] = ()


def plan(seeds: Sequence[Seed], soils: Mapping[str, Soil]) -> tuple[list[Seed], list[str]]:
    """The seeds to sow, and the problems for which none may be sown anywhere. A database that is missing in `soils` does not exist."""
    problems = [problem for seed in seeds if (problem := _problem(seed, soils.get(seed.database)))]
    pending = [seed for seed in seeds if seed.database in soils and not soils[seed.database].sown]
    return ([] if problems else pending), problems


def _problem(seed: Seed, soil: Soil | None) -> str | None:
    if soil is None:
        return f"the database {seed.database} does not exist; start the stack first (make db-start)"
    if not soil.sown:
        tables = ", ".join(soil.filled)
        return f"{seed.database}: there are rows that no seed made in {tables}" if tables else None
    sown = soil.sown[0]
    if sown.users != seed.users:
        return f"{seed.database} was seeded with {sown.users} users, not with {seed.users}"
    if sown.sha256 != seed.sha256:
        return f"{seed.database} was seeded from another text of {sown.file} (sha256 {sown.sha256}, now {seed.sha256})"
    return None
