# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the progress of restore."""

from __future__ import annotations

from typing import Any

from ansible_collections.nexanest.database.plugins.plugin_utils.background import BackgroundAction


class ActionModule(BackgroundAction):
    """Looking first would read the whole set twice."""

    looks_first = False

    def announcement(self, plan: dict[str, Any]) -> str:
        """What is said before the work begins."""
        words = {"undone": "undoing a restore", "cleaned": "removing what restores replaced"}
        return words.get(str(self._task.args.get("state")), f"restoring the set {self._task.args.get('set')}")
