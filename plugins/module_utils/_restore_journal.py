# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a restore over several servers is, on the managed host's disk before the first server changes.

While the journal is there, the stack is in between.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._stream import replace, synchronise

FORWARD, UNDO = "forward", "undo"
NAME, KEPT = "restore.json", "restores"
_ID = re.compile(r"[0-9a-f]{8}")


class JournalError(Exception):
    """The folder of the state cannot be used, or what is in it cannot be read; the text says which."""


@dataclass(frozen=True)
class Entry:
    """A restore. set: id of its set; targets: names of its servers and Redis instances; direction: where it is going, or went last.

    number: grows with every restore, whatever the clock says.
    redis: what the manifest says of each instance, which is asked again when it has loaded its data; marks: what each was like when it was put into use.
    """

    restore: str
    set: str
    targets: list[str]
    direction: str
    started: str
    redis: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True)
class Journal:
    """Files below the folder of a stack's state."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / NAME

    def open(self) -> Entry | None:
        """The restore that has not ended."""
        return _read(self.file) if self.file.exists() else None

    def kept(self) -> list[Entry]:
        """Restores that can be undone or cleaned up, the latest last."""
        folder = self.folder / KEPT
        found = [_read(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
        return sorted(found, key=lambda entry: (entry.number, entry.started, entry.restore))

    def following(self) -> int:
        """The number of the next restore."""
        return max((entry.number for entry in self.kept()), default=0) + 1

    def write(self, entry: Entry) -> None:
        """From now on the restore has to be finished or undone."""
        _write(self.file, entry)

    def close(self, entry: Entry, *, keep: bool) -> None:
        """The restore has ended. keep: what it replaced is still there."""
        if keep:
            self.keep(entry)
        else:
            self.forget(entry)
        _remove(self.file)

    def keep(self, entry: Entry) -> None:
        _write(self.folder / KEPT / f"{entry.restore}.json", entry)

    def forget(self, entry: Entry) -> None:
        _remove(self.folder / KEPT / f"{entry.restore}.json")


def _write(path: Path, entry: Entry) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(path, json.dumps(dataclasses.asdict(entry), indent=1).encode())
    except OSError as error:
        raise JournalError(f"{path} cannot be written ({error.strerror}): make the folder of the stack's state (state_dir) writable") from error


def _read(path: Path) -> Entry:
    try:
        entry = Entry(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise JournalError(f"{path} cannot be read ({error}): the servers' own ledger (_restore.databases) says what became of each database") from error
    if not _ID.fullmatch(str(entry.restore)) or entry.direction not in (FORWARD, UNDO):
        raise JournalError(f"{path} is no journal of a restore: move it away")
    return entry


def _remove(path: Path) -> None:
    if path.exists():
        path.unlink()
        synchronise(path.parent)
