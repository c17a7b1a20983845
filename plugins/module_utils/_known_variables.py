# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables belong to no role although they look as if they did."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Unknown:
    """A variable that no role knows, and the nearest one that a role does know."""

    name: str
    role: str
    nearest: str | None

    def __str__(self) -> str:
        hint = f", did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.name} (role {self.role}{hint})"


def unknown(variables: Collection[str], roles: Mapping[str, Collection[str]], foreign: Collection[str] = ()) -> list[Unknown]:
    """Variables with the prefix of a role that no role knows.

    roles: the names of variables by role; foreign: names that are let through.
    """
    known = {name for names in roles.values() for name in names}
    found = []
    for name in sorted(set(variables) - known - set(foreign)):
        # data_model_x belongs to data_model, not to a role called data.
        owners = sorted((role for role in roles if name.startswith(f"{role}_")), key=len)
        if owners:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            found.append(Unknown(name, owners[-1], near[0] if near else None))
    return found


def message(found: Collection[Unknown]) -> str:
    """One sentence for all of them, with the remedy."""
    names = "; ".join(str(item) for item in found)
    subject = "this variable is" if len(found) == 1 else "these variables are"
    return f"{subject} known to no role: {names}. Correct the spelling in the inventory, or list names of other software in stack_foreign_variables."


def names_in(specs: object) -> set[str]:
    """The options of all entry points in a role's meta/argument_specs.yml."""
    if not isinstance(specs, Mapping):
        return set()
    entries = (specs.get("argument_specs") or {}).values()
    return {str(name) for entry in entries for name in (entry or {}).get("options") or {}}
