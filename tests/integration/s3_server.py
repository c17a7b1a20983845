# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that speaks S3 for tests: moto's, which believes what it is told, behind a door that checks bodies, counts requests and can hold or spoil them.

Run as a program it serves: `python s3_server.py PORT FOLDER`. The folder holds requests.log, and files with what is asked of the door:
hold (a number: as many writes are let through, later ones wait while the file is there), spoil (a byte of each body is changed on its way),
cut (a number: as many dumps of Redis break off in the middle when they are read).
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

STARTED = 30.0
POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'


@dataclass(frozen=True)
class S3:
    """A running server, with one user who may do anything."""

    endpoint: str
    folder: Path
    access_key: str
    secret_key: str

    @functools.cached_property
    def client(self) -> Any:
        return _client("s3", self.endpoint, self.access_key, self.secret_key)

    def login(self, bucket: str, prefix: str = "") -> dict[str, Any]:
        """Options of the modules."""
        keys = {"access_key": self.access_key, "secret_key": self.secret_key}
        return {"endpoint_url": self.endpoint, "bucket": bucket, "prefix": prefix, **keys}

    def requests(self) -> list[str]:
        """All so far: the method, the path, and the query."""
        return (self.folder / "requests.log").read_text(encoding="utf-8").splitlines()

    @contextlib.contextmanager
    def asked(self, what: str, value: str = "") -> Iterator[None]:
        """The door holds or spoils meanwhile."""
        (self.folder / what).write_text(value, encoding="utf-8")
        try:
            yield
        finally:
            (self.folder / what).unlink()


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """Start it on a free port of the loopback."""
    folder.mkdir(exist_ok=True)
    (folder / "requests.log").touch()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The first three requests make the user; all later ones need a signature of theirs.
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "3"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, __file__, str(port), str(folder)], env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(server, port, folder)
        endpoint = f"http://127.0.0.1:{port}"
        iam = _client("iam", endpoint, "first", "first")
        iam.create_user(UserName="backup")
        iam.put_user_policy(UserName="backup", PolicyName="all", PolicyDocument=POLICY)
        key = iam.create_access_key(UserName="backup")["AccessKey"]
        yield S3(endpoint, folder, key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        server.kill()
        server.wait(timeout=10)


def _wait(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + STARTED
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server of the tests ended: {(folder / 'server.log').read_text()}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"the server of the tests did not listen within {STARTED:.0f} seconds")


def _client(service: str, endpoint: str, access_key: str, secret_key: str) -> Any:
    config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}
    return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", config=config, **keys)


class Door:
    """Stands before moto's application."""

    def __init__(self, application: Callable[..., Iterable[bytes]], folder: Path) -> None:
        self.application, self.folder = application, folder
        self.written = 0

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        with (self.folder / "requests.log").open("a", encoding="utf-8") as log:
            log.write(f"{environment['REQUEST_METHOD']} {environment['PATH_INFO']} {environment.get('QUERY_STRING', '')}\n")
        if environment["REQUEST_METHOD"] == "PUT" and body:
            self._hold()
            if (self.folder / "spoil").exists():
                body = bytes([body[0] ^ 1]) + body[1:]
            if not _believed(environment, body):
                start("400 Bad Request", [("Content-Type", "application/xml")])
                return [b"<Error><Code>BadDigest</Code><Message>The checksum did not match what was received.</Message></Error>"]
        environment["wsgi.input"] = io.BytesIO(body)
        answer = self.application(environment, start)
        return self._cut(b"".join(answer)) if environment["REQUEST_METHOD"] == "GET" and environment["PATH_INFO"].endswith(".rdb") else answer

    def _cut(self, body: bytes) -> list[bytes]:
        cut = self.folder / "cut"
        left = int(cut.read_text(encoding="utf-8")) if cut.exists() else 0
        if left:
            cut.write_text(str(left - 1), encoding="utf-8")
        return [body[: len(body) // 2]] if left else [body]

    def _hold(self) -> None:
        hold = self.folder / "hold"
        with contextlib.suppress(FileNotFoundError):
            allowed = int(hold.read_text(encoding="utf-8"))
            self.written += 1
            while self.written > allowed and hold.exists():
                time.sleep(0.05)
            return
        self.written = 0


def _believed(environment: dict[str, Any], body: bytes) -> bool:
    """Do the checksums that came with a body fit? moto does not look."""
    digest = hashlib.sha256(body)
    signed = environment.get("HTTP_X_AMZ_CONTENT_SHA256", "UNSIGNED-PAYLOAD")
    named = environment.get("HTTP_X_AMZ_CHECKSUM_SHA256", "")
    return signed in ("UNSIGNED-PAYLOAD", digest.hexdigest()) and named in ("", base64.b64encode(digest.digest()).decode())


def serve(port: int, folder: Path) -> None:
    """Until somebody ends it."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", port, Door(DomainDispatcherApplication(create_backend_app), folder), threaded=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
