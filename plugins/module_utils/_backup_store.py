# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of the backup sets. A set has its name only when it is whole: it is made under another one, and renamed when its last byte is on the disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import create
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Manifest, ManifestError
from ansible_collections.nexanest.database.plugins.module_utils._stream import synchronise

PARTIAL, REMOVED, STAGING = ".partial-", ".removed-", ".staging-"
_LOCK = ".lock"
COPY_LOCK = ".copy.lock"
DRILL, DRILL_LOCK = ".drill-", ".drill.lock"
_VERIFIED, _COPIED = ".verified", ".copied"


class StoreError(Exception):
    """The folder, or a set in it, cannot be used; the text says which, why and what to do."""


class Busy(StoreError):
    """Another run has the lock."""


@dataclass(frozen=True)
class Verification:
    """When every byte of a set was last read again and found right. content: also decrypted."""

    at: str
    content: bool


@dataclass(frozen=True)
class Copy:
    """When a set was last seen complete in a bucket, and in which."""

    at: str
    where: str


@dataclass(frozen=True)
class Entry:
    """A set. manifest: None where it cannot be read, and problem says why."""

    id: str
    folder: Path
    manifest: Manifest | None
    problem: str = ""
    verified: Verification | None = None
    copied: Copy | None = None


@dataclass(frozen=True)
class Store:
    """The sets below `folder`, which belong to this user alone."""

    folder: Path

    def prepare(self) -> None:
        """Make the folder, and find out that it can be written to."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            raise StoreError(f"the folder of the backups {self.folder} cannot be used ({error.strerror}): make it writable, or name another one") from error

    def entries(self) -> list[Entry]:
        """All sets, the oldest first, as their manifests count them; what cannot be read comes first."""
        if not self.folder.is_dir():
            return []
        found = [self.entry(path.name) for path in sorted(self.folder.iterdir()) if manifests.ID.fullmatch(path.name) and path.is_dir()]
        return sorted(found, key=lambda entry: (entry.manifest.serial if entry.manifest else 0, entry.id))

    def entry(self, name: str) -> Entry:
        """One set by its id."""
        folder = self.folder / name
        try:
            manifest = read_manifest(folder)
        except ManifestError as error:
            return Entry(name, folder, None, str(error))
        if manifest.id != name:
            return Entry(name, folder, None, f"the folder {name} holds the set {manifest.id}: rename it back")
        return Entry(name, folder, manifest, verified=self._verification(manifest), copied=self._copy(manifest))

    @contextlib.contextmanager
    def locked(self, what: str, *, wait: float, lock: str = _LOCK, make: bool = True) -> Iterator[None]:
        """Be the only one that makes or removes sets in this folder, or does what another lock is for. The lock dies with its holder.

        make: whether the lock's file is made; where it is not and is missing, nobody can be at work, and nothing is locked.
        """
        if not make and not (self.folder / lock).exists():
            yield
            return
        with self._locking(lock):
            descriptor = self._open(lock, os.O_CREAT)
        try:
            with self._locking(lock):
                self._take(descriptor, wait)
            _sign(descriptor, what)
            yield
        finally:
            os.close(descriptor)

    def busy(self) -> bool:
        """Whether somebody has the lock now."""
        try:
            descriptor = self._open(_LOCK)
        except OSError:
            return False
        try:
            return not _locks(descriptor)
        finally:
            os.close(descriptor)

    def _open(self, lock: str, flags: int = 0) -> int:
        return os.open(self.folder / lock, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600)

    @contextlib.contextmanager
    def _locking(self, lock: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise StoreError(f"{self.folder} is missing: see to its disk (is it mounted?)") from error
        except OSError as error:
            raise StoreError(f"{self.folder / lock} cannot be locked ({error.strerror}): see to its disk, which must know locks (flock)") from error

    def _take(self, descriptor: int, wait: float) -> None:
        deadline = time.monotonic() + wait
        while not _locks(descriptor):
            if time.monotonic() >= deadline:
                raise Busy(f"another run works in {self.folder}: {_holder(descriptor)}. Wait until it has ended, then run this again.")
            time.sleep(0.5)

    def sweep(self) -> None:
        """Remove what runs that died have left; the caller holds the lock."""
        for path in self.folder.iterdir():
            if path.name.startswith((PARTIAL, REMOVED, STAGING)):
                _remove(path)

    def begin(self, name: str) -> Path:
        """An empty folder for a set to be made in, on the same file system."""
        partial = self.folder / f"{PARTIAL}{name}"
        partial.mkdir(mode=0o700)
        return partial

    def finish(self, partial: Path, manifest: Manifest, text: bytes = b"") -> Path:
        """Write the manifest and give the set its name: from then on, and not before, it is there. text: the manifest's own bytes, where they exist."""
        with create(partial / manifests.NAME) as file:
            file.write(text or manifests.write(manifest).encode())
            file.flush()
            os.fsync(file.fileno())
        for folder in (*(path for path in partial.rglob("*") if path.is_dir()), partial):
            synchronise(folder)
        target = self.folder / manifest.id
        try:
            partial.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise StoreError(f"there is a folder {target} already: nothing was overwritten") from error
            raise
        synchronise(self.folder)
        return target

    def remove(self, name: str) -> None:
        """Remove a set: it loses its name first, so that no half of it is ever taken for a whole."""
        removed = self.folder / f"{REMOVED}{name}"
        (self.folder / name).rename(removed)
        synchronise(self.folder)
        _remove(removed)
        self.unverified(name)
        self.uncopied(name)

    def verified(self, manifest: Manifest, verification: Verification) -> None:
        """Remember that a set was found right."""
        self._note(_VERIFIED, manifest, {"at": verification.at, "content": verification.content})

    def unverified(self, name: str) -> None:
        """Forget that a set was ever found right."""
        (self.folder / _VERIFIED / name).unlink(missing_ok=True)

    def copied(self, manifest: Manifest, copy: Copy) -> None:
        """Remember that a set was seen complete in a bucket."""
        self._note(_COPIED, manifest, {"at": copy.at, "where": copy.where})

    def uncopied(self, name: str) -> None:
        """Forget that a set was ever copied."""
        (self.folder / _COPIED / name).unlink(missing_ok=True)

    def _note(self, kind: str, manifest: Manifest, noted: dict[str, Any]) -> None:
        """Several runs may note the same at once, as verifying takes no lock: hence the process in the name, and none of `_stream.replace`."""
        folder = self.folder / kind
        folder.mkdir(mode=0o700, exist_ok=True)
        new = folder / f".{manifest.id}.{os.getpid()}"
        new.unlink(missing_ok=True)
        with create(new) as file:
            file.write(json.dumps({"serial": manifest.serial, **noted}).encode())
        new.rename(folder / manifest.id)

    def _verification(self, manifest: Manifest) -> Verification | None:
        found = self._noted(_VERIFIED, manifest)
        return Verification(str(found["at"]), bool(found["content"])) if {"at", "content"} <= set(found) else None

    def _copy(self, manifest: Manifest) -> Copy | None:
        found = self._noted(_COPIED, manifest)
        return Copy(str(found["at"]), str(found["where"])) if {"at", "where"} <= set(found) else None

    def _noted(self, kind: str, manifest: Manifest) -> dict[str, Any]:
        """What was noted of this very set; a note that cannot be read is none."""
        try:
            found = json.loads((self.folder / kind / manifest.id).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and found.get("serial") == manifest.serial else {}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a set in a folder. Raises ManifestError."""
    try:
        return manifests.read((folder / manifests.NAME).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ManifestError(f"{folder} is no backup set: it has no {manifests.NAME}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{manifests.NAME} is damaged ({error.reason}): take another set") from error
    except OSError as error:
        raise ManifestError(f"{folder / manifests.NAME} cannot be read ({error.strerror})") from error


def _remove(path: Path) -> None:
    """A folder with all that is in it; of a set that was moved away and linked, the link alone."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def now() -> datetime:
    return datetime.now(tz=UTC)


def _locks(descriptor: int) -> bool:
    """Take a lock, where nobody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int, what: str) -> None:
    """Say who holds a lock. On a full disk nobody does, and it is held all the same: what makes room must not fail for want of it."""
    with contextlib.suppress(OSError):
        os.truncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "what": what, "since": now().isoformat(timespec="seconds")}).encode())


def _holder(descriptor: int) -> str:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {found['pid']}, {found['what']}, since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "it does not say which"
