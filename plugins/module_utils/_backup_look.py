# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the folders of a stack's backups; changes nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_list import age, moment
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_plan import age_limit
from ansible_collections.nexanest.database.plugins.module_utils._backup_status import Facts, Offsite, Schedule
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Entry, Store
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import OF_SETS, History
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import moment as moment_of
from ansible_collections.nexanest.database.plugins.module_utils._drill_status import Drills
from ansible_collections.nexanest.database.plugins.module_utils._drill_status import facts as drill_facts
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place

# The restore writes it before the first server changes, and removes it when the last one has.
JOURNAL = "restore.json"


def look(options: Mapping[str, Any], stack: str, now: datetime) -> Facts:
    """Sets of other stacks in the folder are none of its.

    options: dir of the sets, state_dir of restores (or None), schedule as backup_schedule_info returns it (or None), offsite (or None).
    drill_overdue_after, offsite_drill_overdue_after: times as text, or None where drills are nobody's matter.
    """
    journal = _journal(Path(options["state_dir"])) if options["state_dir"] else ""
    schedule = _schedule(options["schedule"] or {}, now)
    try:
        entries = Store(Path(options["dir"])).entries()
    except OSError as error:
        return Facts(schedule=schedule, journal=journal, trouble=f"{options['dir']}: {error.strerror}")
    whole = [(entry, entry.manifest) for entry in entries if entry.manifest and entry.manifest.stack == stack]
    unreadable = {entry.id: entry.problem for entry in entries if not entry.manifest and entry.folder.is_dir()}
    if not whole:
        return Facts(unreadable=unreadable, schedule=schedule, journal=journal)
    newest, manifest = whole[-1]
    offsite = _offsite(options["offsite"], [entry for entry, _manifest in whole], manifest) if options["offsite"] else None
    drills = _drills(options, stack, now)
    facts = Facts(len(whole), newest.id, age(manifest, now), manifest.bytes, unreadable, schedule, journal, offsite=offsite, drills=drills)
    return dataclasses.replace(facts, offsite_drills=offsite_drills(options, stack, now))


def _drills(options: Mapping[str, Any], stack: str, now: datetime) -> Drills | None:
    """Of this machine's sets."""
    return _drilled(options, "drill", stack, now) if options["drill_overdue_after"] else None


def offsite_drills(options: Mapping[str, Any], stack: str, now: datetime, source: str = OF_SETS) -> Drills | None:
    """Of what was fetched out of the bucket; None without one."""
    if not options.get("offsite") or not options.get("offsite_drill_overdue_after"):
        return None
    found = _drilled(options, "offsite_drill", stack, now, source, Place.of(options["offsite"]).text)
    # Until the clock runs the next one a month may pass: one by hand clears what it left.
    failure = ((options["schedule"] or {}).get("offsite_drill") or {}).get("failure") or {}
    at = moment(str(failure.get("at", "")))
    later = found.last is not None and at is not None and moment_of(found.last.at) > at
    return dataclasses.replace(found, failed="", message="") if later or source != OF_SETS else found


def _drilled(options: Mapping[str, Any], kind: str, stack: str, now: datetime, source: str = OF_SETS, offsite: str = "") -> Drills:
    """What the history says, and what the clock's runs left."""
    overdue = int(age_limit(options[f"{kind}_overdue_after"]).total_seconds())
    try:
        found = drill_facts(History(Path(options["dir"])).of(stack, source, offsite), overdue, now)
    except OSError as error:
        return Drills(overdue, trouble=str(error.strerror))
    clock = _schedule((options["schedule"] or {}).get(kind) or {}, now)
    return dataclasses.replace(found, since=clock.since, failed=clock.failed, message=clock.message)


def _offsite(options: Mapping[str, Any], entries: Sequence[Entry], newest: Manifest) -> Offsite:
    """What the copies have noted; nobody is asked."""
    where = Place.of(options).text
    last = next((entry.manifest for entry in reversed(entries) if entry.manifest and entry.copied and entry.copied.where == where), None)
    if last is None:
        return Offsite(where)
    there, here = moment(last.finished), moment(newest.finished)
    return Offsite(where, last.id, int((here - there).total_seconds()) if here and there else 0)


def _schedule(found: Mapping[str, Any], now: datetime) -> Schedule:
    since = moment(str(found.get("since") or ""))
    failure = found.get("failure") or {}
    if since is None:
        return Schedule()
    at = moment(str(failure.get("at", "")))
    failed = "" if not failure else f"{at:%Y-%m-%d %H:%M} UTC" if at else "a time that is not known"
    return Schedule(int((now - since).total_seconds()), failed, str(failure.get("message", "")))


def _journal(folder: Path) -> str:
    """Which restore is open; what cannot be read is one all the same."""
    file = folder / JOURNAL
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return f"the set {found['set']} on {', '.join(found['targets'])}, since {found['started']}"
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        return f"its journal {file} cannot be read"
