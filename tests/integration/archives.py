# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server with its continuous backup for tests: files as the role wal_archive lays them, a companion, a free loopback port; gone at the end."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import jinja2
import psycopg2
from containers import docker, newest_image
from modules import run_module, start_module

from ansible_collections.nexanest.database.plugins.plugin_utils import certificate

ROLE = Path(__file__).resolve().parents[2] / "roles" / "wal_archive"
UID = 999
ADMIN, REPLICATION = "timescale", "replicator"
# What a receiver on another host is called by the server.
RECEIVER = "receiver_elsewhere"
# Settings of a server with which such a one can talk.
TLS = {"ssl": "on", "ssl_cert_file": "/run/secrets/nexanest/server.crt", "ssl_key_file": "/run/secrets/nexanest/server.key"}


@dataclass(frozen=True)
class Disk:
    """A small file system at a folder of this host, in a file."""

    device: str
    folder: Path

    def mount(self) -> None:
        """Containers that have it keep it, as of a disk that only this host does not see any more."""
        _run("mount", self.device, str(self.folder))

    def unmount(self) -> None:
        _run("umount", str(self.folder))

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.folder).free

    @contextlib.contextmanager
    def filled(self, *, but: int = 0) -> Iterator[None]:
        """Nobody has more room on it than that, also not what somebody else gives up meanwhile."""
        filler, ended = self.folder / ".filler", threading.Event()
        with filler.open("wb", buffering=0) as file:
            self._fill(file, but)
            again = threading.Thread(target=lambda: self._keep_filled(file, but, ended))
            again.start()
            try:
                yield
            finally:
                ended.set()
                again.join()
                filler.unlink()

    def _keep_filled(self, file: IO[bytes], but: int, ended: threading.Event) -> None:
        while not ended.wait(0.1):
            self._fill(file, but)

    def _fill(self, file: IO[bytes], but: int) -> None:
        size = file.seek(0, os.SEEK_END)
        with contextlib.suppress(OSError):
            if self.free > but + (2 << 20):
                os.posix_fallocate(file.fileno(), size, self.free - but - (1 << 20))
                file.seek(0, os.SEEK_END)
            while self.free > but:
                file.write(b"x" * 4096)


@contextlib.contextmanager
def disk(folder: Path, size: str) -> Iterator[Disk]:
    folder.mkdir()
    image = folder.with_name(f"{folder.name}.img")
    _run("truncate", "--size", size, str(image))
    _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
    device = _run("losetup", "--find", "--show", str(image)).strip()
    found = Disk(device, folder)
    try:
        found.mount()
        yield found
    finally:
        if folder.is_mount():
            found.unmount()
        _run("losetup", "--detach", device)


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


@dataclass
class Archived:
    """One server under test. options: more settings."""

    name: str
    folder: Path
    password: str
    port: int = 0
    side_port: int = 0
    options: dict[str, str] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)

    @property
    def container(self) -> str:
        return f"{self.name}-timescaledb"

    @property
    def companion(self) -> str:
        return f"{self.container}-receiver"

    @property
    def receiver(self) -> str:
        return f"{self.container}-elsewhere"

    @property
    def elsewhere(self) -> Path:
        """What the receiver writes into."""
        return self.folder / "elsewhere"

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def config(self) -> Path:
        return self.folder / "timescaledb" / "archive"

    @property
    def data(self) -> Path:
        return Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", f"{self.container}-data").strip()) / "pgdata"

    @property
    def login(self) -> dict[str, Any]:
        return {"login_host": "127.0.0.1", "login_port": self.port, "login_user": ADMIN, "login_password": self.password}

    @property
    def received(self) -> Path:
        """What the companion writes into."""
        return self.archive / "current" / "received" / "current"

    @property
    def arguments(self) -> dict[str, Any]:
        """What every module of the continuous backup is told."""
        return {"name": "timescaledb", "container": self.container, "archive_dir": str(self.archive), "config_dir": str(self.config), **self.login}

    def module(self, name: str, *, check: bool = False, **more: Any) -> dict[str, Any]:
        """Run one of the modules of the continuous backup."""
        return run_module(name, {**self.arguments, **more}, check=check)

    def begin(self, name: str, **more: Any) -> subprocess.Popen[str]:
        """The same in a process of its own."""
        return start_module(name, {**self.arguments, **more})

    def complaints(self) -> str:
        """What the status says is wrong."""
        problems = self.module("wal_archive_info")["archive"]["problems"]
        return "; ".join(f"{problem['level']}: {problem['what']} -> {problem['remedy']}" for problem in problems)

    def pitr(self, state: str = "recovered", *, check: bool = False, **more: Any) -> dict[str, Any]:
        """Run the module pitr."""
        common = {"network": f"{self.name}-net", "label": f"nexanest.database.test={self.name}", "companion": self.companion, "port": self.side_port}
        return self.module("pitr", check=check, state=state, **{**common, **more})

    def drill(self, *, check: bool = False, **more: Any) -> dict[str, Any]:
        """Recover a random moment elsewhere."""
        (self.folder / "sets").mkdir(exist_ok=True)
        common = {"stack": self.name, "history_dir": str(self.folder / "sets"), "label": f"nexanest.database.test={self.name}"}
        return self.module("wal_archive_drill", check=check, **{**common, **more})

    def module_point(self, name: str) -> dict[str, Any]:
        """Name this moment."""
        return run_module("postgres_restore_point", {"name": name, "archive_dir": str(self.archive), **self.login})

    def converge(self) -> dict[str, Any]:
        return self.module("wal_archive", companion=self.companion)

    def query(self, statement: str, *values: Any, port: int = 0) -> list[tuple[Any, ...]]:
        with contextlib.closing(self.connect(port)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def connect(self, port: int = 0) -> psycopg2.extensions.connection:
        connection = psycopg2.connect(host="127.0.0.1", port=port or self.port, user=ADMIN, password=self.password, dbname="postgres", connect_timeout=5)
        connection.autocommit = True
        return connection

    def side(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the side instance."""
        return self.query(statement, port=self.side_port)

    def now(self) -> datetime:
        moment: datetime = self.query("SELECT clock_timestamp()")[0][0]
        return moment

    def write_files(self) -> None:
        """What the roles postgres and wal_archive would write."""
        owned = [self.archive, self.archive / "current"]
        owned += [self.archive / "current" / name for name in ("repository", "received", "received/current", "archived")]
        owned += [self.config / name for name in ("pgbackrest", "companion", "socket")]
        for path in (*owned, self.config / "tools", self.folder / "timescaledb" / "conf"):
            path.mkdir(parents=True, exist_ok=True)
        for path in owned:
            os.chown(path, UID, UID)
            path.chmod(0o700)
        for source in (ROLE / "files").iterdir():
            shutil.copy(source, self.config / "tools" / source.name)
            (self.config / "tools" / source.name).chmod(0o755)
        server = {"instance": "timescaledb", "image": {"pgdata": "/var/lib/postgresql/data/pgdata"}, "admin_user": ADMIN}
        self._secret(
            "pgbackrest/pgbackrest.conf",
            _render("pgbackrest.conf.j2", server, wal_archive_passphrases={"timescaledb": "p" * 20}, wal_archive_retention_full=2, wal_archive_processes=2),
        )
        roles = {"timescaledb": {"name": REPLICATION, "password": self.password}}
        self._secret("companion/pgpass", _render("pgpass.j2", server, data_model_replication_roles=roles))
        self._secret("companion/bootstrap", self.password)
        tls = certificate.stand_in(self.container, certificate.today())
        self._secret("companion/server.crt", tls.certificate)
        self._secret("companion/server.key", tls.private_key)
        conf = self.folder / "timescaledb" / "conf"
        settings = {
            "listen_addresses": "*",
            "shared_preload_libraries": "timescaledb,pg_cron",
            "timescaledb.telemetry_level": "off",
            "cron.use_background_workers": "on",
            "archive_mode": "on",
            "archive_command": "/archive-tools/pgbackrest-push %p %f timescaledb",
            "archive_timeout": "60s",
            "unix_socket_directories": "/var/run/postgresql,/run/archive",
            "max_slot_wal_keep_size": "256MB",
            "shared_buffers": "64MB",
            **self.options,
        }
        lines = [f"{key} = '{value}'" for key, value in settings.items()] + ["include_if_exists = 'synchronous.conf'"]
        (conf / "postgresql.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        rules = ["local all all peer map=administrator", "host replication all samenet scram-sha-256", "host all all 0.0.0.0/0 scram-sha-256"]
        (conf / "pg_hba.conf").write_text("\n".join(rules) + "\n", encoding="utf-8")
        (conf / "pg_ident.conf").write_text(f"administrator postgres {ADMIN}\n", encoding="utf-8")

    def _secret(self, path: str, text: str) -> None:
        file = self.config / path
        file.unlink(missing_ok=True)
        file.write_text(text, encoding="utf-8")
        os.chown(file, UID, UID)
        file.chmod(0o400)

    def start(self) -> None:
        """Make the server's container, on whatever its volume holds, and wait for it."""
        conf = self.folder / "timescaledb" / "conf"
        if (self.folder / "volume").is_dir():
            where = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={self.folder}/volume")
            docker("volume", "create", *where, f"{self.container}-data")
        docker(
            "run", "--detach", "--init", "--name", self.container, "--label", f"nexanest.database.test={self.name}", "--user", f"{UID}:{UID}",
            "--network", f"{self.name}-net", "--publish", "127.0.0.1::5432", "--restart", "unless-stopped", "--memory", "512m", "--shm-size", "128m",
            "--stop-signal", "SIGINT", "--stop-timeout", "60", "--read-only", "--cap-drop", "ALL",
            "--volume", f"{self.container}-data:/var/lib/postgresql/data", "--volume", f"{conf}:/etc/nexanest:ro",
            "--volume", f"{self.archive}:/archive", "--volume", f"{self.config}/tools:/archive-tools:ro",
            "--volume", f"{self.config}/pgbackrest:/etc/pgbackrest:ro", "--volume", f"{self.config}/socket:/run/archive",
            "--volume", f"{self.config}/companion:/run/secrets/nexanest:ro",
            "--tmpfs", f"/run/postgresql:uid={UID},gid={UID},mode=0775", "--tmpfs", "/tmp:mode=1777",
            "--env", f"POSTGRES_USER={ADMIN}", "--env", "POSTGRES_DB=postgres", "--env", "POSTGRES_PASSWORD_FILE=/run/secrets/nexanest/bootstrap",
            newest_image("timescaledb"), "postgres", "-c", "config_file=/etc/nexanest/postgresql.conf", "-c", "hba_file=/etc/nexanest/pg_hba.conf",
            "-c", "ident_file=/etc/nexanest/pg_ident.conf",
        )  # fmt: skip
        self.wait()

    def wait(self, limit: float = 90) -> None:
        """Until it answers, on whatever port the engine gave it."""
        deadline = time.monotonic() + limit
        while True:
            with contextlib.suppress(psycopg2.OperationalError, AssertionError, IndexError):
                self.port = int(docker("port", self.container, "5432/tcp").split()[0].rpartition(":")[2])
                self.connect().close()
                return
            assert time.monotonic() < deadline, docker("logs", "--tail", "20", self.container)
            time.sleep(0.3)

    def start_companion(self) -> None:
        docker(
            "run", "--detach", "--init", "--name", self.companion, "--label", f"nexanest.database.test={self.name}", "--user", f"{UID}:{UID}",
            "--network", f"{self.name}-net", "--restart", "unless-stopped", "--read-only", "--cap-drop", "ALL", "--memory", "128m",
            "--volume", f"{self.archive}/current/received:/archive/received", "--volume", f"{self.archive}/current/archived:/archive/archived:ro",
            "--volume", f"{self.config}/tools:/archive-tools:ro", "--volume", f"{self.config}/companion:/run/secrets/nexanest:ro",
            "--tmpfs", "/tmp:mode=1777", "--tmpfs", "/var/lib/postgresql/data:size=1m", "--env", "PGPASSFILE=/run/secrets/nexanest/pgpass",
            newest_image("timescaledb"), "/archive-tools/wal-receive", "companion", f"host={self.container} port=5432 user={REPLICATION}",
        )  # fmt: skip
        self.wait_streaming()

    def start_receiver(self, hours: int = 72) -> None:
        """As one on another host: it has the server's address, certificate and password, and nothing of its archive."""
        self.elsewhere.mkdir(exist_ok=True)
        os.chown(self.elsewhere, UID, UID)
        server = f"host={self.container} port=5432 user={REPLICATION} sslmode=verify-full sslrootcert=/run/secrets/nexanest/server.crt channel_binding=require"
        docker(
            "run", "--detach", "--init", "--name", self.receiver, "--label", f"nexanest.database.test={self.name}", "--user", f"{UID}:{UID}",
            "--network", f"{self.name}-net", "--restart", "unless-stopped", "--read-only", "--cap-drop", "ALL", "--memory", "128m",
            "--volume", f"{self.elsewhere}:/archive/received", "--volume", f"{self.config}/tools:/archive-tools:ro",
            "--volume", f"{self.config}/companion/pgpass:/run/secrets/nexanest/pgpass:ro",
            "--volume", f"{self.config}/companion/server.crt:/run/secrets/nexanest/server.crt:ro",
            "--tmpfs", "/tmp:mode=1777", "--tmpfs", "/var/lib/postgresql/data:size=1m", "--env", "PGPASSFILE=/run/secrets/nexanest/pgpass",
            newest_image("timescaledb"), "/archive-tools/wal-receive", RECEIVER, server, str(hours),
        )  # fmt: skip
        self.wait_streaming(RECEIVER)

    def wait_streaming(self, name: str = "companion", limit: float = 60) -> None:
        deadline = time.monotonic() + limit
        while not self.query("SELECT 1 FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming'", name):
            assert time.monotonic() < deadline, docker("logs", "--tail", "20", self.companion if name == "companion" else self.receiver)
            time.sleep(0.2)

    def lose(self) -> None:
        """The server's process is killed, and its container and volume are gone."""
        docker("rm", "--force", self.container)
        docker("volume", "rm", f"{self.container}-data")

    def remove(self) -> None:
        names = docker("ps", "--all", "--quiet", "--filter", f"label=nexanest.database.test={self.name}").split()
        if names:
            docker("rm", "--force", "--volumes", *names)
        subprocess.run(["docker", "volume", "rm", f"{self.container}-data"], capture_output=True, check=False, timeout=60)
        docker("network", "rm", f"{self.name}-net")


def _render(template: str, server: dict[str, Any], **values: Any) -> str:
    loader = jinja2.FileSystemLoader(ROLE / "templates")
    environment = jinja2.Environment(loader=loader, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)  # noqa: S701  these are no web pages
    environment.filters["comment"] = lambda text: f"# {text}"
    return environment.get_template(template).render(ansible_managed="for a test", wal_archive_server=server, **values)


@contextlib.contextmanager
def archived_server(prefix: str = "arch", *, disks: dict[str, str] | None = None, **options: str) -> Iterator[Archived]:
    """Server, archive with its first backup, and companion.

    options: settings of the server. disks: sizes of file systems of their own, for `archive`, `volume`, or both.
    """
    name = f"{prefix}-{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir="/var/tmp") as folder, contextlib.ExitStack() as mounted:
        found = Archived(name, Path(folder), secrets.token_urlsafe(12), options=options, side_port=20000 + secrets.randbelow(10000))
        found.disks = {place: mounted.enter_context(disk(found.folder / place, size)) for place, size in (disks or {}).items()}
        if "volume" in found.disks:
            os.chown(found.folder / "volume", UID, UID)
        docker("network", "create", f"{name}-net")
        try:
            found.write_files()
            found.start()
            found.query(f"CREATE ROLE {REPLICATION} LOGIN REPLICATION PASSWORD '{found.password}'")
            made = found.converge()
            assert not made["failed"], made
            found.start_companion()
            yield found
        finally:
            found.remove()
