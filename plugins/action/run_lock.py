# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let one run at a time change a stack."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.nexanest.database.plugins.module_utils._run import main_process
from ansible_collections.nexanest.database.plugins.module_utils._run_lock import LockError, lock_file, take

ARGUMENTS: dict[str, dict[str, Any]] = {"stack": {"type": "str", "required": True}, "target": {"type": "str"}}


class ActionModule(ActionBase):
    """Takes the lock on the controller; it ends with the run, however that ends."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        stack, target = arguments["stack"], arguments["target"] or _target(task_vars or {})
        path = lock_file(f"{stack}-{target}")
        if self._task.check_mode:
            # It changes nothing, so it neither blocks a run nor is blocked by one.
            return {**result, "changed": False, "lock": str(path)}
        try:
            holder = take(path, main_process())
        except LockError as error:
            return {**result, "failed": True, "msg": str(error)}
        if holder is not None:
            message = f"the stack {stack} on {target} is being changed by another run: {holder}. Wait until it has ended, then run this again."
            return {**result, "failed": True, "msg": message}
        return {**result, "changed": False, "lock": str(path)}


def _target(variables: dict[str, Any]) -> str:
    if variables.get("ansible_connection") == "local":
        return "localhost"
    return str(variables.get("ansible_host") or variables.get("inventory_hostname"))
