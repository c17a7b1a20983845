# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where sample data may go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._seed_plan import Seed, Soil, Sown, plan

AUTH = Seed("auth", "auth_owner", "auth.sql", "SELECT 1", 10)
SHOP = replace(AUTH, database="shop", file="shop.sql")
DONE = Soil((Sown("auth.sql", AUTH.sha256, 10),), ("auth.users",))


def test_empty_databases_are_sown_and_a_sown_one_is_left_alone() -> None:
    assert plan([AUTH, SHOP], {"auth": DONE, "shop": Soil()}) == ([SHOP], [])


@pytest.mark.parametrize(
    ("soil", "problem"),
    [
        (None, "the database auth does not exist; start the stack first"),
        (Soil(filled=("auth.users", "auth.user_sessions")), "auth: there are rows that no seed made in auth.users, auth.user_sessions"),
        (Soil((Sown("auth.sql", AUTH.sha256, 1000),)), "auth was seeded with 1000 users, not with 10"),
        (Soil((Sown("auth.sql", "0" * 64, 10),)), "auth was seeded from another text of auth.sql"),
    ],
)
def test_one_problem_keeps_all_databases_as_they_are(soil: Soil | None, problem: str) -> None:
    soils = {"shop": Soil()} | ({} if soil is None else {"auth": soil})
    pending, problems = plan([AUTH, SHOP], soils)
    assert pending == []
    assert len(problems) == 1
    assert problem in problems[0]
