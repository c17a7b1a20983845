# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a set in plain, in a private folder beside the sets, for the time of a restore. Only what is what the manifest says gets there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._age import ENDING, AgeError
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Damaged, Opener
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import File, Manifest
from ansible_collections.nexanest.database.plugins.module_utils._backup_store import STAGING
from ansible_collections.nexanest.database.plugins.module_utils._parallel import each
from ansible_collections.nexanest.database.plugins.module_utils._restore_plan import Choice

# Files are opened side by side, as the machines have it that this is made for: two cores.
OPENERS = 2


@contextmanager
def folder(beside: Path, name: str) -> Iterator[Path]:
    """A private folder on the sets' own file system; gone at the end, and swept by the next run where the end was sudden.

    Where the sets have no folder yet (a check of a set from elsewhere), it is among the temporary ones.
    """
    staging = (beside if beside.is_dir() else Path(tempfile.gettempdir())) / f"{STAGING}{name}"
    staging.mkdir(mode=0o700)
    try:
        yield staging
    finally:
        shutil.rmtree(staging)


def descriptions(manifest: Manifest, choice: Choice) -> list[File]:
    """The small files that say what there is."""
    paths = [manifest.servers[server].description for server in choice.items]
    return [manifest.file(path) for path in [*paths, *(item.database.catalog for item in choice.all)]]


def dumps(manifest: Manifest, choice: Choice) -> list[File]:
    """The large ones."""
    found = [file for item in choice.all for file in manifest.below(item.database.path)]
    return [*found, *(manifest.file(manifest.redis[name].path) for name in choice.redis)]


def contents(manifest: Manifest, choice: Choice) -> list[File]:
    """The tables of contents of the large ones."""
    wanted = {f"{item.database.path}/toc.dat" for item in choice.all}
    return [file for item in choice.all for file in manifest.below(item.database.path) if plain_path(file) in wanted]


def missing(manifest: Manifest, choice: Choice) -> list[str]:
    """Dumps of which the manifest lists no table of contents."""
    found = []
    for item in choice.all:
        if not any(plain_path(file) == f"{item.database.path}/toc.dat" for file in manifest.below(item.database.path)):
            found.append(f"the set lists no dump of {item.server}/{item.database.name}: take another set")
    return found


def needed_bytes(files: Sequence[File]) -> int:
    """Files that are not encrypted are linked, not copied."""
    return sum(file.plain_bytes for file in files if file.path.endswith(ENDING))


def plain_path(file: File) -> str:
    return file.path.removesuffix(ENDING)


def take(opener: Opener, files: Sequence[File], into: Path) -> list[str]:
    """Put files into the folder; what is wrong with those that are not there."""
    return _each(files, lambda file: _take(opener, file, into / plain_path(file)))


def check(opener: Opener, files: Sequence[File]) -> list[str]:
    """Read files as `take` does, and keep nothing."""
    return _each(files, opener.check)


def document(into: Path, path: str) -> Any:
    """A description that was put into the folder."""
    return json.loads((into / path.removesuffix(ENDING)).read_text(encoding="utf-8"))


def _take(opener: Opener, file: File, target: Path) -> None:
    if file.path.endswith(ENDING):
        opener.open(file, target)
        return
    opener.check(file)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.link(opener.folder / file.path, target)
    except OSError:  # another file system
        opener.open(file, target)


def _each(files: Sequence[File], work: Any) -> list[str]:
    """Try all; a wrong key is said once."""

    def one(file: File) -> str:
        try:
            work(file)
        except Damaged as error:
            return f"{error}: take another set"
        except AgeError as error:
            return str(error).partition(": ")[2] or str(error)
        except FileNotFoundError:
            return f"{file.path} is missing from the set: take another set"
        except OSError as error:
            return f"{file.path} could not be read or put aside ({error.strerror})"
        return ""

    # The largest first: all workers then end at about the same time.
    found = each(one, sorted(files, key=lambda file: -file.bytes), workers=OPENERS)
    return list(dict.fromkeys(text for text in found if text))
