# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role wal_archive says of drills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

VARIABLES = Path(__file__).parents[2] / "roles" / "wal_archive" / "vars" / "main.yml"
AT = "2025-05-24T05:45:00+00:00"
DONE = {"__wal_archive_name": "timescaledb", "changed": True, "rto": 21.4, "rpo": 1, "checks": 512, "target": "time 2025-05-31 03:12:40+00", "offsite": ""}


def said(*results: dict[str, Any], check: bool = False) -> str:
    words = yaml.safe_load(VARIABLES.read_text(encoding="utf-8"))["__wal_archive_drill_words"]
    known = {"__wal_archive_drilled": {"results": list(results)}, "ansible_check_mode": check, "wal_archive_drill_unless_newer_than": "20h"}
    return str(Templar(loader=DataLoader(), variables=known).template(trust_as_template(words)))


def test_a_drill_that_passed_is_told_as_proven() -> None:
    assert "timescaledb is proven: time 2025-05-31 03:12:40+00 was recovered elsewhere in 21.4 s" in said(DONE)
    assert "in s3://b is proven: " in said({**DONE, "offsite": "s3://b"})
    assert said() == "No continuous backup was drilled."


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "timescaledb was proven within 20h."),
        ({"last": None}, "timescaledb was proven within 20h."),
        ({"last": {"at": AT}}, f"timescaledb was proven at {AT}."),
        ({"last": {"at": AT}, "offsite": "s3://b"}, f"timescaledb in s3://b was proven at {AT}."),
    ],
)
def test_one_that_was_needless_is_not_told_as_one_that_ran(more: dict[str, Any], words: str, check: bool) -> None:
    assert said({**DONE, "changed": False, "target": "", **more}, check=check) == f"Nothing was to do: the continuous backup of {words}"
