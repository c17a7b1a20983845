# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes on their way: counted and hashed as they pass, in blocks of a fixed size; and safe where they shall stay."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Union

BLOCK = 1 << 20


def unheard(size: int) -> None:
    """Nobody wants to know how many bytes have passed."""


class Counted:
    """A stream that counts and hashes what is read from it or written to it. told: hears how many bytes have passed, block by block."""

    def __init__(self, stream: IO[bytes], told: Callable[[int], None] = unheard) -> None:
        self.stream = stream
        self._told = told
        self.bytes = 0
        self._sha256 = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def read(self, size: int = -1) -> bytes:
        return self._count(self.stream.read(size))

    def write(self, block: bytes) -> int:
        self.stream.write(self._count(block))
        return len(block)

    def _count(self, block: bytes) -> bytes:
        self.bytes += len(block)
        self._sha256.update(block)
        self._told(len(block))
        return block


Stream = Union[IO[bytes], Counted]  # noqa: UP007  pylint cannot join the two


def copy(source: Stream, target: Stream) -> None:
    """All of `source` into `target`."""
    while block := source.read(BLOCK):
        target.write(block)


def measure(path: Path, told: Callable[[int], None] = unheard) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    digest, block = hashlib.sha256(), memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            digest.update(block[:size])
            told(size)
        return file.tell(), digest.hexdigest()


def synchronise(path: Path) -> None:
    """Let the disk have a file's bytes, or a folder's entries, before anything relies on them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes) -> None:
    """The new content, whole and on the disk, or the old one; only the owner may read it. One writer at a time. Raises OSError."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            new.rename(path)
        except BaseException:
            new.unlink(missing_ok=True)  # half a file is of no use, and may hold a secret
            raise
    synchronise(path.parent)
