# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second, different product beside the first: nothing but data differs, and removing it leaves the first alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from clients import query
from containers import docker, started
from stack import Ports, Run, Stack, changed_objects, stack_named

SHOP = Ports(postgres=17432, timescaledb=17433, redis=17379, sessions=17380, pgadmin=17050)
PLANNED = Ports(postgres=19432, timescaledb=19433, redis=19379, sessions=19380, pgadmin=19050)
# What a run makes inside the servers. Settings and users of Redis are planned too, but a first start brings them by its files.
INSIDE = {"database", "role", "role settings", "schema", "extension", "default privileges", "migration"}


@contextlib.contextmanager
def product(name: str, ports: Ports) -> Iterator[Stack]:
    """inventory/shop under another name, not deployed yet; removed afterwards."""
    second = stack_named(name, ports)
    second.destroy()
    second.write_inventory("shop")
    try:
        yield second
    finally:
        second.destroy()


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Iterator[Stack]:
    """The second product beside the first."""
    assert stack.healthy()
    with product("shoptest", SHOP) as second:
        second.deploy().checked()
        yield second


def test_a_check_from_nothing_plans_the_second_product() -> None:
    with product("plancheck", PLANNED) as second:
        planned = _objects(second.playbook("site", check=True).checked())
    assert {("database", "catalog", "create"), ("database", "orders", "create"), ("role", "catalog_app", "create")} <= planned
    assert not any("nexanest" in name for _kind, name, _action in planned)


# From here on it is deployed, a stack more: make test-long.
@pytest.mark.long
def test_the_plan_from_nothing_is_what_the_run_did() -> None:
    with product("plantest", PLANNED) as second:
        planned = second.playbook("site", check=True).checked()
        assert started(second.name) == {}
        done = second.deploy().checked()
        assert _objects(planned) == _objects(done)
        assert ("role", "catalog_app", "create") in _objects(done)
        containers = {row["name"] for task in planned.changed for row in task["objects"] if row["kind"] == "container"}
        assert containers == set(started(second.name))


def _objects(run: Run) -> set[tuple[str, str, str]]:
    return {row for row in changed_objects(run.changed) if row[0] in INSIDE}


@pytest.mark.long
def test_the_second_product_runs_with_its_own_data(stack: Stack, shop: Stack) -> None:
    assert shop.healthy()
    query(shop, "postgres", "catalog", "INSERT INTO catalog.articles (sku, title, price, currency) VALUES ('A-1', 'Chair', 49.90, 'EUR')", user="catalog_app")
    assert query(shop, "postgres", "catalog", "SELECT title FROM catalog.articles", user="catalog_readonly") == [("Chair",)]
    assert query(shop, "timescaledb", "metrics", "SELECT extname FROM pg_extension WHERE extname = 'timescaledb'") == [("timescaledb",)]
    names = {row[0] for row in query(shop, "postgres", "postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate")}
    assert names == {"postgres", "catalog", "orders"}
    assert shop.secret("POSTGRES_PASSWORD") != stack.secret("POSTGRES_PASSWORD")


@pytest.mark.long
def test_a_second_run_of_the_second_product_changes_nothing(shop: Stack) -> None:
    assert shop.playbook("site").checked().changed == []


@pytest.mark.long
def test_destroying_the_second_product_leaves_the_first_alone(stack: Stack, shop: Stack) -> None:
    before = started(stack.name)
    refused = shop.playbook("destroy", "-e", f"stack_destroy_confirm={stack.name}")
    assert refused.rc != 0
    assert len(started(shop.name)) == 4
    shop.playbook("destroy", "-e", f"stack_destroy_confirm={shop.name}").checked()
    label = f"label=nexanest.database.stack={shop.name}"
    assert [docker(kind, "ls", "--quiet", "--filter", label) for kind in ("container", "volume", "network")] == ["", "", ""]
    assert started(stack.name) == before
    assert stack.healthy()
    assert shop.env_file.exists()
    assert shop.playbook("destroy", "-e", f"stack_destroy_confirm={shop.name}").checked().changed == []
