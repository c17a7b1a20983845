# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten servers each that are killed under load and lose their volume: what was promised is there."""

from __future__ import annotations

import pytest
from losses import loss


@pytest.mark.long
@pytest.mark.parametrize(("way", "seconds"), [("asynchronous", 1.0), ("synchronous", 0.0)])
@pytest.mark.parametrize("number", range(10))
def test_what_was_acknowledged_comes_back(way: str, seconds: float, number: int) -> None:
    found = loss(way)
    assert found.rows > 100, f"round {number} wrote nothing to speak of"
    assert found.seconds <= seconds, found
    assert way == "asynchronous" or found.lost == 0, found
