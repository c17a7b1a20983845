# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sentences about a host that is not ready; reads files, changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._ports import Wish

# Where a cluster may lie in a volume beside the asked place: Debian's, the official image's up to 17 and from 18.
PLACES = ("pgdata", ".", "data", "*/docker")


def taken(wish: Wish, by: str) -> str:
    return (
        f"{wish.container} cannot have port {wish.port} on {wish.host}: {by} holds it. Stop that, or choose another port for {wish.container} in the inventory."
    )


def elsewhere(wish: Wish) -> str:
    return (
        f"{wish.container} cannot have port {wish.port} on {wish.host}: that is no address of this host. "
        f"Correct it in the inventory (for receivers on other hosts it is stack_receivers_endpoint)."
    )


def asked_twice(wishes: Sequence[Wish]) -> list[str]:
    """Ports that two of our own containers want."""
    problems = []
    for index, wish in enumerate(wishes):
        for other in wishes[:index]:
            if (other.port, other.host) == (wish.port, wish.host):
                names = f"{other.container} and {wish.container}"
                problems.append(f"{names} both ask for port {wish.port} on {wish.host}: give one of them another port in the inventory.")
    return problems


def cluster_version(volume: Path, pgdata: str) -> str:
    """Major version of the PostgreSQL cluster in a volume ('17'); empty where there is none."""
    for place in dict.fromkeys((pgdata or ".", *PLACES)):
        for path in sorted(volume.glob(f"{place}/PG_VERSION") if place != "." else [volume / "PG_VERSION"]):
            if path.is_file():
                return path.read_text().strip()
    return ""


def wrong_version(volume: str, found: str, wanted: str) -> str:
    return (
        f"The volume {volume} holds a cluster of PostgreSQL {found}, and PostgreSQL {wanted} is asked for. "
        f"Keep the version {found} in the inventory, or bring the data over with pg_upgrade, or with pg_dumpall on {found} and a restore into a new volume."
    )


def free_mb(path: str) -> int:
    """Free megabytes for a path, which may not be there yet."""
    place = Path(path)
    while not place.exists():
        place = place.parent
    state = os.statvfs(place)
    return state.f_bavail * state.f_frsize // 1024**2


def disks(root_dir: str) -> list[str]:
    """The engine's folder, and that of its volumes where it is a disk of its own."""
    volumes = Path(root_dir, "volumes")
    return [root_dir, str(volumes)] if volumes.is_mount() else [root_dir]


def too_full(free: Mapping[str, int], minimum: int) -> list[str]:
    return [
        f"Only {mb} MB are free for {path}, and {minimum} MB are needed: remove what is not needed there, or put it on a larger disk."
        for path, mb in free.items()
        if mb < minimum
    ]


def memory_mb(meminfo: Path = Path("/proc/meminfo")) -> int:
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def too_little_memory(found: int, minimum: int) -> list[str]:
    if found >= minimum:
        return []
    return [f"The host has {found} MB of memory, and {minimum} MB are needed: add memory, or lower stack_memory_mb and run fewer services."]


def message(problems: Iterable[str]) -> str:
    """All problems in one text; a single one needs no list."""
    found = list(problems)
    if len(found) == 1:
        return f"Nothing was changed. {found[0]}"
    return "Nothing was changed, because of:" + "".join(f"\n- {problem}" for problem in found)
