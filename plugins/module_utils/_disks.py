# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is lost together: on which disks of this host two folders lie, or whether one is another host's."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._ports import is_here

# What a copy survives the loss of.
VOLUME, DISK, HOST = "volume", "disk", "host"
# File systems that another host keeps, as the kernel names them in /proc/self/mountinfo (proc(5)).
_OF_ANOTHER_HOST = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"})
# That host in their sources: host:/export, [address]:/export, //host/share, user@host:folder.
_HOST = re.compile(r"(?:[^@/]*@)?(?://)?(?:\[(?P<address>[^]]+)\]|(?P<name>[^:/]+))[:/]")
_MOUNTS, _BLOCKS = Path("/proc/self/mountinfo"), Path("/sys/dev/block")


def survives(original: Path, copy: Path) -> str:
    """Of what loss the copy survives: of the original alone, of its disk, of this host. What is not known is no protection."""
    try:
        (kind, source), (_kind, origin) = _file_system(copy), _file_system(original)
        if kind in _OF_ANOTHER_HOST:
            return VOLUME if source == origin or _is_here(source) else HOST
        first, second = disks(original), disks(copy)
    except OSError:
        return VOLUME
    return DISK if first and second and not first & second else VOLUME


def _is_here(source: str) -> bool:
    """Whether a network file system is this host's own, or nobody knows whose. Raises OSError."""
    found = _HOST.match(source)
    if found is None:
        return True
    return is_here(found["address"] or found["name"])


def disks(folder: Path) -> set[str]:
    """Names of the disks below a folder, through partitions, volume groups, arrays and files that are mounted; none where one of them is not known.

    A file system with numbers of its own (btrfs, ZFS, overlay) does not say what it stands on.
    """
    device = folder.stat().st_dev
    return _below(f"{os.major(device)}:{os.minor(device)}") if os.major(device) else set()


def _below(device: str) -> set[str]:
    """Linux' Documentation/ABI/stable/sysfs-block: a partition lies in its disk's folder, slaves are what a device is made of."""
    block = (_BLOCKS / device).resolve()
    if (block / "partition").exists():
        block = block.parent
    slaves = sorted((block / "slaves").glob("*"))
    backing = block / "loop" / "backing_file"
    if slaves:
        parts = [_below((slave / "dev").read_text(encoding="ascii").strip()) for slave in slaves]
    elif backing.is_file():
        file = Path(backing.read_text(encoding="utf-8").strip())
        parts = [disks(file.parent) if file.parent.is_dir() else set()]
    else:
        # One that the kernel or a program makes up (zram, zvol, nbd, rbd) may stand on anything; NVMe of several paths is listed there as well.
        real = "virtual" not in block.parts or "nvme-subsystem" in block.parts
        parts = [{block.name} if block.is_dir() and real else set()]
    return set().union(*parts) if all(parts) else set()


def _file_system(folder: Path) -> tuple[str, str]:
    """Its type and its source; the last one that was mounted over the folder or above it."""
    wanted, found, length = folder.resolve(), ("", ""), -1
    for line in _MOUNTS.read_bytes().splitlines():
        before, _dash, after = line.partition(b" - ")
        point = _path(before.split()[4])
        if (wanted == point or point in wanted.parents) and len(point.parts) >= length:
            kind, source = after.split()[:2]
            found, length = (kind.decode(), str(_path(source))), len(point.parts)
    return found


def _path(word: bytes) -> Path:
    """Spaces and the like are written as octal numbers."""
    return Path(os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), word)))
