# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the progress of backup_set."""

from __future__ import annotations

from typing import Any

from ansible_collections.nexanest.database.plugins.plugin_utils.background import BackgroundAction
from ansible_collections.nexanest.database.plugins.plugin_utils.migration_files import collection_version


class ActionModule(BackgroundAction):
    """Looks what the set would hold, then makes it."""

    def arguments(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"collection_version": collection_version(), **self._task.args}

    def announcement(self, plan: dict[str, Any]) -> str:
        found = plan["set"]
        return f"making a backup of {found['databases']} databases, about {found['about_bytes'] / 1e6:.0f} MB"
