# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the set that is drilled comes from: the folder of the sets, with the same few questions as a bucket (_drill_bucket)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._age import ENDING, Age, AgeError
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged, Opener
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Entry, Store
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress


class NoSet(Exception):
    """There is no such set, or it cannot be had; the text says why and what to do."""


@dataclass(frozen=True)
class Chosen:
    """The set that is drilled. sha256: of its manifest's bytes in a bucket."""

    entry: Entry
    manifest: Manifest
    sha256: str = ""


class Origin(Protocol):
    """Sets that can be drilled."""

    @property
    def where(self) -> str:
        """The bucket; "" for this machine."""

    def choose(self, name: str, stack: str) -> Chosen:
        """The set of this name, or the newest one. Raises NoSet, and Damaged for one that nothing has to be read of to know that."""

    def opens(self, chosen: Chosen, file: File, identities: Sequence[str]) -> bool:
        """Whether one of the private keys opens this file of the set."""

    def size(self, chosen: Chosen) -> int:
        """Bytes that have to be fetched."""

    def bring(self, chosen: Chosen, folder: Path, progress: Progress) -> Entry:
        """The set on this machine. Raises Damaged, and NoSet where it went meanwhile. folder: the drill's own."""


@dataclass(frozen=True)
class Folder:
    """The sets of this machine."""

    store: Store

    @property
    def where(self) -> str:
        return ""

    def choose(self, name: str, stack: str) -> Chosen:
        entry = self.store.entry(named(name)) if name else self._newest(stack)
        if entry.manifest is None:
            raise NoSet(entry.problem)
        return Chosen(entry, entry.manifest)

    def _newest(self, stack: str) -> Entry:
        whole = [entry for entry in self.store.entries() if entry.manifest is not None and (not stack or entry.manifest.stack == stack)]
        if not whole:
            raise NoSet(f"there is no backup set{of(stack)} in {self.store.folder}: take one (make db-backup)")
        return whole[-1]

    def opens(self, chosen: Chosen, file: File, identities: Sequence[str]) -> bool:
        try:
            Opener(chosen.entry.folder, tuple(identities)).check(file)
        except AgeError:
            return False
        except (Damaged, OSError):
            pass  # told when it is read with the others
        return True

    def size(self, chosen: Chosen) -> int:
        return 0

    def bring(self, chosen: Chosen, folder: Path, progress: Progress) -> Entry:
        return chosen.entry


def fitting(origin: Origin, chosen: Chosen, identities: Sequence[str]) -> tuple[str, ...]:
    """None where they do not open the set, which is seen from its smallest file: a key of something else is no key of this."""
    encrypted = [file for file in chosen.manifest.files if file.path.endswith(ENDING)]
    if not encrypted or not identities or not Age.available():
        return tuple(identities)
    smallest = min(encrypted, key=lambda file: file.bytes)
    return tuple(identities) if origin.opens(chosen, smallest, identities) else ()


def named(name: str) -> str:
    """Raises NoSet for what is no name of a set."""
    if not manifests.ID.fullmatch(name):
        raise NoSet(f"{name!r} is no name of a set: it looks like 20250531_123456")
    return name


def of(stack: str) -> str:
    return f" of {stack}" if stack else ""
