# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills of real sets in real throw-away servers: good ones pass, each kind of damage fails, and nothing stays or touches the live servers."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from backups import BACKUP_ROLE, ODD, SHOP, Shop, new_key, shop
from modules import run_module, start_module
from redis_servers import RedisServer, docker, redis_server
from servers import Server
from stack import ROOT, Run, ansible_playbook
from timescale import Market, market, timescale_server

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests
from ansible_collections.nexanest.database.plugins.module_utils._backup_files import Opener
from ansible_collections.nexanest.database.plugins.module_utils._drill_checks import Checks

BEHIND = "behind"
BEHIND_CONTENT = (
    "CREATE TABLESPACE spare LOCATION '/data/spare'",
    f"CREATE DATABASE {BEHIND} TABLESPACE spare",
    f"GRANT CONNECT ON DATABASE {BEHIND} TO {BACKUP_ROLE}",
    "CREATE FUNCTION f(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n'",
    "CREATE TABLE t (id serial PRIMARY KEY, n int)",
    "CREATE INDEX spoilt ON t (f(n))",
    "INSERT INTO t (n) SELECT generate_series(1, 100)",
    "INSERT INTO t VALUES (200, 1)",
)
# On both editions; an awake one would be run at once.
JOB = """
INSERT INTO _timescaledb_config.bgw_job (id, application_name, schedule_interval, max_runtime, max_retries, retry_period, proc_schema, proc_name, owner,
  scheduled, fixed_schedule) VALUES (4000, 'a', '1 day', '0', 0, '1 day', 'pg_catalog', 'now', 'market_owner'::regrole, true, true)
"""
NOTE = "the sequence public.t_id_seq is at 100, and t.id has 200: as in the live database"


@dataclass
class Drilled:
    """A set over three servers, and a folder of sets of a test's own."""

    shop: Shop
    timescale: Server
    redis: RedisServer
    set: str
    folder: Path

    def copy(self, folder: Path) -> Drilled:
        """The same set in another folder, for a test to spoil."""
        shutil.copytree(self.folder / self.set, folder / self.set)
        return Drilled(self.shop, self.timescale, self.redis, self.set, folder)

    def change(self, **kept: Any) -> dict[str, Any]:
        """The manifest as data, of these servers and instances alone; save() writes it, with the checksum that fits."""
        document = dict(json.loads((self.folder / self.set / manifests.NAME).read_text(encoding="utf-8")))
        for kind in ("servers", "redis"):
            for name in set(document[kind]) - set(kept.get(kind, document[kind])):
                shutil.rmtree(self.folder / self.set / name, ignore_errors=True)
                del document[kind][name]
        if not document["redis"]:
            shutil.rmtree(self.folder / self.set / "redis", ignore_errors=True)
        document["files"] = [file for file in document["files"] if (self.folder / self.set / file["path"]).exists()]
        return document

    def save(self, document: dict[str, Any]) -> None:
        plain = {key: value for key, value in document.items() if key not in ("format", "sha256")}
        path = self.folder / self.set / manifests.NAME
        path.write_text(manifests.write(manifests._load(manifests.Manifest, plain, "")), encoding="utf-8")

    def arguments(self, **changed: Any) -> dict[str, Any]:
        servers = [
            {"name": "postgres", "container": self.shop.server.container, "superuser": self.shop.server.user},
            {"name": "timescaledb", "container": self.timescale.container, "superuser": self.timescale.user},
        ]
        redis = [{"name": "main", "container": self.redis.container}]
        given = {"backup_dir": str(self.folder), "stack": "shop", "servers": servers, "redis": redis, "identities": [self.shop.identity], "memory_mb": 512}
        return {**given, **changed}

    def run(self, *, check: bool = False, **changed: Any) -> dict[str, Any]:
        return run_module("restore_drill", self.arguments(**changed), check)

    def history(self) -> list[dict[str, Any]]:
        file = self.folder / ".drills" / "drills.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def litter(self) -> list[str]:
        """Folders and containers of drills."""
        return [path.name for path in self.folder.iterdir() if path.name.startswith(".drill-")] + self.containers()

    def containers(self) -> list[str]:
        argv = ["docker", "ps", "--all", "--format", "{{.Names}}", "--filter", f"label=nexanest.database.bulk={self.folder} drill"]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.split()

    def failed(self, **changed: Any) -> str:
        """What a drill says that fails, and leaves nothing."""
        result = self.run(**changed)
        assert result["failed"], result
        assert self.history()[-1]["result"] == "failed"
        assert self.litter() == []
        return str(result["msg"])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drilled]:
    """One set of everything; nobody changes it."""
    folder = tmp_path_factory.mktemp("drill")
    with shop(folder) as source, timescale_server() as timescale, redis_server(folder / "conf") as redis:
        _fill(market(timescale, "market"), redis)
        docker("exec", source.server.container, "mkdir", "--mode=0700", "/data/spare")
        for statement in BEHIND_CONTENT:
            source.server.query(statement, database="postgres" if "DATABASE" in statement or "TABLESPACE" in statement else BEHIND)
        given = source.arguments()["servers"][0]
        second = {"name": "timescaledb", "kind": "timescaledb", "container": timescale.container, **timescale.login}
        third = {"name": "main", "container": redis.container, "login_user": "backup", "login_password": redis.passwords["backup"]}
        made = source.backup(servers=[given, second], redis=[third])
        assert not made["failed"], made
        yield Drilled(source, timescale, redis, str(made["set"]["id"]), source.folder)


def _fill(ticks: Market, redis: RedisServer) -> None:
    ticks.converge()
    ticks.fill(3000)
    ticks.query("CREATE TABLE market.symbols (symbol text PRIMARY KEY, n int); INSERT INTO market.symbols SELECT 'S' || n, n FROM generate_series(1, 20) n")
    ticks.query(JOB)
    for number, keys in ((0, 40), (2, 7)):
        client = redis.client("boss", db=number)
        for key in range(keys):
            client.set(f"key {key}", key, ex=3600 if key % 2 else None)
        client.close()


def test_a_good_set_passes_and_leaves_nothing_but_a_line(good: Drilled) -> None:
    live = _live(good)
    predicted = good.run(check=True)
    assert not predicted["failed"], predicted
    assert (predicted["changed"], good.history()) == (True, [])
    result = good.run()
    assert not result["failed"], result["msg"]
    assert (result["changed"], result["content"], result["result"], result["notes"]) == (True, True, "passed", [f"postgres/{BEHIND}: {NOTE}"])
    assert (result["diff"], result["plan"], result["needs"]) == (predicted["diff"], predicted["plan"], predicted["needs"])
    rows = {unit["name"]: unit.get("rows", unit.get("keys")) for unit in result["databases"]}
    assert rows == {
        f"postgres/{SHOP}": 7500,
        f"postgres/{ODD}": 10,
        f"postgres/{BEHIND}": 101,
        "timescaledb/market": rows["timescaledb/market"],
        "redis/main": 47,
    }
    assert rows["timescaledb/market"] > 3000
    assert result["checks"] > 500
    (line,) = good.history()
    assert (line["result"], line["set"], line["keys"], line["content"], line["problems"]) == ("passed", good.set, 47, True, [])
    assert line["rto"] > 0
    assert line["rpo"] >= 0
    assert stat.S_IMODE((good.folder / ".drills" / "drills.jsonl").stat().st_mode) == 0o600
    assert good.litter() == []
    assert _live(good) == live
    again = good.run(unless_newer_than="1h")
    assert (again["changed"], again["failed"], again["last"]["at"]) == (False, False, line["at"])
    assert len(good.history()) == 1


def _live(good: Drilled) -> list[Any]:
    """What a drill must not touch."""
    names = [good.shop.server.container, good.timescale.container, good.redis.container]
    started = subprocess.run(["docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *names], capture_output=True, text=True, check=True, timeout=30)
    found: list[Any] = [started.stdout]
    for server in (good.shop.server, good.timescale):
        found += [server.query("SELECT oid, datname FROM pg_database ORDER BY 1"), server.query("SELECT oid, rolname FROM pg_roles ORDER BY 1")]
        found.append(server.query("SELECT to_regclass('_restore.databases')"))
    client = good.redis.client("boss")
    found += [client.dbsize(), client.config_get("maxmemory")]
    client.close()
    return found


@pytest.mark.long
def test_what_the_manifest_says_otherwise_fails_and_one_database_hides_no_other(good: Drilled, tmp_path: Path) -> None:
    spoilt = good.copy(tmp_path)
    document = spoilt.change(servers=["postgres"], redis=["main"])
    databases = {one["name"]: one for one in document["servers"]["postgres"]["databases"]}
    databases[ODD]["tables"][0]["rows"] += 1
    (orders,) = [table for table in databases[SHOP]["tables"] if table["name"] == "orders"]
    assert orders["sample"]["rows"] > 100
    orders["sample"]["sha256"] = "0" * 64
    counts = document["redis"]["main"]["databases"]
    assert counts == {"0": {"keys": 40, "expires": 20}, "2": {"keys": 7, "expires": 3}}
    counts["2"]["keys"], counts["0"]["keys"] = 6, 41
    spoilt.save(document)
    said = spoilt.failed()
    assert "public.t has 10 rows, it had 11" in said
    assert f"the first {orders['sample']['rows']} rows of app.orders are others" in said
    assert "redis/main: its database 2 has 4 keys without and 3 with a time to live, the set says 3 and 3" in said
    assert spoilt.history()[-1]["rto"] is None


def test_another_number_of_keys_fails(good: Drilled, tmp_path: Path) -> None:
    spoilt = good.copy(tmp_path)
    document = spoilt.change(servers=[])
    document["redis"]["main"]["keys"] += 1
    spoilt.save(document)
    assert "the dump holds 47 keys" in spoilt.failed()


def test_a_flipped_bit_fails_before_any_server_is_started(good: Drilled, tmp_path: Path) -> None:
    spoilt = good.copy(tmp_path)
    path = sorted((tmp_path / good.set / "postgres" / SHOP).glob("*.zst.age"))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert f"{path.name} is damaged" in spoilt.failed()
    assert f"{path.name} is damaged" in spoilt.failed(identities=[])


def test_without_a_key_the_checksums_alone_are_compared_and_that_is_said(good: Drilled, tmp_path: Path) -> None:
    one = good.copy(tmp_path)
    result = one.run(identities=[], servers=[], redis=[])
    assert (result["failed"], result["result"], result["content"], result["rto"]) == (False, "passed", False, None)
    assert "its content is not proven" in result["notes"][0]
    assert one.history()[-1]["content"] is False
    assert not one.run(identities=[], unless_newer_than="1h")["changed"]
    assert one.run(check=True, unless_newer_than="1h")["changed"], "with a key there is more to prove"
    other = one.run(identities=[new_key(tmp_path).read_text(encoding="utf-8")])
    assert (other["failed"], other["result"], other["content"]) == (False, "passed", False), "a key of something else is none"


def test_what_cannot_work_is_refused_before_anything_is_started(good: Drilled, tmp_path: Path) -> None:
    one = good.copy(tmp_path)
    document = one.change(servers=["postgres"], redis=[])
    document["servers"]["postgres"]["databases"][0]["bytes"] = 10**15
    one.save(document)
    result = one.run(memory_mb=10**6)
    assert (result["failed"], result["refused"], len(result["problems"])) == (True, True, 2)
    assert "MB on the file system of the sets" in result["msg"]
    assert "MB of memory" in result["msg"]
    absent = one.run(servers=[{"name": "postgres", "image": "nexanest-database/postgres:none"}])
    assert "the image nexanest-database/postgres:none is not on this host" in absent["msg"]
    assert "is not named in the options" in one.run(servers=[])["msg"]
    assert [line["result"] for line in one.history()] == ["refused"] * 3
    assert one.litter() == []
    nothing = run_module("restore_drill", {"backup_dir": str(tmp_path), "stack": "other"})
    assert "there is no backup set of other" in nothing["msg"]


@pytest.mark.parametrize(
    ("how", "moment"),
    [
        (signal.SIGKILL, "the tools"),
        (signal.SIGTERM, "the server"),
        *(pytest.param(signal.SIGKILL, one, marks=pytest.mark.long) for one in ("the server", "Redis")),
    ],
)
def test_one_that_is_killed_leaves_nothing_when_the_next_one_has_run(good: Drilled, tmp_path: Path, how: int, moment: str) -> None:
    one = good.copy(tmp_path)
    one.save(one.change(servers=[]) if moment == "Redis" else one.change(servers=["postgres"], redis=[]))
    run = start_module("restore_drill", one.arguments())
    _await(one, moment)
    run.send_signal(how)
    run.communicate(timeout=60)
    if how == signal.SIGKILL:
        assert list(tmp_path.glob(".drill-*/plain")), "it had ended already"
        assert one.run(identities=[])["result"] == "passed"
        assert "it was cut off" in one.history()[0]["problems"][0]
    else:
        assert "ended by a signal" in one.history()[0]["problems"][0]
    assert one.history()[0]["result"] == "failed"
    assert one.litter() == []


def _await(one: Drilled, moment: str) -> None:
    """Wait until a drill is so far."""
    least = 2 if moment == "the tools" else 1
    deadline = time.monotonic() + 60
    while len(one.containers()) < least:
        assert time.monotonic() < deadline, f"the drill did not come to {moment}"
        time.sleep(0.02)


def test_the_verb_drills_a_set_and_the_status_says_so(good: Drilled, tmp_path: Path) -> None:
    one = good.copy(tmp_path / "sets")
    one.save(one.change(servers=[]))
    done = play(one, tmp_path, "restore_drill").checked()
    assert "redis/main: 47 keys" in done.stdout
    assert f"The set {good.set} is proven: restored and checked in" in done.stdout
    document = one.change()
    document["redis"]["main"]["expires"] += 1
    one.save(document)
    assert play(one, tmp_path, "restore_drill").rc != 0
    said = run_module("stack_info", {"stack": "shop", "services": [], "backups": {"dir": str(one.folder), "drill_overdue_after": "8d"}})
    assert said["status"]["overall"] == "red"
    assert "restore drill: the last one" in said["report"]
    assert f"failed on the set {good.set}: redis/main: " in said["report"]


@pytest.mark.long
def test_the_verb_says_what_it_did_not_prove_and_that_nothing_was_to_do(good: Drilled, tmp_path: Path) -> None:
    one = good.copy(tmp_path / "sets")
    said = play(one, tmp_path, "restore_drill", backup_key_file="/nonexistent").checked().stdout
    assert "is NOT proven, as no key" in " ".join(said.split())
    again = play(one, tmp_path, "restore_drill", backup_key_file="/nonexistent", backup_drill_unless_newer_than="1h")
    assert "Nothing was to do" in again.checked().stdout
    assert one.history()[0]["content"] is False


def play(one: Drilled, tmp_path: Path, name: str, **variables: Any) -> Run:
    """A playbook of a stack that has this Redis alone."""
    inventory = tmp_path / "inventory" / "shop" / "hosts.yml"
    inventory.parent.mkdir(parents=True, exist_ok=True)
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    service = {"service": "main", "kind": "redis", "container": one.redis.container, "port": one.redis.port}
    keys = {"backup_key_file": str(one.shop.key), "backup_identities": [one.shop.identity]}
    values = {"stack_name": "shop", "stack_services": [service], "backup_dir": str(one.folder), **keys, **variables}
    inventory.write_text(json.dumps({"database": {"hosts": {"localhost": local}, "vars": values}}))
    return ansible_playbook(ROOT / "playbooks" / f"{name}.yml", "--inventory", str(inventory))


def test_a_damaged_index_a_sequence_that_was_not_set_and_other_rows_are_seen(good: Drilled, tmp_path: Path) -> None:
    server = good.shop.server
    manifest = manifests.read((good.folder / good.set / manifests.NAME).read_text(encoding="utf-8"))
    (database,) = [one for one in manifest.servers["postgres"].databases if one.name == BEHIND]
    contents = tmp_path / "toc.dat"
    Opener(good.folder / good.set, (good.shop.identity,)).open(manifest.file(f"postgres/{BEHIND}/toc.dat.age"), contents)
    with contextlib.closing(server.connect(BEHIND)) as session:
        session.cursor().execute("SET search_path = pg_catalog")
        found = Checks(session, database, contents, "it").run()
        assert (found.problems, found.notes) == ([], [f"it: {NOTE}"])
        server.query("CREATE OR REPLACE FUNCTION f(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -n'; SELECT setval('t_id_seq', 7)", database=BEHIND)
        server.query("UPDATE t SET n = 3 WHERE id = 5; DROP EXTENSION amcheck", database=BEHIND)
        problems = Checks(session, database, contents, "it").run().problems
    assert len(problems) == 3, problems
    assert "the first 300 rows of public.t are others" in problems[0]
    assert "the sequence public.t_id_seq stands at 7, the set says 100" in problems[1]
    assert "the index public.spoilt is damaged" in problems[2]
