#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: planned_objects
short_description: Plan objects from the desired state alone
version_added: 0.1.0
description:
  - Shows what will be created on a host that cannot be asked yet, because its engine, a library or a network is still missing.
  - Runs on the controller, needs no connection, and touches nothing.
  - Outside check mode it fails, as the objects should be there by then.
options:
  objects:
    description: Objects that will be created, in this order. Properties are shown in the diff, so they must hold no secret.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: Kind of object, for example V(package), V(network), V(volume), V(container), V(image) or V(database).
        type: str
        required: true
      name:
        description: Name of the object.
        type: str
        required: true
      properties:
        description: What the object will look like.
        type: dict
        default: {}
  reason:
    description: Why the host cannot be asked; it becomes the end of the error message outside check mode.
    type: str
    required: true
extends_documentation_fragment:
  - nexanest.database.attributes
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Plan the network where no engine answers
  nexanest.database.planned_objects:
    objects:
      - kind: network
        name: nexanest-data
        properties:
          internal: true
    reason: "{{ docker_state.reason }}"
  when: not docker_state.ready
"""

RETURN = r"""
objects:
  description: The plan as data.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: network
      name: nexanest-data
      action: create
"""
