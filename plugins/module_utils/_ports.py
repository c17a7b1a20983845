# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on which TCP port of this host, read from /proc."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LISTEN = "0A"
# What holds a published port for its container.
PROXY = "docker-proxy "


@dataclass(frozen=True)
class Listener:
    address: str
    port: int
    inode: str


@dataclass(frozen=True)
class Wish:
    """A port that a container of ours will publish."""

    port: int
    host: str
    container: str


def parse(text: str) -> list[Listener]:
    """Listening sockets out of /proc/net/tcp or tcp6."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return [Listener(*_endpoint(row[1]), inode=row[9]) for row in rows if len(row) > 9 and row[3] == LISTEN]


def _endpoint(text: str) -> tuple[str, int]:
    """'0100007F:1538' -> ('127.0.0.1', 5432): 32-bit words in the host's byte order (little endian on all that Debian's Docker runs on)."""
    address, _separator, port = text.partition(":")
    packed = b"".join(bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8))
    return str(ipaddress.ip_address(packed)), int(port, 16)


def collides(listener: str, wished: str) -> bool:
    """Would a socket on `wished` meet the one on `listener`? Both on the same port."""
    one, other = _plain(listener), _plain(wished)
    if one.is_unspecified or other.is_unspecified:
        # A socket on :: also takes IPv4; one on 0.0.0.0 leaves IPv6 free.
        return one.version == other.version or (one if one.is_unspecified else other).version == 6
    return one == other


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(address)
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def is_here(address: str) -> bool:
    """Whether an IP address is one of this host: only those can be listened on. Raises OSError where it is no address."""
    for family, kind, protocol, _name, place in socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM):
        with socket.socket(family, kind, protocol) as probe, contextlib.suppress(OSError):
            probe.bind(place)
            return True
    return False


def listeners(proc: Path = Path("/proc")) -> list[Listener]:
    files = [proc / "net" / name for name in ("tcp", "tcp6")]
    return [listener for path in files if path.exists() for listener in parse(path.read_text())]


def owner(inode: str, proc: Path = Path("/proc")) -> str:
    """'nginx (pid 812)' of the process that holds a socket; empty where none can be seen."""
    for link in proc.glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) == f"socket:[{inode}]":
                pid = link.parts[-3]
                return f"{(proc / pid / 'comm').read_text().strip()} (pid {pid})"
        except OSError:
            continue
    return ""


def published(containers: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, int]]:
    """(container, address, port) of every published TCP port of the running containers."""
    for document in containers:
        for port in document.get("Ports") or []:
            if port.get("PublicPort") and port.get("Type") == "tcp":
                yield document["Names"][0].lstrip("/"), port.get("IP") or "0.0.0.0", port["PublicPort"]


def holder(wish: Wish, containers: Sequence[Mapping[str, Any]], found: Sequence[Listener], proc: Path = Path("/proc")) -> str:
    """Who keeps a wish from coming true; empty where nobody does, or it has come true already."""
    names = [name for name, address, port in published(containers) if port == wish.port and collides(address, wish.host)]
    if names:
        others = [name for name in names if name != wish.container]
        return f"the container {others[0]}" if others else ""
    for listener in found:
        if listener.port == wish.port and collides(listener.address, wish.host):
            process = owner(listener.inode, proc)
            if process.startswith(PROXY) and _restarting(wish.container, containers):
                return ""
            return process or "a process that cannot be seen from here"
    return ""


def _restarting(name: str, containers: Sequence[Mapping[str, Any]]) -> bool:
    """Is the container between two starts? The engine lists it without the ports that its proxy may hold again."""
    return any(document["Names"][0].lstrip("/") == name and not document.get("Ports") for document in containers)
