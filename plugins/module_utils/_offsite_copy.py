# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a bucket hold the sets of a folder: look at both, send what is missing, then remove what no rule keeps there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils import _offsite_plan as plans
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest, ManifestError
from ansible_collections.nexanest.database.plugins.module_utils._backup_retention import Policy
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Copy, Entry, Store, now
from ansible_collections.nexanest.database.plugins.module_utils._backup_verify import shape
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import WORKERS, Bucket, BucketError, Object, Upload
from ansible_collections.nexanest.database.plugins.module_utils._offsite_look import Survey, ours, sent_before, survey
from ansible_collections.nexanest.database.plugins.module_utils._offsite_send import Sender
from ansible_collections.nexanest.database.plugins.module_utils._parallel import each
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._stream import measure

COPY, REMAINS = "copy of a set", "remains of a copy"
MEGABYTE = 2**20


class Refused(Exception):
    """Nothing was changed; the text says why and what to do."""


@dataclass
class Plan:
    """What was found, and what is to do. send: files by set, the newest set first; problems: why a set cannot be copied, by id."""

    found: Survey
    entries: Mapping[str, Entry]
    choice: plans.Choice
    send: dict[str, list[File]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    remains: dict[str, list[Object]] = field(default_factory=dict)

    def manifest(self, identity: str) -> Manifest:
        """Of a set in the folder that is to be sent."""
        found = self.entries[identity].manifest
        if found is None:
            raise Refused(self.entries[identity].problem)
        return found

    def sizes(self, sets: Iterable[str]) -> list[int]:
        """Of the files that are to be sent of these sets."""
        return [file.bytes for identity in sets for file in self.send[identity]]


@dataclass(frozen=True)
class Copier:
    """Works on one folder and one bucket. The caller of apply() holds the lock of the copies."""

    params: Mapping[str, Any]
    bucket: Bucket
    store: Store

    @property
    def stack(self) -> str:
        return str(self.params["stack"])

    def look(self) -> Plan:
        """BucketError or Refused before anything is changed."""
        moment = now()
        found = survey(self.bucket)
        entries = {entry.id: entry for entry in self.store.entries()}
        local = {
            identity: plans.Local(entry.manifest, measure(entry.folder / manifests.NAME)[1])
            for identity, entry in entries.items()
            if entry.manifest is not None and entry.manifest.stack == self.stack
        }
        plan = Plan(found, entries, self._choice(entries, local, found, moment))
        plan.problems.update(plan.choice.conflicts)
        for identity in plan.choice.copy:
            self._look_at(plan, identity)
        self._look_for_remains(plan, set(local), moment)
        return plan

    def _choice(self, entries: Mapping[str, Entry], local: Mapping[str, plans.Local], found: Survey, moment: datetime) -> plans.Choice:
        asked = self.params["id"]
        if asked is None:
            coming = moment if self.params["coming"] else None
            return plans.choose(self.stack, local, found.sets, Policy(**self.params["retention"]), coming)
        if asked not in local:
            other = entries[asked].problem or "it is of another stack" if asked in entries else f"it has {', '.join(sorted(local)) or 'none'}"
            raise Refused(f"there is no set {asked} of the stack {self.stack} in {self.store.folder} that can be copied: {other}")
        return plans.alone(asked, local, found.sets)

    def _look_at(self, plan: Plan, identity: str) -> None:
        """Which files of a set have to be sent; a set that is wrong on the disk is not begun."""
        if identity == plans.COMING:
            return
        wrong = shape(plan.entries[identity])
        if wrong:
            plan.problems[identity] = f"it is damaged on this machine: {'; '.join(wrong[:5])}"
            return
        manifest, there = plan.manifest(identity), plan.found.sets.get(identity)
        same = sent_before(self.bucket, manifest, plan.found.objects.get(identity, {})) if there is None else ()
        plan.send[identity] = plans.missing_files(manifest, there, same)

    def _look_for_remains(self, plan: Plan, local: set[str], moment: datetime) -> None:
        asked = self.params["id"]
        uploads = plans.dead_uploads(self.bucket.uploads(), local, moment)
        plan.uploads = [one for one in uploads if asked is None or one.key.startswith(f"{asked}/")]
        if asked is None:
            kept = {*plan.found.sets, *plan.choice.copy}
            loose = plans.remains(plan.found.objects, kept, local, moment)
            mine = {identity: ours(self.bucket, objects, self.stack) for identity, objects in loose.items()}
            plan.remains = {identity: objects for identity, objects in mine.items() if objects}

    def apply(self, plan: Plan) -> tuple[list[Change], dict[str, str], list[str]]:
        """What was changed, what failed by set, and what could not be tidied up."""
        failed, done = dict(plan.problems), set[str]()
        notices = self._tidy(plan)
        sender = Sender(self.bucket, self.stack, self.params["part_size"] * MEGABYTE, Progress(self.params["progress_file"]))
        for identity, files in plan.send.items():
            try:
                sender.send(plan.entries[identity].folder, plan.manifest(identity), files)
                done.add(identity)
            except (BucketError, Damaged, ManifestError, UnicodeDecodeError) as error:
                failed[identity] = str(error)
            except OSError as error:
                failed[identity] = f"{error.filename or 'a file of it'} cannot be read ({error.strerror})"
        removed = set() if failed else self._remove(plan, failed)
        self._note(plan, done)
        made = [change for change in changes(plan) if change.name in done | removed or (change.kind == REMAINS and not notices)]
        return made, failed, notices

    def _tidy(self, plan: Plan) -> list[str]:
        """What dead runs have left costs money and is in nobody's way: that it cannot be removed fails no copy."""
        try:
            for upload in plan.uploads:
                self.bucket.abort(upload.key, upload.id)
            keys = [one.key for objects in plan.remains.values() for one in objects]
            each(self.bucket.delete, keys, workers=WORKERS)
        except BucketError as error:
            return [f"what interrupted copies have left could not be removed: {error}"]
        return []

    def _remove(self, plan: Plan, failed: dict[str, str]) -> set[str]:
        """A set loses its manifest first, so that no half of it is ever taken for a whole. Nothing is removed after a copy has failed."""
        removed = set()
        for identity in plan.choice.remove:
            one = plan.found.sets[identity]
            files = [file.path for file in one.manifest.files if file.path in one.objects] if one.manifest else []
            try:
                self.bucket.delete(f"{identity}/{manifests.NAME}")
                removed.add(identity)
                each(self.bucket.delete, [f"{identity}/{path}" for path in files], workers=WORKERS)
            except BucketError as error:
                failed[identity] = f"no rule keeps it in the bucket any more, but it could not be removed: {error}"
        return removed

    def _note(self, plan: Plan, done: set[str]) -> None:
        """Remember which sets of the folder are in the bucket, for whoever cannot ask it."""
        where = self.bucket.place.text
        for identity, entry in plan.entries.items():
            stored = plan.found.sets.get(identity)
            there = identity in done or (stored is not None and stored.whole and identity not in {*plan.choice.remove, *plan.problems})
            if not there and entry.copied is not None:
                self.store.uncopied(identity)
            elif there and entry.manifest is not None and (entry.copied is None or entry.copied.where != where):
                self.store.copied(entry.manifest, Copy(now().isoformat(timespec="seconds"), where))


def changes(plan: Plan) -> list[Change]:
    """All that the plan would change."""
    return [*_sent(plan), *_removed(plan), *_tidied(plan)]


def _sent(plan: Plan) -> list[Change]:
    found = [Change(COPY, plans.COMING, None, {"set": "the coming one"})] if plans.COMING in plan.choice.copy else []
    for identity in plan.send:
        manifest, there = plan.manifest(identity), plan.found.sets.get(identity)
        before = {"missing": list(there.gaps)} if there is not None else None
        found.append(Change(COPY, identity, before, {"files": len(manifest.files), "bytes": manifest.bytes}))
    return found


def _removed(plan: Plan) -> list[Change]:
    return [Change(COPY, identity, {"removed": why}, None) for identity, why in plan.choice.remove.items()] if not plan.problems else []


def _tidied(plan: Plan) -> list[Change]:
    counts: dict[str, list[int]] = {identity: [len(objects), 0] for identity, objects in plan.remains.items()}
    for upload in plan.uploads:
        counts.setdefault(upload.key.split("/", 1)[0], [0, 0])[1] += 1
    return [Change(REMAINS, identity, {"objects": objects, "uploads": uploads}, None) for identity, (objects, uploads) in counts.items()]


def told(plan: Plan) -> Sequence[str]:
    """What the operator should know although nothing failed."""
    unreadable = [f"the set {entry.id} is not copied: {entry.problem}" for entry in plan.entries.values() if entry.manifest is None]
    damaged = [
        f"the set {one.id} in the bucket cannot be used, and is not on this machine: {'; '.join(one.problems[:5])}"
        for one in plan.found.sets.values()
        if one.problems and one.id not in plan.entries
    ]
    return [*unreadable, *damaged, *([plan.choice.kept_all] if plan.choice.kept_all else [])]
