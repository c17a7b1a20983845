# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Misspelt variables, and the roles' own consistency."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.nexanest.database.plugins.module_utils._known_variables import message, names_in, unknown

ROOT = Path(__file__).resolve().parents[2]
ROLES = {"postgres": {"postgres_port", "postgres_image"}, "data_model": {"data_model_servers"}, "images": {"images_source", "redis_image"}}


def test_known_foreign_and_unrelated_variables_pass() -> None:
    assert unknown(["postgres_port", "redis_image", "postgres_exporter", "ansible_host", "my_postgres_port"], ROLES, ["postgres_exporter"]) == []


def test_a_misspelt_variable_is_named_with_its_role_and_the_nearest_name() -> None:
    found = unknown(["postgres_prot", "data_model_server", "postgres_zzz"], ROLES)
    assert [(item.name, item.role, item.nearest) for item in found] == [
        ("data_model_server", "data_model", "data_model_servers"),
        ("postgres_prot", "postgres", "postgres_port"),
        ("postgres_zzz", "postgres", None),
    ]
    assert "postgres_prot (role postgres, did you mean postgres_port?)" in message(found)
    assert "stack_foreign_variables" in message(found)


@pytest.mark.parametrize("specs", [None, {}, {"argument_specs": None}, {"argument_specs": {"main": None}}, {"argument_specs": {"main": {"options": None}}}])
def test_a_role_without_options_knows_no_variable(specs: Any) -> None:
    assert names_in(specs) == set()


def test_options_of_all_entry_points_are_known() -> None:
    assert names_in({"argument_specs": {"main": {"options": {"a": {}}}, "stop": {"options": {"b": {}}}}}) == {"a", "b"}


@pytest.mark.parametrize("role", sorted(path.parents[1].name for path in ROOT.glob("roles/*/defaults/main.yml")))
def test_every_default_of_a_role_stands_in_its_specs(role: str) -> None:
    defaults = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text()) or {}
    specs = {name for path in ROOT.glob("roles/*/meta/argument_specs.yml") for name in names_in(yaml.safe_load(path.read_text()))}
    assert set(defaults) - specs == set()


def test_every_result_that_a_role_registers_under_its_name_is_let_through() -> None:
    """A run would refuse itself: known_variables sees registered results and facts like any variable."""
    known = {name for path in ROOT.glob("roles/*/meta/argument_specs.yml") for name in names_in(yaml.safe_load(path.read_text()))}
    known |= set(yaml.safe_load((ROOT / "roles/stack/vars/main.yml").read_text())["__stack_results"])
    roles = tuple(f"{path.name}_" for path in ROOT.glob("roles/*"))
    pattern = re.compile(r"^\s+register: (\w+)|set_fact:\n\s+(\w+):", re.MULTILINE)
    registered = {match[1] or match[2] for path in ROOT.glob("roles/*/tasks/*.yml") for match in pattern.finditer(path.read_text())}
    assert {name for name in registered if name.startswith(roles)} - known == set()
