# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main process of an Ansible run, seen from one of its workers."""

from __future__ import annotations

import multiprocessing
import os


def main_process() -> int:
    """The pid of ansible-playbook. Plugins run in forked workers, which know who forked them also when their parent has died."""
    parent = multiprocessing.parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid
