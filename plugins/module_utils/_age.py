# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program age, one method per direction. Bytes and private keys go through pipes, never through argv, environment or a file."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from ansible_collections.nexanest.database.plugins.module_utils._stream import BLOCK, Stream, copy

ENDING = ".age"
MISSING = "the program age is missing on the managed host: run site.yml, which installs it (Debian's package age)"
RECIPIENT = re.compile(r"age1[0-9a-z]{58}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?")
# What a pipe holds at least: the keys are written into one before anybody reads it.
_LONGEST_KEYS = 4096


class AgeError(Exception):
    """age is missing, or refused a file or a key; the text says which and what to do, and holds no key."""


class Age:
    """Runs age with argv lists."""

    @staticmethod
    def available() -> bool:
        return shutil.which("age") is not None

    def encrypt(self, source: Stream, target: Stream, recipients: Sequence[str]) -> None:
        """All that `source` has, for all recipients, into `target`."""
        options = [part for recipient in recipients for part in ("--recipient", recipient)]
        _through(["--encrypt", *options], source, target, what="encrypting")

    def decrypt(self, source: Stream, target: Stream, identities: Sequence[str]) -> None:
        """All that `source` has, by one of the private keys, into `target`. What was written before an error must not be used."""
        with _readable("".join(f"{identity.strip()}\n" for identity in identities).encode()) as keys:
            _through(["--decrypt", "--identity", f"/dev/fd/{keys}"], source, target, what="decrypting", descriptors=(keys,))


class _Feeder(threading.Thread):
    """Writes to a program while its output is read."""

    def __init__(self, source: Stream, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._source, self._pipe = source, pipe
        self._error: OSError | None = None
        self.start()

    def run(self) -> None:
        try:
            with self._pipe:
                copy(self._source, self._pipe)
        except BrokenPipeError:
            return  # it ended early, and says itself why
        except OSError as error:
            self._error = error

    def check(self) -> None:
        """A source that could not be read to its end must not pass for a whole one."""
        self.join()
        if self._error is not None:
            raise self._error


@contextmanager
def _readable(content: bytes) -> Iterator[int]:
    """A descriptor that gives `content`."""
    if len(content) > _LONGEST_KEYS:
        raise AgeError(f"more than {_LONGEST_KEYS} bytes of private keys were given: give the one that the set was made for")
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(content)
        yield reading
    finally:
        os.close(reading)


def _through(argv: Sequence[str], source: Stream, target: Stream, *, what: str, descriptors: Sequence[int] = ()) -> None:
    program = shutil.which("age")
    if program is None:
        raise AgeError(MISSING)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([program, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, pass_fds=descriptors)
        _widen(process.stdin, process.stdout)
        try:
            feeder = _Feeder(source, _pipe(process.stdin))
            copy(_pipe(process.stdout), target)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            _pipe(process.stdout).close()
        if code != 0:
            raise AgeError(f"{what} failed: {_words(said) or f'age ended with {code}'}")
        feeder.check()


def _widen(*pipes: IO[bytes] | None) -> None:
    """A block at a time instead of a page's worth: fewer turns between the programs. Where the kernel gives no more to this user, it stays as it is."""
    for pipe in pipes:
        with suppress(OSError):
            fcntl.fcntl(_pipe(pipe), fcntl.F_SETPIPE_SZ, BLOCK)


def _words(said: IO[bytes]) -> str:
    said.seek(0)
    lines = [line.strip().removeprefix("age: ").removeprefix("error: ") for line in said.read().decode(errors="replace").splitlines()]
    words = "; ".join(line for line in lines if line and "report unexpected" not in line)
    if "no identity matched" in words:
        return "the set was made for other keys than the given one; give the private key of one of its recipients"
    return words


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AgeError("age was started without its pipes")
    return stream
