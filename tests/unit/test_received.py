# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the log that other hosts received an archive lacks."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _received as received
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import SEGMENT_BYTES, ArchiveError

FIRST, SECOND = "0000000100000000000000A3", "0000000100000000000000A4"


def segment(text: bytes) -> bytes:
    return text.ljust(SEGMENT_BYTES, b"\0")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "current"
    folder.mkdir()
    return folder


def sent(tmp_path: Path, **files: bytes) -> list[received.Piece]:
    """Names have their dots and slashes as in host__name_ending."""
    modified = {}
    for moment, (name, content) in enumerate(files.items()):
        path = name.replace("__", "/").replace("_", ".")
        (tmp_path / "sent" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sent" / path).write_bytes(content)
        modified[path] = 1000.0 + moment
    return received.pieces(tmp_path / "sent", modified)


def contents(chosen: dict[str, received.Piece]) -> dict[str, bytes]:
    return {name: piece.content().rstrip(b"\0") for name, piece in chosen.items()}


def test_what_is_missing_is_taken_and_unpacked(tmp_path: Path, here: Path) -> None:
    (here / FIRST).write_bytes(segment(b"first"))
    found = sent(tmp_path, **{f"a__{FIRST}_gz": gzip.compress(segment(b"first")), f"a__{SECOND}_gz": gzip.compress(segment(b"second"))})
    assert contents(received.missing(here, found)) == {SECOND: b"second"}


@pytest.mark.parametrize(("mine", "theirs", "wanted"), [(b"abc", b"abcdef", b"abcdef"), (b"abcdef", b"abc", None), (b"abc", b"abc", None), (None, b"", b"")])
def test_of_a_partial_segment_the_longer_one_wins(tmp_path: Path, here: Path, mine: bytes | None, theirs: bytes, wanted: bytes | None) -> None:
    if mine is not None:
        (here / f"{FIRST}.partial").write_bytes(segment(mine))
    chosen = received.missing(here, sent(tmp_path, **{f"a__{FIRST}_partial": segment(theirs)}))
    assert contents(chosen) == ({f"{FIRST}.partial": wanted} if wanted is not None else {})


def test_of_two_hosts_the_longer_one_wins_in_either_order(tmp_path: Path, here: Path) -> None:
    longer, shorter = segment(b"abcdef"), segment(b"abc")
    for number, files in enumerate(((longer, shorter), (shorter, longer))):
        found = sent(tmp_path / str(number), **{f"a__{FIRST}_partial": files[0], f"b__{FIRST}_partial": files[1]})
        assert contents(received.missing(here, found)) == {f"{FIRST}.partial": b"abcdef"}


def test_a_whole_segment_wins_over_parts(tmp_path: Path, here: Path) -> None:
    whole = sent(tmp_path, **{f"a__{FIRST}_partial": segment(b"abc"), f"b__{FIRST}": segment(b"abcdefghi")})
    assert contents(received.missing(here, whole)) == {FIRST: b"abcdefghi"}
    (here / FIRST).write_bytes(segment(b"abcdefghi"))
    assert received.missing(here, whole) == {}


@pytest.mark.parametrize("content", [b"short", gzip.compress(b"short"), gzip.compress(segment(b"x"))[:-9], b"\x1f\x8bnonsense"])
def test_a_damaged_one_is_refused_unless_another_host_has_it(tmp_path: Path, here: Path, content: bytes) -> None:
    name = f"{FIRST}_gz" if content[:1] == b"\x1f" else FIRST
    damaged, good = {f"a__{name}": content}, {f"b__{FIRST}": segment(b"abc")}
    with pytest.raises(ArchiveError, match="no host has it whole"):
        received.missing(here, sent(tmp_path / "one", **damaged))
    assert contents(received.missing(here, sent(tmp_path / "two", **good, **damaged))) == {FIRST: b"abc"}


def test_a_part_that_holds_nothing_yet_is_in_nobodys_way(tmp_path: Path, here: Path) -> None:
    found = sent(tmp_path, **{f"a__{FIRST}_partial": b"", f"b__{SECOND}": segment(b"abc")})
    assert contents(received.missing(here, found)) == {SECOND: b"abc"}


def test_a_link_in_the_place_of_a_part_is_refused(tmp_path: Path, here: Path) -> None:
    (here / f"{FIRST}.partial").symlink_to("/dev/zero")
    with pytest.raises(ArchiveError, match="is no file"):
        received.missing(here, sent(tmp_path, **{f"a__{FIRST}_partial": segment(b"abc")}))


@pytest.mark.parametrize("path", ["../x/0000000100000000000000A3", "a/postgresql.conf", "/etc/0000000100000000000000A3", "a/0000000100000000000000A3.old"])
def test_what_is_no_received_log_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ArchiveError, match="is no received log"):
        received.pieces(tmp_path, {path: 0.0})


def test_the_history_of_a_timeline_comes_along(tmp_path: Path, here: Path) -> None:
    found = sent(tmp_path, a__00000002_history=b"1\t0/5000000\tno recovery target specified\n")
    assert received.segments(received.missing(here, found)) == []
    assert list(received.missing(here, found)) == ["00000002.history"]
