# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import psycopg2.errors

from ansible_collections.nexanest.database.plugins.module_utils._connection import disk_full


def test_a_full_disk_is_said_with_the_remedy_and_nothing_else_is() -> None:
    assert "is full: make room on it, then run this again" in disk_full(psycopg2.errors.DiskFull())
    assert disk_full(psycopg2.errors.UndefinedTable()) == ""
