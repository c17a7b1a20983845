#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until a container is healthy, and say why it is not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_health
short_description: Wait until a container is healthy
version_added: 0.1.0
description:
  - Waits until the health check of a container passes. A container without a health check is healthy as soon as it runs.
  - Gives up early where the container has stopped or restarts again and again, and shows the last lines of its log.
  - Changes nothing. In check mode it looks once and does not wait.
options:
  name:
    description: Name of the container.
    type: str
    required: true
  timeout:
    description: Seconds to wait at most.
    type: int
    default: 180
  log_lines:
    description: Lines of the container's log in the error.
    type: int
    default: 20
  remedy:
    description: What the reader of the error should do; the last sentence of the message.
    type: str
    default: Read its log.
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Wait until Redis is healthy
  nexanest.database.container_health:
    name: nexanest-redis
    timeout: 60
    log_lines: 10
    remedy: Run `make db-logs`.
"""

RETURN = r"""
health:
  description: What the container is, V(healthy), V(running) where it has no health check; in check mode also another state or V(absent).
  returned: success
  type: str
  sample: healthy
waited:
  description: Seconds that were waited.
  returned: success
  type: float
  sample: 3.2
log:
  description: The last lines of the container's log.
  returned: failure
  type: list
  elements: str
  sample: ["FATAL:  could not open file"]
"""

import time
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.nexanest.database.plugins.module_utils._health import ABSENT, Health, complaint, health_of

INTERVAL = 0.3


def look(engine: Engine, name: str) -> Health:
    """One look."""
    document = engine.get(f"/containers/{quote(name)}/json")
    return health_of(document) if document is not None else ABSENT


def wait(engine: Engine, name: str, timeout: float) -> tuple[Health, float]:
    """Look until the container is healthy, hopeless, or the time is over."""
    began = time.monotonic()
    first = health = look(engine, name)
    while not health.good and not health.hopeless(since=first) and time.monotonic() - began < timeout:
        time.sleep(INTERVAL)
        health = look(engine, name)
    return health, time.monotonic() - began


def result(engine: Engine, params: dict[str, Any], *, timeout: float) -> dict[str, Any]:
    health, waited = wait(engine, params["name"], timeout)
    if health.good or timeout == 0:
        return {"changed": False, "health": health.word, "waited": round(waited, 1)}
    log = engine.logs(params["name"], params["log_lines"])
    message = complaint(params["name"], health, waited=waited, log=log)
    return {"failed": True, "msg": f"{message}\n{params['remedy']}", "log": log}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 180},
            "log_lines": {"type": "int", "default": 20},
            "remedy": {"type": "str", "default": "Read its log."},
        },
        supports_check_mode=True,
    )
    try:
        outcome = result(Engine(), module.params, timeout=0 if module.check_mode else module.params["timeout"])
    except EngineError as error:
        module.fail_json(msg=f"could not wait for the container {module.params['name']}: {error}")
    if outcome.pop("failed", False):
        module.fail_json(**outcome)
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
