# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis instance of a set: its file is loaded by a throw-away server and counted there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Keys, Redis
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import BulkError
from ansible_collections.nexanest.database.plugins.module_utils._docker import DockerError
from ansible_collections.nexanest.database.plugins.module_utils._drill_image import Image
from ansible_collections.nexanest.database.plugins.module_utils._drill_party import Findings, Needs, Place
from ansible_collections.nexanest.database.plugins.module_utils._redis_volume import CONFIGURATION, DATA, Volume, VolumeError, databases
from ansible_collections.nexanest.database.plugins.module_utils._restore_parties import one_line
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis import RedisTarget, RestoreRedisError
from ansible_collections.nexanest.database.plugins.module_utils._restore_staging import plain_path

LEAST_MB = 256
# Keys in memory take more than in a file.
_TIMES = 5
_SETTINGS = "maxmemory 0\n"


@dataclass(frozen=True)
class RedisParty:
    """name: of the instance in the set; file: its dump."""

    name: str
    wanted: Redis
    file: File
    image: Image

    @property
    def needs(self) -> Needs:
        return Needs(2 * self.file.plain_bytes + 2**24, max(LEAST_MB, _TIMES * self.file.plain_bytes >> 20))

    def units(self) -> list[dict[str, Any]]:
        return [{"name": f"redis/{self.name}", "keys": self.wanted.keys}]

    def unfit(self) -> list[str]:
        return self.image.problems(f"redis/{self.name}")

    def drill(self, place: Place) -> Findings:
        label = f"redis/{self.name}"
        place.progress.begin(label, "loading it into a throw-away server")
        result = Findings(units=self.units())
        try:
            data, settings = self._folders(place.folder / f"redis-{self.name}")
            info = self._target(place).prove(self._volume(place, data, settings), place.plain / plain_path(self.file))
            result.problems += [f"{label}: {text}" for text in differences(self.wanted.databases, databases(info))]
            result.checks = 2 + len(self.wanted.databases or {})
        except (RestoreRedisError, VolumeError, BulkError, DockerError, OSError) as error:
            result.problems.append(f"{label}: {one_line(error)}")
        result.units[0]["checks"] = result.checks
        place.progress.end(label, "proven" if not result.problems else "NOT proven")
        return result

    def _folders(self, folder: Path) -> tuple[Path, Path]:
        """For its data, which are its own, and for its settings, which everybody may read."""
        data, settings = folder / "data", folder / "settings"
        data.mkdir(mode=0o700, parents=True)
        os.chown(data, self.image.uid, self.image.gid)
        settings.mkdir()
        settings.chmod(0o755)
        (settings / "redis.conf").write_text(_SETTINGS, encoding="utf-8")
        (settings / "redis.conf").chmod(0o444)
        return data, settings

    def _target(self, place: Place) -> RedisTarget:
        return RedisTarget("a throw-away server", secrets.token_hex(4), self.wanted, {}, place.mark)

    def _volume(self, place: Place, data: Path, settings: Path) -> Volume:
        return Volume(
            container="",
            image=self.image.name,
            user=f"{self.image.uid}:{self.image.gid}",
            data=f"type=bind,source={data},target={DATA}",
            configuration=f"type=bind,source={settings},target={CONFIGURATION}",
            memory_mb=self.needs.memory_mb,
            stop_timeout=10,
            mark=place.mark,
        )


def differences(wanted: Mapping[str, Keys] | None, found: Mapping[int, tuple[int, int]]) -> list[str]:
    """Logical databases that hold more than the set says; that one holds less without that is seen from the sum, but for keys whose time is over."""
    if wanted is None:
        return []
    texts = []
    for number, (lasting, expiring) in sorted(found.items()):
        one = wanted.get(str(number), Keys(0, 0))
        if lasting > one.keys - one.expires or expiring > one.expires:
            texts.append(
                f"its database {number} has {lasting} keys without and {expiring} with a time to live, the set says {one.keys - one.expires} and {one.expires}"
            )
    return texts
