# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a stack as a text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._disks import DISK, HOST, VOLUME
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, PASSED

HEADINGS = ("SERVICE", "HEALTH", "VERSION", "PORT", "UPTIME", "SIZE", "MEMORY")
UNKNOWN = "-"


def report(status: Mapping[str, Any]) -> str:
    """A table of the services, then each problem with its remedy."""
    backups = status.get("backups")
    lines = table([HEADINGS, *(_row(service) for service in status["services"])])
    problems = [(service["service"], problem) for service in status["services"] for problem in service["problems"]]
    problems += [("backups", problem) for problem in (backups or {}).get("problems", [])]
    problems += [(f"archive of {archive['name']}", problem) for archive in status.get("archives", []) for problem in archive["problems"]]
    problems += [("host", problem) for problem in status["host"]["problems"]]
    told = [f"{problem['level']}: {name}: {problem['what']}\n    -> {problem['remedy']}" for name, problem in problems]
    kept = [*(_backups(backups) if backups else []), *(_archive(archive) for archive in status.get("archives", []))]
    lines += ["", *([*kept, ""] if kept else []), *(told or ["all is well"])]
    return "\n".join(lines)


def _backups(backups: Mapping[str, Any]) -> list[str]:
    """One line about the sets, and one about whether they were seen to work."""
    clock = "by the clock" if backups["scheduled"] else "by hand alone"
    if backups["age"] is None:
        return [f"backups: none, {clock}"]
    old = f"{duration(backups['age'])} ago" if backups["age"] >= 0 else "in the future"
    count = "one set" if backups["sets"] == 1 else f"{backups['sets']} sets"
    copied = backups.get("copied")
    offsite = "" if copied is None else f", off-site up to {copied}" if copied else ", none off-site"
    kinds = {"drills": "restore drill", "offsite_drills": "off-site restore drill"}
    drilled = [_drills(backups[key], name) for key, name in kinds.items() if backups.get(key)]
    return [f"backups: the last one {old} ({backups['newest']}, {size(backups['size'])}), {count}, {clock}{offsite}", *drilled]


def _drills(found: Mapping[str, Any], name: str) -> str:
    """One line about restore drills."""
    last, clock = found["last"], "by the clock" if found["scheduled"] else "by hand alone"
    if last is None:
        return f"{name}: none yet, {clock}"
    when = f"{duration(last['age'])} ago" if (last["age"] or 0) >= 0 else "in the future"
    if last["result"] != PASSED:
        return f"{name}: the last one {when} {'FAILED' if last['result'] == FAILED else 'was refused'} ({last['set'] or 'no set'}), {clock}"
    if not last["content"]:
        return f"{name}: the last one {when}, {last['set']}: checksums right, content not proven, {clock}"
    lost = "" if last["rpo"] is None else f", data of {duration(max(0, last['rpo']))} before"
    return f"{name}: the last one {when}, {last['set']} proven in {duration(int(last['rto'] or 0))} ({last['checks']} checks{lost}), {clock}"


def _archive(archive: Mapping[str, Any]) -> str:
    """One line about a continuous backup: what a recovery could reach, and how it is kept."""
    aside = f"; kept aside: {', '.join(archive['aside'])}" if archive["aside"] else ""
    if archive["last_backup_age"] is None:
        return f"archive of {archive['name']}: no base backup{aside}"
    newest = archive["newest_age"]
    until = "an unknown moment" if newest is None else f"{duration(round(newest))} ago" if newest >= 1 else "now"
    received = archive["streaming"] or any(receiver["streaming"] for receiver in archive.get("receivers", []))
    how = "every acknowledged commit" if archive["synchronous"] else "within about a second" if received else "to the last archived segment"
    backup = f"base backup {duration(archive['last_backup_age'])} ago, full {duration(archive['last_full_age'] or 0)} ago"
    since = f"recoverable from {duration(archive['oldest_age'])} ago until {until} ({how})"
    more = [_drilled(archive.get("drill")), _elsewhere(archive), _survives(archive.get("survives", ""))]
    more += [_offsite(archive.get("offsite")), _drilled_offsite(archive.get("offsite_drills")), _recovered(archive), aside]
    return f"archive of {archive['name']}: {since}; {backup}{''.join(more)}"


def _survives(loss: str) -> str:
    """What may be lost, and the continuous backup is there."""
    return {
        VOLUME: "; survives the loss of the volume, not of its disk",
        DISK: "; survives the loss of the volume's disk, not of this host",
        HOST: "; survives the loss of this host",
    }.get(loss, "")


def _elsewhere(archive: Mapping[str, Any]) -> str:
    """Who else has the log."""
    found = [receiver for receiver in archive.get("receivers", []) if receiver["streaming"]]
    names = [f"{receiver['name']} ({duration(round(receiver['lag_seconds'] or 0))} behind)" for receiver in found]
    return f"; received too by {', '.join(names)}" if names else ""


def _offsite(offsite: Mapping[str, Any] | None) -> str:
    """What of a continuous backup survives the host."""
    if offsite is None:
        return ""
    return "; nothing of it off-site" if offsite["until_age"] is None else f"; off-site until {duration(round(offsite['until_age']))} ago"


def _recovered(archive: Mapping[str, Any]) -> str:
    """That the data in use are those of a recovery: what they replaced takes as much room again. kept: a later recovery came to nothing since."""
    recovery = archive.get("recovery") or {}
    how = {"promoted": "until STATE=cleaned", "kept": "(STATE=cleaned says how it is removed)"}.get(recovery.get("phase", ""))
    return f"; recovered to {recovery['target']}, what that replaced is kept {how}" if how else ""


def _drilled(drill: Mapping[str, Any] | None) -> str:
    """Of a continuous backup."""
    if drill is None or drill["passed_age"] is None:
        return ""
    measured = f" in {duration(round(drill['rto']))}" if drill["rto"] else ""
    lost = f", with all but the last {duration(drill['rpo'])}" if measured and drill.get("rpo") is not None else ""
    return f"; recovered in a drill {duration(drill['passed_age'])} ago{measured}{lost}"


def _drilled_offsite(drills: Mapping[str, Any] | None) -> str:
    """Of its copy; one that did not pass is a problem, and told as such."""
    last = (drills or {}).get("last")
    if last is None or last["result"] != PASSED:
        return ""
    lost = "" if last["rpo"] is None else f", with all but the last {duration(last['rpo'])}"
    return f", recovered out of there in a drill {duration(last['age'])} ago in {duration(round(last['rto'] or 0))}{lost}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns as wide as their widest cell; the first row are the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(service: Mapping[str, Any]) -> tuple[str, ...]:
    used, limit = service["memory_used"], service["memory_limit"]
    memory = f"{size(used)} of {size(limit)}" if used and limit else size(used)
    return (
        service["service"],
        service["health"],
        service["version"] or UNKNOWN,
        f"{service['host']}:{service['port']}",
        duration(service["uptime"]),
        size(service["size"]),
        memory,
    )


def size(value: int | None) -> str:
    """Bytes for people: 512 kB, 12 MB, 3.4 GB."""
    if value is None:
        return UNKNOWN
    for unit, factor in (("GB", 1024**3), ("MB", 1024**2), ("kB", 1024)):
        if value >= factor:
            number = value / factor
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{value} B"


def duration(seconds: int | None) -> str:
    """Seconds for people, the two largest units: 3d 4h, 12m 5s."""
    if seconds is None:
        return UNKNOWN
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"
