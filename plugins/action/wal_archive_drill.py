# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the progress of wal_archive_drill."""

from __future__ import annotations

from typing import Any

from ansible_collections.nexanest.database.plugins.plugin_utils.background import BackgroundAction


class ActionModule(BackgroundAction):
    """Looks what would be drilled, then does it."""

    def hopeless(self, plan: dict[str, Any]) -> bool:
        """Only without a refusal or damage, which the run itself writes down."""
        return bool(plan.get("failed")) and not plan.get("problems")

    def announcement(self, plan: dict[str, Any]) -> str:
        """What is said before the work begins."""
        where = f" in {plan['offsite']}" if plan.get("offsite") else ""
        return f"drilling the continuous backup of {self._task.args['name']}{where}"
