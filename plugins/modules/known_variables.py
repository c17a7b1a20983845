#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: known_variables
short_description: Refuse misspelt variables of this collection's roles
version_added: 0.1.0
description:
  - A misspelt variable would be ignored silently. This refuses every variable of the host that begins with the name of one of this
    collection's roles, but stands in no role's argument specs, and names the nearest one that does.
  - Looks at names only; no value is read or shown. Runs on the controller and needs no connection.
options:
  foreign:
    description: Variables of other software that happen to begin like ours.
    type: list
    elements: str
    default: []
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
- name: Refuse misspelt variables
  nexanest.database.known_variables:
    foreign: [docker_users]
"""

RETURN = r"""
unknown:
  description: Variables that no role knows.
  returned: always
  type: list
  elements: str
  sample: [postgres_prot]
"""
