# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two folders change their names at once: at no instant is one of the names missing (renameat2 with RENAME_EXCHANGE, Linux 3.15)."""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._stream import synchronise

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE


def exchange(first: Path, second: Path) -> None:
    """OSError where the file system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(first), None, str(second))
    for folder in sorted({first.parent, second.parent}):
        synchronise(folder)


def can_exchange(folder: Path) -> bool:
    """Whether the file system of a folder can."""
    with tempfile.TemporaryDirectory(dir=folder) as first, tempfile.TemporaryDirectory(dir=folder) as second:
        try:
            exchange(Path(first), Path(second))
        except OSError:
            return False
    return True
