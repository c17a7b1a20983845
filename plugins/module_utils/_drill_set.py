# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup set as what is drilled: its parties, what they need, and its files, opened and compared with the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils import _drill_image as images
from ansible_collections.nexanest.database.plugins.module_utils import _restore_staging as staging
from ansible_collections.nexanest.database.plugins.module_utils._age import MISSING, Age
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Opener
from ansible_collections.nexanest.database.plugins.module_utils._backup_list import age
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Entry
from ansible_collections.nexanest.database.plugins.module_utils._backup_verify import shape, verify
from ansible_collections.nexanest.database.plugins.module_utils._drill_origin import Chosen
from ansible_collections.nexanest.database.plugins.module_utils._drill_party import Needs, Party, needed
from ansible_collections.nexanest.database.plugins.module_utils._drill_postgres import PostgresParty
from ansible_collections.nexanest.database.plugins.module_utils._drill_redis import RedisParty
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress


@dataclass(frozen=True)
class SetSource:
    """One set. identities: private keys, of which one opens it; content: whether it can be opened, and so restored; fetch: bytes that have to come first."""

    chosen: Chosen
    identities: tuple[str, ...]
    parties: tuple[Party, ...]
    problems: tuple[str, ...]
    fetch: int = 0

    @property
    def manifest(self) -> Manifest:
        return self.chosen.manifest

    @property
    def content(self) -> bool:
        return self.manifest.encryption.method == "none" or bool(self.identities)

    @property
    def needs(self) -> Needs:
        if not self.content:
            return Needs(self.fetch, 0)
        return needed([party.needs for party in self.parties], self.fetch + staging.needed_bytes(self.manifest.files))

    def rpo(self, now: datetime) -> int | None:
        """Seconds from the data's moment."""
        return age(self.manifest, now)

    def refusals(self) -> list[str]:
        """Why it cannot be drilled, beside what the machine lacks."""
        if not self.content:
            return []
        missing = [MISSING] if self.manifest.encryption.method != "none" and not Age.available() else []
        return [*self.problems, *missing, *(text for party in self.parties for text in party.unfit())]

    def checksums(self, entry: Entry) -> list[str]:
        """What is wrong with the stored bytes."""
        return list(verify(entry, ()).problems)

    def open(self, entry: Entry, folder: Path, progress: Progress) -> list[str]:
        """Put every file that a restore needs into the folder, and read the others; what is wrong with the set. entry: where it is by now."""
        problems = shape(entry)
        if problems:
            return problems
        progress.begin(self.manifest.id, "checking and opening its files")
        opener = Opener(entry.folder, self.identities if self.manifest.encryption.method != "none" else ())
        unused = {server.globals for server in self.manifest.servers.values()}
        problems = staging.take(opener, [file for file in self.manifest.files if file.path not in unused], folder)
        problems += [text for text in staging.check(opener, [self.manifest.file(path) for path in unused]) if text not in problems]
        progress.end(self.manifest.id, "every file is what the manifest says" if not problems else f"{len(problems)} problems")
        return problems


def source(chosen: Chosen, params: Mapping[str, Any], identities: tuple[str, ...], fetch: int = 0) -> SetSource:
    """With the images of the options."""
    manifest = chosen.manifest
    parties: list[Party] = []
    problems: list[str] = []
    servers, instances = ({one["name"]: one for one in params[kind]} for kind in ("servers", "redis"))
    for name, described in manifest.servers.items():
        if name in servers:
            given = servers[name]
            parties.append(PostgresParty(name, described, images.find(given), given["memory_mb"] or params["memory_mb"], given["superuser"]))
    for name, wanted in manifest.redis.items():
        if name in instances:
            parties.append(RedisParty(name, wanted, _dump(manifest, wanted.path, problems), images.find(instances[name])))
    problems += _unnamed("server", manifest.servers, servers) + _unnamed("redis instance", manifest.redis, instances)
    return SetSource(chosen, identities, tuple(parties), tuple(problems), fetch)


def _dump(manifest: Manifest, path: str, problems: list[str]) -> File:
    try:
        return manifest.file(path)
    except manifests.ManifestError as error:
        problems.append(str(error))
        return File(path, 0, "", 0, "")


def _unnamed(kind: str, wanted: Sequence[str] | Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    return [f"the {kind} {name} of the set is not named in the options: name it with its image" for name in wanted if name not in given]
