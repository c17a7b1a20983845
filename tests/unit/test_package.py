# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs leave in a checkout (secrets, backups, archives) is in no commit, and in no package that `make build` makes."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
# Of a stack that runs from this checkout, one with the name of the checkout's default and one with another.
LEFT = (".env.db", ".env.db.shop", "secrets", "backups", "backups.shop", "archive", "archive.shop", ".schedule", "access_report.shop.json", ".venv", ".cache")


def test_nothing_that_runs_leave_is_packed() -> None:
    patterns = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]
    assert [name for name in LEFT if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_nothing_that_runs_leave_is_committed() -> None:
    lines = [line.strip().strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines() if not line.startswith("!")]
    assert [name for name in LEFT if not any(fnmatch(name, line) for line in lines)] == []
