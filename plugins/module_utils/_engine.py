# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Docker's engine says of itself, read over its socket with the standard library alone.

The docker client may be missing and Python's docker libraries too: what is there has to be readable before they are installed.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

DEFAULT_SOCKET = "/var/run/docker.sock"


class EngineError(Exception):
    """The engine cannot be asked; the text says why and what to do."""


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """Reads from Docker's engine; changes nothing."""

    def __init__(self, path: str | None = None, *, timeout: float = 15) -> None:
        self.path = path or socket_path(os.environ)
        self.timeout = timeout

    def get(self, resource: str) -> Any:
        """A resource as data; None where the engine has no such object. EngineError where it cannot be asked."""
        status, body = self._request(resource)
        if status == 404:
            return None
        return json.loads(body)

    def logs(self, container: str, lines: int) -> list[str]:
        """The last lines that a container wrote."""
        status, body = self._request(f"/containers/{quote(container)}/logs?stdout=1&stderr=1&tail={lines}")
        return log_lines(body)[-lines:] if status == 200 else []

    def _request(self, resource: str) -> tuple[int, bytes]:
        connection = _SocketConnection(self.path, self.timeout)
        try:
            connection.request("GET", resource)
            response = connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(reason(error, self.path)) from error
        finally:
            connection.close()
        if status not in (200, 404):
            raise EngineError(f"Docker's engine refused {resource}: HTTP {status}, {body.decode(errors='replace').strip()}")
        return status, body


def socket_path(environment: Mapping[str, str]) -> str:
    """Where the engine listens: DOCKER_HOST where it names a Unix socket, else Docker's default."""
    host = environment.get("DOCKER_HOST", "")
    return host.removeprefix("unix://") if host.startswith("unix://") else DEFAULT_SOCKET


def reason(error: Exception, path: str) -> str:
    """One sentence for a socket that does not answer."""
    if isinstance(error, FileNotFoundError):
        return f"no Docker engine listens on {path}"
    if isinstance(error, PermissionError):
        return f"a Docker engine listens on {path}, but this user has no right to use it: run with become (root or passwordless sudo)"
    if isinstance(error, ConnectionRefusedError):
        return f"{path} is there, but no Docker engine answers on it: it has stopped"
    if isinstance(error, TimeoutError):
        return f"the Docker engine on {path} gave no answer in time: it is overloaded or stuck"
    return f"the Docker engine on {path} does not answer: {error}"


def log_lines(stream: bytes) -> list[str]:
    """Lines of Docker's multiplexed log stream: each frame is 8 bytes (stream, 3 zero bytes, length) and its payload."""
    text = b""
    position = 0
    while position + 8 <= len(stream):
        length = int.from_bytes(stream[position + 4 : position + 8], "big")
        text += stream[position + 8 : position + 8 + length]
        position += 8 + length
    return [line.rstrip() for line in text.decode(errors="replace").splitlines() if line.strip()]


def version_of(text: str) -> tuple[int, ...]:
    """'1.41' -> (1, 41), so that 1.9 is older than 1.41."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def container_names(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names in a container list, without the links to them (`/other/alias`)."""
    return sorted(name.lstrip("/") for document in documents for name in document["Names"] if name.count("/") == 1)


def carries(document: Mapping[str, Any], label: str) -> bool:
    """Does the object carry this label (key=value, or a key alone)?"""
    key, separator, value = label.partition("=")
    labels = document.get("Labels") or {}
    return key in labels and (not separator or labels[key] == value)
