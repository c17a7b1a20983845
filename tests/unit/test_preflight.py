# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._ports import Wish
from ansible_collections.nexanest.database.plugins.module_utils._preflight import (
    asked_twice,
    cluster_version,
    disks,
    free_mb,
    memory_mb,
    message,
    taken,
    too_full,
    too_little_memory,
    wrong_version,
)


@pytest.mark.parametrize("place", ["pgdata", "data", "18/docker", "."])
def test_a_cluster_is_found_wherever_it_lies(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "PG_VERSION").write_text("18\n")
    assert cluster_version(tmp_path, "pgdata") == "18"


def test_an_empty_or_missing_volume_has_no_cluster(tmp_path: Path) -> None:
    assert cluster_version(tmp_path, "pgdata") == ""
    assert cluster_version(tmp_path / "missing", "pgdata") == ""


def test_a_wrong_version_names_both_and_the_remedy() -> None:
    text = wrong_version("shop-postgres-data", "16", "17")
    assert "PostgreSQL 16" in text
    assert "PostgreSQL 17" in text
    assert "pg_upgrade" in text


def test_two_containers_on_one_port_are_named() -> None:
    problems = asked_twice([Wish(5432, "127.0.0.1", "a"), Wish(5433, "127.0.0.1", "b"), Wish(5432, "127.0.0.1", "c")])
    assert len(problems) == 1
    assert "a and c both ask for port 5432" in problems[0]


def test_the_same_port_on_another_address_is_no_problem() -> None:
    assert asked_twice([Wish(5432, "127.0.0.1", "a"), Wish(5432, "127.0.0.2", "b")]) == []


def test_a_taken_port_names_its_holder() -> None:
    assert "nginx (pid 4) holds it" in taken(Wish(80, "127.0.0.1", "a"), "nginx (pid 4)")


def test_free_space_of_a_path_that_is_not_there_is_its_parents(tmp_path: Path) -> None:
    assert free_mb(str(tmp_path / "not" / "there")) == pytest.approx(free_mb(str(tmp_path)), abs=64)


def test_volumes_on_a_disk_of_their_own_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    assert disks(str(tmp_path)) == [str(tmp_path)]
    assert disks(str(tmp_path / "none")) == [str(tmp_path / "none")]


def test_only_full_places_are_problems() -> None:
    problems = too_full({"/var": 10, "/etc": 3000}, 2048)
    assert len(problems) == 1
    assert problems[0].startswith("Only 10 MB are free for /var, and 2048 MB are needed")


def test_memory_is_compared(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemFree: 1 kB\nMemTotal:  2097152 kB\n")
    assert memory_mb(meminfo) == 2048
    assert too_little_memory(2048, 2048) == []
    assert len(too_little_memory(2047, 2048)) == 1


def test_one_problem_is_a_sentence_and_two_are_a_list() -> None:
    assert message(["No."]) == "Nothing was changed. No."
    assert message(["No.", "Nor this."]).count("\n- ") == 2
