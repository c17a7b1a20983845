# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a recovery is, on the managed host's disk: what a run that was cut off leaves to the next."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._stream import replace, synchronise

RECOVERING, READY, PROMOTING, PROMOTED, UNDOING, UNDONE = "recovering", "ready", "promoting", "promoted", "undoing", "undone"
NAME = "pitr.json"


class JournalError(Exception):
    """The journal cannot be read or written; the text says which file."""


@dataclass(frozen=True)
class Entry:
    """A recovery. inode: of the recovered data folder, by which one sees where it lies; replaced: of the folder whose place it took, 0 for none.

    previous: the recovery before it, which is in force again when this one comes to nothing; returned: it is one that came back so.
    cluster: the archive it came out of; displaced: what the archive is called whose place that one took, "" where it was the current one.
    """

    id: str
    phase: str
    target: str
    backup: str
    started: str
    inode: int = 0
    replaced: int = 0
    reached: str = ""
    cluster: str = "current"
    displaced: str = ""
    returned: bool = False
    previous: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Journal:
    """One file in a folder."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / NAME

    def read(self) -> Entry | None:
        try:
            return Entry(**json.loads(self.file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise JournalError(f"{self.file} cannot be read ({error}): see what stands in the data folders, then remove it") from error

    def write(self, entry: Entry) -> Entry:
        """The new state, whole, or the old one."""
        try:
            replace(self.file, json.dumps(dataclasses.asdict(entry)).encode())
        except OSError as error:
            raise JournalError(f"{self.file} cannot be written ({error.strerror}): make room, or see to the rights of its folder") from error
        return entry

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)
        synchronise(self.folder)
