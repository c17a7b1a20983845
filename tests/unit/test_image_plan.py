# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0-or-later (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image a service gets, and what is made for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._image_plan import (
    Choice,
    ImageError,
    Recipe,
    Rule,
    Service,
    built_images,
    choose,
    flavour,
    registry_host,
    repository,
    steps,
)

BASE_NAME = "nexanest-database/base:trixie-1"
RULES = [Rule("redis", "redis_alpine", tag="alpine"), Rule("redis", "redis_official")]


def make_service(name: str, parent: str = "base", *, text: str = "FROM base", own: str = "", told: str = "") -> Service:
    recipe = Recipe(repository=f"nexanest-database/{name}", version="1", parent=parent, files={"Dockerfile": text})
    return Service(name=name, recipe=recipe, registry=f"{name}:1.2", own=own, flavour=told)


SERVICES = {"postgres": make_service("postgres"), "timescaledb": make_service("timescaledb", "postgres"), "redis": make_service("redis")}
BUILT = built_images(SERVICES, BASE_NAME)


def decide(*, present: set[str], source: str = "auto", answers: bool = False, own: str = "") -> Choice:
    return choose(make_service("redis", own=own), built=BUILT["redis"], source=source, present=present, answers=lambda _image: answers)


@pytest.mark.parametrize(
    ("present", "source", "answers", "expected"),
    [
        (set(), "auto", True, ("redis:1.2", "registry", "pull")),
        (set(), "auto", False, (BUILT["redis"], "built", "build")),
        ({"redis:1.2"}, "auto", False, ("redis:1.2", "registry", "use")),
        ({BUILT["redis"], "redis:1.2"}, "auto", True, (BUILT["redis"], "built", "use")),
        ({"nexanest-database/redis:1-older"}, "auto", True, (BUILT["redis"], "built", "build")),
        ({BUILT["redis"]}, "registry", False, ("redis:1.2", "registry", "pull")),
        ({"redis:1.2"}, "build", True, (BUILT["redis"], "built", "build")),
    ],
)
def test_auto_stays_with_what_the_host_has(present: set[str], source: str, answers: bool, expected: tuple[str, str, str]) -> None:
    choice = decide(present=present, source=source, answers=answers)
    assert (choice.image, choice.origin, choice.action) == expected


def test_the_operators_image_comes_before_all_others() -> None:
    choice = decide(present={BUILT["redis"]}, own="acme/redis:7")
    assert (choice.image, choice.origin, choice.action) == ("acme/redis:7", "operator", "pull")


def test_a_pull_that_auto_chose_can_fall_back_to_a_build() -> None:
    assert decide(present=set(), answers=True).fallback == BUILT["redis"]
    assert decide(present=set(), source="registry").fallback == ""


LAYERED = replace(make_service("postgres"), layer=Recipe("nexanest-database/postgres-layered", "1", "registry", {"Dockerfile": "FROM ${BASE}"}))


@pytest.mark.parametrize(("present", "kinds"), [(set(), ["pull", "layer"]), ({"postgres:1.2"}, ["layer"]), ({LAYERED.from_registry}, [])])
def test_a_layer_is_built_on_what_the_registry_gives(present: set[str], kinds: list[str]) -> None:
    choice = choose(LAYERED, built=BUILT["postgres"], source="registry", present=present, answers=lambda _image: True)
    made = steps([choice], {**SERVICES, "postgres": LAYERED}, base=BASE_NAME, present=present)
    assert choice.image == LAYERED.from_registry
    assert [step.kind for step in made] == kinds
    assert [step.parent for step in made if step.kind == "layer"] == ["postgres:1.2"] * ("layer" in kinds)


def test_a_layers_name_changes_with_the_image_below_it_and_with_its_files() -> None:
    other_file = replace(LAYERED, layer=Recipe("nexanest-database/postgres-layered", "1", "registry", {"Dockerfile": "FROM other"}))
    assert len({LAYERED.from_registry, replace(LAYERED, registry="postgres:1.3").from_registry, other_file.from_registry}) == 3


def test_an_operators_image_gets_no_layer() -> None:
    own = replace(LAYERED, own="acme/postgres:17")
    choice = choose(own, built=BUILT["postgres"], source="auto", present=set(), answers=lambda _image: True)
    assert [step.kind for step in steps([choice], {"postgres": own}, base=BASE_NAME, present=set())] == ["pull"]


def test_a_built_name_changes_with_its_files_and_with_its_parent() -> None:
    edited = {**SERVICES, "postgres": make_service("postgres", text="FROM base\nRUN true")}
    names = built_images(edited, BASE_NAME)
    assert names["postgres"] != BUILT["postgres"]
    assert names["timescaledb"] != BUILT["timescaledb"]
    assert names["redis"] == BUILT["redis"]
    assert built_images(SERVICES, "nexanest-database/base:trixie-2")["redis"] != BUILT["redis"]


def test_a_missing_parent_is_built_first() -> None:
    choice = Choice("timescaledb", BUILT["timescaledb"], "built", "build")
    assert [step.image for step in steps([choice], SERVICES, base=BASE_NAME, present=set())] == [BASE_NAME, BUILT["postgres"], BUILT["timescaledb"]]


def test_an_image_that_is_there_needs_no_base() -> None:
    choice = Choice("redis", BUILT["redis"], "built", "use")
    assert steps([choice], SERVICES, base=BASE_NAME, present={BUILT["redis"]}) == []


@pytest.mark.parametrize(
    ("image", "labels", "told", "expected"),
    [
        ("docker.io/library/redis:8", {}, "", "redis_official"),
        ("mirror.test:5000/redis:8-alpine", {}, "", "redis_alpine"),
        ("acme/redis:8", {"nexanest.database.flavour": "built"}, "", "built"),
        ("acme/redis:8", {}, "redis_official", "redis_official"),
    ],
)
def test_a_flavour_is_told_by_the_operator_a_label_or_the_name(image: str, labels: dict[str, str], told: str, expected: str) -> None:
    assert flavour(make_service("redis", told=told), Choice("redis", image, "operator", "use"), RULES, labels) == expected


def test_an_unknown_image_is_refused_with_the_variable_to_set() -> None:
    with pytest.raises(ImageError, match=r"set images_flavours\.redis to one of built, redis_alpine, redis_official"):
        flavour(make_service("redis"), Choice("redis", "acme/redis:8", "operator", "use"), RULES, {})


@pytest.mark.parametrize(
    ("image", "name", "host"),
    [
        ("redis:8", "redis", "registry-1.docker.io"),
        ("docker.io/library/redis:8", "redis", "registry-1.docker.io"),
        ("timescale/timescaledb-ha:pg17", "timescale/timescaledb-ha", "registry-1.docker.io"),
        ("localhost:5000/acme/redis", "acme/redis", "localhost:5000"),
        ("registry.test/redis@sha256:00", "redis", "registry.test"),
    ],
)
def test_image_names_are_read_as_docker_does(image: str, name: str, host: str) -> None:
    assert (repository(image), registry_host(image)) == (name, host)
