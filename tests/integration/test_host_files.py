# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders and files that belong together: proven before the first is replaced, right before it has contents, and as before after whatever goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from modules import run_module, start_module

SECRET = "s3cret 'of' the \"server\"\nand more\n"


def wanted(folder: Path, *, conf: str = "port = 1\n", hba: str = "local all\n", **changed: Any) -> dict[str, Any]:
    """A server's folder: a check, two files that it checks, a secret, and a password that is made once."""
    conf_dir, secrets = folder / "etc" / "conf", folder / "etc" / "secrets"
    check = f"/bin/sh {conf_dir}/check %s"
    return {
        "folders": [{"path": str(conf_dir), "mode": "0755"}, {"path": str(secrets), "owner": "999", "mode": "0500"}],
        "files": [
            {"path": f"{conf_dir}/check", "content": 'if grep -q wrong "$1"; then echo "line 1 of $1 is wrong" >&2; exit 1; fi\n', "mode": "0644"},
            {"path": f"{conf_dir}/conf", "content": conf, "mode": "0644", "validate": check},
            {"path": f"{conf_dir}/hba", "content": hba, "mode": "0644", "validate": check},
            {"path": f"{secrets}/pass", "owner": "999", "group": "daemon", "mode": "0400"},
            {"path": f"{secrets}/once", "owner": "999", "mode": "0400", "replace": False},
        ],
        "secrets": {f"{secrets}/pass": SECRET, f"{secrets}/once": "first"},
        **changed,
    }


def picture(folder: Path) -> dict[str, Any]:
    """Owner, group, mode and contents of all that is there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        contents = path.read_text(encoding="utf-8") if path.is_file() else ""
        found[str(path.relative_to(folder))] = (status.st_uid, status.st_gid, f"{status.st_mode & 0o7777:04o}", contents)
    return found


def converge(arguments: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    result = run_module("host_files", arguments, check)
    assert not result["failed"], result["msg"]
    return result


def refused(arguments: dict[str, Any]) -> str:
    result = run_module("host_files", arguments)
    assert result["failed"], result
    return str(result["msg"])


def test_a_check_predicts_the_run_and_the_second_run_changes_nothing(tmp_path: Path) -> None:
    predicted = converge(wanted(tmp_path), check=True)
    assert picture(tmp_path) == {}
    made = converge(wanted(tmp_path))
    assert (made["changed"], made["diff"], made["objects"]) == (predicted["changed"], predicted["diff"], predicted["objects"])
    there = picture(tmp_path)
    assert there["etc/conf"] == (0, 0, "0755", "")
    assert there["etc/secrets"] == (999, 999, "0500", "")
    assert there["etc/conf/conf"] == (0, 0, "0644", "port = 1\n")
    assert there["etc/secrets/pass"] == (999, 1, "0400", SECRET)
    assert len(there) == 8
    for check in (True, False):
        again = converge(wanted(tmp_path), check=check)
        assert (again["changed"], again["diff"], again["objects"]) == (False, {"before": "", "after": ""}, [])
    assert picture(tmp_path) == there


def test_what_differs_is_shown_and_mended_and_what_is_made_once_stays(tmp_path: Path) -> None:
    converge(wanted(tmp_path))
    conf, secrets = tmp_path / "etc" / "conf", tmp_path / "etc" / "secrets"
    (conf / "hba").chmod(0o666)
    (secrets / "pass").write_text("old", encoding="utf-8")
    os.chown(secrets / "once", 0, 0)
    secrets.chmod(0o755)
    arguments = wanted(tmp_path, conf="port = 2\n")
    arguments["secrets"][f"{secrets}/once"] = "second"
    predicted = converge(arguments, check=True)
    made = converge(arguments)
    assert made["diff"] == predicted["diff"]
    assert [row["name"] for row in made["objects"]] == [str(path) for path in (secrets, conf / "conf", conf / "hba", secrets / "pass", secrets / "once")]
    assert "port = 1" in made["diff"]["before"]
    assert "port = 2" in made["diff"]["after"]
    assert "content: (another secret)" in made["diff"]["before"]
    there = picture(tmp_path)
    assert there["etc/secrets/once"] == (999, 999, "0400", "first")
    assert there["etc/secrets/pass"] == (999, 1, "0400", SECRET)
    assert there["etc/conf/hba"][2] == "0644"
    assert not converge(arguments)["changed"]


def test_no_secret_is_told(tmp_path: Path) -> None:
    for check in (True, False):
        run = start_module("host_files", wanted(tmp_path), check=check)
        stdout, stderr = run.communicate(timeout=60)
        assert '"changed": true' in stdout
        assert "s3cret" not in stdout + stderr


def test_a_refused_file_leaves_all_that_are_checked_as_they_were(tmp_path: Path) -> None:
    converge(wanted(tmp_path))
    before = picture(tmp_path)
    said = refused(wanted(tmp_path, conf="port = 2\n", hba="wrong\n"))
    assert said == f"{tmp_path}/etc/conf/hba was left as it was, its new contents would be refused: line 1 of {tmp_path}/etc/conf/hba is wrong"
    assert picture(tmp_path) == before
    other = tmp_path / "new"
    assert "is wrong" in refused(wanted(other, hba="wrong\n"))
    assert sorted(picture(other)) == ["etc", "etc/conf", "etc/conf/check", "etc/secrets"]


def test_a_check_that_cannot_run_is_none(tmp_path: Path) -> None:
    arguments = wanted(tmp_path)
    arguments["files"][1]["validate"] = "/no/such/program %s"
    assert "its check could not run" in refused(arguments)
    assert not (tmp_path / "etc" / "conf" / "conf").exists()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for little."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=True, timeout=30)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True, timeout=30)


def test_a_full_disk_leaves_all_as_they_were(small: Path) -> None:
    converge(wanted(small))
    before = picture(small)
    said = refused(wanted(small, conf="port = 2\n", hba="x" * 100_000))
    assert said == f"{small}/etc/conf/hba cannot be written: No space left on device"
    assert picture(small) == before


def test_a_killed_run_leaves_the_old_files_and_the_next_one_tidies_up(tmp_path: Path) -> None:
    converge(wanted(tmp_path))
    before = picture(tmp_path)
    arguments = wanted(tmp_path, conf="port = 2\n")
    arguments["files"][1]["validate"] = "sh -c 'sleep 60' %s"
    run = start_module("host_files", arguments)
    candidate = tmp_path / "etc" / "conf" / ".conf.new"
    deadline = time.monotonic() + 30
    while not candidate.exists() or candidate.read_text(encoding="utf-8") != "port = 2\n":
        assert time.monotonic() < deadline, "no candidate was written"
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=30)
    left = picture(tmp_path)
    assert left.pop("etc/conf/.conf.new") == (0, 0, "0644", "port = 2\n")
    assert left == before
    assert not converge(wanted(tmp_path))["changed"]
    assert picture(tmp_path) == before


def test_links_are_followed_where_that_is_wanted_and_never_written_through(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "etc").symlink_to(elsewhere)
    converge(wanted(tmp_path))
    assert (elsewhere / "conf" / "conf").exists()
    arguments = wanted(tmp_path)
    arguments["folders"].insert(0, {"path": str(tmp_path / "etc"), "mode": "0700"})
    arguments["follow"] = False
    assert refused(arguments) == f"{tmp_path}/etc is a symbolic link, where a folder of the stack belongs: look at what it is, and move it away"

    target = tmp_path / "target"
    target.write_text("kept", encoding="utf-8")
    conf = elsewhere / "conf" / "conf"
    conf.unlink()
    conf.symlink_to(target)
    assert "state: no regular file" in converge(wanted(tmp_path))["diff"]["before"]
    assert target.read_text(encoding="utf-8") == "kept"
    assert conf.read_text(encoding="utf-8") == "port = 1\n"
    assert not conf.is_symlink()


def test_a_link_that_a_service_put_into_its_own_folder_is_never_followed(tmp_path: Path) -> None:
    """The folders above those that are converged are the host's own: its links are."""
    victim, host = tmp_path / "victim", tmp_path / "host"
    (victim / "repository").mkdir(parents=True)
    host.mkdir()
    (tmp_path / "link").symlink_to(host)
    archive = tmp_path / "link" / "archive"
    folders = [{"path": str(archive / name), "owner": "999", "mode": "0700"} for name in ("", "current", "current/repository")]
    file = {"path": str(archive / "current" / "conf"), "content": "x", "mode": "0644"}
    converge({"folders": folders, "files": [file], "follow": False})
    assert (host / "archive" / "current" / "conf").exists()
    (host / "archive" / "current").rename(host / "archive" / "aside")
    (host / "archive" / "current").symlink_to(victim)
    for given in ({"folders": [folders[0], folders[2]], "follow": False}, {"folders": folders[:1], "files": [file]}, {"folders": [folders[0], folders[2]]}):
        assert f"{archive}/current" in refused(given)
    assert sorted(picture(victim)) == ["repository"]
    assert picture(victim)["repository"][:3] == (0, 0, "0755")


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc" / "conf" / "conf").mkdir(parents=True)
    assert refused(wanted(tmp_path)).startswith(f"{tmp_path}/etc/conf/conf is a folder, where a file of the stack belongs")
    other = tmp_path / "other"
    (other / "etc").mkdir(parents=True)
    (other / "etc" / "conf").write_text("", encoding="utf-8")
    assert refused(wanted(other)).startswith(f"{other}/etc/conf is no folder, where a folder of the stack belongs")
    assert sorted(picture(other)) == ["etc", "etc/conf"]
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nothing")
    for path in (dangling, dangling / "below"):
        assert "to something that is not there" in refused({"folders": [{"path": str(path), "mode": "0755"}]})
    third = tmp_path / "third"
    (third / "etc" / "conf" / ".conf.new").mkdir(parents=True)
    for check in (True, False):
        result = run_module("host_files", wanted(third), check)
        assert f"{third}/etc/conf/.conf.new is a folder, where the new contents of conf belong" in result["msg"]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"owner": "nobody-here"}, "this host has no user nobody-here"),
        ({"group": "nobody-here"}, "this host has no group nobody-here"),
        ({"mode": "644"}, "give four octal digits"),
        ({"mode": "0849"}, "give four octal digits"),
        ({"path": "conf"}, "conf is no absolute path"),
        ({"content": None}, "must be given once"),
        ({"validate": "true"}, "must have %s"),
        ({"validate": "true '%s"}, "is no command: No closing quotation"),
        ({"owner": "4294967295"}, "this host has no user 4294967295"),
        ({"owner": "99999999999"}, "this host has no user 99999999999"),
        ({"content": "\udc80"}, "are no text that can be written as UTF-8"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(tmp_path: Path, file: dict[str, Any], said: str) -> None:
    for check in (True, False):
        result = run_module("host_files", {"files": [{"path": str(tmp_path / "conf"), "content": "", "mode": "0644", **file}]}, check)
        assert said in result["msg"]
    assert picture(tmp_path) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"files": [("lost/conf", "")]}, "lost is no folder, and is not among those to make"),
        ({"files": [("conf", ""), ("conf", "")]}, "conf is given twice"),
        ({"files": [("conf", "")], "folders": ["conf"]}, "conf is given twice"),
        ({"files": [("../conf", "")]}, "have no .. in it"),
        ({"files": [("conf", None)], "secrets": {"conf": None}}, "must be a text"),
        ({"files": [("conf", "")], "secrets": {"other": "x"}}, "no file has this path"),
    ],
)
def test_input_that_does_not_fit_together_is_refused_in_both_modes(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    arguments = {
        "files": [{"path": f"{tmp_path}/{path}", "content": content, "mode": "0644"} for path, content in given["files"]],
        "folders": [{"path": f"{tmp_path}/{path}", "mode": "0755"} for path in given.get("folders", [])],
        "secrets": {f"{tmp_path}/{path}": content for path, content in given.get("secrets", {}).items()},
    }
    for check in (True, False):
        result = run_module("host_files", arguments, check)
        assert result["failed"]
        assert said in result["msg"]
    assert picture(tmp_path) == {}


def test_a_path_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    file = {"path": f"{tmp_path}//conf", "mode": "0600"}
    converge({"files": [file], "secrets": {f"{tmp_path}/./conf": "x"}})
    assert picture(tmp_path)["conf"][2:] == ("0600", "x")


def test_contents_that_no_file_wants_are_refused(tmp_path: Path) -> None:
    assert "no file has this path" in refused({"secrets": {str(tmp_path / "conf"): "x"}})
