#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See that Docker's engine answers and is new enough."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_engine
short_description: Start Docker's engine where none answers
version_added: 0.1.0
description:
  - An engine that answers is taken as it is, wherever it came from.
  - Where none answers, it is started by systemd, or where the host has none, as a process of its own that survives the play.
  - Left-over pid files of an engine that died are removed first.
options:
  minimum_api:
    description: The oldest API version that is accepted.
    type: str
    default: "1.41"
  timeout:
    description: Seconds within which a started engine has to answer.
    type: int
    default: 60
  log:
    description: Where a dockerd without systemd writes its log.
    type: path
    default: /var/log/dockerd.log
extends_documentation_fragment:
  - nexanest.database.attributes
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Start the engine
  nexanest.database.docker_engine:
    minimum_api: "1.41"
    timeout: 60
    log: /var/log/dockerd.log
"""

RETURN = r"""
version:
  description: The engine's version; empty in check mode where none answers yet.
  returned: success
  type: str
  sample: 26.1.5
api_version:
  description: The engine's API version; empty in check mode where none answers yet.
  returned: success
  type: str
  sample: "1.45"
objects:
  description: The plan as data.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: service
      name: docker
      action: update
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._engine import Engine, EngineError, version_of
from ansible_collections.nexanest.database.plugins.module_utils._engine_start import StartError, has_systemd, start


def read() -> dict[str, Any]:
    """The engine's version document; empty where no engine answers."""
    try:
        return dict(Engine().get("/version"))
    except EngineError as error:
        if isinstance(error.__cause__, (PermissionError, TimeoutError)):
            raise
        return {}


def plan(version: dict[str, Any]) -> list[Change]:
    if version:
        return []
    after = {"state": "running", "by": "systemd" if has_systemd() else "dockerd, detached"}
    return [Change(kind="service", name="docker", before={"state": "stopped"}, after=after)]


def too_old(version: dict[str, Any], minimum: str) -> str:
    """The sentence about an engine that is too old; empty where it is not."""
    api = version.get("ApiVersion", minimum)
    if version_of(api) >= version_of(minimum):
        return ""
    return f"Docker's engine {version['Version']} is too old: it speaks API {api}, and {minimum} is needed. Upgrade it (Debian 12's docker.io will do)"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "minimum_api": {"type": "str", "default": "1.41"},
            "timeout": {"type": "int", "default": 60},
            "log": {"type": "path", "default": "/var/log/dockerd.log"},
        },
        supports_check_mode=True,
    )
    try:
        version = read()
        changes = plan(version)
        if changes and not module.check_mode:
            start(log=Path(module.params["log"]), timeout=module.params["timeout"])
            version = read()
    except (EngineError, StartError) as error:
        module.fail_json(msg=str(error))
    refusal = too_old(version, module.params["minimum_api"])
    if refusal:
        module.fail_json(msg=refusal)
    facts = {"version": version.get("Version", ""), "api_version": version.get("ApiVersion", "")}
    module.exit_json(changed=bool(changes), diff=diff(changes), objects=objects(changes), **facts)


if __name__ == "__main__":
    main()
