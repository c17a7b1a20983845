# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bucket lacks, what it keeps and what is nobody's: from listings and manifests, without a bucket."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils import _offsite_plan as plans
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Encryption, File, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_retention import Policy
from ansible_collections.nexanest.database.plugins.module_utils._offsite_bucket import Object, Upload
from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place
from ansible_collections.nexanest.database.plugins.module_utils._offsite_plan import Local, Stored
from ansible_collections.nexanest.database.plugins.module_utils._parallel import Stop, Stopped, each

START = datetime(2025, 5, 1, 12, 0, 0, tzinfo=UTC)
NOW = START + timedelta(days=30)
FILES = [File("redis/redis.rdb", 10, "0" * 64, 10, "0" * 64), File("postgres/a%2Fb/toc.dat", 20, "1" * 64, 20, "1" * 64)]
KEEP_TWO = Policy(daily=2)


def manifest(serial: int, stack: str = "nexanest", day: int | None = None) -> Manifest:
    moment = START + timedelta(days=serial if day is None else day)
    text = moment.isoformat()
    return Manifest(f"{moment:%Y%m%d_%H%M%S}", serial, stack, "0.1.0", "host", text, text, Encryption("none", []), files=FILES)


def local(*sets: Manifest) -> dict[str, Local]:
    return {one.id: Local(one, digest(one)) for one in sets}


def digest(one: Manifest) -> str:
    return hashlib.sha256(manifests.write(one).encode()).hexdigest()


def objects(one: Manifest, *without: str) -> dict[str, Object]:
    named = {file.path: file.bytes for file in one.files if file.path not in without} | {manifests.NAME: 500}
    return {path: Object(f"{one.id}/{path}", size, START) for path, size in named.items()}


def there(*sets: Manifest, lacking: Sequence[str] = ()) -> dict[str, Stored]:
    return {one.id: plans.stored(one.id, objects(one, *lacking), manifests.write(one).encode()) for one in sets}


def test_the_newest_set_is_copied_first() -> None:
    one, two, three = (manifest(serial) for serial in (1, 2, 3))
    assert plans.choose("nexanest", local(one, two, three), there(two), Policy()).copy == (three.id, one.id)


def test_what_no_rule_keeps_is_neither_sent_nor_left() -> None:
    sets = [manifest(serial) for serial in range(1, 6)]
    choice = plans.choose("nexanest", local(*sets[1:]), there(*sets[:3]), KEEP_TWO)
    assert choice.copy == (sets[4].id, sets[3].id)
    assert list(choice.remove) == [one.id for one in sets[:3]]


def test_after_the_plan_was_carried_out_the_next_one_is_empty() -> None:
    sets = [manifest(serial) for serial in range(1, 20)]
    policy, found = Policy(hourly=3, daily=4, weekly=3, monthly=2), there(*sets[:9])
    choice = plans.choose("nexanest", local(*sets[4:]), found, policy)
    left = [one for one in sets if (one.id in found and one.id not in choice.remove) or one.id in choice.copy]
    again = plans.choose("nexanest", local(*sets[4:]), there(*left), policy)
    assert (again.copy, dict(again.remove)) == ((), {})


def test_what_is_damaged_in_the_bucket_is_sent_again_or_left_alone() -> None:
    one, two = manifest(1), manifest(2)
    broken = there(one, two, lacking=["redis/redis.rdb"])
    assert plans.choose("nexanest", local(two), broken, Policy(daily=1)).copy == (two.id,)
    assert plans.choose("nexanest", local(two), broken, Policy(daily=1)).remove == {}
    assert [file.path for file in plans.missing_files(two, broken[two.id], ())] == ["redis/redis.rdb"]
    assert broken[one.id].problems == ["redis/redis.rdb is missing in the bucket, or has another size"]


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", manifests.write(manifest(7)).encode()])
def test_a_manifest_that_cannot_be_read_or_is_another_ones_is_a_problem_and_never_removed(text: bytes) -> None:
    one, two = manifest(1), manifest(2)
    found = {one.id: plans.stored(one.id, objects(one), text), **there(two)}
    assert (found[one.id].manifest, found[one.id].whole) == (None, False)
    choice = plans.choose("nexanest", local(one, two), found, Policy(daily=1, minimum=0))
    assert (choice.copy, dict(choice.remove), list(choice.conflicts)) == ((), {}, [one.id])


def test_another_set_of_the_same_name_is_a_conflict() -> None:
    mine, other = manifest(5, day=1), manifest(3, day=1)
    choice = plans.choose("nexanest", local(mine), there(other), KEEP_TWO)
    assert (choice.copy, list(choice.conflicts)) == ((), [mine.id])
    assert "does another machine copy" in choice.conflicts[mine.id]
    assert plans.alone(mine.id, local(mine), there(other)).conflicts == choice.conflicts


def test_sets_of_another_stack_are_not_judged() -> None:
    foreign, mine = manifest(9, "shop"), manifest(1)
    choice = plans.choose("nexanest", local(mine), there(foreign), Policy(daily=1, minimum=0))
    assert (choice.copy, dict(choice.remove), choice.kept_all) == ((mine.id,), {}, "")


@pytest.mark.parametrize(
    ("here", "in_bucket", "behind"), [([1, 2], [1, 2, 3], True), ([], [1], True), ([3], [1, 2], False), ([], [], False), ([2], [2], False)]
)
def test_numbers_behind_the_buckets_remove_nothing(here: list[int], in_bucket: list[int], behind: bool) -> None:
    choice = plans.choose("nexanest", local(*map(manifest, here)), there(*map(manifest, in_bucket)), Policy(daily=1, minimum=0))
    assert bool(choice.kept_all) == behind
    assert not (behind and choice.remove)


def test_a_coming_set_has_the_next_number() -> None:
    one, two = manifest(1), manifest(2)
    choice = plans.choose("nexanest", local(one, two), there(one, two), KEEP_TWO, NOW)
    assert (choice.copy, list(choice.remove)) == ((plans.COMING,), [one.id])


def test_a_set_that_is_asked_for_by_its_id_is_sent_unless_it_is_there() -> None:
    one = manifest(1)
    assert plans.alone(one.id, local(one), {}).copy == (one.id,)
    assert plans.alone(one.id, local(one), there(one)).copy == ()
    assert plans.alone(one.id, local(one), there(one, lacking=["redis/redis.rdb"])).copy == (one.id,)


def test_only_objects_below_an_id_are_looked_at() -> None:
    keys = ["20250531_123456/a", "20250531_123456/b/c\nd", "20250531_123456", "20250531_123456x/a", "x/20250531_123456/a", "a", "20250531_123456/"]
    assert {identity: list(files) for identity, files in plans.by_set(Object(key, 1, START) for key in keys).items()} == {"20250531_123456": ["a", "b/c\nd"]}


def test_what_an_interrupted_copy_has_sent_is_not_sent_again_if_it_is_the_same() -> None:
    file = FILES[0]
    assert plans.is_same(file, 10, {"sha256": "0" * 64})
    assert not any(plans.is_same(file, size, marks) for size, marks in [(9, {"sha256": "0" * 64}), (10, {"sha256": "2" * 64}), (10, {})])
    assert [one.path for one in plans.missing_files(manifest(1), None, {file.path})] == [FILES[1].path]


def test_remains_are_of_no_set_and_of_this_folder_or_old() -> None:
    fresh, old = NOW - timedelta(hours=1), NOW - timedelta(days=2)
    found = {
        identity: {"a": Object(f"{identity}/a", 1, moment)}
        for identity, moment in (("20250101_000000", fresh), ("20250102_000000", old), ("20250103_000000", fresh), ("20250104_000000", old))
    }
    whole = {"20250105_000000": {"a": Object("20250105_000000/a", 1, old), manifests.NAME: Object("x", 1, old)}}
    assert list(plans.remains(found | whole, {"20250104_000000"}, {"20250103_000000"}, NOW)) == ["20250102_000000", "20250103_000000"]
    uploads = [
        Upload("20250101_000000/a", "1", fresh),
        Upload("20250102_000000/a", "2", old),
        Upload("20250103_000000/a", "3", fresh),
        Upload("mine", "4", old),
    ]
    assert [one.id for one in plans.dead_uploads(uploads, {"20250103_000000"}, NOW)] == ["2", "3"]


@pytest.mark.parametrize(("size", "wanted", "parts"), [(1, 5, 5), (50_000, 5, 5), (50_001, 5, 6), (5 * 2**40, 16 * 2**20, 549_755_814)])
def test_no_file_has_more_parts_than_s3_allows(size: int, wanted: int, parts: int) -> None:
    assert plans.part_bytes(size, wanted) == parts
    assert -(-size // parts) <= plans.PARTS


@pytest.mark.parametrize(
    ("endpoint", "prefix", "text", "root"),
    [("https://s3.example.org/", "/a/b/", "s3://b/a/b at https://s3.example.org", "a/b/"), (None, "", "s3://b at AWS", ""), ("", None, "s3://b at AWS", "")],
)
def test_a_place_is_the_same_however_it_is_written(endpoint: str | None, prefix: str | None, text: str, root: str) -> None:
    place = Place.of({"endpoint_url": endpoint, "bucket": "b", "prefix": prefix})
    assert (place.text, place.root) == (text, root)


def test_work_side_by_side_keeps_the_order_and_tells_the_first_failure() -> None:
    assert each(lambda number: number * 2, range(50), workers=4) == list(range(0, 100, 2))
    done, stop = [], Stop()
    began = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            began.wait(5)
            raise ValueError("the first")
        began.set()
        for _wait in range(500):
            stop.check()
            time.sleep(0.01)
        done.append(number)

    with pytest.raises(ValueError, match="the first"):
        each(work, range(20), workers=2, stop=stop)
    assert done == []
    with pytest.raises(Stopped):
        stop.check()
