"""Continuous backup: what it costs writers, what a base backup costs beside pgBackRest called by hand, and what is lost with the server and its volume.

Alone: python tests/benchmarks/continuous_backup.py [ROUNDS] [LOSSES]   (3 rounds of each figure, 10 losses by way)
BENCH_ARCHIVE_MB: of what base backups are taken.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("tests/integration", ".ansible_dev")]

from archives import ADMIN, UID, Archived, archived_server  # noqa: E402  beside the tests
from containers import docker, newest_image  # noqa: E402
from losses import loss  # noqa: E402
from realistic_rows import tables  # noqa: E402

CLIENTS = (1, 8, 32)
SECONDS = 10
SCALE = 30
MEGABYTES = int(os.environ.get("BENCH_ARCHIVE_MB", "2560"))
WHAT = ("full", "incr", "recovery")
PGDATA = "/var/lib/postgresql/data/pgdata"


def seconds(work: Callable[[], object]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def pgbench(server: Archived, *options: str) -> str:
    return docker("exec", server.container, "pgbench", "-h", "/var/run/postgresql", "-U", ADMIN, *options, "postgres")


def throughput(server: Archived, clients: int) -> float:
    """Transactions a second."""
    text = pgbench(server, "-n", "-T", str(SECONDS), "-c", str(clients), "-j", "2", "-N")
    return float(next(line.split()[2] for line in text.splitlines() if line.startswith("tps")))


def switch(server: Archived, way: str) -> None:
    """off: no archiving, no companion; asynchronous, synchronous: with both."""
    conf = server.folder / "timescaledb" / "conf"
    settings = [line for line in (conf / "postgresql.conf").read_text(encoding="utf-8").splitlines() if not line.startswith("archive_mode")]
    (conf / "postgresql.conf").write_text("\n".join([*settings, f"archive_mode = '{'off' if way == 'off' else 'on'}'"]) + "\n", encoding="utf-8")
    (conf / "synchronous.conf").write_text(f"synchronous_standby_names = '{'companion' if way == 'synchronous' else ''}'\n", encoding="utf-8")
    docker("stop", server.companion)
    docker("restart", server.container)
    server.wait()
    if way == "off":
        server.query("SELECT pg_drop_replication_slot('companion') WHERE EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'companion')")
    else:
        docker("start", server.companion)
        server.wait_streaming()


def writers(rounds: int) -> list[str]:
    """What archiving costs, by clients."""
    lines = []
    with archived_server("bench", archive_timeout="60s", shared_buffers="256MB", max_wal_size="1GB") as server:
        pgbench(server, "-i", "-q", "-s", str(SCALE))
        found: dict[tuple[str, int], list[float]] = {}
        for _round in range(rounds):
            for way in ("off", "asynchronous", "synchronous"):
                switch(server, way)
                for clients in CLIENTS:
                    found.setdefault((way, clients), []).append(throughput(server, clients))
        for clients in CLIENTS:
            base = statistics.median(found["off", clients])
            for way in ("off", "asynchronous", "synchronous"):
                figures = found[way, clients]
                median = statistics.median(figures)
                cost = "" if way == "off" else f", {100 * (1 - median / base):+.0f} % cost"
                lines.append(f"{clients:2} clients, {way}: {median:.0f} transactions a second ({min(figures):.0f} to {max(figures):.0f}{cost})")

    return lines


def by_hand(server: Archived, *words: str) -> None:
    """pgBackRest as an operator would call it, with the same configuration, in the server's container."""
    docker("exec", server.container, "pgbackrest", "--stanza=timescaledb", *words)


def base_backups(rounds: int) -> list[str]:
    """Ours beside pgBackRest called by hand: full, incremental, and a recovery to the latest moment."""
    with archived_server("bench", archive_timeout="60s", shared_buffers="256MB", max_wal_size="1GB") as server:
        for statement in tables(MEGABYTES):
            server.query(statement)
        for number in range(4):  # an index in random order changes everywhere with any row
            server.query(f"DROP INDEX t{number}_user_id_at_idx")
        size = int(server.query("SELECT sum(pg_database_size(oid))::bigint FROM pg_database")[0][0])
        times: dict[str, list[float]] = {}
        share: list[float] = []
        for _round in range(rounds):
            _round_of(server, times)
            info = server.module("base_backup", type="incr", unless_newer_than="1h")["backup"]
            fulls = [stored_bytes for label, stored_bytes in stored(server) if label.endswith("F")]
            share.append(info["stored"] / fulls[-1])
    lines = [f"base backups of {size / 1e9:.1f} GB"]
    for what in WHAT:
        mine, theirs = times[f"{what} ours"], times[f"{what} by hand"]
        ratio = statistics.median(mine) / statistics.median(theirs)
        lines.append(f"{what}: {ratio:.2f} times pgBackRest by hand ({spread(mine)} against {spread(theirs)})")
    lines.append(f"an incremental one after changes to a hundredth of the rows: {100 * statistics.median(share):.1f} % of the full one's bytes")
    return lines


def _round_of(server: Archived, times: dict[str, list[float]]) -> None:
    for kind in ("full", "incr"):
        for way in random.sample(("ours", "by hand"), 2):  # whoever is second finds more in memory
            if kind == "incr":
                change(server)
            work = (lambda kind=kind: ours(server, kind)) if way == "ours" else (lambda kind=kind: by_hand(server, f"--type={kind}", "backup"))
            times.setdefault(f"{kind} {way}", []).append(seconds(work))
    for way in random.sample(("ours", "by hand"), 2):
        times.setdefault(f"recovery {way}", []).append(seconds(lambda way=way: recovered(server) if way == "ours" else recovered_by_hand(server)))
        if way == "ours":
            server.pitr("cleaned")


def change(server: Archived) -> None:
    """A hundredth of the rows of each table, side by side."""
    for number in range(4):
        last = int(server.query(f"SELECT max(id) FROM t{number}")[0][0])
        first = random.randrange(last * 99 // 100)  # noqa: S311  no secret
        server.query(f"UPDATE t{number} SET price = price + 1 WHERE id BETWEEN {first} AND {first + last // 100}")
    server.query("CHECKPOINT")


def spread(figures: list[float]) -> str:
    return f"{statistics.median(figures):.1f} s, {min(figures):.1f} to {max(figures):.1f}"


def ours(server: Archived, kind: str) -> None:
    found = server.module("base_backup", type=kind)
    assert not found["failed"], found


def recovered(server: Archived) -> None:
    found = server.pitr()
    assert not found["failed"], found


def recovered_by_hand(server: Archived) -> None:
    """As an operator would: pgBackRest's restore into an empty folder, then a server on it until it answers at the end of the log."""
    name, data = f"{server.name}-hand", server.data.parent / "by-hand"
    data.mkdir(mode=0o700)
    os.chown(data, UID, UID)
    mounts = (f"{data}:{PGDATA}", f"{server.archive}/current:/archive/current:ro", f"{server.config}/pgbackrest:/etc/pgbackrest:ro")
    conf = (f"{server.folder}/timescaledb/conf:/etc/nexanest:ro", f"{server.config}/tools:/archive-tools:ro")
    common = ["--label", f"nexanest.database.test={server.name}", "--network", "none", "--user", f"{UID}:{UID}", "--tmpfs", "/tmp:mode=1777"]
    volumes = [part for mount in (*mounts, *conf) for part in ("--volume", mount)]
    image = newest_image("timescaledb")
    docker("run", "--rm", *common, *volumes, "--entrypoint", "pgbackrest", image, "--stanza=timescaledb", "restore")
    settings = ("config_file=/etc/nexanest/postgresql.conf", "hba_file=/etc/nexanest/pg_hba.conf", "ident_file=/etc/nexanest/pg_ident.conf")
    quiet = ("archive_mode=off", "unix_socket_directories=/tmp", "synchronous_standby_names=", "timescaledb.max_background_workers=0")
    words = [part for setting in (*settings, *quiet) for part in ("-c", setting)]
    docker("run", "--detach", "--name", name, *common, *volumes, "--entrypoint", "postgres", image, "-D", PGDATA, *words)
    try:
        asked = ["docker", "exec", name, "psql", "-h", "/tmp", "-U", ADMIN, "-d", "postgres", "-At", "-c", "SELECT pg_is_in_recovery()"]
        while subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60).stdout.strip() != "f":
            assert docker("ps", "--quiet", "--filter", f"name={name}"), "it ended"
            time.sleep(0.5)
    finally:
        docker("rm", "--force", "--volumes", name)
        shutil.rmtree(data)


def stored(server: Archived) -> list[tuple[str, int]]:
    text = docker("exec", server.container, "pgbackrest", "--stanza=timescaledb", "--output=json", "info")
    return [(entry["label"], entry["info"]["repository"]["delta"]) for entry in json.loads(text)[0]["backup"]]


def losses(rounds: int) -> list[str]:
    """Rows that were acknowledged and did not come back."""
    lines = []
    for way in ("archive_command alone", "asynchronous", "synchronous"):
        found = [loss(way) for _round in range(rounds)]
        rows, lost = sum(one.rows for one in found), sum(one.lost for one in found)
        worst = max((one.seconds for one in found), default=0.0)
        lines.append(f"{way}: {lost} of {rows} acknowledged rows lost in {rounds} rounds, at most the last {worst:.2f} s")
    return lines


def rows(rounds: int, lost: int = 2) -> list[str]:
    """All of it, for `make bench`."""
    return [*writers(rounds), *base_backups(rounds), *losses(lost)]


def main(rounds: int = 3, lost: int = 10) -> None:
    for part, count in ((writers, rounds), (base_backups, rounds), (losses, lost)):
        print("\n".join(part(count)), flush=True)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
