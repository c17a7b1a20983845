# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases of one kind, of which CI runs some and make test-long all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_in(number: int, cases: Iterable[Any]) -> list[Any]:
    """Parameters for `parametrize`; the first of each `number` cases runs in CI, too."""
    return [_parameter(case, long=place % number != 0) for place, case in enumerate(cases)]


def _parameter(case: Any, *, long: bool) -> Any:
    marks = [pytest.mark.long] if long else []
    return pytest.param(*case, marks=marks) if isinstance(case, tuple) else pytest.param(case, marks=marks)
