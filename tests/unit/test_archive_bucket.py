# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy in a bucket becomes another one every few minutes: whoever looks at it or fetches it meanwhile takes that for no damage."""

from __future__ import annotations

import dataclasses
import types
from collections import namedtuple
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _archive_drill as drills
from ansible_collections.nexanest.database.plugins.module_utils import _archive_drill_bucket as bucket_drills
from ansible_collections.nexanest.database.plugins.module_utils import _archive_marker as markers
from ansible_collections.nexanest.database.plugins.module_utils import _recovery_look as looks
from ansible_collections.nexanest.database.plugins.module_utils._archive_bucket import LOOKS, stored
from ansible_collections.nexanest.database.plugins.module_utils._archive_copy import Refused
from ansible_collections.nexanest.database.plugins.module_utils._archive_drill import Prepared, Report
from ansible_collections.nexanest.database.plugins.module_utils._archive_drill_bucket import BucketDrill, Room
from ansible_collections.nexanest.database.plugins.module_utils._archive_fetch import Fetcher, Found
from ansible_collections.nexanest.database.plugins.module_utils._archive_marker import Marker
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged
from ansible_collections.nexanest.database.plugins.module_utils._drill_history import FAILED, REFUSED
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import Bucket, BucketError, Gone, Object
from ansible_collections.nexanest.database.plugins.module_utils._offsite_object import Content
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import LATEST, Target
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError, Cluster

MARKER = Marker(
    stack="shop",
    server="timescaledb",
    system_id="7713188848805994522",
    host="database",
    copied="2025-05-31T12:35:00+00:00",
    until="2025-05-31T12:34:10+00:00",
    oldest="2025-05-24T02:00:05+00:00",
    newest="2025-05-31T02:00:05+00:00",
    backups=["20250531-020000F"],
    segment="",
    timeline=1,
    pgbackrest="2.54.2",
    files=1,
    bytes=7,
    lists=[],
    documents=dict.fromkeys(markers.info_files("timescaledb"), b"info"),
)
ROOT = markers.root(MARKER.server, MARKER.system_id)


def segment(number: int) -> str:
    return f"repository/archive/timescaledb/17-1/0000000100000000/{number:024X}"


class Shelf:
    """A bucket. between: what others do after it was listed; dead: it does not answer any more."""

    place = types.SimpleNamespace(text="s3://x")

    def __init__(self, between: Callable[[Shelf], None] = lambda _shelf: None) -> None:
        self.kept: dict[str, bytes] = {}
        self.between, self.dead, self.copies = between, False, 0
        self.copy()

    def copy(self) -> None:
        """As a copy does: a new segment, a new list, the marker, and then the old list goes."""
        before = [key for key in self.kept if f"/{markers.LISTS}" in key]
        self.copies += 1
        files = [segment(number) for number in range(1, self.copies + 1)]
        name, text = markers.write_list([Content(path, 7, "b" * 64) for path in files])
        marker = markers.write(dataclasses.replace(MARKER, lists=[name], files=len(files)))
        self.kept.update({**{f"{ROOT}{path}": b"segment" for path in files}, f"{ROOT}{markers.LISTS}{name}": text, f"{ROOT}{markers.NAME}": marker})
        for key in before:
            del self.kept[key]

    def lose(self, part: str) -> None:
        for key in [key for key in self.kept if part in key]:
            del self.kept[key]

    def objects(self, below: str) -> list[Object]:
        if self.dead:
            raise BucketError("it cannot be reached")
        found = [Object(key, len(body), datetime.now(tz=UTC)) for key, body in self.kept.items() if key.startswith(below)]
        self.between(self)
        return found

    def document(self, key: str) -> bytes:
        if key not in self.kept:
            raise Gone(f"reading {key} failed: it is gone")
        return self.kept[key]

    def marked(self, key: str) -> tuple[bytes, dict[str, str]]:
        return self.document(key), {"sha256": markers.digest(self.kept[key])}


def look(shelf: Shelf) -> Any:
    return stored(cast(Bucket, shelf), MARKER.server, MARKER.system_id)


@pytest.mark.parametrize("times", range(LOOKS - 1))
def test_a_copy_that_becomes_another_one_while_it_is_looked_at_lacks_nothing(times: int) -> None:
    shelf = Shelf(lambda one: one.copy() if one.copies <= times else None)
    found = look(shelf)
    assert (found.lacking(), len(found.files)) == ([], times + 1)


def test_one_that_never_rests_is_no_damage() -> None:
    with pytest.raises(BucketError, match="became another one each time"):
        look(Shelf(Shelf.copy))


@pytest.mark.parametrize(("part", "problems"), [(markers.LISTS, 1), (segment(1), 0)])
def test_what_is_missing_under_the_same_marker_is_missing(part: str, problems: int) -> None:
    shelf = Shelf()
    shelf.lose(part)
    found = look(shelf)
    assert len(found.problems) == problems
    assert "is missing in the bucket" in found.lacking()[0]


def test_a_list_that_goes_after_it_was_listed_is_looked_for_again() -> None:
    shelf = Shelf(lambda one: one.lose(markers.LISTS))
    assert "is missing in the bucket" in look(shelf).lacking()[0]


@pytest.fixture
def drill(tmp_path: Path) -> BucketDrill:
    (tmp_path / "archive").mkdir()
    cluster = types.SimpleNamespace(
        name=MARKER.server, which=MARKER.system_id, folder=tmp_path / "archive" / ".drill-x", home=tmp_path, data=tmp_path / "data", container="x"
    )
    params = {"history_dir": str(tmp_path), "stack": "shop", "endpoint_url": "", "bucket": "b", "prefix": "", "login_user": "x", "label": "a=b"}
    return BucketDrill(cast(Cluster, cluster), params, lambda _words: None, Progress(""))


def bring(drill: BucketDrill, shelf: Shelf, complete: Callable[[], None], room: int = 0) -> None:
    """complete: what the fetch comes to. room: bytes that have to stay free."""
    found = Found(MARKER, look(shelf), there=False)
    fetcher = types.SimpleNamespace(bucket=shelf, complete=lambda _home, _found, stop: (complete(), stop.now()))
    plan = types.SimpleNamespace(backup=None)
    drill._bring(cast(Fetcher, fetcher), found, cast(looks.Plan, plan), Room(drill.cluster.folder, room))


def failing(error: Exception, *before: Callable[[], None]) -> Callable[[], None]:
    def work() -> None:
        for one in before:
            one()
        raise error

    return work


def test_what_a_newer_copy_dropped_is_refused_and_its_name_told(drill: BucketDrill) -> None:
    shelf = Shelf()
    with pytest.raises(Refused, match=r"became another one while it was fetched \(x is gone\)"):
        bring(drill, shelf, failing(Gone("x is gone"), shelf.copy))


def test_what_a_newer_copy_needs_as_well_is_damage(drill: BucketDrill) -> None:
    shelf = Shelf()
    with pytest.raises(Damaged, match="x is gone"):
        bring(drill, shelf, failing(Gone("x is gone"), shelf.copy, lambda: shelf.lose(segment(1))))
    with pytest.raises(Damaged, match="x is gone"):
        bring(drill, Shelf(), failing(Gone("x is gone")))


def test_a_service_that_is_away_is_told_as_it_was_first(drill: BucketDrill) -> None:
    shelf = Shelf()
    with pytest.raises(BucketError, match="no answer"):
        bring(drill, shelf, failing(BucketError("no answer"), shelf.copy))
    with pytest.raises(Gone, match="x is gone"):
        bring(drill, shelf, failing(Gone("x is gone"), lambda: setattr(shelf, "dead", True)))


def test_room_is_looked_at_again_when_the_copy_is_there(drill: BucketDrill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "refuse_crowded", lambda _cluster, _backup: failing(ArchiveError("no memory"))())
    with pytest.raises(ArchiveError, match="no memory"):
        bring(drill, Shelf(), lambda: None)
    with pytest.raises(Refused, match="have to stay free"):
        bring(drill, Shelf(), lambda: None, room=1 << 60)


def test_a_fetch_ends_where_it_takes_the_room_of_the_live_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room, usage = Room(tmp_path, 100), namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage(100))
    room.check()
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage(99))
    with pytest.raises(Refused, match="make room"):
        room.check()


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (BucketError("no answer"), REFUSED),
        (ArchiveError("no room"), REFUSED),
        (Refused("another one"), REFUSED),
        (Damaged("a bit"), FAILED),
        (OSError("the disk"), FAILED),
    ],
)
def test_what_keeps_a_copy_from_coming_says_nothing_of_it(drill: BucketDrill, monkeypatch: pytest.MonkeyPatch, error: Exception, result: str) -> None:
    prepared = Prepared(Target(LATEST), cast(looks.Plan, None), failing(error))
    monkeypatch.setattr(BucketDrill, "prepare", lambda _drill, _report, *, touch: prepared)
    monkeypatch.setattr(BucketDrill, "sweep", lambda _drill: None)
    report = Report()
    try:
        drill.run(report)
    except OSError:
        assert isinstance(error, OSError)
    assert report.record is not None
    assert (report.record.result, report.problems) == (result, [str(error)])


def test_what_cannot_be_removed_keeps_nothing_else(drill: BucketDrill, monkeypatch: pytest.MonkeyPatch) -> None:
    side = types.SimpleNamespace(remove=failing(ArchiveError("no engine")))
    monkeypatch.setattr(drills.ArchiveDrill, "side", property(lambda _drill: side))
    folders = [drill.data, *(drill.cluster.folder.with_name(f"{bucket_drills.FOLDER}{MARKER.server}-{name}") for name in "ab")]
    for folder in folders:
        folder.mkdir()
    with pytest.raises(ArchiveError, match="no engine"):
        drill.sweep()
    assert [folder for folder in folders if folder.exists()] == []
