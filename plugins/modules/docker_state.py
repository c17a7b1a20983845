#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what a host has: Docker's engine and its objects, and Python's libraries."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_state
short_description: Read what Docker's engine and Python have on a host
version_added: 0.1.0
description:
  - Reads the engine over its Unix socket, and which of the libraries that modules need this interpreter can import.
  - Needs nothing but Python's standard library, so it also works where neither the engine nor its client is installed.
  - A missing engine is an answer, not an error; the roles base their conditions on it.
options:
  label:
    description: A label, V(key=value) or V(key). RV(owned) lists the objects that carry it.
    type: str
    default: nexanest.database.stack
  images:
    description: Images to look for. The engine resolves the names, so short names and digests work.
    type: list
    elements: str
    default: []
  assume_empty:
    description: Do not look at the host. Answer as a host would that has neither an engine nor Python.
    type: bool
    default: false
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Read what the host has
  nexanest.database.docker_state:
    label: nexanest.database.stack=nexanest
    images:
      - nexanest-database/redis:8
    assume_empty: false
  register: docker_state

- name: Plan the container where the engine cannot be asked
  nexanest.database.planned_objects:
    objects:
      - kind: container
        name: nexanest-redis
    reason: "{{ docker_state.reason }}"
  when: not docker_state.ready
"""

RETURN = r"""
ready:
  description: Can community.docker's modules work here? True where an engine answers and Python has requests.
  returned: always
  type: bool
  sample: true
reason:
  description: Why not; empty where RV(ready) is true.
  returned: always
  type: str
  sample: no Docker engine listens on /var/run/docker.sock
engine:
  description: The engine, what is wrong with it, and which of its programs are installed.
  returned: always
  type: dict
  sample: {reachable: true, version: 26.1.5, api_version: "1.45", root_dir: /var/lib/docker, error: "", client: true, dockerd: true}
images:
  description: Names (with tag or digest) of all images.
  returned: always
  type: list
  elements: str
  sample: ["nexanest-database/redis:8"]
found_images:
  description: Those of O(images) that the engine has.
  returned: always
  type: list
  elements: str
  sample: ["nexanest-database/redis:8"]
networks:
  description: Names of all networks.
  returned: always
  type: list
  elements: str
  sample: [bridge, host, nexanest-data, none]
network_options:
  description: For each network, is it internal, and its driver's options.
  returned: always
  type: dict
  sample: {nexanest-data: {internal: true, driver_options: {}}}
volumes:
  description: Names of all volumes.
  returned: always
  type: list
  elements: str
  sample: [nexanest-redis-data]
containers:
  description: Names of all containers, also of stopped ones.
  returned: always
  type: list
  elements: str
  sample: [nexanest-redis]
healthy:
  description: Names of the containers whose health check passes.
  returned: always
  type: list
  elements: str
  sample: [nexanest-redis]
owned:
  description: Names of the objects that carry O(label).
  returned: always
  type: dict
  sample: {containers: [nexanest-redis], networks: [nexanest-data], volumes: [nexanest-redis-data]}
python:
  description:
    - Which libraries the interpreter of the modules can import.
    - V(apt) also counts where Debian's own Python has it, as M(ansible.builtin.apt) changes over to that one.
  returned: always
  type: dict
  sample: {executable: /usr/bin/python3, distribution: true, psycopg2: true, redis: true, requests: true, apt: true}
"""

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._engine import Engine, EngineError, carries, container_names

LIBRARIES = ("psycopg2", "redis", "requests")
DEBIAN_APT = "/usr/lib/python3/dist-packages/apt/__init__.py"


def read_objects(engine: Engine, *, label: str, images: list[str]) -> dict[str, Any]:
    """Names of all that the engine has; EngineError where it does not answer."""
    version = engine.get("/version")
    containers = engine.get("/containers/json?all=1")
    networks = engine.get("/networks")
    volumes = engine.get("/volumes")["Volumes"] or []
    return {
        "engine": {"version": version["Version"], "api_version": version["ApiVersion"], "root_dir": engine.get("/info")["DockerRootDir"]},
        "images": image_names(engine.get("/images/json")),
        "found_images": [name for name in images if engine.get(f"/images/{quote(name)}/json") is not None],
        "networks": sorted(network["Name"] for network in networks),
        "network_options": {item["Name"]: {"internal": item["Internal"], "driver_options": item["Options"] or {}} for item in networks},
        "volumes": sorted(volume["Name"] for volume in volumes),
        "containers": container_names(containers),
        "healthy": container_names([item for item in containers if "(healthy)" in item["Status"]]),
        "owned": {
            "containers": container_names([item for item in containers if carries(item, label)]),
            "networks": sorted(item["Name"] for item in networks if carries(item, label)),
            "volumes": sorted(item["Name"] for item in volumes if carries(item, label)),
        },
    }


def image_names(documents: list[dict[str, Any]]) -> list[str]:
    """Tags and digests; images without a name are left out."""
    names = {name for document in documents for name in (document.get("RepoTags") or []) + (document.get("RepoDigests") or [])}
    return sorted(name for name in names if "<none>" not in name)


def nothing(error: str) -> dict[str, Any]:
    """The answer where no engine can be asked."""
    lists: dict[str, Any] = {key: [] for key in ("images", "found_images", "networks", "volumes", "containers", "healthy")}
    engine = {"version": "", "api_version": "", "root_dir": "", "error": error}
    return {**lists, "network_options": {}, "engine": engine, "owned": {"containers": [], "networks": [], "volumes": []}}


def read_python(*, assume_empty: bool) -> dict[str, Any]:
    """The interpreter that runs the modules, and what it can import."""
    if assume_empty:
        return {"executable": "", "distribution": True, "apt": False, **dict.fromkeys(LIBRARIES, False)}
    found = {name: importlib.util.find_spec(name) is not None for name in LIBRARIES}
    apt = importlib.util.find_spec("apt") is not None or Path(DEBIAN_APT).exists()
    return {"executable": sys.executable, "distribution": sys.prefix == "/usr", "apt": apt, **found}


def read_engine(*, label: str, images: list[str], assume_empty: bool) -> dict[str, Any]:
    if assume_empty:
        return nothing("the host has no Python yet, so nothing on it can be asked")
    try:
        state = read_objects(Engine(), label=label, images=images)
    except EngineError as error:
        return nothing(str(error))
    state["engine"]["error"] = ""
    return state


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "label": {"type": "str", "default": "nexanest.database.stack"},
            "images": {"type": "list", "elements": "str", "default": []},
            "assume_empty": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    assume_empty = module.params["assume_empty"]
    state = read_engine(**module.params)
    python = read_python(assume_empty=assume_empty)
    reachable = not state["engine"]["error"]
    programs = {"client": "docker", "dockerd": "dockerd"}
    found = {key: not assume_empty and shutil.which(program) is not None for key, program in programs.items()}
    state["engine"] = {"reachable": reachable, **state["engine"], **found}
    reason = state["engine"]["error"] or ("" if python["requests"] else f"the Python library requests is missing in {python['executable']}")
    module.exit_json(changed=False, ready=not reason, reason=reason, python=python, **state)


if __name__ == "__main__":
    main()
