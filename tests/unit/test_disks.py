# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which folders are lost together. Devices stand in a tree as the kernel's; that of this host is read in test_wal_archive_failures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _disks
from ansible_collections.nexanest.database.plugins.module_utils._disks import DISK, HOST, VOLUME, survives


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """sda with two partitions, a volume group on sda2, a mirror of it and sdb, a mounted file."""
    devices = tmp_path / "devices" / "pci"
    for name, number in {"sda": "8:0", "sda/sda1": "8:1", "sda/sda2": "8:2", "sdb": "8:16", "dm-0": "253:0", "md0": "9:0", "loop0": "7:0"}.items():
        (devices / name / "slaves").mkdir(parents=True)
        (devices / name / "dev").write_text(f"{number}\n", encoding="ascii")
        (tmp_path / "block").mkdir(exist_ok=True)
        (tmp_path / "block" / number).symlink_to(devices / name)
    for name in ("sda/sda1", "sda/sda2"):
        (devices / name / "partition").write_text("1\n", encoding="ascii")
        (devices / name / "slaves").rmdir()
    (devices / "dm-0" / "slaves" / "sda2").symlink_to(devices / "sda" / "sda2")
    for name in ("sdb", "dm-0"):
        (devices / "md0" / "slaves" / name).symlink_to(devices / name)
    (tmp_path / "devices" / "virtual" / "zd0").mkdir(parents=True)
    (tmp_path / "block" / "230:0").symlink_to(tmp_path / "devices" / "virtual" / "zd0")
    (devices / "md1" / "slaves").mkdir(parents=True)
    (devices / "md1" / "slaves" / "sdb").symlink_to(devices / "sdb")
    (devices / "md1" / "slaves" / "loop0").symlink_to(devices / "loop0")
    (tmp_path / "block" / "9:1").symlink_to(devices / "md1")
    monkeypatch.setattr(_disks, "_BLOCKS", tmp_path / "block")
    return tmp_path


@pytest.mark.parametrize(
    ("device", "names"),
    [("8:0", {"sda"}), ("8:1", {"sda"}), ("8:16", {"sdb"}), ("253:0", {"sda"}), ("9:0", {"sda", "sdb"}), ("8:99", set()), ("230:0", set())],
)
def test_a_device_stands_on_disks(tree: Path, device: str, names: set[str]) -> None:
    assert _disks._below(device) == names, tree


def test_one_part_that_is_not_known_makes_all_unknown(tree: Path) -> None:
    (tree / "devices" / "pci" / "loop0" / "loop").mkdir()
    (tree / "devices" / "pci" / "loop0" / "loop" / "backing_file").write_text("/nowhere/archive.img\n", encoding="utf-8")
    assert _disks._below("9:1") == set()


def test_a_mounted_file_stands_on_the_disk_of_its_folder(tree: Path) -> None:
    device = tree.stat().st_dev
    (tree / "block" / f"{os.major(device)}:{os.minor(device)}").symlink_to(tree / "devices" / "pci" / "sdb")
    (tree / "devices" / "pci" / "loop0" / "loop").mkdir()
    (tree / "devices" / "pci" / "loop0" / "loop" / "backing_file").write_text(f"{tree}/archive.img\n", encoding="utf-8")
    expected = {"sdb"} if os.major(device) else set()  # where tests lie in memory nothing is known
    assert (_disks._below("7:0")) == expected


@pytest.mark.parametrize(
    ("first", "second", "loss"),
    [({"sda"}, {"sdb"}, DISK), ({"sda"}, {"sda"}, VOLUME), ({"sda", "sdb"}, {"sdb"}, VOLUME), (set(), {"sdb"}, VOLUME), ({"sda"}, set(), VOLUME)],
)
def test_a_copy_survives_what_it_does_not_stand_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: set[str], second: set[str], loss: str) -> None:
    monkeypatch.setattr(_disks, "disks", lambda folder: first if folder.name == "data" else second)
    assert survives(tmp_path / "data", tmp_path) == loss


@pytest.mark.parametrize(
    ("lines", "loss"),
    [
        ("30 1 0:50 / {0}/far\\040away rw - nfs4 10.0.0.7:/archive rw\n", HOST),
        ("30 1 0:50 / {0}/far\\040away rw - tmpfs tmpfs rw\n", VOLUME),
        ("30 1 0:50 / {0} rw - nfs4 10.0.0.7:/archive rw\n31 30 0:51 / {0}/far\\040away rw - tmpfs tmpfs rw\n", VOLUME),
        ("30 1 0:50 / {0}/far\\040away rw - tmpfs tmpfs rw\n31 30 0:51 / {0}/far\\040away rw - nfs4 10.0.0.7:/archive rw\n", HOST),
        ("30 1 0:50 / {0}/far\\040away rw - nfs4 localhost:/archive rw\n", VOLUME),
        ("30 1 0:50 / {0}/far\\040away rw - nfs4 127.0.0.1:/archive rw\n", VOLUME),
        ("30 1 0:50 / {0}/far\\040away rw - nfs4 [::1]:/archive rw\n", VOLUME),
        ("30 1 0:50 / {0}/far\\040away rw - cifs //localhost/archive rw\n", VOLUME),
        ("30 1 0:50 / {0}/far\\040away rw - nfs4 no-such-host.invalid:/archive rw\n", VOLUME),
        ("30 1 0:50 / {0}/far\\040away rw - nfs4 [2001:db8::7]:/archive rw\n", HOST),
        ("30 1 0:50 / {0}/far\\040away rw - cifs //10.0.0.7/archive rw\n", HOST),
        ("30 1 0:50 / {0}/far\\040away rw - fuse.sshfs me@10.0.0.7:archive rw\n", HOST),
        ("30 1 0:50 / {0} rw - nfs4 10.0.0.7:/archive rw\n31 30 0:50 / {0}/far\\040away rw - nfs4 10.0.0.7:/archive rw\n", VOLUME),
        ("30 1 0:50 / {0}/far rw - nfs4 10.0.0.7:/archive rw\n", VOLUME),
    ],
)
def test_what_another_host_keeps_survives_this_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: str, loss: str) -> None:
    (tmp_path / "far away" / "archive").mkdir(parents=True)
    (tmp_path / "mounts").write_text("1 0 0:1 / / rw - rootfs rootfs rw\n" + lines.format(tmp_path), encoding="utf-8")
    monkeypatch.setattr(_disks, "_MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(_disks, "disks", lambda _folder: {"sda"})
    assert survives(tmp_path, tmp_path / "far away" / "archive") == loss


def test_a_disk_that_fails_protects_from_nothing(tmp_path: Path) -> None:
    assert survives(tmp_path, tmp_path / "gone") == VOLUME
