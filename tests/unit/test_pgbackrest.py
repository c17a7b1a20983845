# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pgBackRest says, as data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import Info, RepositoryError, explained, parse_info, percent, troubles

LABEL = "20250531-020000F"


def backup(label: str = LABEL, kind: str = "full", stop: int = 1748657105, database: int = 1, *, error: bool = False) -> dict[str, Any]:
    return {
        "annotation": None,
        "archive": {"start": "000000010000000000000003", "stop": "000000010000000000000004"},
        "backrest": {"format": 5, "version": "2.54.2"},
        "database": {"id": database, "repo-key": 1},
        "error": error,
        "info": {"delta": 31024472, "repository": {"delta": 3757160}, "size": 31024472},
        "label": label,
        "lsn": {"start": "0/3000028", "stop": "0/4000050"},
        "prior": None,
        "reference": None,
        "timestamp": {"start": stop - 5, "stop": stop},
        "type": kind,
    }


def stanza(*, code: int = 0, message: str = "ok", name: str = "timescaledb", **parts: Any) -> dict[str, Any]:
    return {
        "archive": [],
        "backup": [],
        "cipher": "aes-256-cbc",
        "db": [],
        "name": name,
        "repo": [{"cipher": "aes-256-cbc", "key": 1, "status": {"code": code, "message": message}}],
        "status": {"code": code, "lock": {"backup": {"held": False}}, "message": message},
        **parts,
    }


def database(number: int, system_id: int) -> dict[str, Any]:
    return {"id": number, "repo-key": 1, "system-id": system_id, "version": "17"}


def archive(number: int, first: str | None, last: str | None) -> dict[str, Any]:
    return {"database": {"id": number, "repo-key": 1}, "id": f"17-{number}", "min": first, "max": last}


def parsed(*stanzas: dict[str, Any]) -> Info:
    return parse_info(json.dumps(stanzas), "timescaledb")


@pytest.mark.parametrize("text", ["", "[]", json.dumps([stanza(name="postgres", db=[database(1, 7)])])])
def test_a_repository_without_this_stanza_is_empty(text: str) -> None:
    assert parse_info(text, "timescaledb") == Info()


def test_a_stanza_that_was_never_made_has_no_cluster() -> None:
    found = parsed(stanza(code=1, message="missing stanza path"))
    assert (found.system_id, found.backups, found.newest, found.state) == ("", (), None, "missing stanza path")


def test_a_stanza_without_a_backup_has_its_cluster() -> None:
    found = parsed(stanza(code=2, message="no valid backups", db=[database(1, 7713188848805994522)], archive=[archive(1, None, None)]))
    assert (found.system_id, found.backups, found.wal_min, found.wal_max) == ("7713188848805994522", (), "", "")


def test_a_backup_is_read_in_all_its_parts() -> None:
    log = archive(1, "000000010000000000000001", "0000000100000000000000A3")
    found = parsed(stanza(db=[database(1, 7713188848805994522)], archive=[log], backup=[backup()]))
    assert found.newest is not None
    assert (found.newest.label, found.newest.type, found.newest.stop - found.newest.start) == (LABEL, "full", 5)
    assert (found.newest.lsn_stop, found.newest.wal_start, found.newest.wal_stop) == ("0/4000050", "000000010000000000000003", "000000010000000000000004")
    assert (found.newest.bytes, found.newest.stored, found.newest.damaged) == (31024472, 3757160, False)
    assert (found.wal_min, found.wal_max) == ("000000010000000000000001", "0000000100000000000000A3")


def test_only_the_newest_of_several_clusters_counts() -> None:
    found = parsed(
        stanza(
            db=[database(1, 11), database(2, 22)],
            archive=[archive(1, "000000010000000000000001", "0000000100000000000000FF"), archive(2, "000000010000000000000002", "000000010000000000000003")],
            backup=[backup("old", database=1, stop=9), backup("new", database=2, stop=5)],
        )
    )
    assert (found.system_id, [one.label for one in found.backups], found.wal_max) == ("22", ["new"], "000000010000000000000003")


def test_backups_are_ordered_by_their_end_and_a_damaged_one_says_so() -> None:
    found = parsed(stanza(db=[database(1, 7)], backup=[backup("b", "incr", 20), backup("a", stop=10), backup("c", "diff", 30, error=True)]))
    assert [(one.label, one.damaged) for one in found.backups] == [("a", False), ("b", False), ("c", True)]
    assert found.newest == found.backups[-1]


def test_a_repository_that_cannot_be_read_is_not_an_empty_one() -> None:
    """pgBackRest ends with 0 all the same."""
    words = "[CryptoError] unable to load info file\n'/archive/current/repository/backup/timescaledb/backup.info': cipher header invalid"
    document = stanza(code=99, message="other", repo=[{"cipher": "aes-256-cbc", "key": 1, "status": {"code": 99, "message": words}}])
    for text in (json.dumps([document]), json.dumps([document]).replace("\\n", "\n")):
        with pytest.raises(RepositoryError, match=r"unable to load info file\s'/archive.*cipher header invalid \(the wrong passphrase"):
            parse_info(text, "timescaledb")
    with pytest.raises(RepositoryError, match="other"):
        parsed(stanza(code=99, message="other", repo=[]))


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("P01 DETAIL: backup file /data/base/5/2601 (16KB, 0.05%) checksum 7b8f", 0),
        ("P02 DETAIL: restore file /data/base/5/1255 (776KB, 48.27%) checksum 1c", 48),
        ("P02 DETAIL: backup file /data/x (8KB, 100.00%)", 100),
        ("P01 DETAIL: restore file /data/base/1/113 - exists and matches backup (bundle 20250531-020000F/1/58072, 8KB, 5.76%) checksum 1c", 5),
        ("P00   INFO: restore backup set 20250531-020000F", None),
        ("bundle 1/8 (50%)", 50),
        ("", None),
    ],
)
def test_how_far_it_is_stands_in_its_lines(line: str, done: int | None) -> None:
    assert percent(line) == done


def test_a_whole_repository_has_no_trouble() -> None:
    said = """stanza: timescaledb
status: ok
  archiveId: 17-1, total WAL checked: 12, total valid WAL: 12
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20250531-020000F, status: valid, total files checked: 1290, total valid files: 1290
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0"""
    assert troubles(said.splitlines()) == []


@pytest.mark.parametrize(
    "line",
    [
        "status: error",
        "    missing: 0, checksum invalid: 1, size invalid: 0, other: 0",
        "    missing: 12, checksum invalid: 0, size invalid: 0, other: 0",
        "    missing: 0, checksum invalid: 0, size invalid: 3, other: 0",
        "    missing: 0, checksum invalid: 0, size invalid: 0, other: 2",
        "P01   INFO: invalid checksum '17-1/0000000100000000/000000010000000000000004-9c.zst'",
        "ERROR: [027]: no primary found",
    ],
)
def test_each_fault_of_a_repository_is_heard(line: str) -> None:
    assert troubles(["stanza: timescaledb", line]) == [line.strip()]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("ERROR: [041]: unable to open file", "see to its disk"),
        ("ERROR: [095]: unable to flush", "the wrong passphrase"),
        ("ERROR: [095]: unable to load info file '/archive/current/repository/archive/timescaledb/archive.info'", "wal_archive_passphrases"),
        ("ERROR: [028]: backup and archive info files exist but do not match the database", "another cluster"),
        ("ERROR: [039]: write: No space left on device", "make room"),
        ("ERROR: [050]: unable to acquire pgBackRest advisory lock", "wait until it has ended"),
    ],
)
def test_what_people_meet_has_its_remedy(text: str, remedy: str) -> None:
    assert explained(text).startswith(f"{text} (")
    assert remedy in explained(text)


def test_other_words_stay_as_they_are() -> None:
    assert explained("ERROR: [082]: WAL segment was not archived") == "ERROR: [082]: WAL segment was not archived"
