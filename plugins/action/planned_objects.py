# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan objects on the controller, where the host cannot be asked yet."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects

ARGUMENTS: dict[str, dict[str, Any]] = {
    "objects": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "kind": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "properties": {"type": "dict", "default": {}},
        },
    },
    "reason": {"type": "str", "required": True},
}


class ActionModule(ActionBase):
    """In check mode: each object will be created. Outside check mode: the objects cannot be made, and why."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        changes = [Change(kind=item["kind"], name=item["name"], before=None, after=item["properties"]) for item in arguments["objects"]]
        if changes and not self._task.check_mode:
            names = ", ".join(change.title for change in changes)
            return {**result, "failed": True, "msg": f"cannot create {names}: {arguments['reason']}"}
        return {**result, "changed": bool(changes), "diff": diff(changes), "objects": objects(changes)}
