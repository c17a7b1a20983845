# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an extension follows its image. Pure."""

from __future__ import annotations

import re

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError


def update(database: str, installed: str, offered: str | None) -> bool:
    """True where the image is newer. Raises InputError where it is older, or has no TimescaleDB at all."""
    if offered is None:
        raise InputError(f"{database} has TimescaleDB {installed}, and the server's image has none: use an image that has it")
    if _numbers(installed) > _numbers(offered):
        raise InputError(
            f"{database} has TimescaleDB {installed}, and the server's image has the older {offered}: use an image with {installed} or a newer one; "
            "going back is possible with a restored backup alone"
        )
    return installed != offered


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))
