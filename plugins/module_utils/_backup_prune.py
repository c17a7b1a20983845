# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove the sets of one stack that no rule keeps. Sets of another stack, and folders that are none, are not looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ansible_collections.nexanest.database.plugins.module_utils._backup_plan import finished
from ansible_collections.nexanest.database.plugins.module_utils._backup_retention import Policy, Set, decide
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store

_COMING = "the coming one"


class PruneError(Exception):
    """A set could not be removed; the text says which. All others are as they were."""


def doomed(store: Store, retention: Mapping[str, int], stack: str, coming: datetime | None = None) -> dict[str, str]:
    """Why each of them would go, by id. coming: when a set that is not there yet would be made."""
    sets = [
        Set(entry.id, entry.manifest.serial, finished(entry.manifest), verified=entry.verified is not None)
        for entry in store.entries()
        if entry.manifest is not None and entry.manifest.stack == stack
    ]
    if coming is not None:
        sets.append(Set(_COMING, max((one.serial for one in sets), default=0) + 1, coming))
    return decide(sets, Policy(**retention)).deleted


def prune(store: Store, retention: Mapping[str, int], stack: str) -> dict[str, str]:
    """Remove them; the caller holds the folder's lock."""
    removed = doomed(store, retention, stack)
    for name in removed:
        try:
            store.remove(name)
        except OSError as error:
            raise PruneError(f"the old set {name} could not be removed ({error.strerror}): see to the rights on {store.folder}") from error
    return removed


def judge(retention: Mapping[str, int]) -> list[str]:
    """What is wrong with a policy."""
    try:
        Policy(**retention)
    except ValueError as error:
        return [str(error)]
    return []
