# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore puts back is a number of targets (a server, a Redis instance) with the same few operations, each of which may be repeated after a crash."""

from __future__ import annotations

from typing import Protocol


class TargetError(Exception):
    """Work on a target failed; the text names it and says why. What is in use there was not changed."""


class Target(Protocol):
    """name: in the journal. The copy is made by `prepare`, whose arguments depend on the kind."""

    name: str

    def discard(self) -> None:
        """Remove the copy that was never in use."""

    def swapped(self) -> bool:
        """Is the copy in use? Asked from the server or the volume itself."""

    def swap(self) -> None:
        """Put it into use; what it replaces is kept."""

    def unswap(self) -> None:
        """Put back what it replaced; the copy is kept."""

    def undo_problems(self) -> list[str]:
        """Why `unswap` cannot work."""

    def undone_copies(self) -> bool:
        """Is there a copy that was in use and is not any more?"""

    def drop_old(self) -> None:
        """Remove what is kept."""

    def kept(self) -> list[str]:
        """What `drop_old` would remove."""

    def clients(self) -> list[str]:
        """Who would stop a swap, in words."""

    def names(self) -> list[str]:
        """What the restore is about, for people."""
