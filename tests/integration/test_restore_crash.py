# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A swap of two servers is killed before each of its statements and file operations; the next run makes all of it new, or all of it old."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from modules import run_module
from restoring import Restorer
from servers import Server, postgres_server

from ansible_collections.nexanest.database.plugins.module_utils import _connection
from ansible_collections.nexanest.database.plugins.module_utils import _restore_ledger as ledger
from ansible_collections.nexanest.database.plugins.module_utils import _restore_swap as swaps
from ansible_collections.nexanest.database.plugins.module_utils import _restore_swap_all as swap_all
from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import FORWARD, Entry, Journal
from ansible_collections.nexanest.database.plugins.module_utils._restore_parties import ERRORS, Parties

NAMES = ("a", "b")


@dataclasses.dataclass
class Pair:
    """Two servers whose database `one` says old, and whose copies, kept after an undo, say new."""

    servers: dict[str, Server]
    restorer: Restorer
    entry: Entry

    @property
    def journal(self) -> Journal:
        return Journal(self.restorer.state)

    def backup(self, *, check: bool = False, **more: Any) -> dict[str, Any]:
        """A set of both."""
        sources = [{"kind": "postgresql", **one} for one in self.restorer.more["servers"]]
        given = {"backup_dir": str(self.restorer.backups), "stack": "t", "servers": sources, "encrypt": False}
        return run_module("backup_set", {**given, **more}, check)

    def words(self) -> list[str]:
        """What the databases in use say; each must take connections."""
        return [server.query("SELECT word FROM t", database="one")[0][0] for server in self.servers.values()]

    @contextlib.contextmanager
    def parties(self) -> Iterator[tuple[Parties, list[Any]]]:
        with contextlib.closing(Parties({"disconnect": False, "redis": [], **self.restorer.arguments()})) as parties:
            yield parties, parties.targets(self.entry)

    def forward(self) -> None:
        with self.parties() as (_parties, targets):
            swap_all.forward_or_back(self.journal, self.entry, targets, ERRORS)

    def backward(self) -> None:
        with self.parties() as (_parties, targets):
            swap_all.backward(self.journal, self.entry, targets)

    def recover(self, *, undo: bool) -> None:
        with self.parties() as (parties, _targets):
            entry = self.journal.open()
            if entry is not None:
                swap_all.recover(self.journal, entry, lambda name: parties.target(name, entry), ERRORS, undo=undo)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with postgres_server(prefix="ra") as a, postgres_server(prefix="rb") as b:
        servers = dict(zip(NAMES, (a, b), strict=True))
        for server in servers.values():
            server.query("CREATE DATABASE one")
            server.query("CREATE TABLE t (word text)", database="one")
            server.query("INSERT INTO t VALUES ('new')", database="one")
        more = {"login_db": "postgres", "connect_timeout": 10}
        given = [{"name": name, "container": server.container, **server.login, **more} for name, server in servers.items()]
        restorer = Restorer(a, folder / "backups", folder / "state", more={"servers": given})
        found = Pair(servers, restorer, Entry("", "", list(NAMES), FORWARD, "2026-01-01T00:00:00.000+00:00"))
        made = found.backup()
        assert not made["failed"], made
        for server in servers.values():
            server.query("UPDATE t SET word = 'old'", database="one")
        result = restorer.restored(made["set"]["id"])
        restorer.undone()
        found.entry = dataclasses.replace(found.entry, restore=result["restore"], set=made["set"]["id"])
        assert found.words() == ["old", "old"]
        yield found


class Killer:
    """Counts what a process does to servers and files, and ends it before a number of them."""

    def __init__(self, at: int) -> None:
        self.at, self.done = at, 0

    def count(self) -> None:
        self.done += 1
        if self.done == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        killer = self

        class Cursor(psycopg2.extensions.cursor):
            def execute(self, *arguments: Any) -> None:  # type: ignore[override]
                killer.count()
                super().execute(*arguments)

        connect = psycopg2.connect
        _connection.psycopg2.connect = lambda **options: connect(cursor_factory=Cursor, **options)  # type: ignore[assignment]
        for owner, name in ((Path, "rename"), (Path, "unlink"), (os, "fsync")):
            self._wrap(owner, name)

    def _wrap(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.count()
            return real(*arguments, **options)

        setattr(owner, name, wrapped)


def killed(work: Callable[[], None], at: int) -> int | None:
    """Run it in a process of its own, which is killed before its step `at`; how many steps it had where it came to its end."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)

    def child() -> None:
        killer = Killer(at)
        killer.install()
        work()
        sending.send(killer.done)

    process = context.Process(target=child)
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return int(receiving.recv()) if process.exitcode == 0 else None


def steps_of(pair: Pair, work: Callable[[], None]) -> int:
    count = killed(work, -1)
    assert count is not None
    return count


@pytest.mark.parametrize("every", [pytest.param(9, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)])
@pytest.mark.parametrize("undo", [False, True], ids=["finished", "undone"])
def test_a_restore_that_is_killed_in_its_swap_is_finished_or_undone(pair: Pair, every: int, undo: bool) -> None:
    count = steps_of(pair, pair.forward)
    assert pair.words() == ["new", "new"]
    pair.backward()
    for at in range(1 + undo, count + 1, every):
        ended = killed(pair.forward, at)
        assert ended is None or at > count - 3, f"step {at} of {count} was not reached, but it had waited less"
        begun = pair.journal.open() is not None
        pair.recover(undo=undo)
        expected = ["new", "new"] if begun and not undo else ["old", "old"]
        words = pair.words()
        if not begun and words == ["new", "new"]:
            expected = words  # it was killed after the journal was closed, or had ended
        assert words == expected, f"killed before step {at} of {count}"
        assert pair.journal.open() is None
        pair.backward()
        assert pair.words() == ["old", "old"]


@pytest.mark.parametrize("every", [pytest.param(9, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)])
def test_an_undo_that_is_killed_is_finished(pair: Pair, every: int) -> None:
    pair.forward()
    count = steps_of(pair, pair.backward)
    assert pair.words() == ["old", "old"]
    for at in range(1, count + 1, every):
        pair.forward()
        assert pair.words() == ["new", "new"]
        assert killed(pair.backward, at) is None
        begun = pair.journal.open() is not None
        pair.recover(undo=False)  # what was on its way back goes on its way back
        words = pair.words()
        assert words == ["old", "old"] if begun else words in (["old", "old"], ["new", "new"]), f"killed before step {at} of {count}"
        pair.backward()
        assert pair.words() == ["old", "old"]


def test_workers_that_were_ended_for_a_swap_are_woken_when_it_is_taken_back(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[str] = []

    def fail(_server: Any, _name: str) -> None:
        raise swaps.SwapError("it ends here")

    with pair.parties() as (_parties, targets):
        target = targets[0]
        moves = [target._inward(row) for row in target._rows()]
        monkeypatch.setattr(swaps, "_quiet", fail)
        monkeypatch.setattr(swaps, "wake", lambda _server, name, _jobs: woken.append(name))
        with pytest.raises(swaps.SwapError, match="it ends here"):
            swaps.exchange(target.server, moves, ledger.LIVE, disconnect=False)
    assert woken == ["one"]
    assert pair.words() == ["old", "old"]


def test_the_module_finishes_what_was_cut_off_before_anything_else(pair: Pair) -> None:
    count = steps_of(pair, pair.forward)
    pair.backward()
    assert killed(pair.forward, count * 2 // 3) is None
    assert (pair.restorer.state / "restore.json").exists()
    for check in (True, False):
        refused = pair.backup(check=check, state_dir=str(pair.restorer.state))
        assert refused["failed"]
        assert f"finish it (make db-restore SET={pair.entry.set}) or undo it (make db-restore STATE=undone)" in refused["msg"]
    result = pair.restorer.run(state="undone")
    assert not result["failed"], result
    assert result["changed"]
    assert "cut off" in " ".join(result["notes"])
    assert pair.words() == ["old", "old"]
    assert killed(pair.forward, count * 2 // 3) is None
    result = pair.restorer.restored(pair.entry.set)
    assert pair.words() == ["new", "new"]
    assert pair.journal.open() is None
    pair.restorer.undone()
    pair.restorer.cleaned(restore=result["restore"] or None)
