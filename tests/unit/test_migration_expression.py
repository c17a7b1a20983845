# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._migration_sql import expression_fault


@pytest.mark.parametrize(
    "text", ["max(price)", "first(price, time)", "sum(a[1]) / count(*)", "max(x) FILTER (WHERE y = 'a;b--')", '"odd )name" > 1', "x = $$;$$", "a IN (1, 2)"]
)
def test_an_expression_is_taken(text: str) -> None:
    assert expression_fault(text) is None


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        ("max(price); DROP TABLE t", "`;` would end it"),
        ("max(price)) FROM (SELECT 1", "`)` would end it"),
        ("max(price), min(price)", "`,` would end it"),
        ("max(price) -- all", "comment"),
        ("max(price) /* all", "does not end"),
        ("max('price)", "does not end"),
        ("max(price", "not closed"),
        ("max(price) \\g", "would end it"),
    ],
)
def test_what_would_leave_its_place_is_not(text: str, needle: str) -> None:
    assert needle in str(expression_fault(text))
