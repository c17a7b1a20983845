# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the migration files on the controller and hand their text to the module, which runs on the managed host."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.nexanest.database.plugins.plugin_utils.migration_files import with_files


class ActionModule(ActionBase):
    """One call of the module, with `files` filled in for every database."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        arguments["databases"] = with_files(arguments.get("databases"), task_vars or {}, self._loader.get_basedir())
        return {**result, **self._execute_module(module_name="nexanest.database.postgres_schema_info", module_args=arguments, task_vars=task_vars)}
