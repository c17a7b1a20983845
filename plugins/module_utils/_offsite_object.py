# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file into a bucket and out of it: each byte hashed on its way, and what is not what it should be is there under no name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged, create
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import Bucket, BucketError
from ansible_collections.nexanest.database.plugins.module_utils._offsite_look import marks
from ansible_collections.nexanest.database.plugins.module_utils._offsite_plan import part_bytes
from ansible_collections.nexanest.database.plugins.module_utils._parallel import Stop
from ansible_collections.nexanest.database.plugins.module_utils._stream import BLOCK, Counted, unheard

# A connection that breaks within a file is tried anew.
ATTEMPTS = 3


@dataclass(frozen=True)
class Content:
    """A file as it has to be. path: what it is called in what is said about it."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Courier:
    """Sends files of one stack. part: bytes of a file that are in memory at a time; told: hears how many bytes have gone."""

    bucket: Bucket
    stack: str
    part: int
    stop: Stop
    told: Callable[[int], None] = unheard

    def send(self, key: str, source: IO[bytes], content: Content) -> None:
        """The object is there when this returns. Damaged, and no object, where the bytes are not those that were promised."""
        self.stop.check()
        size = part_bytes(content.bytes, self.part)
        if content.bytes > size:
            self._in_parts(key, source, content, size)
            return
        body = source.read(content.bytes + 1)
        _check(content, len(body), hashlib.sha256(body).hexdigest())
        self.bucket.put(key, body, marks(self.stack, content.sha256))
        self.told(len(body))

    def _in_parts(self, key: str, source: IO[bytes], content: Content, size: int) -> None:
        """A file that is not what it should be is never completed, so that it is not in the bucket."""
        upload = self.bucket.begin(key, marks(self.stack, content.sha256))
        try:
            digest, sent = hashlib.sha256(), 0
            parts: list[dict[str, Any]] = []
            while sent <= content.bytes and (block := source.read(size)):
                self.stop.check()
                digest.update(block)
                parts.append(self.bucket.part(key, upload, len(parts) + 1, block))
                sent += len(block)
                self.told(len(block))
                del block  # or it would be in memory beside the next one
            _check(content, sent, digest.hexdigest())
            self.bucket.complete(key, upload, parts)
        except BaseException:
            self._abort(key, upload)
            raise
        head = self.bucket.head(key)
        if head is None or (head.bytes, head.marks.get("sha256")) != (content.bytes, content.sha256):
            raise BucketError(f"{key} is not in {self.bucket.place.text} as it was sent: run this again")

    def _abort(self, key: str, upload: str) -> None:
        try:
            self.bucket.abort(key, upload)
        except BucketError:
            pass  # the failure that led here is the one to tell; the next run aborts it


def send_document(bucket: Bucket, key: str, text: bytes, stack: str) -> None:
    """A small object, read back."""
    bucket.put(key, text, marks(stack, hashlib.sha256(text).hexdigest()))
    if bucket.document(key) != text:
        raise BucketError(f"{key} is not in {bucket.place.text} as it was sent: run this again")


def receive(bucket: Bucket, key: str, content: Content, target: Path, stop: Stop) -> None:
    """A new file with the bytes of an object, on the disk when this returns. Damaged where they are not those that were promised."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _read(bucket, key, content, target, stop)
            return
        except BucketError:
            if attempt == ATTEMPTS:
                raise
            target.unlink(missing_ok=True)


def _read(bucket: Bucket, key: str, content: Content, target: Path, stop: Stop) -> None:
    with bucket.opened(key) as (stream, size), create(target) as sink:
        if size != content.bytes:
            raise Damaged(f"{content.path} has {size} bytes in the bucket, the manifest says {content.bytes}")
        counted = Counted(sink)
        while block := stream.read(BLOCK):
            stop.check()
            counted.write(block)
        sink.flush()
        os.fsync(sink.fileno())
    if (counted.bytes, counted.sha256) != (content.bytes, content.sha256):
        raise Damaged(f"{content.path} is damaged in the bucket: its bytes are not those that the manifest lists")


def _check(content: Content, size: int, sha256: str) -> None:
    if (size, sha256) != (content.bytes, content.sha256):
        raise Damaged(f"{content.path} is damaged on this machine: its bytes are not those that the manifest lists")
