# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work on several things at once says how far it is."""

from __future__ import annotations

import threading
import time
from pathlib import Path

# Seconds of silence after which a running work says that it is still there; seconds between two figures of a work that counts.
HEARTBEAT = 15
INTERVAL = 5


class Progress:
    """Lines for the operator, in a file that the controller reads while the work runs. Each work has a label: an image, a database."""

    def __init__(self, file: str) -> None:
        self._file = Path(file) if file else None
        self._lock = threading.Lock()
        self._running: dict[str, tuple[str, float]] = {}
        self._said = time.monotonic()

    def begin(self, label: str, what: str) -> None:
        """`label` now does `what`; the time since its first step is shown."""
        with self._lock:
            since = self._running.get(label, ("", time.monotonic()))[1]
            self._running[label] = (what, since)
            self._write(label, what, since)

    def step(self, label: str, done: int, total: int) -> None:
        """`label` has done so many bytes of so many; said now and then."""
        with self._lock:
            since = self._running.get(label, ("", time.monotonic()))[1]
            spent = time.monotonic() - since
            left = f", about {spent * (total - done) / done:.0f} s left" if 0 < done < total else ""
            self._running[label] = (f"{megabytes(done)} of {megabytes(total)} MB{left}", since)
            if time.monotonic() - self._said >= INTERVAL:
                self._write(label, self._running[label][0], since)

    def share(self, label: str, percent: int) -> None:
        """`label` is done so far; said now and then."""
        with self._lock:
            since = self._running.get(label, ("", time.monotonic()))[1]
            self._running[label] = (f"{percent} %", since)
            if time.monotonic() - self._said >= INTERVAL:
                self._write(label, self._running[label][0], since)

    def end(self, label: str, what: str) -> None:
        with self._lock:
            since = self._running.pop(label, ("", time.monotonic()))[1]
            self._write(label, what, since)

    def heartbeat(self) -> None:
        """Repeat what is running, if nothing was said for a while."""
        with self._lock:
            if time.monotonic() - self._said >= HEARTBEAT:
                for label, (what, since) in self._running.items():
                    self._write(label, what, since)

    def _write(self, label: str, what: str, since: float) -> None:
        self._said = time.monotonic()
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(f"{label}: {what}, {self._said - since:.0f} s\n")


class Tally:
    """Bytes of one work that several threads do."""

    def __init__(self, progress: Progress, label: str, total: int) -> None:
        self._progress, self._label, self._total = progress, label, total
        self._done = 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        with self._lock:
            self._done += size
            done = self._done
        self._progress.step(self._label, done, self._total)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f}" if size >= 10_000_000 else f"{size / 1e6:.1f}"
