"""A whole deployed stack for tests, beside an operator's: inventory/nexanest under another name, other ports and secrets of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LABEL = "nexanest.database.stack"
DEPLOY_TIMEOUT = 1800.0
PLAYBOOK_TIMEOUT = 600.0


@dataclass(frozen=True)
class Ports:
    """Loopback ports of a test stack; sessions is used only with redis_sessions_separate."""

    postgres: int = 15432
    timescaledb: int = 15433
    redis: int = 16379
    sessions: int = 16380
    pgadmin: int = 15050


@dataclass(frozen=True)
class Run:
    """What one ansible-playbook ended with.

    hosts: Ansible's counts per host; changed: tasks that changed, with their objects and diff; failed: [{task, message}].
    """

    rc: int
    stdout: str
    stderr: str
    hosts: dict[str, dict[str, int]] = field(default_factory=dict)
    changed: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    @property
    def changed_tasks(self) -> list[str]:
        return [row["task"] for row in self.changed]

    def checked(self) -> Run:
        """The same, or an AssertionError with the end of the run's text."""
        if self.rc != 0:
            raise AssertionError(f"ansible-playbook ended with {self.rc}: {self.failed}\n{self.stdout[-6000:]}\n{self.stderr[-2000:]}")
        return self


@dataclass(frozen=True)
class Stack:
    """A stack under test: where it listens, its secrets, and its playbooks."""

    name: str
    folder: Path
    ports: Ports = field(default_factory=Ports)

    @property
    def inventory(self) -> Path:
        """What --inventory takes: the file, because Ansible would read every file of the folder, the migrations too."""
        return self.folder / "inventory" / "hosts.yml"

    @property
    def env_file(self) -> Path:
        return self.folder / ".env.db"

    @property
    def secrets_dir(self) -> Path:
        return self.folder / "secrets"

    @property
    def first_output(self) -> Path:
        """What the run that deployed it printed, with diffs."""
        return self.folder / "first_output.txt"

    def container(self, service: str) -> str:
        return f"{self.name}-{service}"

    def secret(self, name: str) -> str:
        """A value of the operator's file (POSTGRES_PASSWORD) or a generated one (postgres/auth_app)."""
        if name.isupper():
            values = dict(line.split("=", 1) for line in self.env_file.read_text(encoding="utf-8").splitlines() if "=" in line and not line.startswith("#"))
            return values[name].strip().strip("'\"")
        return (self.secrets_dir / name.replace("/", "_")).read_text(encoding="utf-8").rstrip("\n")

    @property
    def pgadmin_email(self) -> str:
        return self.secret("PGADMIN_EMAIL")

    def secrets(self) -> dict[str, str]:
        """Every secret of the stack, the operator's and the generated ones, by name."""
        operators = {name: self.secret(name) for name in ("POSTGRES_PASSWORD", "TIMESCALE_PASSWORD", "REDIS_PASSWORD", "PGADMIN_PASSWORD")}
        generated = [path for path in self.secrets_dir.iterdir() if path.is_file() and path.stat().st_size]
        return operators | {path.name: path.read_text(encoding="utf-8").rstrip("\n") for path in generated}

    def playbook(self, name: str, *arguments: str, check: bool = False, timeout: float = PLAYBOOK_TIMEOUT) -> Run:
        """Run playbooks/<name>.yml on this stack, with --check --diff where asked; `Run.checked()` asserts its success."""
        modes = ["--check", "--diff"] if check else []
        return ansible_playbook(ROOT / "playbooks" / f"{name}.yml", "--inventory", str(self.inventory), *modes, *arguments, timeout=timeout)

    def write_inventory(self, source: str = "nexanest", overrides: dict[str, Any] | None = None) -> None:
        """Copy inventory/<source> and add what makes it this stack, in a file that is read last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.inventory.parent
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(ROOT / "inventory" / source, target)
        values: dict[str, Any] = {
            "stack_name": self.name,
            "stack_home": str(ROOT),
            "stack_env_file": str(self.env_file),
            "stack_secrets_dir": str(self.secrets_dir),
            "backup_dir": str(self.folder / "backups"),
            "stack_archive_dir": str(self.folder / "archive"),
            "postgres_port": self.ports.postgres,
            "timescaledb_port": self.ports.timescaledb,
            "redis_port": self.ports.redis,
            "redis_sessions_port": self.ports.sessions,
            "pgadmin_port": self.ports.pgadmin,
            **(overrides or {}),
        }
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
        (target / "group_vars" / "all" / "zz_test.yml").write_text(f"---\n{text}", encoding="utf-8")

    def deploy(self) -> Run:
        """Converge it all with the operator's own playbook."""
        run = ansible_playbook(ROOT / "site.yml", "--inventory", str(self.inventory), "--diff", timeout=DEPLOY_TIMEOUT)
        self.first_output.write_text(run.stdout + run.stderr, encoding="utf-8")
        return run

    def deploy_as_planned(self) -> Run:
        """Deploy, after a check of the empty host; what both say is kept for `first_changes`."""
        planned = self.playbook("site", check=True)
        if planned.rc != 0:
            return planned
        done = self.deploy()
        for name, run in (("planned", planned), ("done", done)):
            (self.folder / f"{name}.json").write_text(json.dumps(run.changed), encoding="utf-8")
        return done

    def first_changes(self, which: str) -> set[tuple[str, str, str]]:
        """Kind, name and action of each object that the check ("planned") or the run ("done") of the first deployment named."""
        return changed_objects(json.loads((self.folder / f"{which}.json").read_text(encoding="utf-8")))

    def healthy(self) -> bool:
        """Whether all its containers are there and healthy."""
        if not self.inventory.is_file():
            return False
        wanted = {self.container(service) for service in ("postgres", "timescaledb", "redis", "pgadmin")}
        filters = ["--filter", f"label={LABEL}={self.name}", "--filter", "health=healthy"]
        return wanted <= set(docker("ps", *filters, "--format", "{{.Names}}").split())

    def destroy(self) -> None:
        """Remove what carries its label, its host folder and its secrets, whatever state they are in."""
        label = ["--filter", f"label={LABEL}={self.name}"]
        _remove(["rm", "--force", "--volumes"], docker("ps", "--all", "--quiet", *label).split())
        _remove(["volume", "rm"], docker("volume", "ls", "--quiet", *label).split())
        _remove(["network", "rm"], docker("network", "ls", "--quiet", *label).split())
        for folder in (Path("/etc/nexanest-database") / self.name, self.folder):
            shutil.rmtree(folder, ignore_errors=True)


def changed_objects(changed: Iterable[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Kind, name and action of what tasks changed, as Run.changed has them."""
    return {(row["kind"], row["name"], row["action"]) for task in changed for row in task["objects"]}


def stack_named(name: str = "nexatest", ports: Ports | None = None) -> Stack:
    """The stack of that name, not deployed; its files are below .cache/tests/."""
    return Stack(name=name, folder=ROOT / ".cache" / "tests" / name, ports=ports or Ports())


def ansible_playbook(playbook: Path, *arguments: str, timeout: float = PLAYBOOK_TIMEOUT) -> Run:
    """One run of ansible-playbook in the checkout, its results read from a callback."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        done = subprocess.run(
            [str(ROOT / ".venv" / "bin" / "ansible-playbook"), str(playbook), *arguments],
            cwd=ROOT,
            env=environment(NEXANEST_TEST_RESULTS=str(results)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        read = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    return Run(rc=done.returncode, stdout=done.stdout, stderr=done.stderr, **read)


@contextlib.contextmanager
def site_begun(stack: Stack) -> Iterator[subprocess.Popen[str]]:
    """site.yml on a stack, in a process group of its own; what still runs at the end is ended."""
    argv = [str(ROOT / ".venv" / "bin" / "ansible-playbook"), str(ROOT / "site.yml"), "--inventory", str(stack.inventory)]
    run = subprocess.Popen(
        argv, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        yield run
    finally:
        if run.poll() is None:
            run.terminate()
        run.wait(timeout=120)


def read_until(run: subprocess.Popen[str], word: str) -> str:
    """What it printed up to the line with the word."""
    assert run.stdout is not None
    seen = ""
    for line in run.stdout:
        seen += line
        if word in line:
            return seen
    raise AssertionError(f"{word!r} was never printed:\n{seen[-3000:]}")


def environment(**more: str) -> dict[str, str]:
    """The environment of an Ansible command in the checkout."""
    return {
        **os.environ,
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "test_results",
        "PYTHONPATH": str(ROOT / "tests" / "compiled"),
        "NEXANEST_TEST_COMPILED": str(ROOT / ".cache" / "tests" / "compiled"),
        **more,
    }


def docker(*argv: str, timeout: float = 120.0) -> str:
    """Standard output of one docker command; an error is raised with what it said."""
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(argv[:2])} failed: {done.stderr.strip()}")
    return done.stdout


def _remove(command: list[str], identifiers: Iterable[str]) -> None:
    names = list(identifiers)
    if names:
        docker(*command, *names)
