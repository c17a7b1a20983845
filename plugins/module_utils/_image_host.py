# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has that matters for images: the engine's images, its registries, its free space, its tools."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from ansible_collections.nexanest.database.plugins.module_utils import _image_registry, _image_wheels
from ansible_collections.nexanest.database.plugins.module_utils._apt import Apt
from ansible_collections.nexanest.database.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.nexanest.database.plugins.module_utils._image_plan import BASE, ImageError, Step, registry_host


@dataclass
class Host:
    """The managed host. missing: why no engine can be asked; empty where one answers."""

    present: Collection[str] = ()
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    root: str = ""
    missing: str = ""
    mirrors: Sequence[str] = ()
    proxies: Mapping[str, str] | None = None
    asked: dict[str, bool] = field(default_factory=dict)

    def registry_answers(self, image: str) -> bool:
        """Does this image's registry answer? Each registry is asked once."""
        host = registry_host(image)
        if host not in self.asked:
            mirrors = self.mirrors if host == registry_host("") else ()
            self.asked[host] = _image_registry.answers(host, mirrors=mirrors, proxies=self.proxies)
        return self.asked[host]


def read_host(names: Sequence[str], *, assume_empty: bool) -> Host:
    """Look at the host. `names`: images that matter; the engine resolves them, so short names and digests work."""
    if assume_empty:
        return Host(missing="the host cannot be asked yet")
    engine = Engine()
    try:
        info = engine.get("/info")
        tags = {tag for image in engine.get("/images/json") for tag in image.get("RepoTags") or []}
        found = {name: engine.get(f"/images/{quote(name)}/json") for name in names if name}
    except EngineError as error:
        return Host(missing=str(error))
    documents = {name: document for name, document in found.items() if document is not None}
    return Host(
        present=tags | set(documents),
        labels={name: document["Config"].get("Labels") or {} for name, document in documents.items()},
        root=info["DockerRootDir"],
        mirrors=(info.get("RegistryConfig") or {}).get("Mirrors") or [],
        proxies=_image_registry.engine_proxies(info),
    )


def missing_packages(steps: Sequence[Step], *, wheels: bool, assume_empty: bool) -> list[str]:
    """Debian packages that these steps need and the host lacks."""
    wanted = ["debootstrap"] if any(step.label == BASE for step in steps) else []
    installed = set() if assume_empty else Apt().installed(wanted)
    packages = [name for name in wanted if name not in installed]
    return packages + ([_image_wheels.PACKAGE] if wheels and (assume_empty or _image_wheels.pip() is None) else [])


def require_space(steps: Sequence[Step], folders: Sequence[str]) -> None:
    """Refuse before anything is changed where a file system is too full for these steps."""
    needed = sum(step.space_mb for step in steps)
    for folder in folders:
        place = Path(folder)
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free // 2**20
        if free < needed:
            names = ", ".join(step.image for step in steps)
            raise ImageError(
                f"making {names} takes about {needed} MB, and {folder} has {free} MB free: make room there (docker system df shows what Docker holds)"
            )
