# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swap all targets of a restore, or none: what a crash leaves in between is finished or undone by the next run, which the journal tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ansible_collections.nexanest.database.plugins.module_utils import _restore_journal as journals
from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import Entry, Journal
from ansible_collections.nexanest.database.plugins.module_utils._restore_target import Target


class Unfinished(Exception):
    """The targets are not all old or all new; the text says what to do. The journal is open."""


class TakenBack(Exception):
    """A swap failed, and everything that was swapped before it was put back."""


def forward(journal: Journal, entry: Entry, targets: Sequence[Target]) -> None:
    """Put all copies into use. Called again after a crash, it goes on."""
    entry = dataclasses.replace(entry, direction=journals.FORWARD)
    journal.write(entry)
    for target in targets:
        target.swap()
    journal.close(entry, keep=True)


def forward_or_back(journal: Journal, entry: Entry, targets: Sequence[Target], errors: tuple[type[Exception], ...]) -> None:
    """The first attempt: where one target cannot be swapped, those before it are put back. Without a journal nothing begins."""
    journal.write(dataclasses.replace(entry, direction=journals.FORWARD))
    try:
        forward(journal, entry, targets)
    except errors as error:
        try:
            backward(journal, entry, targets)
        except errors as second:
            raise Unfinished(f"{_one_line(error)}; and putting back what was swapped failed too: {_one_line(second)}. {advice(entry)}") from second
        raise TakenBack(_one_line(error)) from error


def backward(journal: Journal, entry: Entry, targets: Sequence[Target]) -> None:
    """Put back whatever was swapped, and remove the copies that never were in use."""
    entry = dataclasses.replace(entry, direction=journals.UNDO)
    journal.write(entry)
    for target in reversed(targets):
        target.unswap()
    for target in targets:
        target.discard()
    journal.close(entry, keep=any(target.undone_copies() for target in targets))


def recover(journal: Journal, entry: Entry, find: Callable[[str], Target], errors: tuple[type[Exception], ...], *, undo: bool) -> str:
    """Bring a restore that was cut off to its end, and say which."""
    targets = [find(name) for name in entry.targets]
    back = undo or entry.direction == journals.UNDO
    try:
        (backward if back else forward)(journal, entry, targets)
    except errors as error:
        raise Unfinished(f"{_one_line(error)}. {advice(entry)}") from error
    return f"the restore {entry.restore} of the set {entry.set}, which had been cut off, was {'undone' if back else 'finished'}"


def advice(entry: Entry) -> str:
    return (
        f"The restore {entry.restore} of the set {entry.set} is half done: restore again to finish it (with disconnect: true where clients are connected), "
        "or undo it (state: undone)"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
