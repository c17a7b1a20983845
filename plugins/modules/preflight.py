#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a host before anything is changed on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Refuse a host that is not ready, before anything is changed
version_added: 0.1.0
description:
  - Looks for everything that would make a run fail halfway, and fails once, with one sentence for each problem.
  - Needs nothing but Python's standard library, and no engine.
  - Changes nothing, in check mode or outside.
options:
  ports:
    description: Ports that containers will publish. One that the container of this name holds already is no problem.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: Port on the host.
        type: int
        required: true
      host:
        description: Address on the host.
        type: str
        default: 127.0.0.1
      container:
        description: Name of the container that will publish it.
        type: str
        required: true
  paths:
    description: Folders for which O(minimum_free_mb) has to be free. They need not exist yet. The engine's own folder is always looked at,
      and its folder of volumes where it is a disk of its own.
    type: list
    elements: path
    default: []
  minimum_free_mb:
    description: Megabytes that have to be free for each of O(paths) and for the engine.
    type: int
    default: 0
  minimum_memory_mb:
    description: Megabytes of memory that the host has to have.
    type: int
    default: 0
  volumes:
    description: Volumes whose PostgreSQL cluster, where there is one, has to be of the asked major version.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the volume.
        type: str
        required: true
      pgdata:
        description: Where the cluster lies in the volume, relative to its root.
        type: str
        default: pgdata
      postgresql_major:
        description: The major version that is asked for.
        type: str
        required: true
  minimum_api:
    description: The oldest API version of an engine that is accepted.
    type: str
    default: "1.41"
  need_root:
    description: Refuse a user other than root.
    type: bool
    default: true
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Look at the host before anything is changed
  nexanest.database.preflight:
    ports:
      - port: 5432
        host: 127.0.0.1
        container: nexanest-postgres
    paths:
      - /etc/nexanest-database/nexanest
    minimum_free_mb: 2048
    minimum_memory_mb: 1500
    volumes:
      - name: nexanest-postgres-data
        pgdata: pgdata
        postgresql_major: "17"
    minimum_api: "1.41"
    need_root: true
"""

RETURN = r"""
problems:
  description: What is wrong, by whom, and what to do; one sentence or two for each.
  returned: failure
  type: list
  elements: str
  sample:
    - >-
      nexanest-postgres cannot have port 5432 on 127.0.0.1: postgres (pid 812) holds it.
      Stop that, or choose another port for nexanest-postgres in the inventory.
free_mb:
  description: Free megabytes for each folder.
  returned: always
  type: dict
  sample: {/var/lib/docker: 48211, /etc/nexanest-database/nexanest: 48211}
memory_mb:
  description: The host's memory in megabytes.
  returned: always
  type: int
  sample: 7951
"""

import os
import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._engine import Engine, EngineError, version_of
from ansible_collections.nexanest.database.plugins.module_utils._ports import Wish, holder, is_here, listeners
from ansible_collections.nexanest.database.plugins.module_utils._preflight import (
    asked_twice,
    cluster_version,
    disks,
    elsewhere,
    free_mb,
    memory_mb,
    message,
    taken,
    too_full,
    too_little_memory,
    wrong_version,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    "ports": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "port": {"type": "int", "required": True},
            "host": {"type": "str", "default": "127.0.0.1"},
            "container": {"type": "str", "required": True},
        },
    },
    "paths": {"type": "list", "elements": "path", "default": []},
    "minimum_free_mb": {"type": "int", "default": 0},
    "minimum_memory_mb": {"type": "int", "default": 0},
    "volumes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "pgdata": {"type": "str", "default": "pgdata"},
            "postgresql_major": {"type": "str", "required": True},
        },
    },
    "minimum_api": {"type": "str", "default": "1.41"},
    "need_root": {"type": "bool", "default": True},
}


def read_engine() -> dict[str, Any]:
    """root_dir, api_version, version and containers of the engine; its defaults where none answers, with `refused` where we have no rights."""
    engine = Engine()
    try:
        version = engine.get("/version")
        facts = {"api_version": version["ApiVersion"], "version": version["Version"], "root_dir": engine.get("/info")["DockerRootDir"]}
        return {**facts, "containers": engine.get("/containers/json"), "refused": ""}
    except EngineError as error:
        refused = str(error) if isinstance(error.__cause__, (PermissionError, TimeoutError)) else ""
        return {"api_version": "", "version": "", "root_dir": "/var/lib/docker", "containers": [], "refused": refused}


def engine_problems(engine: Mapping[str, Any], minimum_api: str) -> list[str]:
    if engine["refused"]:
        return [f"Docker cannot be used: {engine['refused']}."]
    if engine["api_version"] and version_of(engine["api_version"]) < version_of(minimum_api):
        needed = f"{minimum_api} is needed: upgrade it (Debian 12's docker.io will do)"
        return [f"Docker's engine {engine['version']} is too old: it speaks API {engine['api_version']}, and {needed}."]
    return []


def user_problems(need_root: bool) -> list[str]:
    if not need_root or os.geteuid() == 0:
        return []
    user = pwd.getpwuid(os.geteuid()).pw_name
    return [f"The run is that of user {user}, and root is needed for Docker, /etc and the containers' files: log in as root, or use sudo (become)."]


def port_problems(ports: Sequence[Mapping[str, Any]], containers: Sequence[Mapping[str, Any]]) -> list[str]:
    wishes = [Wish(**port) for port in ports]
    found = listeners() if wishes else []
    held = [(wish, holder(wish, containers, found)) for wish in wishes]
    return asked_twice(wishes) + [elsewhere(wish) for wish in wishes if not is_here(wish.host)] + [taken(wish, by) for wish, by in held if by]


def volume_problems(volumes: Sequence[Mapping[str, Any]], root_dir: str) -> list[str]:
    problems = []
    for volume in volumes:
        found = cluster_version(Path(root_dir, "volumes", quote(volume["name"], safe=""), "_data"), volume["pgdata"])
        if found and found != volume["postgresql_major"]:
            problems.append(wrong_version(volume["name"], found, volume["postgresql_major"]))
    return problems


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    engine = read_engine()
    free = {path: free_mb(path) for path in dict.fromkeys([*disks(engine["root_dir"]), *params["paths"]])}
    memory = memory_mb()
    problems = (
        user_problems(params["need_root"])
        + engine_problems(engine, params["minimum_api"])
        + port_problems(params["ports"], engine["containers"])
        + volume_problems(params["volumes"], engine["root_dir"])
        + too_full(free, params["minimum_free_mb"])
        + too_little_memory(memory, params["minimum_memory_mb"])
    )
    if problems:
        module.fail_json(msg=message(problems), problems=problems, free_mb=free, memory_mb=memory)
    module.exit_json(changed=False, free_mb=free, memory_mb=memory)


if __name__ == "__main__":
    main()
