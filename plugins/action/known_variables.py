# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse variables that look as if they belonged to a role, but belong to none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.nexanest.database.plugins.module_utils._known_variables import message, names_in, unknown

ARGUMENTS: dict[str, dict[str, Any]] = {"foreign": {"type": "list", "elements": "str", "default": []}}
ROLES = Path(__file__).resolve().parents[2] / "roles"


class ActionModule(ActionBase):
    """Compares the host's variables with the roles' argument specs, on the controller."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        roles = _roles()
        found = unknown(set(task_vars or {}), roles, arguments["foreign"])
        if found:
            return {**result, "failed": True, "msg": message(found), "unknown": [item.name for item in found]}
        return {**result, "changed": False, "unknown": []}


def _roles() -> dict[str, set[str]]:
    """The variables of each role of this collection, as its argument specs name them."""
    return {path.parents[1].name: _names(path) for path in sorted(ROLES.glob("*/meta/argument_specs.yml"))}


def _names(path: Path) -> set[str]:
    try:
        return names_in(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise AnsibleActionFail(f"could not read the collection's own {path} ({error}): install the collection again") from error
