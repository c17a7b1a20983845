# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two folders change their names at once."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._exchange import can_exchange, exchange


def filled(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "file").write_text(text, encoding="utf-8")
    return folder


def test_each_has_the_others_name_and_content(tmp_path: Path) -> None:
    live, side = filled(tmp_path / "pgdata", "live"), filled(tmp_path / "pgdata.pitr-1", "side")
    inodes = live.stat().st_ino, side.stat().st_ino
    exchange(live, side)
    assert ((live / "file").read_text(encoding="utf-8"), (side / "file").read_text(encoding="utf-8")) == ("side", "live")
    assert (side.stat().st_ino, live.stat().st_ino) == inodes
    exchange(live, side)
    assert (live.stat().st_ino, side.stat().st_ino) == inodes


def test_folders_of_several_parents(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = filled(tmp_path / "a" / "x", "a"), filled(tmp_path / "b" / "x", "b")
    exchange(first, second)
    assert (first / "file").read_text(encoding="utf-8") == "b"


@pytest.mark.parametrize("missing", ["pgdata", "pgdata.pitr-1"])
def test_where_one_is_missing_the_other_stays(tmp_path: Path, missing: str) -> None:
    names = {"pgdata", "pgdata.pitr-1"}
    (there,) = names - {missing}
    filled(tmp_path / there, "kept")
    with pytest.raises(FileNotFoundError, match="No such file or directory") as refused:
        exchange(tmp_path / "pgdata", tmp_path / "pgdata.pitr-1")
    assert refused.value.errno == errno.ENOENT
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there / "file").read_text(encoding="utf-8") == "kept"


def test_a_folder_does_not_change_places_with_what_is_in_it(tmp_path: Path) -> None:
    outer = filled(tmp_path / "outer", "x")
    with pytest.raises(OSError, match="Invalid argument"):
        exchange(outer, filled(outer / "inner", "y"))
    assert (outer / "inner" / "file").is_file()


def test_a_file_system_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    assert can_exchange(tmp_path)
    assert list(tmp_path.iterdir()) == []
