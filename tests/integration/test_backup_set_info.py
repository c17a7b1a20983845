# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets are listed, and one wrong byte, file or key is found and named. Real sets and the real age, no server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from backup_sets import BEGIN, Key, new_key, write_set
from modules import run_module

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store, now
from ansible_collections.nexanest.database.plugins.module_utils._backup_verify import verify


@pytest.fixture(scope="module")
def key() -> Key:
    return new_key()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "sets")


def info(store: Store, *, check: bool = False, **options: Any) -> dict[str, Any]:
    answer = run_module("backup_set_info", {"backup_dir": str(store.folder), **options}, check)
    assert answer["changed"] is False
    return answer


def problems(store: Store, **options: Any) -> list[str]:
    """Of the only set."""
    answer = info(store, verify=True, **options)
    found = [str(problem) for problem in answer["sets"][0]["problems"]]
    assert answer["failed"] == bool(found)
    assert all(problem in answer["msg"] for problem in found)
    return found


def noted(store: Store) -> dict[str, bool]:
    """Which sets are noted as verified, and whether with their content."""
    return {entry.id: entry.verified.content for entry in store.entries() if entry.verified}


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position, os.SEEK_SET if position >= 0 else os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def test_sets_are_listed_with_what_they_hold(store: Store, key: Key) -> None:
    started = now() - timedelta(hours=5)
    write_set(store, 1)
    newest = write_set(store, 2, recipients=[key.public], started=started)
    answer = info(store)
    old, new = answer["sets"]
    assert (old["encryption"], new["encryption"], old["problems"], new["verified"]) == ("none", "age", [], None)
    assert (new["id"], new["bytes"], new["seconds"]) == (newest.id, newest.bytes, 44)
    assert abs(new["age"] - 5 * 3600) < 60
    assert new["servers"]["postgres"]["databases"][1] == {"name": "odd/name", "rows": 1234, "bytes": 9_437_184, "tables": 2}
    assert new["servers"]["postgres"]["left_out"][0] == {"name": "scratch", "why": "it allows no connections", "data": True}
    assert new["redis"] == {"redis": {"version": "8.0.2", "keys": 512}}
    heading, first, second, *rest = answer["report"].splitlines()
    assert heading.split()[:3] == ["SET", "AGE", "SIZE"]
    assert first.split()[:3] == [newest.id, "5h", "0m"]
    assert second.startswith(old["id"])
    assert rest[1:] == [f"{newest.id}: postgres: scratch is not in it: it allows no connections"]


def test_no_folder_and_an_empty_one_have_no_sets(store: Store) -> None:
    assert info(store)["report"] == f"there is no backup set in {store.folder}"
    store.prepare()
    assert info(store, verify=True)["sets"] == []


@pytest.mark.parametrize("identity", ["20240101_000000", "../sets", "", "/"])
def test_a_set_that_is_not_there_is_refused(store: Store, identity: str) -> None:
    there = write_set(store)
    answer = info(store, id=identity)
    assert answer["failed"]
    assert (there.id if identity.startswith("2024") else "is no name of a set") in answer["msg"]


@pytest.mark.parametrize(("encrypted", "given", "content"), [(False, False, True), (True, False, False), (True, True, True)])
def test_a_right_set_is_found_right_and_noted(store: Store, key: Key, encrypted: bool, given: bool, content: bool) -> None:
    manifest = write_set(store, recipients=[key.public] if encrypted else [])
    asked: dict[str, Any] = {"verify": True, **({"identities": [key.private]} if given else {})}
    planned = info(store, check=True, **asked)
    assert (planned["sets"][0]["verified"]["content"], noted(store)) == (content, {})
    answer = info(store, **asked)
    assert (answer["failed"], answer["sets"][0]["problems"], answer["sets"][0]["verified"]["content"]) == (False, [], content)
    assert noted(store) == {manifest.id: content}
    assert ("stored bytes only" in info(store)["report"]) is not content
    assert key.private not in json.dumps(answer)


def test_content_once_seen_right_is_not_forgotten_while_the_bytes_are_the_same(store: Store, key: Key) -> None:
    manifest = write_set(store, recipients=[key.public])
    info(store, verify=True, identities=[key.private])
    info(store, verify=True)
    assert noted(store) == {manifest.id: True}


def test_one_of_several_keys_is_enough(store: Store, key: Key) -> None:
    write_set(store, recipients=[new_key().public, key.public])
    assert problems(store, identities=[new_key().private, key.private]) == []


PLACES = [("redis/redis.rdb", 0), ("redis/redis.rdb", -1), ("postgres/auth/0001.dat.zst", 10_000), ("postgres/auth/toc.dat", 30)]


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize(
    ("path", "position"), [("redis/redis.rdb", 0), ("redis/redis.rdb", -1), ("postgres/auth/0001.dat.zst", 10_000), ("postgres/auth/toc.dat", 30)]
)
def test_one_flipped_bit_is_found(store: Store, key: Key, path: str, position: int, encrypted: bool, given: bool) -> None:
    manifest = write_set(store, recipients=[key.public] if encrypted else [])
    file = manifest.file(f"{path}.age" if encrypted else path)
    flip(store.folder / manifest.id / file.path, position)
    found = verify(store.entry(manifest.id), [key.private] if given else []).problems
    assert len(found) == 1
    assert found[0].startswith(f"{file.path} is damaged: {file.bytes} bytes with SHA-256")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: os.truncate(path, path.stat().st_size - 1), "is damaged"),
    "emptied": (lambda path: os.truncate(path, 0), "is damaged"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "is damaged"),
    "missing": (lambda path: path.unlink(), "is missing"),
    "a link": (lambda path: path.rename(path.parent.parent.parent.parent / "away") and path.symlink_to("../../../../away"), "is no regular file"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is no regular file"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is missing"),
}


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_the_set_is_no_longer_noted(store: Store, key: Key, damage: str, encrypted: bool) -> None:
    manifest = write_set(store, recipients=[key.public] if encrypted else [])
    options = {"identities": [key.private]} if encrypted else {}
    assert problems(store, **options) == []
    path = f"postgres/auth/0002.dat.zst{'.age' if encrypted else ''}"
    do, words = DAMAGES[damage]
    do(store.folder / manifest.id / path)
    info(store, check=True, verify=True, **options)
    assert noted(store) == {manifest.id: True}
    (found,) = problems(store, **options)
    assert found.startswith(f"{path} {words}")
    assert noted(store) == {}


def test_a_file_more_than_listed_is_named_wherever_it_is(store: Store) -> None:
    manifest = write_set(store)
    folder = store.folder / manifest.id
    (folder / "postgres" / "auth" / "0003.dat.zst").write_bytes(b"x")
    (folder / ".hidden").write_bytes(b"")
    (folder / "link").symlink_to(folder / "postgres")
    assert [problem.split()[0] for problem in problems(store)] == [".hidden", "link", "postgres/auth/0003.dat.zst"]


def test_all_problems_of_all_sets_are_in_one_message(store: Store) -> None:
    first, second, third = (write_set(store, serial) for serial in (1, 2, 3))
    (store.folder / first.id / "redis" / "redis.rdb").unlink()
    flip(store.folder / first.id / "postgres" / "globals.sql", 5)
    (store.folder / third.id / manifests.NAME).write_text("{}", encoding="utf-8")
    answer = info(store, verify=True)
    assert answer["failed"]
    assert "problems with 2 of 3" in answer["msg"]
    for words in (f"{first.id}: redis/redis.rdb is missing", f"{first.id}: postgres/globals.sql is damaged", f"{third.id}: manifest.json was changed"):
        assert words in answer["msg"]
        assert words in answer["report"]
    assert noted(store) == {second.id: True}
    assert not info(store, verify=True, id=second.id)["failed"]


def test_many_problems_of_a_set_do_not_flood_the_message_but_are_all_returned(store: Store) -> None:
    manifest = write_set(store)
    for number in range(50):
        (store.folder / manifest.id / f"more{number}").touch()
    answer = info(store, verify=True)
    assert len(answer["sets"][0]["problems"]) == 50
    assert "and 30 more like these" in answer["msg"]


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object], *, seal: bool) -> None:
    """Another manifest; seal: with a checksum that fits."""
    path = folder / manifests.NAME
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    checksum = document.pop("sha256")
    path.write_text(json.dumps({**document, "sha256": manifests._checksum(document) if seal else checksum}), encoding="utf-8")


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], bool, str]] = {
    "a byte": (lambda document: document.update(serial=9), False, "was changed after it was written"),
    "newer": (lambda document: document.update(format=2), True, "use a newer version of the collection"),
    "a field less": (lambda document: document.pop("redis"), True, "missing or unknown: redis"),
    "outside": (lambda document: document["files"][0].update(path="../x"), True, "outside the set"),
    "another set's": (lambda document: document.update(id="20240101_000000"), True, "rename it back"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_manifest_that_cannot_be_used_is_listed_as_a_problem_and_fails_a_verification(store: Store, edit: str) -> None:
    manifest = write_set(store)
    change, seal, words = EDITS[edit]
    rewrite(store.folder / manifest.id, change, seal=seal)
    listed = info(store)
    assert not listed["failed"]
    assert words in listed["sets"][0]["problems"][0]
    assert "cannot be read" in listed["report"]
    assert words in problems(store)[0]


def test_a_manifest_that_promises_what_it_does_not_list_is_found(store: Store) -> None:
    manifest = write_set(store)
    lost = ("postgres/auth/toc.dat", "postgres/globals.sql")
    rewrite(store.folder / manifest.id, lambda document: document.update(files=[file for file in document["files"] if file["path"] not in lost]), seal=True)
    found = "; ".join(problems(store))
    assert "postgres/globals.sql is not among the manifest's files" in found
    assert "postgres/auth has no table of contents" in found


@pytest.mark.parametrize("identities", [[], ["AGE-SECRET-KEY-1NOKEY"], ["nonsense"], [""]])
def test_a_wrong_key_is_told_once_and_is_no_damage(store: Store, key: Key, identities: list[str]) -> None:
    manifest = write_set(store, recipients=[key.public])
    assert problems(store) == []
    wrong = identities or [new_key().private]
    answer = info(store, verify=True, identities=wrong)
    (found,) = answer["sets"][0]["problems"]
    assert "its content could not be looked at" in found
    assert answer["failed"]
    assert wrong[0] == "" or wrong[0] not in json.dumps(answer)
    assert noted(store) == {manifest.id: False}


def test_a_wrong_key_hides_no_damage(store: Store, key: Key) -> None:
    manifest = write_set(store, recipients=[key.public])
    flip(store.folder / manifest.id / "postgres/auth/0001.dat.zst.age", 9_999)
    found = problems(store, identities=[new_key().private])
    assert [("is damaged" in problem, "could not be looked at" in problem) for problem in found] == [(True, False), (False, True)]


def test_bytes_that_were_wrong_before_they_were_encrypted_are_found_with_the_key_alone(store: Store, key: Key) -> None:
    manifest = write_set(store, recipients=[key.public])
    rewrite(store.folder / manifest.id, lambda document: document["files"][1].update(plain_sha256="0" * 64), seal=True)
    assert problems(store) == []
    (found,) = problems(store, identities=[key.private])
    assert "holds other bytes than went into it" in found


def test_modes_are_no_problem(store: Store) -> None:
    manifest = write_set(store)
    (store.folder / manifest.id / "redis" / "redis.rdb").chmod(0o644)
    assert problems(store) == []


def test_a_set_that_goes_away_while_it_is_read_is_not_called_damaged(store: Store) -> None:
    manifest = write_set(store)
    # The retention of another run takes its name away while its first file, which is slow, is being read.
    code = (
        "import sys; from pathlib import Path\n"
        "from ansible_collections.nexanest.database.plugins.module_utils import _backup_verify as verify, _backup_files as files\n"
        "from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store\n"
        "store = Store(Path(sys.argv[1])); entry = store.entry(sys.argv[2]); read = verify._read\n"
        "def slow(opener, file):\n    (store.folder / entry.id).is_dir() and store.remove(entry.id)\n    return read(opener, file)\n"
        "verify._read = slow; verify.WORKERS = 1\n"
        "print(verify.verify(entry, ()))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, store.folder, manifest.id],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "it was removed while it was read" in run.stdout, run.stderr
    assert "damaged=False" in run.stdout


def test_a_set_dated_in_the_future_is_listed_as_such(store: Store) -> None:
    write_set(store, started=BEGIN.replace(year=2099))
    answer = info(store)
    assert answer["sets"][0]["age"] < 0
    assert "in the future" in answer["report"]


def test_a_right_set_that_cannot_be_noted_is_right_with_a_warning(store: Store, key: Key) -> None:
    manifest = write_set(store)
    (store.folder / ".verified").write_text("", encoding="utf-8")
    answer = info(store, verify=True)
    assert not answer["failed"]
    assert any(manifest.id in str(warning) for warning in answer["warnings"])


def test_the_manifest_type_is_what_the_helper_writes(store: Store) -> None:
    manifest = write_set(store)
    entry = store.entry(manifest.id)
    assert isinstance(entry.manifest, Manifest)
    assert entry.manifest == manifest
