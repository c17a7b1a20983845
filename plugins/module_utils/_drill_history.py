# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of restore drills: one line of JSON for each, in a folder of its own beside the sets. Lines are only ever added."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._stream import synchronise

FOLDER, NAME = ".drills", "drills.jsonl"
PASSED, FAILED, REFUSED = "passed", "failed", "refused"
# What was restored; another kind of source has another word.
OF_SETS, OF_ARCHIVES = "set", "archive"
SHOWN = 20


@dataclass(frozen=True)
class Record:
    """One drill. at: when it began, UTC; content: whether it was restored, and not only its checksums compared.

    rto: seconds from the start until all of it was proven; rpo: seconds from the data's moment to the start; checks: how many were made.
    offsite: the bucket that the data were fetched out of, "" for those of this machine.
    """

    at: str
    stack: str
    result: str
    source: str = OF_SETS
    set: str = ""
    serial: int = 0
    content: bool = False
    rto: float | None = None
    rpo: int | None = None
    rows: int = 0
    keys: int = 0
    checks: int = 0
    problems: list[str] = field(default_factory=list)
    offsite: str = ""

    def age(self, now: datetime) -> timedelta:
        return now - moment(self.at)


@dataclass(frozen=True)
class History:
    """Of a folder of sets."""

    sets: Path

    @property
    def file(self) -> Path:
        return self.sets / FOLDER / NAME

    def add(self, record: Record) -> None:
        """One line more, on the disk when this returns. What a killed run left of a line is ended first."""
        self.file.parent.mkdir(mode=0o700, exist_ok=True)
        new = not self.file.exists()
        line = json.dumps({**dataclasses.asdict(record), "problems": list(record.problems)[:SHOWN]}, ensure_ascii=False).encode() + b"\n"
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            text = b"\n" + line if torn else line
            if os.write(descriptor, text) != len(text):
                raise OSError(None, "the line was cut short, is the disk full?", str(self.file))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            synchronise(self.file.parent)

    def records(self) -> list[Record]:
        """All that can be read, the oldest first. OSError where the file cannot be."""
        try:
            text = self.file.read_bytes()
        except FileNotFoundError:
            return []
        return [record for line in text.splitlines() if (record := parse(line)) is not None]

    def of(self, stack: str, source: str = OF_SETS, offsite: str = "") -> list[Record]:
        """Those of one source; what came out of a bucket says nothing of what lies here, nor the other way round."""
        return [record for record in self.records() if (record.stack, record.source, record.offsite) == (stack, source, offsite)]


def parse(line: bytes) -> Record | None:
    """One line; None where it is none: torn, or of a form that is not known."""
    try:
        found: Any = json.loads(line)
        known = {one.name for one in dataclasses.fields(Record)}
        record = Record(**{key: value for key, value in found.items() if key in known})
        moment(record.at)
    except (ValueError, TypeError, AttributeError):
        return None
    return record if record.result in (PASSED, FAILED, REFUSED) else None


def moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def proven(records: Sequence[Record], serial: int, *, content: bool, limit: timedelta, now: datetime, name: str = "") -> Record | None:
    """The last drill of this set, where it passed and is young enough. content: whether checksums alone are not enough.

    name: of the set; its serial alone may be that of another one, as they begin anew with each folder of sets.
    """
    last = next((record for record in reversed(records) if record.serial == serial and (not name or record.set == name)), None)
    if last is None or last.result != PASSED or (content and not last.content):
        return None
    return last if timedelta(0) <= last.age(now) < limit else None
