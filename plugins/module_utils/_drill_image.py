# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of a throw-away server: the one that a container runs, or one that was named. The container itself is not touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _shadow as shadow
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError


@dataclass(frozen=True)
class Image:
    """name: "" where there is none, and trouble says why; uid, gid: of the user that the server runs as."""

    name: str
    uid: int
    gid: int
    trouble: str = ""

    def problems(self, of: str) -> list[str]:
        """Why it cannot be used."""
        if self.trouble:
            return [f"{of}: {self.trouble}"]
        try:
            there = Docker().inspect("image", [self.name])
        except DockerError as error:
            return [f"{of}: {error}"]
        return [] if there else [f"{of}: the image {self.name} is not on this host: run site.yml, which makes it, or name another one"]


def find(given: Mapping[str, Any]) -> Image:
    """Of a server of the options: image, container, uid, gid."""
    uid, gid = int(given["uid"]), int(given["gid"])
    if given["image"]:
        return Image(given["image"], uid, gid)
    try:
        name, user = shadow.image_of(given["container"])
    except shadow.ShadowUnavailable as error:
        return Image("", uid, gid, f"{error}: name its image, or the container that runs it")
    return Image(name, *(user or (uid, gid)))
