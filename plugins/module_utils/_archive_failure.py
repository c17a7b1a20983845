# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why segments do not arrive in the repository: pgBackRest's words out of the server's log, and what to do."""

from __future__ import annotations

import re

from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError

_LINES = 500
# A reason of its own may follow, indented.
_ERROR = re.compile(r"ERROR: (?P<words>\[\d{3}\]: .+(?:\n {8,}\S.*)*)")
_SAYS_NOTHING = "archive-push command encountered error(s): "
_STOPPED, _FULL = "[062]", "No space left"


def said(container: str) -> str:
    """The last error of pgBackRest in a server's log; "" where it has none."""
    try:
        return last_error(Docker().logs(container, _LINES))
    except DockerError:
        return ""


def last_error(log: str) -> str:
    """Of the log's end."""
    found = [match["words"] for match in _ERROR.finditer(log)]
    return " ".join(found[-1].split()).replace(_SAYS_NOTHING, "") if found else ""


def remedy(words: str, *, container: str, stanza: str, folder: str) -> str:
    """What to do about such an error."""
    if _STOPPED in words:
        return f"somebody ran pgbackrest stop: docker exec {container} pgbackrest --stanza={stanza} start"
    if _FULL in words:
        return f"the disk of the archive is full: make room at {folder}; the server tries again by itself"
    return f"see to {folder} (its disk, owner and mode) and the log of {container}; the server tries again by itself"
