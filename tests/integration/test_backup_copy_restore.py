# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of a machine is a bucket and a key: a set of a real server comes back out of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from backups import SHOP, shop
from modules import run_module
from restoring import Restorer, picture
from s3_server import s3_server


def test_a_set_is_restored_out_of_the_bucket_after_the_folder_is_lost(tmp_path: Path) -> None:
    with s3_server(tmp_path / "s3") as server, shop(tmp_path) as found:
        server.client.create_bucket(Bucket="backups")
        taken = found.backup()
        assert not taken["failed"], taken
        name = taken["set"]["id"]
        copy = {"backup_dir": str(found.folder), "stack": "shop", **server.login("backups", "shop")}
        copied = run_module("backup_copy", copy)
        assert not copied["failed"], copied
        before = picture(found.server, SHOP)
        shutil.rmtree(found.folder)
        found.server.query("DROP TABLE app.orders CASCADE; DELETE FROM app.users", database=SHOP)
        fetched = run_module("backup_copy", {**copy, "state": "fetched", "id": name})
        assert not fetched["failed"], fetched
        Restorer(found.server, found.folder, tmp_path / "state", found.identity).restored(name)
        assert picture(found.server, SHOP) == before
        assert not run_module("backup_copy", copy)["changed"]
