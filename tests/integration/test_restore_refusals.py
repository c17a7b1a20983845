# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore that cannot succeed touches nothing, and says why in one message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backups import ODD, SHOP, Shop, new_key, shop
from restoring import Restorer

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests

OIDS = "SELECT datname, oid, datallowconn FROM pg_database ORDER BY 1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, str]]:
    with shop(tmp_path_factory.mktemp("shop")) as found:
        result = found.backup()
        assert not result["failed"], result
        yield found, str(result["set"]["id"])


@pytest.fixture
def restorer(made: tuple[Shop, str], tmp_path: Path) -> Restorer:
    """On a copy of the set, which a test may damage."""
    found, name = made
    shutil.copytree(found.folder / name, tmp_path / "backups" / name)
    return Restorer(found.server, tmp_path / "backups", tmp_path / "state", found.identity)


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*.age")), key=lambda path: path.stat().st_size)


def flip(folder: Path) -> None:
    path = largest(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(folder: Path) -> None:
    path = largest(folder)
    path.write_bytes(path.read_bytes()[:-100])


def edit(folder: Path) -> None:
    path = folder / manifests.NAME
    path.write_text(path.read_text(encoding="utf-8").replace('"rows": 500,', '"rows": 501,').replace('"rows": 500', '"rows": 501'), encoding="utf-8")


def newer(folder: Path) -> None:
    document = json.loads((folder / manifests.NAME).read_text(encoding="utf-8"))
    (folder / manifests.NAME).write_text(json.dumps({**document, "format": manifests.FORMAT + 1}), encoding="utf-8")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A manifest that says something else and is none the less valid."""
    document = json.loads((folder / manifests.NAME).read_text(encoding="utf-8"))
    change(document)
    del document["format"], document["sha256"]
    manifest = manifests._load(manifests.Manifest, document, "")
    (folder / manifests.NAME).write_text(manifests.write(manifest), encoding="utf-8")


def newer_server(document: dict[str, Any]) -> None:
    document["servers"]["postgres"].update(version="18.1", version_num=180001)


def strange_extension(document: dict[str, Any]) -> None:
    document["servers"]["postgres"]["databases"][0]["extensions"]["nothing_such"] = "1.0"


def huge(document: dict[str, Any]) -> None:
    document["servers"]["postgres"]["databases"][0]["bytes"] = 10**14


def timescale(document: dict[str, Any]) -> None:
    document["servers"]["postgres"]["databases"][0]["extensions"]["timescaledb"] = "1.0"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(flip, "is damaged", id="a flipped bit"),
        pytest.param(cut, "is damaged", id="a truncated file"),
        pytest.param(lambda folder: largest(folder).unlink(), "is missing from the set", id="a missing file"),
        pytest.param(edit, "was changed after it was written", id="an edited manifest"),
        pytest.param(newer, "use a newer version of the collection", id="a newer format"),
        pytest.param(lambda folder: (folder / manifests.NAME).unlink(), "it has no manifest.json", id="no manifest"),
        pytest.param(lambda folder: rewrite(folder, newer_server), "has PostgreSQL 17, and the set is of 18.1", id="a newer major version"),
        pytest.param(lambda folder: rewrite(folder, strange_extension), "needs the extension nothing_such", id="an extension that is not there"),
        pytest.param(lambda folder: rewrite(folder, timescale), "needs the extension timescaledb", id="another server"),
        pytest.param(lambda folder: rewrite(folder, huge), "MB free, and the restore needs", id="no room"),
    ],
)
def test_what_is_wrong_with_a_set_is_found_before_anything_is_touched(
    made: tuple[Shop, str], restorer: Restorer, damage: Callable[[Path], None], words: str
) -> None:
    _found, name = made
    before = restorer.server.query(OIDS)
    damage(restorer.backups / name)
    assert words in restorer.refused(name)
    predicted = restorer.run(set=name, check=True)
    assert predicted["failed"]
    assert words in predicted["msg"]
    assert restorer.server.query(OIDS) == before
    assert restorer.server.query("SELECT to_regnamespace('_restore')") == [(None,)] or restorer.server.query("SELECT count(*) FROM _restore.databases") == [
        (0,)
    ]
    assert restorer.staging() == []


def lost_object(document: dict[str, Any]) -> None:
    (found,) = [one for one in document["servers"]["postgres"]["databases"] if one["name"] == SHOP]
    assert found["large_objects"] == {"count": 1, "bytes": 210_000}
    found["large_objects"]["count"] = 2


def test_large_objects_are_counted(made: tuple[Shop, str], restorer: Restorer) -> None:
    rewrite(restorer.backups / made[1], lost_object)
    assert "it has 1 large objects of 210000 bytes, it had 2 of 210000" in restorer.refused(made[1], databases=[SHOP], **{"as": "counted"})
    assert restorer.left() == []


def test_an_extra_file_does_no_harm(made: tuple[Shop, str], restorer: Restorer) -> None:
    _found, name = made
    (restorer.backups / name / "postgres" / SHOP / "9999.dat.zst").write_bytes(b"nothing")
    restorer.restored(name, databases=[SHOP], **{"as": "extra"})
    assert restorer.server.query("SELECT count(*) FROM app.users", database="extra") == [(500,)]
    restorer.server.query("DROP DATABASE extra")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"identities": []}, "the set is encrypted", id="no key"),
        pytest.param({"databases": ["nothing"]}, "the set has no database nothing", id="a database that is not there"),
        pytest.param({"as": "copy"}, "name exactly one", id="a copy of two"),
        pytest.param({"databases": [SHOP], "as": ODD}, "has a database of that name", id="a name that is taken"),
        pytest.param({"databases": [SHOP], "as": "ä" * 32}, "64 bytes long", id="a long name"),
        pytest.param({"databases": [SHOP], "as": "postgres"}, "the server's own", id="the server's own name"),
        pytest.param({"servers": []}, "the server postgres of the set is not named", id="no server"),
        pytest.param({"set": "20200101_000000"}, "is no backup set", id="no set"),
        pytest.param({"set": "elsewhere/20200101_000000"}, "neither a set's id nor an absolute path", id="a relative path"),
    ],
)
def test_options_that_cannot_be_are_refused(made: tuple[Shop, str], restorer: Restorer, changed: dict[str, Any], words: str) -> None:
    before = restorer.server.query(OIDS)
    assert words in restorer.refused(**{"name": made[1], **changed}) if "set" not in changed else words in restorer.run(**changed)["msg"]
    assert restorer.server.query(OIDS) == before


def test_a_set_of_another_stack_is_restored_with_a_word(made: tuple[Shop, str], restorer: Restorer) -> None:
    (note,) = restorer.run(set=made[1], stack="market", check=True)["notes"]
    assert note == "the set is of the stack shop, and this is market"
    assert restorer.run(set=made[1], stack="shop", check=True)["notes"] == []


def test_a_wrong_key_is_told_once(made: tuple[Shop, str], restorer: Restorer, tmp_path: Path) -> None:
    other = new_key(tmp_path).read_text(encoding="utf-8")
    said = restorer.refused(made[1], identities=[other])
    assert said.count("the set was made for other keys") == 1


def test_a_backup_and_a_restore_do_not_work_at_once(made: tuple[Shop, str], restorer: Restorer) -> None:
    from ansible_collections.nexanest.database.plugins.module_utils._backup_store import Store

    with Store(restorer.backups).locked("backup", wait=0):
        assert "another run works in" in restorer.refused(made[1], lock_wait=0)


def test_a_server_that_is_not_there_is_named(made: tuple[Shop, str], restorer: Restorer) -> None:
    server = {"name": "postgres", "container": "nothing-such", **restorer.server.login}
    assert "there is no container nothing-such" in restorer.refused(made[1], servers=[server])
    server = {"name": "postgres", "container": restorer.server.container, **restorer.server.login, "login_port": 1}
    assert "could not log in" in restorer.refused(made[1], servers=[server])


def test_check_mode_makes_nothing(made: tuple[Shop, str], restorer: Restorer, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    elsewhere = {"set": str(restorer.backups / made[1]), "backup_dir": str(tmp_path / "none"), "databases": [SHOP], "as": "checked"}
    assert restorer.run(check=True, **elsewhere)["databases"][0]["action"] == "create"
    assert restorer.run(check=True, **{**elsewhere, "set": made[1], "backup_dir": str(restorer.backups)})["changed"]
    assert sorted(tmp_path.rglob("*")) == before


def test_check_mode_leaves_what_a_killed_run_left(made: tuple[Shop, str], restorer: Restorer) -> None:
    left = restorer.backups / ".staging-dead"
    left.mkdir()
    assert restorer.run(set=made[1], check=True, databases=[SHOP], **{"as": "checked"})["changed"]
    assert left.is_dir()
