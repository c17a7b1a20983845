# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the progress of wal_archive_copy."""

from __future__ import annotations

from typing import Any

from ansible_collections.nexanest.database.plugins.plugin_utils.background import BackgroundAction


class ActionModule(BackgroundAction):
    """The look is as long as most copies are, and one that finds nothing new has to note that."""

    looks_first = False

    def announcement(self, plan: dict[str, Any]) -> str:
        """What is said before the work begins."""
        name = self._task.args["name"]
        if self._task.args.get("state") == "fetched":
            return f"fetching the archive of {name} {self._task.args.get('cluster')}"
        return f"bringing the off-site copy of the archive of {name} up to date"
