# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._ports import Listener, Wish, collides, holder, is_here, owner, parse

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1539 0100007F:C001 01 00000000:00000000 00:00000000 00000000   999        0 4712 1 0 100 0 0 10 0
"""
TCP6 = """  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:1538 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0
"""
WISH = Wish(port=5432, host="127.0.0.1", container="shop-postgres")


def test_only_listening_sockets_are_read() -> None:
    assert parse(TCP) == [Listener("127.0.0.1", 5432, "4711")]


def test_ipv6_addresses_are_read() -> None:
    assert parse(TCP6) == [Listener("::1", 5432, "99")]


@pytest.mark.parametrize(
    ("listener", "wished", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("::", "127.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_addresses_that_collide(listener: str, wished: str, *, expected: bool) -> None:
    assert collides(listener, wished) is expected


@pytest.mark.parametrize(("address", "expected"), [("127.0.0.1", True), ("127.9.9.9", True), ("0.0.0.0", True), ("203.0.113.7", False), ("2001:db8::7", False)])
def test_addresses_of_this_host(address: str, *, expected: bool) -> None:
    assert is_here(address) is expected


def test_a_free_port_has_no_holder(tmp_path: Path) -> None:
    assert holder(WISH, [], [Listener("127.0.0.1", 5433, "1")], tmp_path) == ""


def test_our_own_container_is_no_problem(tmp_path: Path) -> None:
    assert holder(WISH, [published("shop-postgres")], [Listener("127.0.0.1", 5432, "1")], tmp_path) == ""


def test_another_container_is_named(tmp_path: Path) -> None:
    assert holder(WISH, [published("nexanest-postgres")], [Listener("127.0.0.1", 5432, "1")], tmp_path) == "the container nexanest-postgres"


@pytest.mark.parametrize(("name", "held"), [("shop-postgres", ""), ("nexanest-postgres", "docker-proxy (pid 812)")])
def test_the_proxy_of_our_own_container_between_two_starts_is_no_problem(tmp_path: Path, name: str, held: str) -> None:
    process = tmp_path / "812"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "3").symlink_to("socket:[4711]")
    (process / "comm").write_text("docker-proxy\n")
    restarting = {"Names": [f"/{name}"], "State": "restarting", "Ports": []}
    assert holder(WISH, [restarting], parse(TCP), tmp_path) == held


def test_a_process_is_named(tmp_path: Path) -> None:
    process = tmp_path / "812"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "3").symlink_to("socket:[4711]")
    (process / "comm").write_text("postgres\n")
    assert owner("4711", tmp_path) == "postgres (pid 812)"
    assert holder(WISH, [], parse(TCP), tmp_path) == "postgres (pid 812)"


def test_a_process_that_cannot_be_seen_is_still_a_holder(tmp_path: Path) -> None:
    assert holder(WISH, [], parse(TCP), tmp_path) == "a process that cannot be seen from here"


def published(name: str) -> dict[str, object]:
    return {"Names": [f"/{name}"], "Ports": [{"IP": "127.0.0.1", "PublicPort": 5432, "PrivatePort": 5432, "Type": "tcp"}]}
