# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one attempt at a PostgreSQL server is made: a login, or statements in a session that is rolled back."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.nexanest.database.plugins.module_utils._access_model import Attempt
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Statement

# A session that can write and is rolled back; one that can write nothing; and one statement by itself, for what runs in no transaction.
WRITE, READ, ALONE = "write", "read", "alone"
NAME = "nexanest_access_probe"


@dataclass(frozen=True)
class Login:
    """A connection that is closed at once. replication: what the client asks for, None for an ordinary one."""

    attempt: Attempt
    user: str
    database: str
    password: str = field(repr=False)
    replication: str | None = None


@dataclass(frozen=True)
class Probe:
    """The last step is the attempt; those before it prepare it.

    user: whose token is shown first, None for nobody's. hides: whether the administrator sees rows that this must not.
    denials: further SQLSTATEs that mean that the door is shut. victim: a role whose session stands in for the step's argument.
    trap: whether the step divides by zero for the first row in its reach.
    """

    attempt: Attempt
    role: str
    database: str
    steps: tuple[Statement, ...]
    mode: str = WRITE
    user: str | None = None
    hides: bool = True
    denials: frozenset[str] = frozenset()
    victim: str | None = None
    trap: bool = False
