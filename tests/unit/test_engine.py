# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._engine import (
    DEFAULT_SOCKET,
    Engine,
    EngineError,
    carries,
    container_names,
    log_lines,
    socket_path,
    version_of,
)
from ansible_collections.nexanest.database.plugins.module_utils._engine_start import remove_dead_pid_files, tail


def test_a_missing_engine_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no Docker engine listens on"):
        Engine(str(tmp_path / "docker.sock")).get("/version")


def test_a_dead_engine_is_told_from_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    with pytest.raises(EngineError, match="it has stopped"):
        Engine(str(path)).get("/version")


def test_a_stuck_engine_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(EngineError, match="gave no answer in time"):
            Engine(str(path), timeout=0.2).get("/version")


def test_only_unix_sockets_are_taken_from_the_environment() -> None:
    assert socket_path({"DOCKER_HOST": "unix:///run/user/1/docker.sock"}) == "/run/user/1/docker.sock"
    assert socket_path({"DOCKER_HOST": "tcp://10.0.0.1:2375"}) == DEFAULT_SOCKET
    assert socket_path({}) == DEFAULT_SOCKET


def test_log_frames_are_joined_across_lines() -> None:
    frames = b"".join(bytes([1, 0, 0, 0]) + len(part).to_bytes(4, "big") + part for part in (b"one\ntw", b"o\n\n", b"three"))
    assert log_lines(frames) == ["one", "two", "three"]


def test_versions_are_numbers() -> None:
    assert version_of("1.9") < version_of("1.41") < version_of("1.50")


def test_names_of_links_are_left_out() -> None:
    assert container_names([{"Names": ["/b", "/a/alias"]}, {"Names": ["/a"]}]) == ["a", "b"]


@pytest.mark.parametrize(("label", "expected"), [("stack=shop", True), ("stack", True), ("stack=other", False), ("other", False)])
def test_a_label_is_found_by_key_or_value(label: str, *, expected: bool) -> None:
    assert carries({"Labels": {"stack": "shop"}}, label) is expected
    assert carries({"Labels": None}, label) is False


def test_only_pid_files_of_dead_or_other_processes_are_removed(tmp_path: Path) -> None:
    alive, other, dead, odd = (tmp_path / name for name in ("alive.pid", "other.pid", "dead.pid", "odd.pid"))
    for number, comm in (("7", "dockerd"), ("8", "bash")):
        (tmp_path / "proc" / number).mkdir(parents=True)
        (tmp_path / "proc" / number / "comm").write_text(f"{comm}\n")
    for path, text in ((alive, "7\n"), (other, "8"), (dead, "9"), (odd, "")):
        path.write_text(text)
    remove_dead_pid_files(dict.fromkeys((alive, other, dead, odd, tmp_path / "missing.pid"), "dockerd"), proc=tmp_path / "proc")
    assert sorted(path.name for path in tmp_path.glob("*.pid")) == ["alive.pid"]


def test_the_end_of_a_log_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == "it wrote no log"
    log.write_text("1\n2\n3\n")
    assert tail(log, 2) == "2 | 3"
