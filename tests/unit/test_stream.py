# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that is written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._stream import replace


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_content_takes_the_place_of_the_old_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o644)
    replace(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode), names(tmp_path)) == (b"new", 0o600, ["x"])


def test_what_is_linked_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "set").write_bytes(b"of the set")
    for path, link in ((tmp_path / "hard", os.link), (tmp_path / "soft", os.symlink)):
        link(tmp_path / "set", path)
        replace(path, b"new")
        assert (path.read_bytes(), path.is_symlink()) == (b"new", False)
    assert (tmp_path / "set").read_bytes() == b"of the set"


@pytest.mark.parametrize("at", ["fsync", "rename"])
def test_one_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """As on a full disk: what was written of a secret does not stay."""

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "x"
    path.write_bytes(b"old")
    monkeypatch.setattr(*((os, "fsync") if at == "fsync" else (Path, "rename")), full)
    with pytest.raises(OSError, match="No space left"):
        replace(path, b"new")
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["x"])


def test_what_a_run_that_was_killed_has_left_is_not_in_the_way_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"kept")
    (tmp_path / ".x.new").symlink_to(tmp_path / "elsewhere")
    replace(tmp_path / "x", b"new")
    assert names(tmp_path) == ["elsewhere", "x"]
    assert (tmp_path / "elsewhere").read_bytes() == b"kept"
