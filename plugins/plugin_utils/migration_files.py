# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The migration files of databases, read on the controller."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail

COLLECTION = Path(__file__).resolve().parents[2]
# Anything that somebody may have meant as a migration; the module judges the names.
MEANT = re.compile(r"[0-9]{4}.*|R_.*|.*\.sql", re.IGNORECASE | re.DOTALL)


def with_files(databases: Any, task_vars: Mapping[str, Any], playbook: str) -> list[dict[str, Any]]:
    """The option `databases` with `files` filled in. Relative directories are beside the inventory or the playbook."""
    if not isinstance(databases, list):
        raise AnsibleActionFail("databases must be a list of {name, directory, session_role}")
    roots = _roots(task_vars, playbook)
    return [_with_files(item, roots) for item in databases]


def collection_version() -> str:
    """Of an installed copy from its manifest, of a checkout from galaxy.yml."""
    manifest, galaxy = COLLECTION / "MANIFEST.json", COLLECTION / "galaxy.yml"
    if manifest.is_file():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    found = re.search(r"^version:\s*(\S+)", galaxy.read_text(encoding="utf-8"), re.MULTILINE) if galaxy.is_file() else None
    return found[1] if found else "unknown"


def _roots(task_vars: Mapping[str, Any], playbook: str) -> list[Path]:
    inventory = task_vars.get("inventory_dir")
    return [*([Path(inventory)] if inventory else []), Path(playbook)]


def _with_files(item: Any, roots: list[Path]) -> dict[str, Any]:
    if not isinstance(item, dict) or not item.get("directory"):
        raise AnsibleActionFail("each of databases needs a name and a directory")
    directory = _directory(str(item["directory"]), roots)
    try:
        paths = sorted(path for path in directory.iterdir() if MEANT.fullmatch(path.name) and not path.name.startswith(".") and not path.is_dir())
        files = [{"name": path.name, "text": _text(path)} for path in paths]
    except OSError as error:
        raise AnsibleActionFail(f"cannot read the migrations of {item.get('name')}: {error}") from error
    return {**item, "directory": str(directory), "files": files}


def _directory(given: str, roots: list[Path]) -> Path:
    path = Path(given).expanduser()
    tried = [path] if path.is_absolute() else [root / path for root in roots]
    for candidate in tried:
        if candidate.is_dir():
            return candidate
    raise AnsibleActionFail(f"there is no directory {' or '.join(map(str, tried))} on the controller; make it, or correct `directory`")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise AnsibleActionFail(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
