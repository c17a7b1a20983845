"""Continuous backup: what it costs writers, what a base backup costs beside pgBackRest called by hand, and what is lost with the server and its volume.

Alone: python tests/benchmarks/continuous_backup.py [ROUNDS] [LOSSES]   (3 rounds of each figure, 10 losses by way)
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("tests/integration", ".ansible_dev")]

from archives import ADMIN, Archived, archived_server  # noqa: E402  beside the tests
from containers import docker  # noqa: E402
from losses import loss  # noqa: E402

CLIENTS = (1, 8, 32)
SECONDS = 10
SCALE = 30


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
    """Ours beside pgBackRest called by hand."""
    lines = []
    with archived_server("bench", archive_timeout="60s", shared_buffers="256MB", max_wal_size="1GB") as server:
        pgbench(server, "-i", "-q", "-s", str(SCALE * 4))
        times: dict[str, list[float]] = {}
        share: list[float] = []
        for _round in range(rounds):
            for kind in ("full", "incr"):
                for way in ("ours", "by hand"):
                    if kind == "incr":  # a hundredth of the rows, side by side
                        first = random.randrange(99 * SCALE * 4 * 1000)  # noqa: S311  no secret
                        server.query(f"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid BETWEEN {first} AND {first + SCALE * 4 * 1000}")
                        server.query("CHECKPOINT")
                    work = (lambda kind=kind: ours(server, kind)) if way == "ours" else (lambda kind=kind: by_hand(server, f"--type={kind}", "backup"))
                    times.setdefault(f"{kind} {way}", []).append(seconds(work))
            info = server.module("base_backup", type="incr", unless_newer_than="1h")["backup"]
            fulls = [size for label, size in stored(server) if label.endswith("F")]
            share.append(info["stored"] / fulls[-1])
        for kind in ("full", "incr"):
            mine, theirs = statistics.median(times[f"{kind} ours"]), statistics.median(times[f"{kind} by hand"])
            lines.append(f"{kind} base backup: {mine / theirs:.2f} times pgBackRest by hand ({mine:.1f} s against {theirs:.1f} s)")
        lines.append(f"an incremental one after changes to a hundredth of the rows: {100 * statistics.median(share):.1f} % of the full one's bytes")
    return lines


def ours(server: Archived, kind: str) -> None:
    found = server.module("base_backup", type=kind)
    assert not found["failed"], found


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
