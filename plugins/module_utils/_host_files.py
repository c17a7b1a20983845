# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders and files of a host: what is there, what differs, and the way from one to the other.

All new contents are written beside their places before the first of them takes its place, by one rename; those that can be checked are, before the
first of them does.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change

CHECK_TIMEOUT = 300  # seconds


class HostFilesError(Exception):
    """One sentence: what is wrong with which path."""


@dataclass(frozen=True)
class Rights:
    """Numbers of the owner and the group, and the permission bits."""

    owner: int
    group: int
    mode: int

    def words(self) -> dict[str, str]:
        return {"owner": str(self.owner), "group": str(self.group), "mode": f"{self.mode:04o}"}


@dataclass(frozen=True)
class Folder:
    path: Path
    rights: Rights


@dataclass(frozen=True)
class File:
    """validate: a command with %s for the candidate; replace: whether other contents are replaced; secret: whether they are in no diff."""

    path: Path
    rights: Rights
    content: bytes
    validate: str = ""
    replace: bool = True
    secret: bool = False

    @property
    def aside(self) -> Path:
        """Where its candidate is written. The name is always the same: what a killed run left is found again."""
        return self.path.with_name(f".{self.path.name}.new")


@dataclass(frozen=True)
class Found:
    """What is at a file's path; content: None where that is no regular file."""

    rights: Rights | None
    content: bytes | None


def folder_change(wanted: Folder, *, follow: bool) -> Change | None:
    """What a folder lacks; HostFilesError where something else is in its place."""
    status = _status(wanted.path, follow=follow)
    if status is None:
        return Change("folder", str(wanted.path), None, wanted.rights.words())
    if not stat.S_ISDIR(status.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no folder"
        raise HostFilesError(f"{wanted.path} is {what}, where a folder of the stack belongs: look at what it is, and move it away")
    there = _rights(status)
    return None if there == wanted.rights else Change("folder", str(wanted.path), there.words(), wanted.rights.words())


def find(wanted: File) -> Found | None:
    """What is at its path; None: nothing."""
    status = _status(wanted.path, follow=False)
    if status is None:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise HostFilesError(f"{wanted.path} is a folder, where a file of the stack belongs: look at what is in it, and move it away")
    if not stat.S_ISREG(status.st_mode):
        return Found(None, None)
    with _telling(wanted.path, "read"):
        return Found(_rights(status), wanted.path.read_bytes())


def file_change(wanted: File, found: Found | None) -> Change | None:
    """What a file lacks; other contents are no difference where they are not to be replaced."""
    if found is None:
        return Change("file", str(wanted.path), None, _words(wanted, wanted.rights, wanted.content))
    content = wanted.content if wanted.replace or found.content is None else found.content
    if (found.rights, found.content) == (wanted.rights, content):
        return None
    return Change("file", str(wanted.path), _words(wanted, found.rights, found.content), _words(wanted, wanted.rights, content))


def make_folder(wanted: Folder, *, follow: bool) -> None:
    """Make it where it is missing, for nobody else at first, and give it its rights."""
    with _telling(wanted.path, "made"):
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            wanted.path.mkdir(mode=0o700)
        handle = os.open(wanted.path, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))
        with _closing(handle):
            _give(handle, wanted.rights)


def sweep(files: Sequence[File]) -> None:
    """Remove the candidates of a run that was killed."""
    for file in files:
        with _telling(file.aside, "removed"):
            file.aside.unlink(missing_ok=True)


def write_files(changed: Sequence[tuple[File, Found | None]]) -> None:
    """Put them in place, in their order. Before the first that has a check is, all that have one are checked; before any is, all are written."""
    new = [wanted for wanted, found in changed if _needs_content(wanted, found)]
    try:
        for wanted in new:
            _write_aside(wanted)
        waiting = [wanted for wanted in new if wanted.validate]
        for wanted, found in changed:
            if wanted in waiting:
                for one in waiting:
                    _check(one)
                waiting = []
            _put_in_place(wanted, found)
    finally:
        for wanted in new:
            with contextlib.suppress(OSError):
                wanted.aside.unlink(missing_ok=True)


def _needs_content(wanted: File, found: Found | None) -> bool:
    return found is None or found.content is None or (wanted.replace and found.content != wanted.content)


def _write_aside(wanted: File) -> None:
    """Write the candidate; its rights are right before it has contents."""
    with _telling(wanted.path, "written"):
        wanted.aside.unlink(missing_ok=True)
        handle = os.open(wanted.aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            _give(handle, wanted.rights)
            file.write(wanted.content)
            file.flush()
            os.fsync(handle)


def _check(wanted: File) -> None:
    """Ask the command whether it would take the candidate."""
    argv = [part.replace("%s", str(wanted.aside)) for part in shlex.split(wanted.validate)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=CHECK_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostFilesError(f"{wanted.path} was left as it was: its check could not run ({error})") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).replace(str(wanted.aside), str(wanted.path))
        raise HostFilesError(f"{wanted.path} was left as it was, its new contents would be refused: {said or f'exit code {done.returncode}'}")


def _put_in_place(wanted: File, found: Found | None) -> None:
    with _telling(wanted.path, "put in place"):
        if _needs_content(wanted, found):
            wanted.aside.replace(wanted.path)
            handle = os.open(wanted.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            with _closing(handle):
                os.fsync(handle)
            return
        handle = os.open(wanted.path, os.O_RDONLY | os.O_NOFOLLOW)
        with _closing(handle):
            _give(handle, wanted.rights)


def _give(handle: int, rights: Rights) -> None:
    os.fchown(handle, rights.owner, rights.group)
    os.fchmod(handle, rights.mode)


def _status(path: Path, *, follow: bool) -> os.stat_result | None:
    try:
        return path.stat(follow_symlinks=follow)
    except FileNotFoundError:
        if follow and path.is_symlink():
            raise HostFilesError(f"{path} is a symbolic link to something that is not there: make what it points to, or remove the link") from None
        return None
    except OSError as error:
        raise HostFilesError(f"{path} cannot be looked at: {error.strerror}") from error


def _rights(status: os.stat_result) -> Rights:
    return Rights(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))


def _words(wanted: File, rights: Rights | None, content: bytes | None) -> Mapping[str, Any]:
    """What a diff shows of a file; of a secret, whether it is the wanted one."""
    known = {"state": "no regular file"} if rights is None else rights.words()
    if content is None:
        return known
    if wanted.secret:
        return {**known, "content": "(secret)" if content == wanted.content else "(another secret)"}
    return {**known, "content": f"\n{content.decode('utf-8', errors='replace').rstrip()}"}


@contextlib.contextmanager
def _telling(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostFilesError(f"{path} cannot be {what}: {error.strerror}") from error


@contextlib.contextmanager
def _closing(handle: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(handle)
