"""Backup and restore of one database of realistic rows: our set (encrypted, checksummed, counted) against the bare tools and the ways of the peers.

Alone: python tests/benchmarks/backup_restore.py [ROUNDS]   (BENCH_BACKUP_MB: size of the database on the server, 2048 by default)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("tests/integration", ".ansible_dev")]

from backups import BACKUP_ROLE, new_key, recipient_of  # noqa: E402  beside the tests
from modules import run_module, start_module  # noqa: E402
from realistic_rows import tables  # noqa: E402
from servers import Server, postgres_server  # noqa: E402

MEGABYTES = int(os.environ.get("BENCH_BACKUP_MB", "2048"))
PASSWORD = "bench"
DATABASE = "bench"


@dataclass
class Times:
    """Wall seconds and seconds of all processors, by round."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


@dataclass
class Bench:
    """The filled server and where things are written."""

    server: Server
    folder: Path
    key: Path

    @property
    def login(self) -> dict[str, Any]:
        return {"container": self.server.container, "login_port": self.server.port}

    @property
    def administrator(self) -> dict[str, str]:
        """Words of a command of the backup role, and those of one of the administrator."""
        return {f"PGUSER={BACKUP_ROLE}": f"PGUSER={self.server.user}", f"PGPASSWORD={PASSWORD}": f"PGPASSWORD={self.server.password}"}

    def docker(self, *argv: str, mount: Path) -> list[str]:
        """A tool of the server's image beside the server, as our own run."""
        address = inspect(self.server.container, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        image = inspect(self.server.container, "{{.Image}}")
        environment = ["--env", f"PGPASSWORD={PASSWORD}", "--env", f"PGHOST={address}", "--env", f"PGUSER={BACKUP_ROLE}"]
        mounted = ["--mount", f"type=bind,source={mount},target=/out"]
        return ["docker", "run", "--rm", "--user", "0:0", *environment, *mounted, "--entrypoint", argv[0], image, *argv[1:]]


def inspect(container: str, template: str) -> str:
    return subprocess.run(["docker", "inspect", "--format", template, container], capture_output=True, text=True, check=True).stdout.strip()


def processor_seconds() -> float:
    """Of the whole machine: the server and the tools run in containers."""
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    busy = sum(int(value) for position, value in enumerate(fields[:8]) if position not in (3, 4))
    return busy / os.sysconf("SC_CLK_TCK")


def timed(times: Times, work: Callable[[], None]) -> None:
    begin, before = time.monotonic(), processor_seconds()
    work()
    times.wall.append(time.monotonic() - begin)
    times.processor.append(processor_seconds() - before)


@contextlib.contextmanager
def prepared() -> Iterator[Bench]:
    disk = f"{MEGABYTES * 5}m"
    settings = ("shared_buffers=512MB", "max_wal_size=4GB", "maintenance_work_mem=256MB", "max_parallel_maintenance_workers=2")
    with tempfile.TemporaryDirectory() as folder, postgres_server(prefix="bench", disk=disk, memory=f"{MEGABYTES * 5 + 2048}m", settings=settings) as server:
        server.query(f"CREATE ROLE {BACKUP_ROLE} LOGIN BYPASSRLS PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO {BACKUP_ROLE}")
        server.query(f"CREATE DATABASE {DATABASE}")
        for statement in tables(MEGABYTES):
            server.query(statement, database=DATABASE)
        server.query("VACUUM ANALYZE", database=DATABASE)
        yield Bench(server, Path(folder), new_key(Path(folder)))


def ours(bench: Bench) -> None:
    """A set, and nothing kept of the ones before."""
    shutil.rmtree(bench.folder / "sets", ignore_errors=True)
    demand(run_module("backup_set", arguments(bench)))


def arguments(bench: Bench) -> dict[str, Any]:
    """Of backup_set."""
    source = {"name": "postgres", "kind": "postgresql", "login_user": BACKUP_ROLE, "login_password": PASSWORD, **bench.login}
    return {"backup_dir": str(bench.folder / "sets"), "stack": "bench", "servers": [source], "recipients": [recipient_of(bench.key)]}


def demand(result: dict[str, Any]) -> None:
    if result["failed"]:
        raise SystemExit(result["msg"])


def fresh(bench: Bench) -> Path:
    folder = bench.folder / "raw"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def bare(bench: Bench) -> None:
    run(bench.docker("pg_dump", "-Fd", "-j2", "-Z", "zstd:3", "-f", "/out/dump", DATABASE, mount=fresh(bench)))


def gzipped(bench: Bench) -> None:
    """As the usual backup containers do it."""
    run(bench.docker("pg_dump", "-Z6", "-f", "/out/dump.sql.gz", DATABASE, mount=fresh(bench)))


def piped(bench: Bench) -> None:
    """The line of many a guide."""
    folder = fresh(bench)
    dump = " ".join(f"'{word}'" for word in bench.docker("pg_dump", DATABASE, mount=folder))
    gpg = f"gpg --batch --yes --symmetric --passphrase bench --output {folder}/dump.gpg"
    subprocess.run(["bash", "-c", f"set -o pipefail; {dump} | gzip | {gpg}"], check=True, capture_output=True)


def restored(bench: Bench) -> None:
    """Our restore beside the live database, with all its checks."""
    (name,) = [path.name for path in (bench.folder / "sets").iterdir() if path.name[0].isdigit()]
    login = {"name": "postgres", "login_user": bench.server.user, "login_password": bench.server.password, **bench.login}
    given = {"backup_dir": str(bench.folder / "sets"), "set": name, "identities": [bench.key.read_text()], "servers": [login]}
    demand(run_module("restore", {**given, "as": "copy", "databases": [DATABASE], "state_dir": str(bench.folder / "state")}))


def bare_restored(bench: Bench) -> None:
    bench.server.query("CREATE DATABASE copy TEMPLATE template0")
    command = bench.docker("pg_restore", "-j2", "--dbname", "copy", "/out/dump", mount=bench.folder / "raw")
    run([bench.administrator.get(word, word) for word in command])


def analyzed(bench: Bench) -> None:
    """What a bare restore leaves to somebody else."""
    vacuumdb = bench.docker("vacuumdb", "--analyze-only", "-j2", "--dbname", "copy", mount=bench.folder / "raw")
    run([bench.administrator.get(word, word) for word in vacuumdb])


def drop_copy(bench: Bench) -> None:
    bench.server.query("DROP DATABASE IF EXISTS copy WITH (FORCE)")


def verified(bench: Bench) -> None:
    demand(run_module("backup_set_info", {"backup_dir": str(bench.folder / "sets"), "verify": True}))


def summed(bench: Bench) -> None:
    files = [str(path) for path in (bench.folder / "sets").rglob("*.age")]
    run(["sha256sum", *files])


def rows(rounds: int, row: Callable[[str, list[float], list[float], str], str]) -> list[str]:
    """Lines of the benchmark; row: makes one of them."""
    with prepared() as bench:
        size = bench.server.query("SELECT pg_database_size(%s)", DATABASE)[0][0] / 1e9
        found = measure(bench, rounds)
        what = f"{size:.1f} GB database"
        lines = [row(f"backup, {what}", found["ours"].wall, found[name].wall, against) for name, against in AGAINST.items()]
        lines.append(row(f"backup, {what}: processor seconds", found["ours"].processor, found["bare"].processor, AGAINST["bare"]))
        lines.append(row(f"restore with all checks, {what}", found["restored"].wall, found["bare restored"].wall, "pg_restore -j2"))
        lines.append(row(f"restore, {what}: processor seconds", found["restored"].processor, found["bare restored"].processor, "pg_restore -j2"))
        both = [one + other for one, other in zip(found["bare restored"].wall, found["analyzed"].wall, strict=True)]
        lines.append(row(f"restore with all checks, {what}", found["restored"].wall, both, "pg_restore -j2, vacuumdb --analyze-only -j2"))
        lines.append(row("verification of a set", found["verified"].wall, found["summed"].wall, "sha256sum of its files"))
        lines.append(f"peak memory of backup_set: {peak_megabytes(bench):.0f} MB")
        return lines


AGAINST = {
    "bare": "pg_dump -Fd -j2 -Z zstd:3",
    "gzipped": "pg_dump -Z6, as docker-postgres-backup-local",
    "piped": "pg_dump | gzip | gpg --symmetric",
}


def measure(bench: Bench, rounds: int) -> dict[str, Times]:
    names = ("ours", "bare", "gzipped", "piped", "restored", "bare restored", "analyzed", "verified", "summed")
    found = {name: Times() for name in names}
    for _round in range(rounds):
        timed(found["piped"], lambda: piped(bench))
        timed(found["gzipped"], lambda: gzipped(bench))
        timed(found["ours"], lambda: ours(bench))
        timed(found["bare"], lambda: bare(bench))
        timed(found["restored"], lambda: restored(bench))
        drop_copy(bench)
        timed(found["bare restored"], lambda: bare_restored(bench))
        timed(found["analyzed"], lambda: analyzed(bench))
        drop_copy(bench)
        timed(found["verified"], lambda: verified(bench))
        timed(found["summed"], lambda: summed(bench))
    return found


def peak_megabytes(bench: Bench) -> float:
    """Of the module's own process."""
    shutil.rmtree(bench.folder / "sets")
    process = start_module("backup_set", arguments(bench))
    highest = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, IndexError):
            text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            highest = max(highest, int(text.partition("VmHWM:")[2].split()[0]))
        time.sleep(0.05)
    return highest / 1024


def line(name: str, mine: list[float], theirs: list[float], against: str) -> str:
    """A ratio above 1: ours is slower."""
    ratio = statistics.median(mine) / statistics.median(theirs)
    return f"{name:<60} {ratio:6.2f} x (1/{1 / ratio:.1f})   {against:<46} {min(mine):.1f}-{max(mine):.1f} s against {min(theirs):.1f}-{max(theirs):.1f} s"


def main() -> None:
    for one in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 3, line):
        print(one)


if __name__ == "__main__":
    main()
