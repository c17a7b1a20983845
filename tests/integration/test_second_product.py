# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second, different product beside the first: nothing but data differs, and removing it leaves the first alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clients import query
from containers import docker, started
from stack import Ports, Stack, stack_named


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Iterator[Stack]:
    assert stack.healthy()
    second = stack_named("shoptest", Ports(postgres=17432, timescaledb=17433, redis=17379, sessions=17380, pgadmin=17050))
    second.destroy()
    second.write_inventory("shop")
    second.deploy().checked()
    yield second
    second.destroy()


def test_the_second_product_runs_with_its_own_data(stack: Stack, shop: Stack) -> None:
    assert shop.healthy()
    query(shop, "postgres", "catalog", "INSERT INTO catalog.articles (sku, title, price, currency) VALUES ('A-1', 'Chair', 49.90, 'EUR')", user="catalog_app")
    assert query(shop, "postgres", "catalog", "SELECT title FROM catalog.articles", user="catalog_readonly") == [("Chair",)]
    assert query(shop, "timescaledb", "metrics", "SELECT extname FROM pg_extension WHERE extname = 'timescaledb'") == [("timescaledb",)]
    names = {row[0] for row in query(shop, "postgres", "postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate")}
    assert names == {"postgres", "catalog", "orders"}
    assert shop.secret("POSTGRES_PASSWORD") != stack.secret("POSTGRES_PASSWORD")


def test_a_second_run_of_the_second_product_changes_nothing(shop: Stack) -> None:
    assert shop.playbook("site").checked().changed == []


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
