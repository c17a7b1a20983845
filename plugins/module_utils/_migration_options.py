# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the modules about migrations share, and the databases in them as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._migration_plan import File
from ansible_collections.nexanest.database.plugins.module_utils._migration_shadow import Database
from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import USER_ID_TYPES

FILES_ARGUMENT: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "options": {"name": {"type": "str", "required": True}, "text": {"type": "str", "required": True}},
}

# Described in doc_fragments/shadow.py.
SHADOW_ARGUMENT: dict[str, Any] = {
    "type": "dict",
    "options": {
        "image": {"type": "str"},
        "container": {"type": "str"},
        "uid": {"type": "int", "default": 999},
        "gid": {"type": "int", "default": 999},
        "preload_libraries": {"type": "list", "elements": "str"},
        "databases": {"type": "list", "elements": "dict", "default": []},
        "user_id_type": {"type": "str", "choices": list(USER_ID_TYPES), "default": "uuid"},
        "label": {"type": "str", "default": ""},
        "memory_mb": {"type": "int", "default": 1024},
    },
    "required_one_of": [("image", "container")],
}


class Refused(Exception):
    """Nothing was done anywhere; problems: why."""

    def __init__(self, doing: str, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__(f"{doing}: {'; '.join(problems)}")


@dataclass(frozen=True)
class Item:
    """One of the databases, with the files of its directory."""

    name: str
    session_role: str | None
    files: tuple[File, ...]
    baseline: int | None = None

    @property
    def database(self) -> Database:
        return Database(self.name, self.session_role)


def items(params: Mapping[str, Any], doing: str) -> list[Item]:
    """The option `databases`. Raises Refused."""
    given = params["databases"]
    if any(item["files"] is None for item in given):
        raise Refused(doing, ["the files were not read on the controller; call the module by its full name, with nexanest.database. before it"])
    names = [item["name"] for item in given]
    twins = [name for name in sorted(set(names)) if names.count(name) > 1]
    if twins:
        raise Refused(doing, [f"{name} stands twice in databases; write it once" for name in twins])
    return [Item(one["name"], one["session_role"], tuple(File(**file) for file in one["files"]), one.get("baseline")) for one in given]
