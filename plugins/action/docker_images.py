# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the progress of docker_images: look what is to be done, and only then do it in the background and report."""

from __future__ import annotations

from ansible_collections.nexanest.database.plugins.plugin_utils.background import BackgroundAction


class ActionModule(BackgroundAction):
    """Nothing of its own."""
