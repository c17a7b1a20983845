# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One set over PostgreSQL and Redis: one command brings all of it back, one takes it back again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from modules import run_module
from redis_servers import RedisServer, redis_server
from restoring import Restorer
from servers import Server, postgres_server

from ansible_collections.nexanest.database.plugins.module_utils._restore_journal import Journal
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis_side import RedisSide
from ansible_collections.nexanest.database.plugins.module_utils._restore_run import Report, Restore, opened
from ansible_collections.nexanest.database.plugins.module_utils._restore_swap_all import TakenBack
from ansible_collections.nexanest.database.plugins.module_utils._restore_target import TargetError


@dataclass
class Whole:
    """Two services whose data say "new" in the set, and "old" in use."""

    postgres: Server
    redis: RedisServer
    restorer: Restorer
    set: str

    def words(self) -> tuple[str, str]:
        return self.postgres.query("SELECT word FROM t", database="one")[0][0], str(self.redis.client("boss").get("word"))

    def set_words(self, word: str) -> None:
        self.postgres.query("UPDATE t SET word = %s", word, database="one")
        client = self.redis.client("boss")
        client.set("word", word)
        client.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("whole")
    with postgres_server(prefix="rw") as postgres, redis_server(folder / "conf") as redis:
        postgres.query("CREATE DATABASE one")
        postgres.query("CREATE TABLE t (word text); INSERT INTO t VALUES ('')", database="one")
        more = {"login_db": "postgres", "connect_timeout": 10}
        server = {"name": "postgres", "container": postgres.container, **postgres.login, **more}
        login = {"login_host": "127.0.0.1", "login_user": "boss", "login_password": redis.passwords["boss"], "connect_timeout": 10}
        instance = {"name": "main", "container": redis.container, "login_port": redis.port, **login}
        found = Whole(postgres, redis, Restorer(postgres, folder / "backups", folder / "state", more={"servers": [server], "redis": [instance]}), "")
        found.set_words("new")
        source = {"name": "main", "container": redis.container, "login_user": "backup", "login_password": redis.passwords["backup"]}
        made = run_module(
            "backup_set",
            {
                "backup_dir": str(folder / "backups"),
                "stack": "t",
                "servers": [{"kind": "postgresql", **server}],
                "redis": [source],
                "encrypt": False,
            },
        )
        assert not made["failed"], made
        found.set = made["set"]["id"]
        found.set_words("old")
        yield found


@pytest.mark.long
def test_the_whole_stack_comes_back_and_is_undone(whole: Whole) -> None:
    predicted = whole.restorer.run(set=whole.set, check=True, disconnect=True)
    assert not predicted["failed"], predicted
    assert whole.words() == ("old", "old")
    result = whole.restorer.restored(whole.set, disconnect=True)
    assert (result["databases"], result["diff"]) == (predicted["databases"], predicted["diff"])
    assert [row["name"] for row in result["databases"]] == ["postgres/one", "redis/main"]
    assert whole.words() == ("new", "new")
    assert not whole.restorer.restored(whole.set, disconnect=True)["changed"]
    whole.restorer.undone(disconnect=True)
    assert whole.words() == ("old", "old")
    assert len(whole.restorer.cleaned()["removed"]) == 2
    assert whole.words() == ("old", "old")


def test_one_that_was_cut_off_between_postgres_and_redis_is_finished_or_undone(whole: Whole) -> None:
    for undo in (False, True):
        whole.set_words("old")
        cut_off(whole)
        assert whole.words() == ("new", "old")
        result = whole.restorer.run(state="undone", disconnect=True) if undo else whole.restorer.run(set=whole.set, disconnect=True)
        assert not result["failed"], result
        assert "had been cut off" in result["notes"][0]
        assert whole.words() == (("old", "old") if undo else ("new", "new"))
        assert Journal(whole.restorer.state).open() is None
    whole.restorer.cleaned()


def test_clients_of_redis_stop_the_swap(whole: Whole) -> None:
    whole.set_words("old")
    client = whole.redis.client("boss")
    client.get("word")
    assert "a client is connected to redis/main" in whole.restorer.refused(whole.set)
    client.close()
    assert whole.words() == ("old", "old")


def cut_off(whole: Whole) -> None:
    """What a run leaves that dies when the first of two targets is swapped."""

    class Died(Exception):
        pass

    def die(_self: Any) -> None:
        raise Died

    from ansible_collections.nexanest.database.plugins.module_utils import _restore_run
    from ansible_collections.nexanest.database.plugins.module_utils._restore_redis_side import RedisSide

    params = {"state": "restored", "disconnect": True, "progress_file": "", "databases": [], "as": None, "jobs": 2, **whole.restorer.arguments(set=whole.set)}
    report = _restore_run.Report()
    swap, discard = RedisSide.swap, _restore_run.Restore._discard
    RedisSide.swap, _restore_run.Restore._discard = die, lambda *_arguments: []  # type: ignore[method-assign, assignment]
    try:
        with contextlib.suppress(Died), _restore_run.opened(params) as run:
            assert isinstance(run, Restore)
            run.restore(report, check=False)
    finally:
        RedisSide.swap, _restore_run.Restore._discard = swap, discard  # type: ignore[method-assign]


@pytest.mark.long
def test_what_a_cleanup_has_removed_cannot_be_undone(whole: Whole) -> None:
    result = whole.restorer.restored(whole.set, databases=["redis/main"], disconnect=True)
    note = whole.restorer.state / "restores" / f"{result['restore']}.json"
    text = note.read_text(encoding="utf-8")
    whole.restorer.cleaned()
    note.write_text(text, encoding="utf-8")  # killed before the journal forgot it
    said = whole.restorer.run(state="undone", disconnect=True)
    whole.restorer.cleaned()
    assert said["failed"], "nothing was put back"
    assert "are gone" in said["msg"]
    whole.set_words("old")


@pytest.mark.long
def test_roles_that_a_kept_copy_needs_do_not_make_a_swap_half_done(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    whole.postgres.query("CREATE ROLE keeper")
    whole.postgres.query("ALTER TABLE t OWNER TO keeper", database="one")
    source = {**whole.restorer.more["servers"][0], "kind": "postgresql"}
    login = {"login_user": "backup", "login_password": whole.redis.passwords["backup"]}
    redis = {"name": "main", "container": whole.redis.container, **login}
    made = run_module("backup_set", {"backup_dir": str(whole.restorer.backups), "stack": "t", "servers": [source], "redis": [redis], "encrypt": False})
    assert not made["failed"], made
    whole.postgres.query("REASSIGN OWNED BY keeper TO CURRENT_USER", database="one")
    whole.postgres.query("DROP ROLE keeper")
    whole.set_words("older")

    def stuck(_side: RedisSide) -> None:
        raise TargetError("it is stuck")

    monkeypatch.setattr(RedisSide, "swap", stuck)
    params = {"as": "", "jobs": 1, "disconnect": True, "progress_file": "", "state": "restored", "databases": [], "set": made["set"]["id"]}
    with pytest.raises(TakenBack, match="it is stuck"), opened({**whole.restorer.arguments(), **params}) as run:
        run.restore(Report(), check=False)
    assert whole.words() == ("older", "older")
    assert Journal(whole.restorer.state).open() is None
    whole.restorer.cleaned()
    whole.postgres.query("DROP ROLE keeper")
