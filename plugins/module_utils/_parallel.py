# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same work on many things, a few at a time: the first failure stops what has not begun, and tells what runs to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Stopped(Exception):
    """Another one failed, or the run was asked to end."""


class Stop:
    """Long work asks it now and then."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def now(self) -> None:
        self._event.set()

    def check(self) -> None:
        if self._event.is_set():
            raise Stopped


def each(work: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int, stop: Stop | None = None) -> list[_Result]:
    """The results in the items' order; raises the first failure, when nothing runs any more."""
    asked = stop or Stop()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = [error for future in futures if future.done() and (error := future.exception()) and not isinstance(error, Stopped)]
            if failed:
                raise failed[0]
            return [future.result() for future in futures]
        finally:
            # Also where a signal ends this run.
            asked.now()
            for future in futures:
                future.cancel()
