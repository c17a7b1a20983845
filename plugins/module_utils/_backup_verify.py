# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read every byte of a set again and compare it with the manifest. A set's folder may hold what the manifest lists and nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._age import ENDING, AgeError
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged, Opener
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Entry
from ansible_collections.nexanest.database.plugins.module_utils._parallel import each
from ansible_collections.nexanest.database.plugins.module_utils._stream import unheard

# Hashing releases the interpreter's lock, so that two files are read at once.
WORKERS = 2
GONE = "it was removed while it was read, by another run's retention or by hand: ask again"


@dataclass(frozen=True)
class Outcome:
    """problems: none where all is right; content: whether the plain bytes were compared too; damaged: the set is wrong, not only the key."""

    problems: tuple[str, ...]
    content: bool
    damaged: bool


def verify(entry: Entry, identities: Sequence[str], told: Callable[[int], None] = unheard) -> Outcome:
    """Every byte of one set; identities: private keys, without which only the stored bytes of an encrypted set are looked at; told: hears what was read."""
    if entry.manifest is None:
        return Outcome((entry.problem,), content=False, damaged=True)
    manifest = entry.manifest
    readable, strange = _folder(entry.folder, manifest)
    opener, refusal = _opener(entry, readable, identities)
    opener = replace(opener, told=told)
    # The largest first: two workers then end at about the same time.
    read = each(lambda file: _read(opener, file), sorted(readable, key=lambda file: -file.bytes), workers=WORKERS)
    problems = [*gaps(manifest), *strange, *(problem for problem in read if problem)]
    if problems and not entry.folder.is_dir():
        return Outcome((GONE,), content=False, damaged=False)
    return Outcome((*problems, *refusal), content=manifest.encryption.method == "none" or bool(opener.identities), damaged=bool(problems))


def shape(entry: Entry) -> list[str]:
    """What is wrong with a set as far as names, kinds and sizes of its files tell; no file is read."""
    if entry.manifest is None:
        return [entry.problem]
    readable, strange = _folder(entry.folder, entry.manifest)
    sizes = [(file, (entry.folder / file.path).lstat().st_size) for file in readable]
    short = [f"{file.path} has {size} bytes, the manifest says {file.bytes}" for file, size in sizes if size != file.bytes]
    return [*gaps(entry.manifest), *strange, *short]


def gaps(manifest: Manifest) -> list[str]:
    """What a manifest promises and does not list among its files."""
    listed = {file.path for file in manifest.files}
    wanted = {instance.path for instance in manifest.redis.values()}
    for server in manifest.servers.values():
        wanted |= {server.globals, server.description} | {database.catalog for database in server.databases}
    found = [f"{path} is not among the manifest's files" for path in sorted(wanted - listed)]
    found += [
        f"{database.path} has no table of contents among the manifest's files"
        for server in manifest.servers.values()
        for database in server.databases
        if not listed & {f"{database.path}/toc.dat", f"{database.path}/toc.dat{ENDING}"}
    ]
    if manifest.encryption.method != "none":
        found += [f"{path} is not encrypted, although the set is" for path in sorted(listed) if not path.endswith(ENDING)]
    return found


def _folder(folder: Path, manifest: Manifest) -> tuple[list[File], list[str]]:
    """The manifest's files that can be read, and what is missing, strange or more than it lists."""
    problems: list[str] = []
    there: dict[str, bool] = {}
    try:
        there = dict(_entries(folder))
    except OSError as error:
        problems.append(f"{error.filename or folder} cannot be read ({error.strerror})")
    listed = {file.path: file for file in manifest.files}
    problems += [f"{path} is missing" for path in listed if path not in there]
    problems += [f"{path} is no regular file" for path in listed if there.get(path) is False]
    problems += [f"{path} is in the folder, but not in the manifest: it is no part of the set" for path in sorted(there) if path not in listed]
    return [file for path, file in listed.items() if there.get(path)], problems


def _entries(folder: Path) -> Iterable[tuple[str, bool]]:
    """All that is no folder, by its path in the set, and whether it is a regular file. Links are not followed."""

    def fail(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=fail):
        for name in (*files, *(name for name in folders if (Path(place) / name).is_symlink())):
            path = Path(place) / name
            relative = path.relative_to(folder).as_posix()
            if relative != manifests.NAME:
                yield relative, stat.S_ISREG(path.lstat().st_mode)


def _opener(entry: Entry, readable: Sequence[File], identities: Sequence[str]) -> tuple[Opener, list[str]]:
    """With the keys where they fit. Whether they do is seen from the smallest file, so that a wrong key is told once and not of each file."""
    encrypted = [file for file in readable if file.path.endswith(ENDING)]
    opener = Opener(entry.folder, tuple(identities) if encrypted else ())
    if opener.identities:
        try:
            opener.check(min(encrypted, key=lambda file: file.bytes))
        except AgeError as error:
            return Opener(entry.folder, ()), [f"its content could not be looked at: {error}"]
        except (Damaged, OSError):
            return opener, []  # told when it is read with the others
    return opener, []


def _read(opener: Opener, file: File) -> str:
    """What is wrong with one file."""
    try:
        opener.check(file)
    except (Damaged, AgeError) as error:
        return str(error)
    except OSError as error:
        return f"{file.path} cannot be read ({error.strerror})"
    return ""
