# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts/scheduled-backup left in its folder, and what can start it by the clock on this machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

SETTINGS, SUCCESS, FAILURE = "settings", "last-success", "last-failure"
# Of the drills, whose notes lie beside those of the backups.
DRILL, OFFSITE_DRILL = "drill-", "offsite-drill-"
# Of the copies of the continuous backup.
ARCHIVE = "archive-"
_DAEMONS = ("cron", "crond", "fcron")


@dataclass(frozen=True)
class Failure:
    """How the last scheduled run failed. message: the last lines that it said."""

    at: str
    code: str
    message: str


@dataclass(frozen=True)
class Schedule:
    """since: when it was installed or changed, None where none is; succeeded: when a run last did; failure: of the last run, None where it did not fail."""

    since: str | None
    succeeded: str | None
    failure: Failure | None


def read(folder: Path, prefix: str = "") -> Schedule:
    """The notes in a folder; prefix: DRILL, OFFSITE_DRILL or ARCHIVE for those of drills and copies. OSError where they cannot be read."""
    succeeded, failed = _text(folder / f"{prefix}{SUCCESS}"), _text(folder / f"{prefix}{FAILURE}")
    return Schedule(_changed(folder / f"{prefix}{SETTINGS}"), succeeded.strip() if succeeded else None, failure(failed) if failed is not None else None)


def failure(note: str) -> Failure:
    """A note of a failure; one that is cut short is a failure all the same."""
    lines = [*note.splitlines(), "", ""]
    return Failure(lines[0].strip(), lines[1].strip(), "\n".join(lines[2:]).strip())


def systemd() -> bool:
    """Whether systemd runs this machine, as sd_booted(3) finds out."""
    return Path("/run/systemd/system").is_dir()


def crontab() -> str | None:
    return shutil.which("crontab")


def cron_runs() -> bool:
    """Whether a daemon reads the crontabs; where other users' processes cannot be looked at, nothing says that none does."""
    try:
        return any(_text(path) in {f"{name}\n" for name in _DAEMONS} for path in Path("/proc").glob("[0-9]*/comm"))
    except PermissionError:
        return True


def _changed(path: Path) -> str | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC).isoformat(timespec="seconds")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return None
