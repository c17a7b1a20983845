#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give each service an image: one that is there, one from a registry, or one that is built."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_images
short_description: Give each service an image, pulled or built
version_added: 0.1.0
description:
  - Chooses an image for each service and makes those that are missing. What does not depend on each other is made side by side.
  - A built image's tag follows from its files and from what it stands on. The same files give the same name, and only complete images get one.
  - Debian's mirror and apt's proxy come from the host's own apt configuration, Python packages from the index of the host's pip.
  - The action plugin of the same name shows the progress of long work.
  - In check mode it plans from the desired state alone where no engine answers.
options:
  services:
    description:
      - What is known of each service, by name. Services that are only a parent of a wanted one stand here too.
      - C(image) is the operator's own, C(flavour) how it behaves, C(registry) the image to pull, C(recipe) how it is built.
      - C(layer), a recipe too, is what is built on the image from the registry, where that lacks packages.
    type: dict
    required: true
  wanted:
    description: Names of the services that need an image.
    type: list
    elements: str
    required: true
  source:
    description:
      - V(registry) pulls, V(build) builds.
      - V(auto) uses what the host has, stays with builds where it was built before, else pulls where the registry answers, else builds.
    type: str
    choices: [auto, registry, build]
    default: auto
  rules:
    description: Which repository (and text in the tag) means which flavour, first match first.
    type: list
    elements: dict
    default: []
    suboptions:
      repository:
        description: The repository, without Docker's own prefixes.
        type: str
        required: true
      tag:
        description: Text that the tag contains.
        type: str
        default: ""
      flavour:
        description: The flavour of these images.
        type: str
        required: true
  stamp:
    description: Any text. Another one gives every built image a new name, so that it is built again with the distribution's present packages.
    type: str
    default: ""
  debian_mirror:
    description: URL of a Debian mirror, for a host whose apt configuration names none.
    type: str
    default: ""
  timeout:
    description: Seconds that one program may take.
    type: int
    default: 1800
  assume_empty:
    description: Do not look at the host. Plan as for a host that has nothing. Check mode only.
    type: bool
    default: false
  progress_file:
    description: File on the managed host to which lines about the progress are appended; set by the action plugin.
    type: path
extends_documentation_fragment:
  - nexanest.database.attributes
requirements:
  - the docker client on the managed host
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Give Redis an image
  nexanest.database.docker_images:
    wanted: [redis]
    services:
      redis:
        image: ""
        flavour: ""
        registry: redis:8
        registry_mb: 200
        recipe:
          repository: nexanest-database/redis
          version: "8"
          parent: base
          wheels: false
          space_mb: 200
          files:
            Dockerfile: "{{ lookup('ansible.builtin.file', 'redis/Dockerfile', rstrip=false) }}"
        layer:
          repository: nexanest-database/redis-layered
          version: "8"
          parent: registry
          space_mb: 10
          files:
            Dockerfile: "{{ lookup('ansible.builtin.file', 'redis-layered/Dockerfile', rstrip=false) }}"
    source: auto
    rules:
      - repository: redis
        tag: alpine
        flavour: redis_alpine
    stamp: ""
    debian_mirror: ""
    timeout: 1800
    assume_empty: false
    progress_file: /run/progress
"""

RETURN = r"""
images:
  description: For each wanted service, its image, where it came from (V(operator), V(registry) or V(built)) and its flavour.
  returned: success
  type: dict
  sample: {redis: {image: "nexanest-database/redis:8-3f1c90ab24de", origin: built, flavour: built}}
objects:
  description: The plan as data.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: image
      name: nexanest-database/redis:8-3f1c90ab24de
      action: create
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _image_mirror
from ansible_collections.nexanest.database.plugins.module_utils._apt import Apt, AptError
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._image_base import RECIPE, SUITE
from ansible_collections.nexanest.database.plugins.module_utils._image_build import WORK_FOLDER, ImageBuilder, lock
from ansible_collections.nexanest.database.plugins.module_utils._image_host import Host, missing_packages, read_host, require_space
from ansible_collections.nexanest.database.plugins.module_utils._image_plan import (
    Choice,
    ImageError,
    Plan,
    Recipe,
    Rule,
    Service,
    Step,
    base_image,
    built_images,
    choose,
    flavour,
    steps,
)
from ansible_collections.nexanest.database.plugins.module_utils._image_progress import Runner
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress

ARGUMENTS: dict[str, dict[str, Any]] = {
    "services": {"type": "dict", "required": True},
    "wanted": {"type": "list", "elements": "str", "required": True},
    "source": {"type": "str", "choices": ["auto", "registry", "build"], "default": "auto"},
    "rules": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "repository": {"type": "str", "required": True},
            "tag": {"type": "str", "default": ""},
            "flavour": {"type": "str", "required": True},
        },
    },
    "stamp": {"type": "str", "default": ""},
    "debian_mirror": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 1800},
    "assume_empty": {"type": "bool", "default": False},
    "progress_file": {"type": "path"},
}


def service(name: str, known: Mapping[str, Any]) -> Service:
    return Service(
        name=name,
        recipe=Recipe(**known["recipe"]),
        registry=known["registry"],
        registry_mb=known["registry_mb"],
        own=known["image"],
        flavour=known["flavour"],
        layer=Recipe(**known["layer"]) if "layer" in known else None,
    )


class Images:
    """The desired images of one host."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self.services = {name: service(name, known) for name, known in params["services"].items()}
        self.base = base_image(SUITE, RECIPE, params["stamp"])
        self.built = built_images(self.services, self.base)

    def read(self) -> Host:
        names = [*self.built.values(), self.base]
        names += [image for item in self.services.values() for image in (item.own, item.registry, item.from_registry)]
        return read_host(names, assume_empty=self.params["assume_empty"])

    def plan(self, host: Host) -> Plan:
        choices = [
            choose(self.services[name], built=self.built[name], source=self.params["source"], present=host.present, answers=host.registry_answers)
            for name in self.params["wanted"]
        ]
        return Plan(choices, steps(choices, self.services, base=self.base, present=host.present))

    def packages(self, todo: Sequence[Step]) -> list[str]:
        wheels = any(step.kind == "build" and self.services[step.label].recipe.wheels for step in todo)
        return missing_packages(todo, wheels=wheels, assume_empty=self.params["assume_empty"])

    def result(self, plan: Plan, host: Host) -> dict[str, dict[str, str]]:
        """Each service's image; ImageError where its flavour cannot be told."""
        rules = [Rule(**rule) for rule in self.params["rules"]]
        return {
            choice.service: {
                "image": choice.image,
                "origin": choice.origin,
                "flavour": flavour(self.services[choice.service], choice, rules, host.labels.get(choice.image, {})),
            }
            for choice in plan.choices
        }

    def apply(self, progress: Progress) -> Plan:
        """Make what is missing; the plan is made again under the lock, as another run may have done the work meanwhile."""
        with lock(progress, timeout=self.params["timeout"]):
            plan = self.plan(self.read())
            errors = self._make(plan.steps, progress)
            if any(choice.image in errors and choice.fallback for choice in plan.choices):
                choices = [_built(choice) if choice.image in errors and choice.fallback else choice for choice in plan.choices]
                missed = [choice for choice in choices if choice.action == "build" and choice.image not in self.read().present]
                plan = Plan(choices, steps(missed, self.services, base=self.base, present=self.read().present))
                errors = {image: error for image, error in errors.items() if image in {choice.image for choice in choices}}
                errors |= self._make([step for step in plan.steps if step.image not in errors], progress)
        if errors:
            raise ImageError("; ".join(str(error) for error in errors.values()) + _remedy(plan))
        return plan

    def _make(self, todo: Sequence[Step], progress: Progress) -> dict[str, ImageError]:
        packages = self.packages(todo)
        if packages:
            progress.begin("packages", f"installing {' '.join(packages)}")
            Apt().install(packages)
            progress.end("packages", "installed")
        return ImageBuilder(self.services, self._mirror(), Runner(progress, timeout=self.params["timeout"])).make(todo)

    def _mirror(self) -> _image_mirror.Mirror | None:
        found = _image_mirror.read()
        own = self.params["debian_mirror"].rstrip("/")
        if not own:
            return found
        return _image_mirror.Mirror(main=own, security=found.security if found else "", settings=found.settings if found else {})


def _remedy(plan: Plan) -> str:
    names = " or ".join(f"{choice.service}_image" for choice in plan.choices if choice.action != "use")
    ways = "Let the host reach an image registry, or its Debian mirror and its Python package index; or load images with docker load and name them in"
    return f".\n{ways} {names}. What is complete is kept: run it again."


def _built(choice: Choice) -> Choice:
    return Choice(choice.service, choice.fallback, "built", "build")


def changes(plan: Plan, packages: Sequence[str]) -> list[Change]:
    """The plan as changes; the packages are only there for the builds."""
    found = [Change("package", name, None, {"state": "installed"}) for name in packages]
    ways = {"pull": "pulled from its registry", "base": f"made by debootstrap of Debian {SUITE}", "build": "built on", "layer": "built on"}
    return found + [Change("image", step.image, None, {"origin": f"{ways[step.kind]} {step.parent}".strip()}) for step in plan.steps]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    images = Images(module.params)
    try:
        host = images.read()
        if host.missing and not module.check_mode:
            module.fail_json(msg=f"the images cannot be looked at: {host.missing}. Run the role nexanest.database.docker first.")
        plan = images.plan(host)
        result = images.result(plan, host)
        planned = changes(plan, images.packages(plan.steps))
        if plan.steps and host.root:
            require_space(plan.steps, [host.root, str(WORK_FOLDER)] if plan.builds else [host.root])
        if plan.steps and not module.check_mode:
            done = images.apply(Progress(module.params["progress_file"] or ""))
            result = images.result(done, images.read())
    except (ImageError, AptError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(planned), images=result, diff=diff(planned), objects=objects(planned))


if __name__ == "__main__":
    main()
