# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on their way into a set and out of it: encrypted or as they are, hashed on both sides in the same pass."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ansible_collections.nexanest.database.plugins.module_utils._age import ENDING, Age, AgeError
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File
from ansible_collections.nexanest.database.plugins.module_utils._stream import Counted, copy, measure, unheard


class Damaged(Exception):
    """A file of the set is not what its manifest says; the text names it."""


@dataclass(frozen=True)
class Sealer:
    """Puts plain files into a set. folder: of the set; recipients: none leaves the files as they are."""

    folder: Path
    recipients: tuple[str, ...]

    def seal(self, plain: Path, path: str) -> File:
        """Write `plain` to `path` in the set (with the ending .age where it is encrypted), on the disk when this returns, and remove it."""
        stored = f"{path}{ENDING}" if self.recipients else path
        target = self.folder / stored
        make_folder(target.parent)
        with plain.open("rb", buffering=0) as source, create(target) as sink:
            before, after = Counted(source), Counted(sink)
            if self.recipients:
                Age().encrypt(before, after, self.recipients)
            else:
                copy(before, after)
            sink.flush()
            os.fsync(sink.fileno())
        plain.unlink()
        return File(stored, after.bytes, after.sha256, before.bytes, before.sha256)


@dataclass(frozen=True)
class Opener:
    """Takes files out of a set. identities: private keys, of which one is needed where the set is encrypted; told: hears how many bytes were read."""

    folder: Path
    identities: tuple[str, ...]
    told: Callable[[int], None] = unheard

    def open(self, file: File, target: Path) -> None:
        """Write the plain bytes of a file to `target`; Damaged (and no file) where they are not the ones that went in."""
        make_folder(target.parent)
        try:
            with (self.folder / file.path).open("rb", buffering=0) as source, create(target) as sink:
                self._pass(file, source, sink)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def check(self, file: File) -> None:
        """Read a file as `open` does and keep nothing; without a key where one is needed, only what is stored is looked at."""
        if file.path.endswith(ENDING) and self.identities:
            with (self.folder / file.path).open("rb", buffering=0) as source, Path(os.devnull).open("wb") as sink:
                self._pass(file, source, sink)
            return
        size, sha256 = measure(self.folder / file.path, self.told)
        if (size, sha256) != (file.bytes, file.sha256):
            raise Damaged(_damaged(file, size, sha256))
        if not file.path.endswith(ENDING) and (size, sha256) != (file.plain_bytes, file.plain_sha256):
            raise Damaged(f"{file.path} holds other bytes than went into it")

    def _pass(self, file: File, source: IO[bytes], sink: IO[bytes]) -> None:
        before, after = Counted(source, self.told), Counted(sink)
        encrypted = file.path.endswith(ENDING)
        if encrypted and self.identities:
            self._decrypt(file, before, after)
        else:
            copy(before, after)
        if (before.bytes, before.sha256) != (file.bytes, file.sha256):
            raise Damaged(_damaged(file, before.bytes, before.sha256))
        if not (encrypted and not self.identities) and (after.bytes, after.sha256) != (file.plain_bytes, file.plain_sha256):
            raise Damaged(f"{file.path} holds other bytes than went into it")

    def _decrypt(self, file: File, before: Counted, after: Counted) -> None:
        """age stops at the first byte that is wrong: whether it was the file or the key is seen from the rest of the file."""
        try:
            Age().decrypt(before, after, self.identities)
        except AgeError as error:
            size, sha256 = measure(self.folder / file.path)
            if (size, sha256) == (file.bytes, file.sha256):
                raise AgeError(f"{file.path}: {error}") from error
            raise Damaged(_damaged(file, size, sha256)) from error


def _damaged(file: File, size: int, sha256: str) -> str:
    return f"{file.path} is damaged: {size} bytes with SHA-256 {sha256[:12]}…, the manifest says {file.bytes} with {file.sha256[:12]}…"


def make_folder(folder: Path) -> None:
    """A folder that only its owner may enter, with those above it that are missing."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)  # another file's thread may have been faster


def create(path: Path) -> IO[bytes]:
    """A new file that only its owner may read; FileExistsError where there is one."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")
