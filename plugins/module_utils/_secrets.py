# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets as files on the controller: read, and made once, whole or not at all, whoever else asks at the same moment."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import stat
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._stream import replace

LENGTH = 32
ALPHABET = string.ascii_letters + string.digits

_TERM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


class SecretError(Exception):
    """A secret cannot be read or made; the text says which, why and what to do, and holds no value."""


def generate() -> str:
    """A new password: 190 bits, of characters that no shell, URL or configuration file reads as special."""
    return "".join(secrets.choice(ALPHABET) for _letter in range(LENGTH))


def ephemeral(name: str, process: int) -> str:
    """What check mode shows for a secret that does not exist yet: the same in all workers of one run, never applied, never written."""
    seed = f"{process}:{_start_time(process)}:{name}".encode()
    return hashlib.sha256(seed).hexdigest()[:LENGTH]


def _start_time(process: int) -> str:
    try:
        # Field 22; the second field, the command's name, may hold blanks.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def file_name(term: str) -> str:
    """postgres/auth_app -> postgres_auth_app."""
    if not _TERM.fullmatch(term):
        raise SecretError(f"'{term}' is no name of a secret: it looks like postgres/auth_app (letters, digits, _, -, .)")
    return term.replace("/", "_")


def read(path: Path) -> str | None:
    """The secret in a file; None where there is no such file."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            value = file.read().rstrip("\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"could not read the secret {path} ({_why(error)}): make it a text file that the user who runs Ansible can read") from error
    if mode & 0o077:
        raise SecretError(f"the secret {path} can be read by other users (mode {mode:04o}): chmod 0600 it, and delete it if it has to be renewed")
    if not value:
        raise SecretError(f"the secret {path} is empty: delete it, and the next run makes a new one")
    return value


def ensure(path: Path) -> str:
    """The secret in a file, made where it is missing."""
    value = read(path)
    if value is None:
        create(path, f"{generate()}\n")
        value = read(path)
    if value is None:
        raise SecretError(f"the secret {path} disappeared while it was read: is another program tidying {path.parent}?")
    return value


def create(path: Path, content: str) -> bool:
    """Write a new file, 0600 in a folder of 0700, whole or not at all; False where it is there already."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _folder_lock(path.parent):
            if path.exists():
                return False
            replace(path, content.encode())
    except OSError as error:
        raise SecretError(f"could not write {path} ({_why(error)}): the user who runs Ansible must be able to write to {path.parent}") from error
    return True


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Several workers make the same secret at once; a lock on the folder itself leaves no lock file behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
