# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Products differ in their data alone: where secrets come from is the same text in each, so that a copied inventory lacks none."""

from __future__ import annotations

from pathlib import Path

INVENTORIES = Path(__file__).resolve().parents[2] / "inventory"


def test_secrets_come_from_the_same_places_in_every_product() -> None:
    files = sorted(INVENTORIES.glob("*/group_vars/all/secrets.yml"))
    assert {path.parts[-4] for path in files} >= {"nexanest", "shop"}
    assert len({path.read_text(encoding="utf-8") for path in files}) == 1
