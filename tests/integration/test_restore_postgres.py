# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restored database is what it was when the set was made, in everything; and what it replaced comes back with one command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from backups import ODD, SHOP, Shop, shop
from restoring import Restorer, picture


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, str, dict[str, object]]]:
    """A shop, a set of it, and what its databases were then."""
    with shop(tmp_path_factory.mktemp("shop")) as found:
        result = found.backup()
        assert not result["failed"], result
        yield found, result["set"]["id"] if isinstance(result.get("set"), dict) else result["id"], {name: picture(found.server, name) for name in (SHOP, ODD)}


@pytest.fixture
def restorer(made: tuple[Shop, str, dict[str, object]], tmp_path: Path) -> Restorer:
    found = made[0]
    return Restorer(found.server, found.folder, tmp_path / "state", found.identity)


@pytest.mark.long
def test_a_set_comes_back_equal_and_can_be_undone(made: tuple[Shop, str, dict[str, object]], restorer: Restorer) -> None:
    found, name, before = made
    found.server.query("DELETE FROM app.orders WHERE id > 100; DROP MATERIALIZED VIEW app.totals", database=SHOP)
    found.server.query("GRANT CONNECT ON DATABASE shop TO PUBLIC")
    damaged = picture(found.server, SHOP)
    result = restorer.restored(name)
    assert result["changed"]
    assert {row["name"]: row["action"] for row in result["databases"]} == {f"postgres/{SHOP}": "replace", f"postgres/{ODD}": "replace"}
    assert {database: picture(found.server, database) for database in before} == before
    assert len(result["kept"]) == 2

    again = restorer.restored(name)
    assert not again["changed"], again
    assert not restorer.undone()["failed"]
    assert picture(found.server, SHOP) == damaged
    assert not restorer.undone()["changed"]
    assert restorer.cleaned()["changed"]
    assert restorer.left() == []
    assert not restorer.cleaned()["changed"]
    assert restorer.staging() == []
