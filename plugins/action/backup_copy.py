# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the progress of backup_copy."""

from __future__ import annotations

from typing import Any

from ansible_collections.nexanest.database.plugins.plugin_utils.background import BackgroundAction


class ActionModule(BackgroundAction):
    """Looks what would be sent or fetched, then does it."""

    def hopeless(self, plan: dict[str, Any]) -> bool:
        """A set that is damaged keeps no other one from being copied."""
        return bool(plan.get("failed")) and not plan.get("objects")

    def announcement(self, plan: dict[str, Any]) -> str:
        """What is said before the work begins."""
        size = f"{plan['sent']['bytes'] / 1e6:.0f} MB"
        if self._task.args.get("state") == "fetched":
            return f"fetching the set {self._task.args.get('id')}, {size}, from {plan['where']}"
        return f"bringing the copies in {plan['where']} up to date, {size} to send"
