# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders and files of a host: what is there, what differs, and the way from one to the other.

All new contents are written beside their places before the first of them takes its place, by one rename; those that can be checked are, before the
first of them does.

Some folders belong to a service, whose processes may exchange what is in them for links at any moment: all is done by descriptors, and below the first of
the folders that are converged a link is followed only where nobody else could have made it.
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
    """base: the first of the converged folders that is, or is above, this one; what is above that is the host's own, with its links."""

    path: Path
    rights: Rights
    base: Path


@dataclass(frozen=True)
class File:
    """validate: a command with %s for the candidate; replace: whether other contents are replaced; secret: whether they are in no diff."""

    path: Path
    rights: Rights
    base: Path
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
    status = _status(wanted.path, wanted.base, follow=follow)
    if status is None:
        return Change("folder", str(wanted.path), None, wanted.rights.words())
    if not stat.S_ISDIR(status.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no folder"
        raise HostFilesError(f"{wanted.path} is {what}, where a folder of the stack belongs: look at what it is, and move it away")
    there = _rights(status)
    return None if there == wanted.rights else Change("folder", str(wanted.path), there.words(), wanted.rights.words())


def find(wanted: File) -> Found | None:
    """What is at its path; None: nothing."""
    status = _status(wanted.path, wanted.base, follow=False)
    if status is None:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise HostFilesError(f"{wanted.path} is a folder, where a file of the stack belongs: look at what is in it, and move it away")
    if not stat.S_ISREG(status.st_mode):
        return Found(None, None)
    with _telling(wanted.path, "read"), _parent(wanted.path, wanted.base) as (parent, name):
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
        with os.fdopen(handle, "rb") as file:
            return Found(_rights(os.fstat(handle)), file.read())


def refuse_homeless(files: Sequence[File], folders: Sequence[Folder]) -> None:
    """Raises HostFilesError where a file's folder is neither there nor made, or a folder is where its candidate belongs."""
    made = {parent for folder in folders for parent in (folder.path, *folder.path.parents)}
    for file in files:
        above = _status(file.path.parent, file.base, follow=True)
        if file.path.parent not in made and (above is None or not stat.S_ISDIR(above.st_mode)):
            raise HostFilesError(f"{file.path} cannot be written: {file.path.parent} is no folder, and is not among those to make")
        left = _status(file.aside, file.base, follow=False)
        if left is not None and stat.S_ISDIR(left.st_mode):
            raise HostFilesError(f"{file.aside} is a folder, where the new contents of {file.path.name} belong: look at what is in it, and move it away")


def file_change(wanted: File, found: Found | None) -> Change | None:
    """What a file lacks; other contents are no difference where they are not to be replaced."""
    if found is None:
        return Change("file", str(wanted.path), None, _words(wanted, wanted.rights, wanted.content))
    content = wanted.content if wanted.replace or found.content is None else found.content
    if (found.rights, found.content) == (wanted.rights, content):
        return None
    return Change("file", str(wanted.path), _words(wanted, found.rights, found.content), _words(wanted, wanted.rights, content))


def make_folder(wanted: Folder, *, follow: bool) -> None:
    """Make it where it is missing, for nobody else at first, and give it its rights. Folders above it are root's, for all to enter."""
    with _telling(wanted.path, "made"):
        for above in reversed(wanted.path.parents[:-1]):
            if _status(above, wanted.base, follow=True) is None:
                with _parent(above, wanted.base) as (parent, name):
                    os.mkdir(name, 0o755, dir_fd=parent)
        with _parent(wanted.path, wanted.base) as (parent, name):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
            handle = _enter(parent, name, follow=follow)
            with _closing(handle):
                _give(handle, wanted.rights)


def sweep(files: Sequence[File]) -> None:
    """Remove the candidates of a run that was killed."""
    for file in files:
        if _status(file.aside, file.base, follow=False) is not None:
            with _telling(file.aside, "removed"), _parent(file.aside, file.base) as (parent, name):
                os.unlink(name, dir_fd=parent)


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
        sweep(new)


def _needs_content(wanted: File, found: Found | None) -> bool:
    return found is None or found.content is None or (wanted.replace and found.content != wanted.content)


def _write_aside(wanted: File) -> None:
    """Write the candidate; its rights are right before it has contents."""
    with _telling(wanted.path, "written"), _parent(wanted.aside, wanted.base) as (parent, name):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
        with os.fdopen(handle, "wb") as file:
            _give(handle, wanted.rights)
            file.write(wanted.content)
            file.flush()
            os.fsync(handle)


def _check(wanted: File) -> None:
    """Ask the command whether it would take the candidate."""
    argv = [part.replace("%s", str(wanted.aside)) for part in shlex.split(wanted.validate)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, timeout=CHECK_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostFilesError(f"{wanted.path} was left as it was: its check could not run ({error})") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).replace(str(wanted.aside), str(wanted.path))
        raise HostFilesError(f"{wanted.path} was left as it was, its new contents would be refused: {said or f'exit code {done.returncode}'}")


def _put_in_place(wanted: File, found: Found | None) -> None:
    with _telling(wanted.path, "put in place"), _parent(wanted.path, wanted.base) as (parent, name):
        if _needs_content(wanted, found):
            os.replace(wanted.aside.name, name, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)
            return
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
        with _closing(handle):
            _give(handle, wanted.rights)


def _give(handle: int, rights: Rights) -> None:
    os.fchown(handle, rights.owner, rights.group)
    os.fchmod(handle, rights.mode)


@contextlib.contextmanager
def _parent(path: Path, base: Path) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder that holds it, and its name there."""
    outer = base.parent if path.is_relative_to(base) else path.parent
    handle = os.open(outer, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in path.relative_to(outer).parts[:-1]:
            inner = _enter(handle, part, follow=True)
            os.close(handle)
            handle = inner
        yield handle, path.name
    finally:
        os.close(handle)


def _enter(parent: int, name: str, *, follow: bool) -> int:
    """Open a folder in a folder; a link is followed only where nobody else could have made it."""
    status = os.fstat(parent)
    ours = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | (0 if follow and ours else os.O_NOFOLLOW), dir_fd=parent)


def _status(path: Path, base: Path, *, follow: bool) -> os.stat_result | None:
    """Of what is there; None: nothing, or nothing above it."""
    try:
        with _parent(path, base) as (parent, name):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not follow or not stat.S_ISLNK(status.st_mode):
                return status
            handle = _enter(parent, name, follow=True)
            with _closing(handle):
                return os.fstat(handle)
    except FileNotFoundError:
        if any(above.is_symlink() and not above.exists() for above in (path, *path.parents) if follow or above != path):
            raise HostFilesError(
                f"{path} is, or is below, a symbolic link to something that is not there: make what it points to, or remove the link"
            ) from None
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
