# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of an undo that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._connection import ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import FORWARD, Entry
from ansible_collections.nexanest.database.plugins.module_utils._restore_run import Restore
from ansible_collections.nexanest.database.plugins.module_utils._restore_swap_all import Unfinished


class Dead:
    """A target whose server has gone."""

    def unswap(self) -> None:
        raise ServerUnreachable("it does not answer")

    def swapped(self) -> bool:
        raise ServerUnreachable("it does not answer")


def test_an_undo_in_which_a_server_goes_away_is_half_done(tmp_path: Path) -> None:
    params = {"backup_dir": str(tmp_path / "sets"), "state_dir": str(tmp_path / "state"), "progress_file": "", "servers": [], "redis": []}
    run = Restore({**params, "lock_wait": 0, "disconnect": False})
    with pytest.raises(Unfinished, match="half done"):
        run._undo(Entry("00aa11bb", "20250531_123456", ["a"], FORWARD, "2026-01-01T00:00:00"), [Dead()])  # type: ignore[list-item]
    assert run.journal.open() is not None
