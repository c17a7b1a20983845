# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known here of an archive's copy in a bucket: a note beside it, which moves with it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._stream import replace

NAME = "copied.json"


@dataclass(frozen=True)
class Note:
    """where: the bucket; at: all that was archived before it is there; until: when the newest of it was archived; both in UTC.

    marker: SHA-256 of the marker that this machine wrote or fetched last; coming: of the one that it is about to write, which it may have written.
    """

    where: str = ""
    at: str = ""
    until: str = ""
    marker: str = ""
    coming: str = ""

    def knows(self, marker: str) -> bool:
        """Whether a marker was written by this machine, or fetched by it."""
        return marker in (self.marker, self.coming)


def read(home: Path) -> Note:
    """Of one archive; a note that cannot be read is none."""
    try:
        data = json.loads((home / NAME).read_text(encoding="utf-8"))
        return Note(**{one.name: str(data[one.name]) for one in dataclasses.fields(Note)})
    except (OSError, ValueError, KeyError, TypeError):
        return Note()


def write(home: Path, note: Note) -> None:
    """Whole or not at all."""
    replace(home / NAME, json.dumps(dataclasses.asdict(note)).encode())
