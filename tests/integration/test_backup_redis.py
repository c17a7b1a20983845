# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dump of a running Redis: whole while clients write, or no file and one sentence."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import inspect
from redis_servers import RedisServer, docker, redis_server

from ansible_collections.nexanest.database.plugins.module_utils._backup_redis import Instance, RedisDumpError, dump

MARK = f"test-redis-dump-{os.getpid()}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    configuration = "appendonly yes\nsave 3600 1\nrepl-diskless-sync-delay 0\n"
    with redis_server(tmp_path_factory.mktemp("redis") / "conf", configuration=configuration) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(server: RedisServer) -> None:
    server.client("boss").flushall()


def instance(server: RedisServer, password: str | None = None) -> Instance:
    return Instance("redis", server.container, "backup", password or server.passwords["backup"])


def test_a_dump_counts_what_it_holds(server: RedisServer, tmp_path: Path) -> None:
    boss = server.client("boss")
    boss.set("plain", 1)
    boss.set("later", 1, ex=1000)
    boss.execute_command("SELECT", 3)
    boss.config_set("save", "3600 1")
    boss.hset("hash", mapping={"field": 1})
    boss.execute_command("HEXPIRE", "hash", 1000, "FIELDS", 1, "field")
    boss.function_load("#!lua name=lib\nredis.register_function('one', function() return 1 end)")
    found = dump(instance(server), tmp_path, mark=MARK)
    assert (found.keys, found.expires, found.expired) == (3, 1, 0)
    assert found.version == boss.info("server")["redis_version"]
    assert found.path == "redis/redis.rdb"
    assert [path.name for path in tmp_path.iterdir()] == ["redis.rdb"]
    assert (tmp_path / "redis.rdb").stat().st_mode & 0o777 == 0o600


def test_keys_whose_time_is_over_are_counted_apart(server: RedisServer, tmp_path: Path) -> None:
    server.client("boss").set("soon", 1, px=1500)
    server.client("boss").set("stays", 1)
    found = dump(instance(server), tmp_path, mark=MARK)
    assert found.keys - found.expires == 1
    assert found.expired <= found.expires <= 1


def test_an_empty_server_is_dumped(server: RedisServer, tmp_path: Path) -> None:
    found = dump(instance(server), tmp_path, mark=MARK)
    assert (found.keys, found.expires, found.expired) == (0, 0, 0)


def test_a_dump_is_one_moment_while_clients_write(server: RedisServer, tmp_path: Path) -> None:
    """Each transaction sets a pair: an odd number of keys would be half of one."""
    boss = server.client("boss")
    with boss.pipeline(transaction=False) as pipeline:
        for number in range(50_000):
            pipeline.set(f"key:{number}", "x" * 200)
        pipeline.execute()
    stop = threading.Event()
    written = [0]

    def write() -> None:
        client = server.client("boss")
        while not stop.is_set():
            with client.pipeline(transaction=True) as pipeline:
                pipeline.set(f"left:{written[0]}", 1).set(f"right:{written[0]}", 1).execute()
            written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = dump(instance(server), tmp_path, mark=MARK)
    finally:
        stop.set()
        writer.join()
    assert written[0] > 100
    assert 50_000 < found.keys <= 50_000 + 2 * written[0]
    assert found.keys % 2 == 0


def test_a_wrong_password_leaves_no_file(server: RedisServer, tmp_path: Path) -> None:
    with pytest.raises(RedisDumpError, match=r"WRONGPASS.*run site.yml"):
        dump(instance(server, "not this one"), tmp_path, mark=MARK)
    assert not list(tmp_path.iterdir())


def test_a_user_without_the_right_leaves_no_file(server: RedisServer, tmp_path: Path) -> None:
    user = Instance("redis", server.container, "converge", server.passwords["converge"])
    with pytest.raises(RedisDumpError, match=r"NOPERM.*run site.yml"):
        dump(user, tmp_path, mark=MARK)
    assert not list(tmp_path.iterdir())


def test_no_password_stands_in_arguments_or_environment(server: RedisServer, tmp_path: Path) -> None:
    boss = server.client("boss")
    boss.set("a", 1)
    boss.config_set("repl-diskless-sync-delay", 3)
    seen: list[str] = []

    def look(_bytes: int) -> None:
        if seen:
            return  # at its end the container would go while it is looked at
        for name in docker("ps", "--filter", f"label=nexanest.database.bulk={MARK}", "--format", "{{.Names}}").split():
            document = str(inspect(name))
            seen.append(document)
            for pid in docker("top", name, "-eo", "pid").split()[1:]:
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it ended meanwhile
                    seen.extend(Path("/proc", pid, part).read_text(errors="replace") for part in ("cmdline", "environ"))

    try:
        dump(instance(server), tmp_path, mark=MARK, progress=look)
    finally:
        boss.config_set("repl-diskless-sync-delay", 0)
    assert any("--askpass" in text for text in seen)
    assert not any(server.passwords["backup"] in text for text in seen)


def test_a_server_that_stops_sending_is_given_up(server: RedisServer, tmp_path: Path) -> None:
    docker("pause", server.container)
    try:
        began = time.monotonic()
        with pytest.raises(RedisDumpError, match="sent nothing for 3 s"):
            dump(instance(server), tmp_path, mark=MARK, patience=3)
        assert time.monotonic() - began < 60
    finally:
        docker("unpause", server.container)
    assert not list(tmp_path.iterdir())
    assert not docker("ps", "--all", "--quiet", "--filter", f"label=nexanest.database.bulk={MARK}").split()


def test_a_server_that_is_killed_meanwhile_leaves_no_file(tmp_path: Path) -> None:
    """5 ms a key: it is killed in the midst of the stream."""
    (tmp_path / "set").mkdir()
    configuration = "appendonly yes\nsave 3600 1\nrepl-diskless-sync-delay 0\nrdb-key-save-delay 1000\nrdbcompression no\n"
    with redis_server(tmp_path / "conf", configuration=configuration) as server:
        with server.client("boss").pipeline() as pipeline:
            for number in range(20_000):
                pipeline.set(f"key:{number}", "x" * 1000)
            pipeline.execute()
        seen: list[int] = []

        def kill(size: int) -> None:
            seen.append(size)
            if size > 100_000:
                docker("kill", server.container)

        with pytest.raises(RedisDumpError, match="see its log"):
            dump(instance(server), tmp_path / "set", mark=MARK, progress=kill)
        assert max(seen) > 100_000
        assert not list((tmp_path / "set").iterdir())


def test_a_server_that_does_not_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RedisDumpError, match="no container td-none"):
        dump(Instance("redis", "td-none", "backup", "x"), tmp_path, mark=MARK)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_file(server: RedisServer, tmp_path: Path) -> None:
    server.client("boss").set("big", "".join(chr(33 + number * 7919 % 90) for number in range(4_000_000)))
    server.client("boss").config_set("rdbcompression", "no")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(tmp_path)], check=True, timeout=30)
    try:
        with pytest.raises(RedisDumpError, match="short write: free some space"):
            dump(instance(server), tmp_path, mark=MARK)
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True, timeout=30)
        server.client("boss").config_set("rdbcompression", "yes")
