# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the progress of backup_set_info, where it reads every byte."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nexanest.database.plugins.plugin_utils.background import BackgroundAction, display


class ActionModule(BackgroundAction):
    """A list takes a moment; a verification is followed."""

    looks_first = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        if boolean(self._task.args.get("verify", False), strict=False):
            return super().run(tmp, task_vars)
        return dict(self._execute_module(task_vars=task_vars))

    def announcement(self, plan: dict[str, Any]) -> str:
        return "reading every byte of the sets"

    def _say(self, text: str) -> None:
        """Beside the report, which may be read by a program."""
        display.display(f"  [{self._host}] {text}", stderr=True)
