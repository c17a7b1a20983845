# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery that is cut off between two of its steps: folders and journal alone, without containers."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _recovery_look as looks
from ansible_collections.nexanest.database.plugins.module_utils._archive_state import make_home
from ansible_collections.nexanest.database.plugins.module_utils._connection import ServerUnreachable
from ansible_collections.nexanest.database.plugins.module_utils._exchange import exchange
from ansible_collections.nexanest.database.plugins.module_utils._pgbackrest import BaseBackup, Info, Repository, RepositoryError
from ansible_collections.nexanest.database.plugins.module_utils._recovery_journal import PROMOTED, PROMOTING, READY, UNDOING, Entry
from ansible_collections.nexanest.database.plugins.module_utils._recovery_run import Recovery, Report
from ansible_collections.nexanest.database.plugins.module_utils._recovery_side import Reached, SideFailed, why
from ansible_collections.nexanest.database.plugins.module_utils._recovery_takeover import Takeover
from ansible_collections.nexanest.database.plugins.module_utils._recovery_target import LATEST, Reach, Target
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ArchiveError, Cluster
from ansible_collections.nexanest.database.plugins.modules import postgres_restore_point

PARAMS = {"companion": "", "login_user": "admin", "label": "a=b", "network": "none", "port": 0, "recovery": ""}
ID, LOST = "00aa11bb", "7713188848805994522"


def cluster(folder: Path, which: str = "current") -> Cluster:
    return Cluster(
        name="timescaledb",
        container="no-such-container-of-unit-tests",
        image="sha256:0",
        uid=os.getuid(),
        gid=os.getgid(),
        memory_mb=512,
        pgdata="/var/lib/postgresql/data/pgdata",
        data=folder / "volume" / "pgdata",
        folder=folder / "archive",
        config=folder,
        which=which,
    )


def told(_words: str) -> None:
    """Nobody listens."""


@pytest.fixture
def recovery(tmp_path: Path) -> Recovery:
    """With live data, recovered data beside them, and an archive."""
    found = Recovery(cluster(tmp_path), PARAMS, told)
    (tmp_path / "archive").mkdir()
    make_home(found.cluster)
    for path, text in ((found.data, "live"), (found.data.with_name(f"pgdata.pitr-{ID}"), "recovered")):
        path.mkdir(parents=True)
        (path / "what").write_text(text, encoding="utf-8")
    return found


def entry(recovery: Recovery, phase: str, **more: Any) -> Entry:
    beside = recovery.data.with_name(f"pgdata.pitr-{ID}")
    first = Entry(ID, phase, "time x", "20250531-020000F", "2025-05-31T12:40:00+00:00", beside.stat().st_ino, recovery.data.stat().st_ino)
    return recovery.journal.write(dataclasses.replace(first, **more))


def live(recovery: Recovery) -> str:
    return (recovery.data / "what").read_text(encoding="utf-8")


def marked(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_received_log_of_the_old_timeline_is_put_aside_once(recovery: Recovery) -> None:
    received = recovery.cluster.received
    marked(received, "old")
    Takeover(recovery)._rotate_received(ID)
    assert (names(received), names(received.parent / ID)) == ([], ["old"])
    marked(received, "new")
    Takeover(recovery)._rotate_received(ID)
    assert (names(received), names(received.parent / ID)) == (["new"], ["old"])


def test_a_run_that_died_between_putting_aside_and_the_new_folder_is_finished(recovery: Recovery) -> None:
    received = recovery.cluster.received
    marked(received, "old").rename(received.parent / ID)
    Takeover(recovery)._rotate_received(ID)
    assert (names(received), names(received.parent / ID)) == ([], ["old"])
    assert received.stat().st_mode & 0o077 == 0


def test_received_log_comes_back_and_what_was_received_meanwhile_is_kept(recovery: Recovery) -> None:
    received = recovery.cluster.received
    marked(received, "old")
    Takeover(recovery)._rotate_received(ID)
    marked(received, "new")
    Takeover(recovery)._take_up_received(ID)
    assert (names(received), names(received.parent / f"{ID}.undone")) == (["old"], ["new"])
    Takeover(recovery)._take_up_received(ID)
    assert (names(received), names(received.parent)) == (["old"], [f"{ID}.undone", "current"])


@pytest.mark.parametrize("made", [True, False])
def test_coming_back_is_finished_wherever_it_was_cut_off(recovery: Recovery, *, made: bool) -> None:
    received = recovery.cluster.received
    marked(received.parent / ID, "old")
    marked(received, "new").rename(received.parent / f"{ID}.undone")
    if made:
        received.mkdir()
    Takeover(recovery)._take_up_received(ID)
    assert (names(received), names(received.parent / f"{ID}.undone")) == (["old"], ["new"])


def test_where_nothing_was_put_aside_nothing_comes_back(recovery: Recovery) -> None:
    """As after a crash before the data folders were exchanged: the companion goes on where it is."""
    received = marked(recovery.cluster.received, "going on")
    Takeover(recovery)._take_up_received(ID)
    assert (names(received), names(received.parent)) == (["going on"], ["current"])


@pytest.mark.parametrize("before", ["000000010000000000000007", ""])
def test_how_far_the_old_timeline_was_archived_is_known_again_when_it_comes_back(recovery: Recovery, before: str) -> None:
    """Else the next recovery would follow the timeline that was left, and the companion drop what is not archived."""
    last = recovery.cluster.home / "archived" / "last"
    if before:
        last.write_text(before, encoding="utf-8")
    Takeover(recovery)._rotate_note(ID)
    assert not last.exists()
    last.write_text("000000020000000000000009", encoding="utf-8")
    Takeover(recovery)._rotate_note(ID)
    assert last.read_text(encoding="utf-8") == "000000020000000000000009", "once"
    for _each in range(2):
        Takeover(recovery)._take_up_note(ID)
        assert (last.read_text(encoding="utf-8") if last.exists() else "") == before
    assert names(last.parent) == (["last"] if before else [])


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_two_archives_change_places_however_often_it_is_tried(recovery: Recovery, cut: int) -> None:
    folder, current = recovery.cluster.folder, recovery.cluster.home
    marked(current, "of the new")
    marked(folder / LOST, "of the lost")
    if cut >= 1:
        current.rename(folder / "7799")
    if cut == 2:
        (folder / LOST).rename(current)
    Takeover(recovery)._take_archive(LOST, "7799")
    Takeover(recovery)._take_archive(LOST, "7799")
    assert names(folder) == ["7799", "current"]
    assert "of the lost" in names(current)
    assert "of the new" in names(folder / "7799")
    Takeover(recovery)._take_archive("7799", LOST)
    assert "of the new" in names(current)
    assert "of the lost" in names(folder / LOST)


def test_the_current_archive_stays_where_it_is_that_one(recovery: Recovery) -> None:
    Takeover(recovery)._take_archive("current", "")
    assert names(recovery.cluster.folder) == ["current"]


def test_which_data_are_in_use_is_seen_after_a_crash_between_exchange_and_journal(recovery: Recovery) -> None:
    promoting = entry(recovery, PROMOTING)
    assert not Takeover(recovery)._in_use(promoting.inode)
    Takeover(recovery)._exchange(promoting)
    assert Takeover(recovery)._in_use(promoting.inode)
    assert live(recovery) == "recovered"
    assert Takeover(recovery)._is_kept(promoting)


def test_lost_data_are_replaced_by_a_rename(recovery: Recovery) -> None:
    promoting = entry(recovery, PROMOTING)
    (recovery.data / "what").unlink()
    recovery.data.rmdir()
    Takeover(recovery)._exchange(dataclasses.replace(promoting, replaced=0))
    assert live(recovery) == "recovered"
    assert recovery.kept() == []


def test_folders_that_cannot_be_exchanged_are_said_with_the_way_on(recovery: Recovery) -> None:
    promoting = entry(recovery, PROMOTING)
    recovery.beside(promoting).rename(recovery.data.parent / "elsewhere")
    with pytest.raises(ArchiveError, match="state=undone starts the live server"):
        Takeover(recovery)._exchange(promoting)
    assert live(recovery) == "live"


@pytest.mark.parametrize("phase", [PROMOTED, UNDOING])
def test_what_is_no_more_is_not_put_back_and_the_live_server_is_left_alone(recovery: Recovery, phase: str) -> None:
    before = entry(recovery, phase)
    exchange(recovery.data, recovery.beside(before))
    (recovery.beside(before) / "what").unlink()
    recovery.beside(before).rmdir()
    with pytest.raises(ArchiveError, match="there is nothing to put back"):
        Takeover(recovery).undo(Report(), check=False)
    recovery.beside(before).mkdir()
    recovery.journal.write(dataclasses.replace(before, replaced=0))
    with pytest.raises(ArchiveError, match="there is nothing to put back"):
        Takeover(recovery).undo(Report(), check=False)
    assert live(recovery) == "recovered"


@pytest.mark.parametrize("phase", [PROMOTING, UNDOING])
def test_what_was_cut_off_is_finished_before_anything_else(recovery: Recovery, phase: str) -> None:
    word = "promoted" if phase == PROMOTING else "undone"
    entry(recovery, phase)
    with pytest.raises(ArchiveError, match=f"run state={word} again"):
        recovery.recover(Target(LATEST), Report(), check=False)
    with pytest.raises(ArchiveError, match="finish it first"):
        recovery.clean(Report(), check=False)
    assert len(recovery.kept()) == 1


def test_without_a_recovery_there_is_nothing_to_promote_or_undo(recovery: Recovery) -> None:
    with pytest.raises(ArchiveError, match="recover first"):
        Takeover(recovery).promote(Report(), check=True)
    with pytest.raises(ArchiveError, match="nothing to take back"):
        Takeover(recovery).undo(Report(), check=True)
    entry(recovery, READY)
    with pytest.raises(ArchiveError, match="nothing to take back"):
        Takeover(recovery).undo(Report(), check=True)


def test_folders_whose_journal_is_gone_are_removed_by_the_next_run(recovery: Recovery) -> None:
    """As after a run that was cut off while it removed them: the journal went first, so that nothing half removed is put back."""
    report = Report()
    recovery.clean(report, check=True)
    assert (report.changed, report.kept, len(recovery.kept())) == (True, [f"pgdata.pitr-{ID}"], 1)
    recovery.clean(Report(), check=False)
    assert recovery.kept() == []
    assert live(recovery) == "live"
    again = Report()
    recovery.clean(again, check=False)
    assert not again.changed


def test_a_clean_up_that_was_cut_off_takes_no_way_back(recovery: Recovery, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = dataclasses.asdict(entry(recovery, PROMOTED))
    looked = Entry("22cc33dd", READY, "time y", "20250531-020000F", "2025-05-31T12:50:00+00:00", previous=earlier)
    recovery.journal.write(looked)
    marked(recovery.beside(looked), "looked at")
    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", _cut_off)
    with pytest.raises(KeyboardInterrupt):
        recovery.clean(Report(), check=False)
    monkeypatch.setattr(shutil, "rmtree", remove)
    for changed, kept in ((True, ["pgdata.pitr-22cc33dd"]), (False, []), (False, [])):
        report = Report()
        recovery.clean(report, check=False)
        assert (report.changed, report.kept) == (changed, kept)
    left = recovery.journal.read()
    assert left is not None
    assert (left.id, left.phase, recovery.beside(left).is_dir()) == (ID, PROMOTED, True)


def _cut_off(*_arguments: Any) -> None:
    raise KeyboardInterrupt


def test_a_recovery_that_fails_leaves_no_copy(recovery: Recovery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever it fails: pgBackRest without room, a container that does not start."""
    one = BaseBackup("20250531-020000F", "full", 0, 0, "0/0", "0/0", "0" * 24, "0" * 24, 0, 0)
    plan = looks.Plan(Target(LATEST), one, Reach((one,), datetime(2025, 5, 31, tzinfo=UTC), alive=True), "1", "", 0, 0)
    shutil.rmtree(recovery.data.with_name(f"pgdata.pitr-{ID}"))
    for error in (RepositoryError("No space left on device"), ArchiveError("docker run failed"), OSError(5, "Input/output error")):

        def fail(*_arguments: Any, reason: Exception = error) -> None:
            raise reason

        monkeypatch.setattr(Repository, "restore", fail)
        with pytest.raises(type(error)):
            recovery._recover(Target(LATEST), Report(), plan, None)
        assert (recovery.kept(), recovery.journal.read()) == ([], None)


@pytest.mark.parametrize(
    ("kind", "lsn", "newest", "gap"),
    [
        (LATEST, "0/4034FD0", "000000010000000000000006", True),
        (LATEST, "0/4034FD0", "000000010000000000000004", False),
        (LATEST, "0/5000000", "000000010000000000000005", False),
        (LATEST, "0/4034FD0", "", False),
        ("time", "0/4034FD0", "000000010000000000000006", False),
    ],
)
def test_log_behind_the_end_of_a_recovery_is_a_gap(recovery: Recovery, kind: str, lsn: str, newest: str, *, gap: bool) -> None:
    one = BaseBackup("x", "full", 0, 0, "0/0", "0/0", "0" * 24, "0" * 24, 0, 0)
    moment = datetime(2025, 5, 31, tzinfo=UTC)
    plan = looks.Plan(Target(kind), one, Reach((one,), moment, alive=True), "1", newest, 0, 0)
    reached = Reached(lsn, "2025-05-31 12:00:00+00", 1, recovering=True, done=True)
    if gap:
        with pytest.raises(SideFailed, match=r"the log has a gap.*name a target before 2025-05-31 12:00:00"):
            recovery._refuse_gap(Target(kind), plan, reached)
    else:
        recovery._refuse_gap(Target(kind), plan, reached)


def test_each_quarter_of_a_restore_is_told_once(tmp_path: Path) -> None:
    heard: list[str] = []
    hear = Recovery(cluster(tmp_path), {}, heard.append)._quarters()
    for percent in (0.01, 0.5, 24.9, 25.1, 26, 49.9, 80, 80.1, 99.99, 100, 100):
        hear(f"P01 DETAIL: restore file /data/x (8KB, {percent:.2f}%) checksum 1c")
    hear("P00 INFO: restore size = 29MB, file total = 1290")
    assert heard == ["restored 25 %", "restored 75 %", "restored 100 %"]


def test_the_last_trace_of_a_dead_server_is_the_newest_of_several(tmp_path: Path) -> None:
    """A companion that died before the server leaves old log, but the archive went on."""
    here = cluster(tmp_path)
    (tmp_path / "archive").mkdir()
    make_home(here)
    info = Info("7", (BaseBackup("x", "full", 0, 1000, "0/0", "0/0", "0" * 24, "0" * 24, 0, 0),))
    assert looks.last_heard(here, info, {}).timestamp() == 1000
    for path, moment in ((here.received / "000000010000000000000004.partial", 2000), (here.home / "archived" / "last", 3000)):
        path.write_text("000000010000000000000003\n", encoding="utf-8")
        os.utime(path, (moment, moment))
        assert looks.last_heard(here, info, {}).timestamp() == moment
    assert looks.last_heard(here, info, {"received": {"000000010000000000000005.partial": 4000}}).timestamp() == 4000


@pytest.mark.parametrize(
    ("archived", "received", "followed"),
    [
        # A receiver that was away since a recovery has what that left, and a place in it that is further.
        (("000000020000000000000007", 3000), {"000000010000000000000008": 2000}, "2"),
        # One that received to the end has a timeline of which nothing was archived yet.
        (("000000010000000000000007", 3000), {"000000010000000000000008": 2000, "000000020000000000000008.partial": 4000}, "2"),
        # A recovery that was undone: its timeline is the newer one, and nobody is on it.
        (("000000010000000000000009", 5000), {"000000020000000000000008.partial": 4000}, "1"),
    ],
)
def test_the_timeline_of_a_lost_cluster_is_that_of_what_was_written_last(
    tmp_path: Path, archived: tuple[str, int], received: dict[str, int], followed: str
) -> None:
    here = cluster(tmp_path, LOST)
    (tmp_path / "archive").mkdir()
    make_home(here)
    files = {here.home / "archived" / "last": archived[1], **{here.received / name: moment for name, moment in received.items()}}
    for path, moment in files.items():
        path.write_text(f"{archived[0]}\n", encoding="utf-8")
        os.utime(path, (moment, moment))
    assert looks.timeline(here, tmp_path, {}) == followed
    for name in received:
        (here.received / name).unlink()
    assert looks.timeline(here, tmp_path, {"received": received}) == followed


def test_of_a_cluster_that_ran_before_the_live_server_is_not_asked(tmp_path: Path) -> None:
    here = cluster(tmp_path, LOST)
    info = Info(LOST, (BaseBackup("x", "full", 0, 1000, "0/0", "0/0", "0" * 24, "0" * 24, 0, 0),))
    found = looks.reach(here, info, {}, touch=True)
    assert not found.alive
    assert found.newest.timestamp() == 1000


def test_a_history_is_found_with_the_live_data_or_as_it_was_received(tmp_path: Path) -> None:
    here = cluster(tmp_path)
    (tmp_path / "archive").mkdir()
    make_home(here)
    (here.data / "pg_wal").mkdir(parents=True)
    assert looks.history(here, here.data, "2") == ""
    (here.received / "00000002.history").write_text("received", encoding="utf-8")
    assert looks.history(here, here.data, "2") == "received"
    (here.received / "00000002.history").rename(marked(here.received.parent / ID, "x") / "00000002.history")
    assert looks.history(here, here.data, "2") == "received"
    (here.data / "pg_wal" / "00000002.history").write_text("live", encoding="utf-8")
    assert looks.history(here, here.data, "2") == "live"
    assert looks.history(here, here.data, "10") == ""
    assert looks.history(here, here.data, "latest") == ""


def test_a_name_whose_run_was_cut_off_is_used_up(tmp_path: Path) -> None:
    """Its point may be in the log, and a recovery ends at the first of a name."""
    (tmp_path / "current").mkdir()
    params = {"name": "before", "archive_dir": str(tmp_path), "login_host": "127.0.0.1", "login_port": 5432}
    assert postgres_restore_point.plan(params).name == "before"
    line = '{"name": "before", "lsn": "", "moment": "2025-05-31T12:34:56.789012+00:00"}'
    (tmp_path / "current" / looks.POINTS).write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(postgres_restore_point.Refused, match=r"the run that made it was cut off.*choose another name"):
        postgres_restore_point.plan(params)


def test_a_name_is_not_used_up_by_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    login = {"login_host": "127.0.0.1", "login_port": 1, "login_user": "x", "login_password": "x", "login_db": "postgres", "connect_timeout": 2}
    with pytest.raises(ServerUnreachable):
        postgres_restore_point.apply({"name": "before", "archive_dir": str(tmp_path), **login})
    assert looks.noted(tmp_path / "current") == []


def test_a_port_that_is_none_is_one_sentence(recovery: Recovery) -> None:
    with pytest.raises(ArchiveError, match=r"the port 70000 .* cannot be had"):
        dataclasses.replace(recovery, params={**PARAMS, "port": 70000})._refuse_port(None)


def test_notes_that_a_crash_cut_off_are_passed_over(tmp_path: Path) -> None:
    line = '{"name": "%s", "lsn": "0/4034DE8", "moment": "2025-05-31T12:34:56.789012+00:00"}'
    assert looks.noted(tmp_path) == []
    (tmp_path / looks.POINTS).write_text(f'\n{line % "one"}\n\n{{"name": "half\n{line % "two"}\n', encoding="utf-8")
    assert [point.name for point in looks.noted(tmp_path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "LOG:  last completed transaction was at log time 2025-05-31 12:34:54.912345+00\n"
            "FATAL:  recovery ended before configured recovery target was reached",
            "the log ends before the target: its last transaction is of 2025-05-31 12:34:54.912345.00. Leave the target out",
        ),
        ("FATAL:  recovery ended before configured recovery target was reached", "there is no transaction in it after the base backup"),
        (
            "FATAL:  recovery aborted because of insufficient parameter settings\nDETAIL:  max_connections = 20 is a lower setting than on the primary server, "
            "where its value was 100.\nHINT:  You can restart the server after making the necessary configuration changes.",
            "max_connections = 20 is a lower setting .* Raise it",
        ),
        ("FATAL:  the database system is starting up\nFATAL:  requested timeline 9 is not a child", "the recovery ended: requested timeline 9 is not a child"),
        ("ERROR: [029]: cipher header invalid\nwal-get: pgBackRest ended with 29 for 0000", "cipher header invalid; wal-get: pgBackRest ended with 29"),
        ("FATAL:  the database system is starting up", "its log says nothing"),
        ("", "its log says nothing"),
    ],
)
def test_why_a_recovery_ended_is_told_with_what_to_do(text: str, words: str) -> None:
    assert re.search(words, why(text)), why(text)
