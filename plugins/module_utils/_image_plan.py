# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image each service gets, and what has to be done for it. Pure: the host's state comes in as data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BASE = "base"
BASE_REPOSITORY = "nexanest-database/base"


class ImageError(Exception):
    """An image cannot be had; the text says which, what was tried, and what to do."""


@dataclass(frozen=True)
class Recipe:
    """How an image is built: its files, and what it stands on (`base`, or another service)."""

    repository: str
    version: str
    parent: str
    files: Mapping[str, str]
    wheels: bool = False
    space_mb: int = 0


@dataclass(frozen=True)
class Service:
    """One service and the three places its image may come from: the operator, a registry, a build.

    layer: what is built on the registry's image, where that lacks packages.
    """

    name: str
    recipe: Recipe
    registry: str
    registry_mb: int = 0
    own: str = ""
    flavour: str = ""
    layer: Recipe | None = None

    @property
    def from_registry(self) -> str:
        """The image of a service that comes from a registry: the registry's own, or the layer on it."""
        if self.layer is None:
            return self.registry
        return f"{self.layer.repository}:{self.layer.version}-{_digest([self.registry, sorted(self.layer.files.items())])}"


@dataclass(frozen=True)
class Rule:
    """Images of this repository (and with this text in the tag) behave like that flavour."""

    repository: str
    flavour: str
    tag: str = ""


@dataclass(frozen=True)
class Choice:
    """What was chosen for a service. action: use, pull or build; fallback: the image to build where the pull fails."""

    service: str
    image: str
    origin: str
    action: str
    fallback: str = ""


@dataclass(frozen=True)
class Step:
    """One image to make. kind: pull it, import the base, build it on its parent, or build the layer on the registry's image."""

    kind: str
    image: str
    label: str
    parent: str = ""
    space_mb: int = 0


@dataclass(frozen=True)
class Plan:
    choices: Sequence[Choice]
    steps: Sequence[Step] = field(default_factory=tuple)

    @property
    def builds(self) -> bool:
        return any(step.kind != "pull" for step in self.steps)


def base_image(suite: str, recipe: str, stamp: str) -> str:
    return f"{BASE_REPOSITORY}:{suite}-{_digest([suite, recipe, stamp])}"


def built_images(services: Mapping[str, Service], base: str) -> dict[str, str]:
    """The name of each service's built image. The tag follows from the files and the parent, so a name stands for one content."""
    names: dict[str, str] = {}

    def name(service: str) -> str:
        if service == BASE:
            return base
        if service not in names:
            recipe = services[service].recipe
            content = [name(recipe.parent), sorted(recipe.files.items()), recipe.wheels]
            names[service] = f"{recipe.repository}:{recipe.version}-{_digest(content)}"
        return names[service]

    for service in services:
        name(service)
    return names


def choose(service: Service, *, built: str, source: str, present: Collection[str], answers: Callable[[str], bool]) -> Choice:
    """Where this service's image comes from.

    `auto` stays with what the host has, also with an older build of ours: two runs must not change over between a pulled and a built
    image because a registry answers today. answers: does this image's registry answer; asked only where nothing else decides.
    """
    if service.own:
        return Choice(service.name, service.own, "operator", "use" if service.own in present else "pull")
    from_registry = Choice(service.name, service.from_registry, "registry", "use" if service.from_registry in present else "pull")
    from_build = Choice(service.name, built, "built", "use" if built in present else "build")
    if source != "auto":
        return from_registry if source == "registry" else from_build
    if from_build.action == "use" or any(repository(image) == service.recipe.repository for image in present):
        return from_build
    if from_registry.action == "use":
        return from_registry
    if service.registry in present or answers(service.registry):
        return Choice(service.name, service.from_registry, "registry", "pull", fallback=built)
    return from_build


def steps(choices: Sequence[Choice], services: Mapping[str, Service], *, base: str, present: Collection[str]) -> list[Step]:
    """The images to make, each after its parent."""
    built = built_images(services, base)
    result: dict[str, Step] = {}

    def build(service: str) -> None:
        image = base if service == BASE else built[service]
        if image in present or image in result:
            return
        if service == BASE:
            result[image] = Step("base", image, BASE, space_mb=600)
            return
        recipe = services[service].recipe
        build(recipe.parent)
        result[image] = Step("build", image, service, parent=base if recipe.parent == BASE else built[recipe.parent], space_mb=recipe.space_mb)

    for choice in choices:
        if choice.action == "pull":
            result |= {step.image: step for step in _pulls(services[choice.service], choice, present)}
        elif choice.action == "build":
            build(choice.service)
    return list(result.values())


def _pulls(service: Service, choice: Choice, present: Collection[str]) -> Iterator[Step]:
    layer = service.layer if choice.origin == "registry" else None
    image = service.registry if layer else choice.image
    if image not in present:
        yield Step("pull", image, service.name, space_mb=service.registry_mb)
    if layer:
        yield Step("layer", choice.image, service.name, parent=image, space_mb=layer.space_mb)


def flavour(service: Service, choice: Choice, rules: Sequence[Rule], labels: Mapping[str, str]) -> str:
    """The flavour of a service's image; ImageError where nothing tells it."""
    if choice.origin == "built":
        return "built"
    label = labels.get("nexanest.database.flavour", "")
    found = service.flavour or label or next((rule.flavour for rule in rules if _matches(rule, choice.image)), "")
    if not found:
        known = sorted({"built", *(rule.flavour for rule in rules if rule.flavour.startswith(service.name))})
        raise ImageError(
            f"{service.name}_image is {choice.image}, and neither a label nor its name tells how it behaves (uid, paths): "
            f"set images_flavours.{service.name} to one of {', '.join(known)}"
        )
    return found


def repository(image: str) -> str:
    """The repository without tag, digest and Docker's own prefixes: docker.io/library/redis:8 -> redis."""
    name = image.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    name = head + slash + tail.partition(":")[0]
    host, slash, rest = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        name = rest
    return name.removeprefix("library/")


def registry_host(image: str) -> str:
    """The registry that an image's name means; Docker's own where it names none."""
    host, slash, _rest = image.partition("/")
    named = slash and ("." in host or ":" in host or host == "localhost")
    return host if named and host != "docker.io" else "registry-1.docker.io"


def _tag(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def _matches(rule: Rule, image: str) -> bool:
    return repository(image) == rule.repository and rule.tag in _tag(image)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
