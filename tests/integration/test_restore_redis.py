# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore of a Redis instance: the old data or the new ones, whole, whatever happens in between."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis_servers import APPEND_ONLY, RedisServer, docker, redis_image, redis_server

from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Redis
from ansible_collections.nexanest.database.plugins.module_utils._backup_redis import Instance, dump
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis import RedisTarget, RestoreRedisError

ROOT = Path(__file__).resolve().parents[2]
START = ROOT / "roles/redis/files/start-redis"
MARK = f"test-redis-restore-{os.getpid()}"
FAST = "repl-diskless-sync-delay 0\n"
KINDS = {"append-only": APPEND_ONLY + FAST, "snapshots": "appendonly no\nsave 3600 1\n" + FAST}


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "conf", configuration=KINDS[request.param], users=["auth"]) as running:
        yield running


@pytest.fixture
def appending(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "conf", configuration=KINDS["append-only"], users=["auth"]) as running:
        yield running


@dataclasses.dataclass
class Saved:
    """A dump in a folder, and what it said of itself."""

    file: Path
    found: Redis

    def target(self, server: RedisServer, name: str | None = None) -> RedisTarget:
        login = {"login_host": "127.0.0.1", "login_port": server.port, "login_user": "boss", "login_password": server.passwords["boss"], "connect_timeout": 5}
        return RedisTarget(server.container, name or secrets.token_hex(4), self.found, login, MARK, timeout=60)


def save(server: RedisServer, folder: Path) -> Saved:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = dump(Instance("redis", server.container, "backup", server.passwords["backup"]), folder, mark=MARK)
    return Saved(folder / "redis.rdb", found)


def fill(server: RedisServer) -> None:
    """Every type, in several logical databases, some with times to live."""
    boss = server.client("boss")
    boss.set("auth:string", "päss\x00word")
    boss.set("auth:later", "x", ex=100_000)
    boss.hset("hash", mapping={"a": 1, "b": 2})
    boss.execute_command("HPEXPIREAT", "hash", 4_000_000_000_000, "FIELDS", 1, "a")
    boss.rpush("list", *range(2000))
    boss.sadd("set", *range(600), "word")
    boss.zadd("zset", {f"m{number}": number / 3 for number in range(300)})
    boss.xadd("stream", {"field": "one"}, id="5-1")
    boss.xadd("stream", {"field": "two"}, id="5-2")
    boss.xgroup_create("stream", "group", id="0")
    boss.xreadgroup("group", "reader", {"stream": ">"}, count=1)
    boss.setbit("bits", 5000, 1)
    boss.pfadd("hyper", *range(1000))
    boss.geoadd("geo", (13.4, 52.5, "berlin"))
    boss.function_load("#!lua name=lib\nredis.register_function('one', function() return 1 end)")
    pipeline = boss.pipeline()
    for number in (1, 2, 9):
        pipeline.execute_command("SELECT", number)
        pipeline.set(f"in {number}", number)
        pipeline.set(f"later in {number}", number, pxat=4_000_000_000_000)
    pipeline.execute_command("SELECT", 0)
    pipeline.execute()


def contents(server: RedisServer) -> dict[Any, Any]:
    """All that a client can see: every key of every database with its value and its end, functions."""
    found: dict[Any, Any] = {}
    for number in range(16):
        boss = server.client("boss", db=number)
        for key in boss.scan_iter(count=1000):
            found[number, key] = (boss.pexpiretime(key), _value(boss, key))
    found["functions"] = server.client("boss").function_list()
    return found


def _value(boss: Any, key: str) -> Any:
    kind = boss.type(key)
    if kind == "hash":
        return [boss.hgetall(key), boss.execute_command("HPEXPIRETIME", key, "FIELDS", 1, "a")]
    if kind == "stream":
        groups = [{name: value for name, value in group.items() if name != "lag"} for group in boss.xinfo_groups(key)]
        return [boss.xrange(key), groups, boss.xpending_range(key, "group", "-", "+", 10)[0]["message_id"]]
    readers = {"list": lambda: boss.lrange(key, 0, -1), "set": lambda: sorted(boss.smembers(key)), "zset": lambda: boss.zrange(key, 0, -1, withscores=True)}
    return readers[kind]() if kind in readers else boss.execute_command("DUMP", key, NEVER_DECODE=True) and boss.strlen(key)


def names(server: RedisServer) -> list[str]:
    """What lies in the volume."""
    return docker("exec", server.container, "sh", "-c", "cd /data; find . -mindepth 1 -maxdepth 2 | sort").split()


@pytest.mark.parametrize("server", ["append-only", pytest.param("snapshots", marks=pytest.mark.long)], indirect=True)
def test_everything_comes_back_and_goes_again(server: RedisServer, tmp_path: Path) -> None:
    fill(server)
    before = contents(server)
    acl = sorted(server.client("boss").acl_list())
    saved = save(server, tmp_path / "set")
    assert (saved.found.keys, saved.found.expires) == (16, 4)
    server.client("boss").flushall()
    server.client("boss").function_flush()
    server.client("boss").set("written after the dump", 1)
    after = contents(server)
    target = saved.target(server)
    target.prepare(saved.file)
    assert contents(server) == after
    assert not target.swapped()
    target.swap()
    assert contents(server) == before
    assert target.swapped()
    assert sorted(server.client("boss").acl_list()) == acl
    assert set(server.client("boss").config_get("notify-keyspace-events")["notify-keyspace-events"]) == set("AKE")
    assert server.client("auth").get("auth:string") == "päss\x00word"
    server.client("boss").set("written after the swap", 1)
    server.restart()
    assert contents(server).keys() - before.keys() == {(0, "written after the swap")}
    target.unswap()
    assert contents(server) == after
    assert not target.swapped()
    target.swap()
    assert (0, "written after the swap") in contents(server)
    target.drop_old()
    assert not [name for name in names(server) if "restore" in name]
    server.restart()
    assert contents(server).keys() - before.keys() == {(0, "written after the swap")}


@pytest.mark.long
def test_the_way_of_every_guide_starts_empty_and_this_one_does_not(appending: RedisServer, tmp_path: Path) -> None:
    """dump.rdb copied back while the append-only file is on: Redis starts without it, and says nothing (P14)."""
    boss = appending.client("boss")
    boss.set("precious", 1)
    saved = save(appending, tmp_path / "set")
    boss.flushall()
    docker("stop", "--time", "30", appending.container)
    subprocess.run(["docker", "cp", str(saved.file), f"{appending.container}:/data/dump.rdb"], check=True, capture_output=True, timeout=60)
    docker("start", appending.container)
    appending.wait()
    assert appending.client("boss").dbsize() == 0
    target = saved.target(appending)
    target.prepare(saved.file)
    target.swap()
    assert appending.client("boss").keys() == ["precious"]


@pytest.mark.long
def test_a_hundred_thousand_keys_while_a_client_writes(appending: RedisServer, tmp_path: Path) -> None:
    with appending.client("boss").pipeline(transaction=False) as pipeline:
        for number in range(100_000):
            pipeline.set(f"key:{number}", f"value {number}", ex=100_000 if number % 4 == 0 else None)
        pipeline.execute()
    saved = save(appending, tmp_path / "set")
    assert (saved.found.keys, saved.found.expires) == (100_000, 25_000)
    stop = threading.Event()
    target = saved.target(appending)
    target.prepare(saved.file)

    def write() -> None:
        client = appending.client("auth")
        while not stop.is_set():
            try:
                client.set("auth:live", time.time())
            except Exception:  # noqa: BLE001  the server goes away and comes back under this client
                time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        target.swap()
    finally:
        stop.set()
        writer.join()
    boss = appending.client("boss")
    assert boss.dbsize() in (100_000, 100_001)
    assert boss.get("key:77777") == "value 77777"
    assert 90_000 < boss.ttl("key:0") <= 100_000
    assert boss.ttl("key:1") == -1


@pytest.mark.long
def test_keys_whose_time_is_over_are_no_loss(appending: RedisServer, tmp_path: Path) -> None:
    boss = appending.client("boss")
    boss.set("stays", 1)
    boss.set("goes", 1, px=2500)
    boss.hset("hash", mapping={"a": 1})
    boss.execute_command("HPEXPIRE", "hash", 2500, "FIELDS", 1, "a")
    saved = save(appending, tmp_path / "set")
    assert saved.found.keys == 3
    time.sleep(3)
    target = saved.target(appending)
    target.prepare(saved.file)
    target.swap()
    assert appending.client("boss").get("stays") == "1"
    assert appending.client("boss").get("goes") is None
    assert appending.client("boss").hgetall("hash") == {}


def test_an_empty_dump_is_a_restore_too(appending: RedisServer, tmp_path: Path) -> None:
    saved = save(appending, tmp_path / "set")
    appending.client("boss").set("a", 1)
    target = saved.target(appending)
    target.prepare(saved.file)
    target.swap()
    assert appending.client("boss").dbsize() == 0


@pytest.mark.long
def test_two_instances_do_not_meet(tmp_path: Path) -> None:
    with redis_server(tmp_path / "one", configuration=KINDS["append-only"]) as one, redis_server(tmp_path / "two", configuration=KINDS["snapshots"]) as two:
        one.client("boss").set("of", "one")
        two.client("boss").set("of", "two")
        saved = [save(one, tmp_path / "set1"), save(two, tmp_path / "set2")]
        name = secrets.token_hex(4)
        targets = [item.target(live, name) for item, live in zip(saved, (one, two), strict=True)]
        for target, item in zip(targets, saved, strict=True):
            target.prepare(item.file)
        for live in (one, two):
            live.client("boss").flushall()
        targets[0].swap()
        assert (one.client("boss").get("of"), two.client("boss").get("of")) == ("one", None)
        assert [target.swapped() for target in targets] == [True, False]
        targets[1].swap()
        assert (one.client("boss").get("of"), two.client("boss").get("of")) == ("one", "two")


@pytest.mark.long
def test_a_damaged_or_other_dump_is_refused_before_anything_is_touched(appending: RedisServer, tmp_path: Path) -> None:
    appending.client("boss").set("a", "x" * 1000)
    saved = save(appending, tmp_path / "set")
    whole = saved.file.read_bytes()
    target = saved.target(appending)
    for damaged in (whole[:-9], whole + b"\0" * 40, whole[:60] + bytes([whole[60] ^ 1]) + whole[61:], b"", b"REDIS0012"):
        saved.file.write_bytes(damaged)
        with pytest.raises(RestoreRedisError, match="could not prepare Redis"):
            target.prepare(saved.file)
        assert not [name for name in names(appending) if "restore" in name]
    saved.file.write_bytes(whole)
    other = dataclasses.replace(target, wanted=dataclasses.replace(saved.found, keys=2))
    with pytest.raises(RestoreRedisError, match="holds 1 keys, 0 with a time to live, the manifest says 2"):
        other.prepare(saved.file)
    assert appending.client("boss").get("a") == "x" * 1000


def test_more_data_than_maxmemory_is_refused(appending: RedisServer, tmp_path: Path) -> None:
    appending.client("boss").set("a", "x" * 8_000_000)
    saved = save(appending, tmp_path / "set")
    appending.client("boss").flushall()
    appending.write(KINDS["append-only"] + "maxmemory 5mb\nmaxmemory-policy allkeys-lru\n")
    with pytest.raises(RestoreRedisError, match="keys would be evicted at once"):
        saved.target(appending).prepare(saved.file)
    assert not [name for name in names(appending) if "restore" in name]


def test_a_start_script_that_knows_no_exchange_is_refused(appending: RedisServer, tmp_path: Path) -> None:
    saved = save(appending, tmp_path / "set")
    script = appending.folder / "start-redis"
    script.write_text("exec redis-server /etc/nexanest/redis.conf\n")
    with pytest.raises(RestoreRedisError, match=r"run site\.yml first"):
        saved.target(appending).prepare(saved.file)


def test_a_full_volume_leaves_the_live_data_alone(tmp_path: Path) -> None:
    volume = f"td-volume-{secrets.token_hex(4)}"
    docker(
        "volume", "create", "--label", "nexanest.database.test", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=5m,uid=999,gid=999", volume
    )
    try:
        with redis_server(tmp_path / "conf", configuration=KINDS["append-only"], volume=volume) as server:
            boss = server.client("boss")
            boss.config_set("rdbcompression", "no")
            boss.set("big", "x" * 3_000_000)
            saved = save(server, tmp_path / "set")
            boss.set("live", 1)
            with pytest.raises(RestoreRedisError, match=r"No space left.*free some space"):
                saved.target(server).prepare(saved.file)
            assert not [name for name in names(server) if "restore" in name]
            assert server.client("boss").get("live") == "1"
            server.client("boss").set("still writable", 1)
    finally:
        docker("volume", "rm", "--force", volume)


@pytest.mark.long
@pytest.mark.parametrize("server", ["append-only", "snapshots"], indirect=True)
def test_a_server_that_has_to_be_killed_is_not_exchanged(server: RedisServer, tmp_path: Path) -> None:
    """Its grace period ends in the midst of its last snapshot."""
    boss = server.client("boss")
    boss.set("a", 1)
    saved = save(server, tmp_path / "set")
    target = saved.target(server)
    target.prepare(saved.file)
    with boss.pipeline() as pipeline:
        for number in range(20_000):
            pipeline.set(f"key:{number}", 1)
        pipeline.execute()
    boss.config_set("rdb-key-save-delay", 10_000)
    with pytest.raises(RestoreRedisError, match="nothing was exchanged"):
        target.swap()
    assert not target.swapped()
    assert server.client("boss").get("a") == "1"


@pytest.mark.long
def test_sweep_takes_what_is_ours_and_nobody_waits_for(appending: RedisServer, tmp_path: Path) -> None:
    appending.client("boss").set("a", 1)
    saved = save(appending, tmp_path / "set")
    kept, left = saved.target(appending), saved.target(appending)
    for target in (kept, left):
        target.prepare(saved.file)
    docker(
        "exec", appending.container, "sh", "-c",
        "cd /data; mkdir -p .restore-00000001/new.partial .restore-00000002/removed .restore-00000003/old .restore-notours/new; "
        "echo >.restore-00000003/old/dump.rdb; echo >.restore-notours/new/dump.rdb",
    )  # fmt: skip
    assert kept.sweep({kept.id}) == ["00000003"]
    found = {name for name in names(appending) if "restore" in name and name.count("/") == 2}
    assert found == {f"./.restore-{kept.id}/new", "./.restore-00000003/old", "./.restore-notours/new"}
    kept.swap()


KILLER = """#!/bin/sh
# The n-th call of docker kills who called it: all that was done before is done.
count=$(($(cat "$KILL_COUNT") + 1)); echo $count >"$KILL_COUNT"
if [ "$count" = "$KILL_AT" ]; then kill -9 $PPID; exit 1; fi
exec "$KILL_DOCKER" "$@"
"""
PROGRAM = """
import json, sys
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Redis
from ansible_collections.nexanest.database.plugins.module_utils._restore_redis import RedisTarget
from pathlib import Path
given = json.load(sys.stdin)
target = RedisTarget(given["container"], given["id"], Redis(**given["wanted"]), given["login"], given["mark"], 60)
getattr(target, sys.argv[1])(*map(Path, sys.argv[2:]))
"""


def killed(target: RedisTarget, folder: Path, at: int, *operation: str) -> bool:
    """Run an operation in a process that dies with its at-th call of docker; whether it came so far."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/docker").write_text(KILLER)
    (folder / "bin/docker").chmod(0o755)
    (folder / "count").write_text("0")
    environment = {
        **os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "KILL_COUNT": str(folder / "count"), "KILL_AT": str(at),
        "KILL_DOCKER": shutil.which("docker") or "", "PYTHONPATH": str(ROOT / ".ansible_dev"),
    }  # fmt: skip
    given = {"container": target.container, "id": target.id, "wanted": dataclasses.asdict(target.wanted), "login": dict(target.login), "mark": target.mark}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *operation], input=json.dumps(given), env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.long
@pytest.mark.parametrize("finish", ["swap", "unswap"])
def test_a_kill_at_any_step_of_the_swap_is_finished_or_undone(appending: RedisServer, tmp_path: Path, finish: str) -> None:
    boss = appending.client("boss")
    boss.set("which", "restored")
    saved = save(appending, tmp_path / "set")
    boss.set("which", "live")
    target = saved.target(appending)
    target.prepare(saved.file)
    at = 1
    while killed(target, tmp_path, at, "swap"):
        getattr(target, finish)()
        assert target.swapped() is (finish == "swap")
        assert appending.client("boss").get("which") == ("restored" if finish == "swap" else "live")
        assert appending.client("boss").dbsize() == 1
        if finish == "swap":
            target.unswap()
        at += 1
    assert at > 8


@pytest.mark.long
def test_a_kill_at_any_step_of_prepare_and_of_the_cleanup_is_repeated(appending: RedisServer, tmp_path: Path) -> None:
    appending.client("boss").set("which", "restored")
    saved = save(appending, tmp_path / "set")
    target = saved.target(appending)
    at = 1
    while killed(target, tmp_path, at, "prepare", str(saved.file)):
        target.sweep({target.id})
        target.prepare(saved.file)
        target.discard()
        target.discard()
        assert not [name for name in names(appending) if "restore" in name]
        at += 1
    assert at > 5
    at, going = 1, True
    while going:
        target.prepare(saved.file)
        target.swap()
        going = killed(target, tmp_path, at, "drop_old")
        target.drop_old()
        assert not [name for name in names(appending) if "restore" in name]
        assert appending.client("boss").get("which") == "restored"
        at += 1


# In a container whose mv, mkdir, rmdir, rm and sync kill the shell that calls them, the n-th one before or after its work.
DRIVER = """
set -u
mkdir -p /tmp/bin; cd /tmp/bin
for tool in mv mkdir rmdir rm sync; do
    real=$(command -v $tool)
    cat >$tool <<END
#!/bin/sh
count=\\$((\\$(cat /tmp/count) + 1)); echo \\$count >/tmp/count
[ \\$count != "\\$AT" ] || [ "\\$WHEN" != before ] || { kill -9 \\$PPID; exit 1; }
$real "\\$@"; code=\\$?
[ \\$count != "\\$AT" ] || [ "\\$WHEN" != after ] || kill -9 \\$PPID
exit \\$code
END
    chmod 755 $tool
done
cd /data
at=1
while :; do
    for WHEN in before after; do
        rm -rf /data/* /data/.restore*
        mkdir -p appendonlydir .restore-0a0a0a0a/new
        echo live >appendonlydir/aof; echo live >dump.rdb; echo restored >.restore-0a0a0a0a/new/dump.rdb
        echo "0a0a0a0a new old" >.restore-order
        echo 0 >/tmp/count
        AT=$at WHEN=$WHEN PATH=/tmp/bin:$PATH sh /start-redis exchange >/dev/null 2>&1; first=$?
        sh /start-redis exchange >/dev/null || { echo "killed $WHEN step $at: not finished"; exit 1; }
        state="$(cat dump.rdb) $(cat .restore-0a0a0a0a/old/dump.rdb .restore-0a0a0a0a/old/appendonlydir/aof | tr '\\n' ' ')$(ls -A | tr '\\n' ' ')"
        [ "$state" = "restored live live .restore-0a0a0a0a dump.rdb " ] || { echo "killed $WHEN step $at: $state"; exit 1; }
        echo "0a0a0a0a old new" >.restore-order
        echo 0 >/tmp/count
        AT=$at WHEN=$WHEN PATH=/tmp/bin:$PATH sh /start-redis exchange >/dev/null 2>&1
        sh /start-redis exchange >/dev/null || { echo "back, killed $WHEN step $at: not finished"; exit 1; }
        state="$(cat dump.rdb) $(cat appendonlydir/aof) $(cat .restore-0a0a0a0a/new/dump.rdb) $(ls -A | tr '\\n' ' ')"
        [ "$state" = "live live restored .restore-0a0a0a0a appendonlydir dump.rdb " ] || { echo "back, killed $WHEN step $at: $state"; exit 1; }
    done
    [ $first != 0 ] || break
    at=$((at + 1))
done
echo "steps: $at"
"""


def test_a_kill_between_any_two_renames_is_finished_by_the_next_start() -> None:
    folders = ("--tmpfs", "/data:uid=999,mode=0700", "--tmpfs", "/tmp:exec,mode=1777", "--mount", f"type=bind,source={START},target=/start-redis,readonly")
    command = ["docker", "run", "--rm", "--network", "none", "--user", "999:999", *folders, "--entrypoint", "sh", redis_image(), "-c", DRIVER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-1]) > 8


def test_an_order_whose_data_are_gone_starts_no_empty_server(appending: RedisServer) -> None:
    appending.client("boss").set("a", 1)
    docker("exec", appending.container, "sh", "-c", "echo 0a0a0a0a new old >/data/.restore-order")
    docker("stop", "--time", "30", appending.container)
    docker("start", appending.container)
    time.sleep(2)
    logs = subprocess.run(["docker", "logs", appending.container], capture_output=True, text=True, check=True, timeout=30)
    assert "the data of the restore 0a0a0a0a are not there" in logs.stderr
    docker("stop", appending.container)
    mounts = subprocess.run(["docker", "run", "--rm", "--volumes-from", appending.container, "--user", "999:999", "--entrypoint", "rm", redis_image(),
                             "/data/.restore-order"], capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    assert mounts.stderr == ""
    docker("start", appending.container)
    appending.wait()
    assert appending.client("boss").get("a") == "1"
