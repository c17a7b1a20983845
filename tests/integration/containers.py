# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine and the host's kernel say of running containers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

SERVICES = ("postgres", "timescaledb", "redis", "pgadmin")


def docker(*argv: str, stdin: str = "") -> str:
    done = subprocess.run(["docker", *argv], input=stdin, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, f"docker {' '.join(argv)}: {done.stderr}"
    return done.stdout


def newest_image(service: str) -> str:
    """TEST_<SERVICE>_IMAGE, else the image of a service that was built last."""
    named = os.environ.get(f"TEST_{service.upper()}_IMAGE")
    names = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference=nexanest-database/{service}").split()
    if not named and not names:
        raise RuntimeError(f"no image nexanest-database/{service} is here: build it with the role images, or name another in TEST_{service.upper()}_IMAGE")
    return named or names[0]


def inspect(name: str) -> dict[str, Any]:
    return dict(json.loads(docker("container", "inspect", name))[0])


def started(stack: str) -> dict[str, tuple[str, str]]:
    """Container id and start time of each of the stack's containers, by name."""
    names = docker("ps", "--all", "--filter", f"label=nexanest.database.stack={stack}", "--format", "{{.Names}}").split()
    return {name: (document["Id"], document["State"]["StartedAt"]) for name in names for document in [inspect(name)]}


def processes(name: str) -> list[Path]:
    """The /proc folders of all processes of a container, seen from the host."""
    pids = docker("top", name, "-eo", "pid").split()[1:]
    return [Path("/proc") / pid for pid in pids]


def server_process(name: str) -> int:
    """The main process below the container's init, as the host numbers it."""
    init = inspect(name)["State"]["Pid"]
    children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    return int(children[0])


def kill_server(name: str) -> None:
    os.kill(server_process(name), signal.SIGKILL)


def wait_healthy(name: str, *, after: str | None = None, limit: float = 180) -> None:
    """Wait until the container is healthy, started later than `after` (its StartedAt) where that is given."""
    deadline = time.monotonic() + limit
    while True:
        state = inspect(name)["State"]
        if state.get("Health", {}).get("Status") == "healthy" and state["StartedAt"] != after:
            return
        assert time.monotonic() < deadline, f"{name} is not healthy after {limit:.0f} s: {state}"
        time.sleep(0.5)
