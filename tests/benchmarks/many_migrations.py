"""A no-change run of postgres_migrations over 1,000 applied files, against the same over 10: the whole task as Ansible runs it, and the module alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from modules import run_module  # noqa: E402  beside the tests
from servers import Server, postgres_server  # noqa: E402

MANY, FEW = 1000, 10
# About 1 kB each, as real ones are.
TEXT = (
    "-- {number}: {filler}\nCREATE TABLE t{number} (id bigint PRIMARY KEY, name text NOT NULL CHECK (name <> ''));\nCOMMENT ON TABLE t{number} IS '{filler}';\n"
)


def rows(rounds: int, row: Callable[[str, list[float], list[float], str], str]) -> list[str]:
    """Two lines of the benchmark; row: makes one of them."""
    with postgres_server(prefix="bench") as server, tempfile.TemporaryDirectory() as folder:
        for count in (MANY, FEW):
            _prepare(server, Path(folder), count)
        task: dict[int, list[float]] = {MANY: [], FEW: []}
        module: dict[int, list[float]] = {MANY: [], FEW: []}
        for _round in range(rounds):
            for count in (MANY, FEW):
                task[count].append(_seconds(_playbook, Path(folder), count))
                module[count].append(_seconds(_module, server, Path(folder), count))
    return [
        row(f"no-change postgres_migrations, {MANY} files: a play", task[MANY], task[FEW], f"the same play, {FEW} files"),
        row(f"no-change postgres_migrations, {MANY} files: the module", module[MANY], module[FEW], f"the module, {FEW} files"),
    ]


def _prepare(server: Server, folder: Path, count: int) -> None:
    server.query(f"CREATE DATABASE files_{count}")
    directory = folder / str(count)
    directory.mkdir()
    for number in range(1, count + 1):
        (directory / f"{number:04d}_table.sql").write_text(TEXT.format(number=number, filler="x" * 400), encoding="utf-8")
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"here": host}}}), encoding="utf-8")
    task = {"nexanest.database.postgres_migrations": {**server.login, "databases": [{"name": f"files_{count}", "directory": str(directory)}]}}
    (folder / f"{count}.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
    _playbook(folder, count)


def _playbook(folder: Path, count: int) -> None:
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(folder / f"{count}.yml")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"applying {count} files failed:\n{done.stdout[-3000:]}\n{done.stderr[-1000:]}")


def _module(server: Server, folder: Path, count: int) -> None:
    files = [{"name": path.name, "text": path.read_text(encoding="utf-8")} for path in sorted((folder / str(count)).iterdir())]
    done = run_module("postgres_migrations", {**server.login, "databases": [{"name": f"files_{count}", "directory": str(folder), "files": files}]})
    if done["failed"] or done["changed"]:
        raise SystemExit(f"the run over {count} files was no no-change run: {done.get('msg', done['applied'])}")


def _seconds(work: Callable[..., Any], *values: Any) -> float:
    begin = time.monotonic()
    work(*values)
    return time.monotonic() - begin
