#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop, restart or remove everything that carries a stack's label."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_state
short_description: Stop, restart or remove a whole stack
version_added: 0.1.0
description:
  - Finds containers, networks and volumes by the label of a stack, and touches nothing else.
  - Starting for the first time is the work of the roles; this module only handles what is there.
options:
  stack:
    description: Name of the stack, the label's value.
    type: str
    required: true
  label:
    description: The label's key.
    type: str
    default: nexanest.database.stack
  state:
    description:
      - V(stopped) ends the containers gracefully and keeps them.
      - V(restarted) ends and starts them, those that were stopped as well. It changes something each time.
      - V(absent) ends and removes the containers and removes networks and volumes, with all data in them.
    type: str
    choices: [stopped, restarted, absent]
    required: true
  order:
    description: Names of containers in the order in which they start. They stop in the opposite order.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that one container may take to end.
    type: int
    default: 300
extends_documentation_fragment:
  - nexanest.database.attributes
attributes:
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: partial
    details: V(restarted) restarts each time; the other states are idempotent.
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Stop the stack
  nexanest.database.stack_state:
    stack: nexanest
    state: stopped
    order: [nexanest-postgres, nexanest-redis, nexanest-pgadmin]
    timeout: 120

- name: Remove the stack with its data
  nexanest.database.stack_state:
    stack: nexanest
    label: nexanest.database.stack
    state: absent
"""

RETURN = r"""
objects:
  description: What was or would be changed.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: container
      name: nexanest-redis
      action: update
containers:
  description: Containers of the stack that are there afterwards, in the order in which they start.
  returned: success
  type: list
  elements: str
  sample: [nexanest-postgres, nexanest-redis]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.nexanest.database.plugins.module_utils._stack_state import ABSENT, Found, Plan, plan, starting_order

ARGUMENTS: dict[str, dict[str, Any]] = {
    "stack": {"type": "str", "required": True},
    "label": {"type": "str", "default": "nexanest.database.stack"},
    "state": {"type": "str", "choices": ["stopped", "restarted", "absent"], "required": True},
    "order": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 300},
}


def read(docker: Docker, label: str) -> Found:
    """Everything that carries the label."""
    documents = docker.inspect("container", docker.names("container", label=label))
    containers = {document["Name"].lstrip("/"): document["State"]["Status"] for document in documents}
    return Found(containers, docker.names("network", label=label), docker.names("volume", label=label))


def apply(docker: Docker, planned: Plan) -> None:
    """Run the steps in their order."""
    for step in planned.steps:
        if step.action == "remove":
            docker.remove(step.kind, step.name)
        elif step.action == "stop":
            docker.stop(step.name)
        else:
            docker.start(step.name)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    docker = Docker(timeout=params["timeout"])
    try:
        found = read(docker, f"{params['label']}={params['stack']}")
        planned = plan(found, params["state"], params["order"])
        if not module.check_mode:
            apply(docker, planned)
    except DockerError as error:
        module.fail_json(msg=f"could not bring the stack {params['stack']} to {params['state']}: {error}")
    containers = [] if params["state"] == ABSENT else starting_order(found, params["order"])
    module.exit_json(changed=bool(planned.changes), diff=diff(planned.changes), objects=objects(planned.changes), containers=containers)


if __name__ == "__main__":
    main()
