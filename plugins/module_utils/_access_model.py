# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the access proof tries, what came back, and whether that is as it should be. Plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# What an attempt shall end with. nothing: refused, or answered without a single row. holds: a protection that the catalog shows.
REFUSED, ALLOWED, NOTHING, HOLDS = "refused", "allowed", "nothing", "holds"
# What came back: done, refused for want of rights, another error (which proves nothing), or no answer at all.
DONE, DENIED, FAILED, LOST = "done", "denied", "failed", "lost"


@dataclass(frozen=True)
class Attempt:
    """One door, tried by one role. what: the door in words, without a secret; remedy: what to do where it ends otherwise."""

    group: str
    role: str
    place: str
    what: str
    expected: str
    remedy: str


@dataclass(frozen=True)
class Reply:
    """kind: one of the four above; count: rows (a limited number of them) where it was done; words: the server's, without data."""

    kind: str
    count: int = 0
    words: str = ""


@dataclass(frozen=True)
class Outcome:
    """An attempt and its end. tried: False where no answer came, which is never a pass; proves: False where there was nothing to hide."""

    attempt: Attempt
    ok: bool
    seen: str
    tried: bool = True
    proves: bool = True

    def as_dict(self) -> dict[str, Any]:
        found = {
            "group": self.attempt.group,
            "role": self.attempt.role,
            "place": self.attempt.place,
            "what": self.attempt.what,
            "expected": self.attempt.expected,
            "seen": self.seen,
            "ok": self.ok,
            "tried": self.tried,
            "proves": self.proves,
        }
        return found if self.ok else {**found, "remedy": self.attempt.remedy}


def judge(attempt: Attempt, reply: Reply, *, hides: bool = True) -> Outcome:
    """Compare what came back with what should. hides: whether the administrator sees something that this attempt must not."""
    if reply.kind == LOST:
        return Outcome(attempt, ok=False, seen=f"could not be tried: {reply.words}", tried=False)
    if reply.kind == FAILED:
        return Outcome(attempt, ok=False, seen=f"not for want of rights: {reply.words}")
    if reply.kind == DENIED:
        return Outcome(attempt, ok=attempt.expected in (REFUSED, NOTHING), seen=f"refused: {reply.words}")
    if attempt.expected != NOTHING:
        return Outcome(attempt, ok=attempt.expected == ALLOWED, seen="allowed")
    if reply.count:
        return Outcome(attempt, ok=False, seen="rows")
    return Outcome(attempt, ok=True, seen="nothing" if hides else "nothing, and no rows to hide", proves=hides)


def holds(attempt: Attempt, lacking: Sequence[str]) -> Outcome:
    """The outcome of a look at the catalog: what is lacking, or nothing."""
    return Outcome(attempt, ok=not lacking, seen="; ".join(lacking) if lacking else "holds")


def summary(outcomes: Iterable[Outcome], seconds: float) -> dict[str, Any]:
    """Counts of all, and by group."""
    every = list(outcomes)
    return {
        "attempts": len(every),
        "failed": sum(not outcome.ok for outcome in every),
        "not_tried": sum(not outcome.tried for outcome in every),
        "nothing_to_hide": sum(not outcome.proves for outcome in every),
        "groups": dict(Counter(outcome.attempt.group for outcome in every)),
        "seconds": round(seconds, 1),
    }
