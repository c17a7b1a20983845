# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real catalogs against what the ledgers say: the applied files are run anew in a throw-away server."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _catalog_diff
from ansible_collections.nexanest.database.plugins.module_utils._catalog import Catalog, snapshot
from ansible_collections.nexanest.database.plugins.module_utils._connection import connect
from ansible_collections.nexanest.database.plugins.module_utils._migration_options import Refused, items
from ansible_collections.nexanest.database.plugins.module_utils._migration_plan import gone, plan, without
from ansible_collections.nexanest.database.plugins.module_utils._migration_run import read, replay
from ansible_collections.nexanest.database.plugins.module_utils._migration_shadow import shadow

REFUSED = "the files and the ledger do not fit"


def drift(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each database that is there: name, differences in words, pending files. Raises Refused, ShadowUnavailable, ShadowFailed."""
    wanted = items(params, REFUSED)
    states = read(params, [item.name for item in wanted])
    there = [item for item in wanted if item.name in states]
    plans = {item.name: plan(item.name, item.files, states[item.name].ledger) for item in there}
    problems = [problem for one in plans.values() for problem in one.problems]
    if problems:
        raise Refused(REFUSED, problems)
    found: list[dict[str, Any]] = []
    with shadow(params, [item.database for item in there]) as tried:
        for item in there:
            known = states[item.name].ledger
            made = replay(tried, item, without(known, gone(item.files, known)))
            with contextlib.closing(connect(params, item.name)) as connection:
                differences = _catalog_diff.words(_without_declared(snapshot(connection), made), made)
            pending = [one.file.name for one in plans[item.name].pending]
            found.append({"name": item.name, "differences": differences, "pending": pending})
    return found


def _without_declared(live: Catalog, made: Catalog) -> Catalog:
    """Without the hypertables that timescaledb_hypertables turned from plain tables of the migrations."""
    return {key: properties for key, properties in live.items() if key[0] != "hypertable" or key in made}
