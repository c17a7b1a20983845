# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the receivers on other hosts are, and what to do about what is wrong: the part of the continuous backup's status that is theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ansible_collections.nexanest.database.plugins.module_utils._archive_receivers import waited_for
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import RED, YELLOW, Problem

if TYPE_CHECKING:
    from ansible_collections.nexanest.database.plugins.module_utils._archive_status import Facts


def problems(service: str, facts: Facts, verb: Callable[[str], str]) -> list[Problem]:
    """What is wrong with them, and with whom commits wait for."""
    found = [*_each(service, facts, verb), *_strangers(service, facts, verb), *_commits(service, facts, verb)]
    if facts.receivers and not facts.offsite:
        what = "another host receives the log, but all base backups are on this one, and lost with it: the log alone is worth nothing"
        found.append(Problem(service, what, "name a bucket in backup_offsite (docs/backup.md)", YELLOW))
    if facts.gap:
        what = f"the bucket's copy ends before the {facts.keep_hours} h of log that other hosts keep: what is between would be lost with this host"
        found.append(Problem(service, what, f"{verb('db-offsite')} copies it, or says why it cannot", YELLOW))
    return found


def _each(service: str, facts: Facts, verb: Callable[[str], str]) -> list[Problem]:
    found = []
    for receiver in facts.receivers:
        if receiver.slot == "lost":
            what = f"the server gave the slot of {receiver.name} up, because too much log had gathered for it: what that host has ends there"
            found.append(Problem(service, what, "see to that host and its container: it begins a new slot by itself", YELLOW))
        elif not receiver.streaming:
            waits = ", and commits wait for it" if facts.waiting else ""
            remedy = f"see to that host, its disk, and the way to it; {verb('db-start')} starts it, or says why it cannot"
            found.append(Problem(service, f"{receiver.name} does not receive{waits}", remedy, RED if facts.waiting else YELLOW))
    return found


def _strangers(service: str, facts: Facts, verb: Callable[[str], str]) -> list[Problem]:
    found = []
    for name in facts.strangers:
        what = f"the server keeps log for {name}, which is no receiver of the inventory"
        remedy = f"stop its container where it still runs (docker rm -f {facts.container}-receiver on that host), then {verb('db-start')} drops its slot"
        found.append(Problem(service, what, remedy, YELLOW))
    return found


def _commits(service: str, facts: Facts, verb: Callable[[str], str]) -> list[Problem]:
    number, names = waited_for(facts.standbys)
    if not facts.synchronous or (number, set(names)) == facts.asked:
        return []
    what = f"commits wait for {facts.standbys}, and should for {'two of ' if facts.receivers else ''}{', '.join(sorted(facts.asked[1]))}"
    remedy = f"{verb('db-start')} lets them, when these receive; to wait for nobody, ARGS='-e wal_archive_synchronous=false' as well"
    return [Problem(service, what, remedy, RED if facts.waiting else YELLOW)]
