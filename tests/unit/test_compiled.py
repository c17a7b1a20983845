# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/compiled: what runs is what the zip holds, compiled once."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "compiled"


def run(tmp_path: Path, source: str) -> str:
    """What a module out of a zip prints, in a new interpreter that remembers what it compiled."""
    archive = tmp_path / "payload.zip"
    with zipfile.ZipFile(archive, "w") as payload:
        payload.writestr("module.py", source)
    environment = {**os.environ, "PYTHONPATH": f"{FOLDER}{os.pathsep}{archive}", "NEXANEST_TEST_COMPILED": str(tmp_path / "kept")}
    return subprocess.run([sys.executable, "-c", "import module"], env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def kept(tmp_path: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}


def test_a_source_is_compiled_once_and_another_one_anew(tmp_path: Path) -> None:
    assert run(tmp_path, "print('one')") == "one\n"
    first = kept(tmp_path)
    assert len(first) == 1
    assert run(tmp_path, "print('one')") == "one\n"
    assert kept(tmp_path) == first
    assert run(tmp_path, "print('two')") == "two\n"
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"half"])
def test_a_damaged_file_is_not_believed(tmp_path: Path, content: bytes) -> None:
    run(tmp_path, "print('one')")
    (path,) = kept(tmp_path)
    path.write_bytes(content)
    assert run(tmp_path, "print('one')") == "one\n"
    assert path.read_bytes() != content
