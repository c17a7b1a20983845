# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an archive lies, its segments, what converging it would do, and what a base backup forgets."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._archive_failure import last_error, remedy
from ansible_collections.nexanest.database.plugins.module_utils._archive_state import State, make_folder, make_home
from ansible_collections.nexanest.database.plugins.module_utils._base_backup import DEAD_AFTER, dead_halves, drop, halves, refuse_full
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import BaseBackup, Info
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError, Cluster, bind, position, segment_of, segments
from ansible_collections.nexanest.database.plugins.modules.base_backup import forget, young
from ansible_collections.nexanest.database.plugins.modules.wal_archive import plan

NOW = 1748700000


def cluster(folder: Path, which: str = "current") -> Cluster:
    return Cluster(
        name="timescaledb",
        container="no-such-container-of-unit-tests",
        image="sha256:0",
        uid=os.getuid(),
        gid=os.getgid(),
        memory_mb=512,
        pgdata="/var/lib/postgresql/data/pgdata",
        data=folder / "volume" / "pgdata",
        folder=folder / "archive",
        config=folder / "conf",
        which=which,
    )


def backup(kind: str = "full", stop: int = NOW, *, damaged: bool = False) -> BaseBackup:
    segment = "000000010000000000000003"
    return BaseBackup(f"{kind}-{stop}", kind, stop - 5, stop, "0/3000028", "0/3000100", segment, segment, 100, 10, damaged)


@pytest.mark.parametrize(
    ("timeline", "lsn", "name", "count"),
    [
        (1, "0/4034FD0", "000000010000000000000004", 0x4034FD0),
        (1, "0/0", "000000010000000000000000", 0),
        (2, "0/FFFFFFFF", "0000000200000000000000FF", 0xFFFFFFFF),
        (0x1F, "1/0", "0000001F0000000100000000", 1 << 32),
        (3, "A1/1000000", "00000003000000A100000001", 0xA101000000),
    ],
)
def test_a_position_is_in_a_segment_and_is_a_number(timeline: int, lsn: str, name: str, count: int) -> None:
    assert segment_of(timeline, lsn) == name
    assert position(lsn) == count


def test_positions_are_ordered_as_numbers_not_as_texts() -> None:
    assert position("9/0") < position("10/0")
    assert position("0/9000000") < position("0/10000000")


def test_received_segments_are_ordered_by_their_place_whatever_their_timeline(tmp_path: Path) -> None:
    names = ["000000020000000000000005", "000000010000000000000004", "00000001000000000000000A.partial", "000000010000000000000005"]
    for name in (*names, "00000002.history", "000000010000000000000004.tmp", "cluster"):
        (tmp_path / name).touch()
    assert segments(tmp_path) == ["000000010000000000000004", "000000010000000000000005", "000000020000000000000005", "00000001000000000000000A"]
    assert segments(tmp_path / "missing") == []


def test_archives_of_other_clusters_lie_beside_the_current_one(tmp_path: Path) -> None:
    here = cluster(tmp_path)
    assert here.others == []
    here.folder.mkdir()
    make_home(here)
    for name in ("7713188848805994522", "empty-00aa11bb", "lost+found"):
        (here.folder / name).mkdir()
    assert here.others == ["7713188848805994522"]
    assert here.received == tmp_path / "archive" / "current" / "received" / "current"
    assert cluster(tmp_path, "7713188848805994522").repository == tmp_path / "archive" / "7713188848805994522" / "repository"


def test_folders_of_a_run_that_was_cut_off_are_made_right(tmp_path: Path) -> None:
    here = cluster(tmp_path)
    here.folder.mkdir()
    make_home(here)
    (here.repository / "kept").touch()
    make_home(here)
    assert (here.repository / "kept").is_file()
    assert here.received.stat().st_mode & 0o077 == 0
    make_folder(here.received, here)


def test_mounts_are_for_reading_unless_they_are_not() -> None:
    assert bind(Path("/a"), "/b") == "type=bind,source=/a,target=/b,readonly"
    assert bind(Path("/a"), "/b", read_only=False) == "type=bind,source=/a,target=/b"


@pytest.mark.parametrize(
    ("state", "kinds"),
    [
        (None, ["stanza", "base backup"]),
        (State("7", Info()), ["stanza", "base backup"]),
        (State("7", Info("7")), ["base backup"]),
        (State("7", Info("7", (backup(),))), []),
        (State("7", Info("6", (backup(),))), ["archive", "stanza", "base backup"]),
    ],
)
def test_only_what_is_missing_is_made_and_what_is_anothers_is_kept(state: State | None, kinds: list[str]) -> None:
    changes = plan("timescaledb", state)
    assert [change.kind for change in changes] == kinds
    assert all(change.after is not None for change in changes), "nothing is removed"


@pytest.mark.parametrize(
    ("backups", "kind", "limit", "enough"),
    [
        ((backup("full", NOW - 3600),), "full", "20h", True),
        ((backup("full", NOW - 3600),), "incr", "20h", True),
        ((backup("incr", NOW - 3600),), "full", "20h", False),
        ((backup("diff", NOW - 3600),), "incr", "20h", True),
        ((backup("incr", NOW - 3600),), "diff", "20h", False),
        ((backup("full", NOW - 72000),), "full", "20h", False),
        ((backup("full", NOW + 60),), "full", "20h", False),
        ((backup("full", NOW - 60, damaged=True),), "full", "20h", False),
        ((backup("full", NOW - 60),), "full", "", False),
        ((), "incr", "20h", False),
    ],
)
def test_a_young_backup_that_holds_as_much_is_enough(backups: tuple[BaseBackup, ...], kind: str, limit: str, *, enough: bool) -> None:
    assert (young(backups, kind, limit, NOW) is not None) == enough


def put_aside(here: Cluster, name: str, age: int) -> Path:
    folder = here.received.parent / name
    folder.mkdir(parents=True)
    segment = folder / "000000010000000000000009.partial"
    segment.touch()
    os.utime(segment, (NOW - age, NOW - age))
    return folder


def test_received_log_that_no_backup_needs_is_forgotten(tmp_path: Path) -> None:
    here = cluster(tmp_path)
    here.folder.mkdir()
    make_home(here)
    (here.received.parent / "cluster").write_text("7713\n", encoding="utf-8")
    old, needed = put_aside(here, "00aa11bb", 7200), put_aside(here, "22cc33dd.undone", 1800)
    newer = here.received / "000000020000000000000009.partial"
    newer.touch()
    os.utime(newer, (NOW - 9000, NOW - 9000))
    assert forget(here, Info("7713", (backup(stop=NOW - 3600), backup("incr", NOW)))) == ["received/00aa11bb"]
    assert not old.exists()
    assert needed.is_dir()
    assert newer.is_file(), "what the companion receives into is the companion's"
    assert (here.received.parent / "cluster").is_file()


def test_without_a_backup_no_log_is_forgotten(tmp_path: Path) -> None:
    here = cluster(tmp_path)
    here.folder.mkdir()
    make_home(here)
    old = put_aside(here, "00aa11bb", 7200)
    assert forget(here, Info("7713")) == []
    assert old.is_dir()


def test_halves_of_base_backups_are_dropped_when_nobody_writes_them_any_more_and_nothing_else(tmp_path: Path) -> None:
    here = cluster(tmp_path)
    here.folder.mkdir()
    make_home(here)
    assert halves(here, Info()) == []
    folder = here.repository / "backup" / here.name
    whole, half, changed, listed = (folder / name for name in ("20250531-020000F", "20250601-020000F", "20250531-020000F_20250601-030000I", "full-1748700000"))
    for path in (whole, half, changed, listed, folder / "backup.history", folder / "20250601"):
        path.mkdir(parents=True)
    (whole / "backup.manifest").touch()
    (half / "backup.manifest.copy").touch()
    (folder / "latest").symlink_to(half.name)
    (folder / "20250602-020000F").symlink_to(tmp_path)
    info = Info("7713", (backup(),))
    assert halves(here, info) == [changed, half]
    assert dead_halves(here, info) == [], "somebody may be at it"
    long_ago = time.time() - DEAD_AFTER - 60
    for path in (changed, half):
        os.utime(path, (long_ago, long_ago))
    assert dead_halves(here, info) == [changed], "a file of the other one is new"
    os.utime(half / "backup.manifest.copy", (long_ago, long_ago))
    drop(dead_halves(here, info))
    assert sorted(path.name for path in folder.iterdir()) == ["20250531-020000F", "20250601", "20250602-020000F", "backup.history", listed.name, "latest"]


def test_a_backup_that_has_no_room_is_refused(tmp_path: Path) -> None:
    here = cluster(tmp_path)
    here.folder.mkdir()
    refuse_full(here, "full", Info("7713", (backup(),)))
    huge = dataclasses.replace(backup(), stored=1 << 60)
    refuse_full(here, "incr", Info("7713", (huge,)))
    with pytest.raises(ArchiveError, match="no room for a full base backup"):
        refuse_full(here, "full", Info("7713", (huge,)))


@pytest.mark.parametrize(
    ("log", "words", "advice"),
    [
        ("LOG: archive command failed\n", "", "see to /a (its disk, owner and mode) and the log of c"),
        (
            "P00  ERROR: [041]: x\nP00  ERROR: [104]: archive-push command encountered error(s):\n"
            "                                    repo1: [FileWriteError] unable to write '/b': [28] No space left on device\nLOG: y",
            "[104]: repo1: [FileWriteError] unable to write '/b': [28] No space left on device",
            "make room at /a",
        ),
        ("ERROR: [062]: stop file exists for stanza s", "[062]: stop file exists", "docker exec c pgbackrest --stanza=s start"),
        ('ERROR:  relation "x" does not exist', "", "the server tries again by itself"),
    ],
)
def test_the_last_error_of_the_archiver_has_its_remedy(log: str, words: str, advice: str) -> None:
    found = last_error(log)
    assert found.startswith(words)
    assert bool(found) == bool(words)
    assert "LOG" not in found
    assert advice in remedy(found, container="c", stanza="s", folder="/a")
