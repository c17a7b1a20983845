#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Let one run at a time change a stack
version_added: 0.1.0
description:
  - Takes a lock for the rest of this C(ansible-playbook) run. A second run is refused at once, and told who has the lock.
  - The lock is a C(flock) on the controller, held by a small process that waits for the end of the run. However the run ends, also by
    SIGKILL, the lock ends with it. Nothing has to be tidied.
  - Taking it again in the same run is no error.
  - In check mode the lock is neither taken nor waited for, because nothing is changed.
options:
  stack:
    description: Name of the stack.
    type: str
    required: true
  target:
    description: The managed host. The default is its address, or V(localhost) for a local connection.
    type: str
extends_documentation_fragment:
  - nexanest.database.attributes
attributes:
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: N/A
    details: The module changes nothing on the host.
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Let one run at a time change the stack
  nexanest.database.run_lock:
    stack: nexanest
    target: db1.example.com
"""

RETURN = r"""
lock:
  description: The lock's file on the controller.
  returned: success
  type: str
  sample: /run/lock/nexanest.database-nexanest-localhost.lock
"""
