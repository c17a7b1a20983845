# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A manifest comes back as it was written, or is refused with what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils import _backup_plan as plans
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import (
    Database,
    Encryption,
    File,
    Grant,
    LeftOut,
    Manifest,
    ManifestError,
    Redis,
    Server,
    Table,
)

DIGEST = "0123456789abcdef" * 4
DATABASE = Database(
    "übung",
    "postgres/%C3%BCbung",
    "postgres/%C3%BCbung.catalog.json.age",
    "owner",
    "UTF8",
    "icu",
    None,
    "C",
    "C",
    -1,
    'a "comment"\nof two lines',
    [Grant("", "a", "CONNECT", grantable=True)],
    2**40,
    [Table("s", "t", 2**40), Table("s", "u", 1)],
    {"pgcrypto": "1.3"},
)
SERVER = Server(
    "postgresql", "17.5", 170005, "7510000000000000001", "0/1A", None, "postgres/globals.sql.age", "postgres/server.json.age", [DATABASE],
    [LeftOut("x", "y", data=True)],
)  # fmt: skip
FILES = [File(f"postgres/{name}.age", 10, DIGEST, 5, DIGEST) for name in ("%C3%BCbung/toc.dat", "%C3%BCbung/0001.dat.zst", "globals.sql")]
MANIFEST = Manifest(
    "20250531_123456", 7, "nexanest", "0.1.0", "database", "2025-05-31T12:34:56+00:00", "2025-05-31T12:35:00+00:00", Encryption("age", ["age1x"]),
    {"postgres": SERVER}, {"redis": Redis("8.0.2", "redis/redis.rdb.age", 3, 2, 1)}, FILES,
)  # fmt: skip


def resealed(document: dict[str, Any]) -> str:
    """A text with the checksum that fits, as another program would write it."""
    document.pop("sha256")
    return json.dumps({**document, "sha256": manifests._checksum(document)})


def document() -> dict[str, Any]:
    return dict(json.loads(manifests.write(MANIFEST)))


def test_a_manifest_comes_back_as_it_was_written() -> None:
    assert manifests.read(manifests.write(MANIFEST)) == MANIFEST
    assert (MANIFEST.bytes, DATABASE.rows) == (30, 2**40 + 1)
    untouched = dataclasses.replace(MANIFEST, servers={"postgres": dataclasses.replace(SERVER, databases=[dataclasses.replace(DATABASE, acl=None)])})
    assert manifests.read(manifests.write(untouched)) == untouched


def test_a_set_of_before_has_fewer_fields() -> None:
    older = document()
    for name in ("large_objects", "tablespace", "tablespaces"):
        del older["servers"]["postgres"]["databases"][0][name]
    found = manifests.read(resealed(older))
    assert found == MANIFEST
    assert found.servers["postgres"].databases[0].large_objects is None


def test_databases_in_tablespaces_are_told() -> None:
    moved = dataclasses.replace(DATABASE, tablespace="fast", tablespaces=["cold"])
    assert plans.moved(MANIFEST) == []
    (told,) = plans.moved(dataclasses.replace(MANIFEST, servers={"postgres": dataclasses.replace(SERVER, databases=[moved])}))
    assert told.startswith("postgres/übung needs the tablespaces cold, fast")


def test_the_order_of_fields_and_the_layout_of_the_text_do_not_matter() -> None:
    assert manifests.read(json.dumps(document(), sort_keys=True)) == MANIFEST


def test_files_are_found_by_their_path_and_their_folder() -> None:
    assert MANIFEST.file("postgres/globals.sql.age") == FILES[2]
    assert MANIFEST.below("postgres/%C3%BCbung") == FILES[:2]
    assert MANIFEST.below("postgres/%C3") == []
    with pytest.raises(ManifestError, match="does not list it"):
        MANIFEST.file("postgres/other")


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"x"', "{}", '{"format": 1}', '{"format": "1"}', '{"format": true}', DEEP, '{"format": 1, "x": "\\ud800"}']
)
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        manifests.read(text)


def test_every_text_that_ends_early_is_refused() -> None:
    text = manifests.write(MANIFEST).rstrip()
    for length in range(0, len(text), 7):
        with pytest.raises(ManifestError):
            manifests.read(text[:length])


def test_a_newer_format_is_refused_with_what_to_do() -> None:
    with pytest.raises(ManifestError, match="format 2, and this version of the collection reads format 1: use a newer version"):
        manifests.read(resealed({**document(), "format": 2, "unheard_of": True}))


def test_an_edited_text_is_refused() -> None:
    for old, new in (('"rows": 1,', '"rows": 2,'), ('"rows": 1\n', '"rows": 2\n'), ('"serial": 7', '"serial": 8'), ("17.5", "17.6")):
        text = manifests.write(MANIFEST)
        if old in text:
            with pytest.raises(ManifestError, match="changed after it was written"):
                manifests.read(text.replace(old, new))


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Manifest)])
def test_a_missing_field_is_named(field: str) -> None:
    damaged = document()
    damaged.pop(field)
    with pytest.raises(ManifestError, match=f"missing or unknown: {field}"):
        manifests.read(resealed(damaged))


def test_an_unknown_field_is_named_with_its_place() -> None:
    damaged = document()
    damaged["servers"]["postgres"]["databases"][0]["more"] = 1
    with pytest.raises(ManifestError, match=r"missing or unknown: servers\.postgres\.databases\[0\]\.more"):
        manifests.read(resealed(damaged))


@pytest.mark.parametrize(
    ("field", "value"), [("serial", "7"), ("serial", True), ("serial", None), ("files", {}), ("servers", []), ("stack", 1), ("encryption", "age")]
)
def test_a_value_of_a_wrong_kind_is_refused(field: str, value: object) -> None:
    with pytest.raises(ManifestError, match="is damaged"):
        manifests.read(resealed({**document(), field: value}))


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "postgres/../../x", "postgres//x", "./x", "x/", ""])
def test_a_path_outside_the_set_is_refused(path: str) -> None:
    damaged = document()
    damaged["files"][0]["path"] = path
    with pytest.raises(ManifestError, match="outside the set"):
        manifests.read(resealed(damaged))


@pytest.mark.parametrize("path", ["postgres/\x00", "postgres/x\ny", "\x7f"])
def test_a_path_that_no_file_can_have_is_refused(path: str) -> None:
    damaged = document()
    damaged["files"][0]["path"] = path
    with pytest.raises(ManifestError, match="which no set holds"):
        manifests.read(resealed(damaged))


def test_a_file_listed_twice_or_without_a_checksum_is_refused() -> None:
    twice = document()
    twice["files"].append(twice["files"][0])
    with pytest.raises(ManifestError, match="lists a file twice"):
        manifests.read(resealed(twice))
    for key in ("sha256", "plain_sha256"):
        without = document()
        without["files"][1][key] = "0"
        with pytest.raises(ManifestError, match="has no checksum"):
            manifests.read(resealed(without))


@pytest.mark.parametrize("identity", ["", "x", "../20250531_123456", "20250531_123456/", "20250531_1234567"])
def test_an_id_that_is_no_folder_name_is_refused(identity: str) -> None:
    with pytest.raises(ManifestError, match="which is none"):
        manifests.read(resealed({**document(), "id": identity}))


def test_a_database_that_no_restore_can_copy_is_told() -> None:
    assert plans.unrestorable(MANIFEST) == []
    database = dataclasses.replace(DATABASE, extensions={"pg_cron": "1.6"})
    (text,) = plans.unrestorable(dataclasses.replace(MANIFEST, servers={"postgres": dataclasses.replace(SERVER, databases=[DATABASE, database])}))
    assert "postgres/übung has the extension pg_cron" in text
