# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a repository is copied, and what is read back of a bucket that anybody may have written to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _archive_marker as markers
from ansible_collections.nexanest.database.plugins.module_utils import _archive_note as notes
from ansible_collections.nexanest.database.plugins.module_utils._archive_list import broken, listed, report
from ansible_collections.nexanest.database.plugins.module_utils._archive_marker import Marker, MarkerError
from ansible_collections.nexanest.database.plugins.module_utils._archive_note import Note
from ansible_collections.nexanest.database.plugins.module_utils._archive_snapshot import _Found, settled
from ansible_collections.nexanest.database.plugins.module_utils._offsite_object import Content

LOG = "repository/archive/timescaledb/17-1/0000000100000000"
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
    segment="0000000100000000000000A3",
    timeline=2,
    pgbackrest="2.54.2",
    files=3,
    bytes=30,
    lists=["a" * 64],
    documents={**dict.fromkeys(markers.info_files("timescaledb"), b"\x00info"), "received/current/00000002.history": b"1\t0/3000000\tbefore\n"},
)


def segment(number: int, timeline: int = 1, ending: str = ".zst") -> str:
    return f"{LOG}/{timeline:08X}00000000{number:08X}-{'0' * 40}{ending}"


def settle(seen: list[str], again: list[str]) -> list[str]:
    return [one.path for one in settled(seen, {path: _Found(path, 1, 0.0) for path in again})]


def test_a_marker_is_read_as_it_was_written() -> None:
    assert markers.read(markers.write(MARKER)) == MARKER
    assert markers.summary(MARKER)["base backups"] == ["20250531-020000F"]


@pytest.mark.parametrize(
    "changed",
    [
        {"server": "../../etc"},
        {"system_id": "x"},
        {"lists": ["../" + "a" * 61]},
        {"lists": "a"},
        {"documents": {**MARKER.documents, "../../root/.ssh/authorized_keys": b"x"}},
        {"documents": {**MARKER.documents, "repository/x": b"x"}},
        {"documents": {}},
        {"timeline": "1"},
        {"until": "2025-05-31T12:34:10"},
        {"until": "soon"},
        {"segment": "../../etc/passwd"},
        {"segment": 7},
        {"lists": 7},
    ],
)
def test_a_marker_that_leads_elsewhere_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(MarkerError, match="damaged"):
        markers.read(markers.write(dataclasses.replace(MARKER, **changed)))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"format": 1}', markers.write(MARKER)[:-20], b"[" * 100_000])
def test_half_a_marker_is_none(text: bytes) -> None:
    with pytest.raises(MarkerError):
        markers.read(text)


def test_a_newer_format_is_told() -> None:
    newer = {**json.loads(markers.write(MARKER)), "format": 2}
    with pytest.raises(MarkerError, match="use a newer one"):
        markers.read(json.dumps(newer).encode())


def test_a_list_is_called_after_its_bytes_and_holds_one_folder() -> None:
    backup = "repository/backup/timescaledb/20250531-020000F"
    contents = [Content(path, 7, "b" * 64) for path in (segment(1), segment(2), f"{backup}/bundle/1", f"{backup}/backup.manifest", f"{LOG[:-1]}1/x y")]
    groups = markers.grouped(contents)
    assert list(groups) == [LOG, f"{LOG[:-1]}1", backup]
    for group in groups.values():
        name, text = markers.write_list(group)
        assert markers.read_list(name, text) == group
        with pytest.raises(MarkerError, match="damaged"):
            markers.read_list(name, text + b"\n")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "repository/../../x", "received/x", "repository/./x", "repository//x", "", "repository/\x00", "repository/\x07"]
)
def test_a_list_that_leads_elsewhere_is_refused(path: str) -> None:
    refused(f"{'b' * 64} 7 {path}\n".encode())


@pytest.mark.parametrize("size", ["", "²", "٢", "-1", "9" * 5000])
def test_a_size_that_is_no_number_is_refused(size: str) -> None:
    refused(f"{'b' * 64} {size} repository/x\n".encode())


def refused(text: bytes) -> None:
    with pytest.raises(MarkerError, match="holds what no list holds"):
        markers.read_list(markers.digest(text), text)


def test_a_segment_whose_predecessor_a_listing_missed_waits_for_it() -> None:
    # The second one came while the first listing ran, which showed the third; the fifth came while the second ran, which did not show the fourth.
    assert settle([segment(1), segment(3)], [segment(n) for n in (1, 2, 3, 5)]) == [segment(n) for n in (1, 2, 3)]


def test_timelines_do_not_wait_for_each_other_and_what_is_no_log_is_left_out() -> None:
    history, label = f"{LOG}/00000002.history", f"{LOG}/000000010000000000000002.00000028.backup"
    seen = [segment(9), segment(4, 2), history, label, f"{LOG}/archive.info"]
    again = [segment(9), segment(4, 2), segment(5, 2), history, label, f"{LOG}/archive.info"]
    assert settle(seen, again) == [segment(9), segment(4, 2), history, label]


def test_what_expired_between_two_looks_is_not_copied() -> None:
    assert settle([segment(1), segment(2)], [segment(2)]) == [segment(2)]


def test_a_note_is_whole_or_none(tmp_path: Path) -> None:
    note = Note("s3://b at AWS", "2025-05-31T12:35:00+00:00", "2025-05-31T12:34:10+00:00", "a", "b")
    notes.write(tmp_path, note)
    notes.write(tmp_path, note)
    assert (notes.read(tmp_path), note.knows("b"), note.knows("c")) == (note, True, False)
    (tmp_path / notes.NAME).write_text("{")
    assert notes.read(tmp_path) == Note()
    assert [path.name for path in tmp_path.iterdir()] == [notes.NAME]


def test_copies_are_listed_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "timescaledb" / MARKER.system_id).mkdir(parents=True)
    found = [listed(MARKER, tmp_path), broken("archives/postgres/12/", "archive.json is damaged")]
    lines = report(found, "s3://b at AWS").splitlines()
    assert lines[2].split()[:2] == ["timescaledb/7713188848805994522", "shop"]
    assert lines[2].endswith("database  yes")
    assert lines[-1] == "postgres/12: archive.json is damaged"
    assert report([], "s3://b at AWS") == "there is no continuous backup in s3://b at AWS"
