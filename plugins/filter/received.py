# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the log that receivers have an archive may lack, as a filter; documented in received_after.yml."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

_SEGMENT = re.compile(r"(?P<name>(?P<timeline>[0-9A-F]{8})(?P<place>[0-9A-F]{16}))(\.gz|\.partial)?")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")
# Seconds by which the clocks of two hosts may differ.
SLACK = 600.0


def received_after(files: Sequence[Mapping[str, Any]], last: str = "", moment: float = 0.0) -> list[Mapping[str, Any]]:
    """Those of the archive's timeline from its last segment on, and all that was written since: a recovery may have begun another one, at an earlier place."""
    found = _SEGMENT.fullmatch(last.strip())
    return [file for file in files if _wanted(PurePosixPath(str(file["path"])).name, float(file["mtime"]), found, moment)]


def _wanted(name: str, written: float, last: re.Match[str] | None, moment: float) -> bool:
    if _HISTORY.fullmatch(name):
        return True
    found = _SEGMENT.fullmatch(name)
    if found is None:
        return False
    if last is None or written >= moment - SLACK:
        return True
    return found["timeline"] == last["timeline"] and found["place"] >= last["place"]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"received_after": received_after}
