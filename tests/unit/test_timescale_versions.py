# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._timescale_versions import update


@pytest.mark.parametrize(("installed", "offered", "expected"), [("2.19.3", "2.19.3", False), ("2.9.3", "2.19.3", True), ("2.19.3", "2.20.0", True)])
def test_an_extension_follows_a_newer_image(installed: str, offered: str, expected: bool) -> None:
    assert update("d", installed, offered) is expected


@pytest.mark.parametrize(("offered", "needle"), [("2.9.3", "the older 2.9.3"), (None, "has none")])
def test_an_image_that_is_older_or_has_none_is_refused(offered: str | None, needle: str) -> None:
    with pytest.raises(InputError, match=needle):
        update("d", "2.19.3", offered)
