# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets as files on the controller."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _secrets


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_made_secret_is_strong_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "shop" / "postgres_auth_app"
    first = _secrets.ensure(path)
    assert (len(first), first.isalnum()) == (32, True)
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
    assert _secrets.ensure(path) == first
    assert [file.name for file in path.parent.iterdir()] == ["postgres_auth_app"]


def test_all_who_ask_at_once_get_the_same_secret(tmp_path: Path) -> None:
    paths = [tmp_path / "secrets" / f"s{number}" for number in range(5) for _asker in range(8)]
    with ProcessPoolExecutor(max_workers=8) as pool:
        values = list(pool.map(_secrets.ensure, paths))
    assert len(set(values)) == 5


def test_a_value_of_another_hand_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch(mode=0o600)
    path.write_text(" {{ odd }} # value \n")
    assert _secrets.read(path) == " {{ odd }} # value "


@pytest.mark.parametrize(("content", "mode", "words"), [("", 0o600, "is empty"), ("\n", 0o600, "is empty"), ("value", 0o644, "can be read by other users")])
def test_a_file_that_cannot_be_trusted_is_refused(tmp_path: Path, content: str, mode: int, words: str) -> None:
    path = tmp_path / "x"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(_secrets.SecretError, match=words) as refused:
        _secrets.ensure(path)
    assert "value" not in str(refused.value).replace(str(path), "")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(_secrets.SecretError, match=r"could not (read|write)"):
        _secrets.ensure(tmp_path / "file" / "secret")


@pytest.mark.parametrize("term", ["", "../etc/passwd", "a/b/c", "/a", "a b", ".hidden", "a/"])
def test_a_name_cannot_leave_the_folder(term: str) -> None:
    with pytest.raises(_secrets.SecretError, match="no name of a secret"):
        _secrets.file_name(term)


def test_a_name_becomes_a_file() -> None:
    assert _secrets.file_name("postgres/auth_app") == "postgres_auth_app"


def test_a_stand_in_is_the_same_throughout_a_run_and_for_no_other_name() -> None:
    run = os.getpid()
    assert _secrets.ephemeral("a", run) == _secrets.ephemeral("a", run)
    assert len({_secrets.ephemeral("a", run), _secrets.ephemeral("b", run), _secrets.ephemeral("a", 1)}) == 3
