# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0-or-later (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The docker client, one method per sub-command; containers themselves are converged by community.docker."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class DockerError(Exception):
    """A docker command failed; the text names the command (never its input) and what the client said."""


@dataclass(frozen=True)
class Output:
    """What a command in a container ended with: exit code and texts."""

    code: int
    stdout: str
    stderr: str


class Docker:
    """Runs the docker client of the managed host with argv lists; no shell."""

    def __init__(self, *, timeout: float = 60) -> None:
        self.timeout = timeout

    def version(self) -> dict[str, Any]:
        """The engine's version document; DockerError where no engine answers."""
        return dict(json.loads(self._checked(["version", "--format", "{{json .Server}}"])))

    def info(self) -> dict[str, Any]:
        return dict(json.loads(self._checked(["info", "--format", "{{json .}}"])))

    def inspect(self, kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """Documents of those of `names` that exist; kind is container, image, volume or network."""
        if not names:
            return []
        output = self._run([kind, "inspect", *names])
        if output.code != 0 and "no such" not in output.stderr.lower() and "not found" not in output.stderr.lower():
            raise DockerError(f"docker {kind} inspect failed: {output.stderr.strip()}")
        return list(json.loads(output.stdout or "[]"))

    def names(self, kind: str, *, label: str | None = None) -> list[str]:
        """Names of all objects of a kind, or of those that carry a label (key or key=value)."""
        column = "{{.Repository}}:{{.Tag}}" if kind == "image" else "{{.Names}}" if kind == "container" else "{{.Name}}"
        argv = [kind, "ls", "--format", column]
        if kind == "container":
            argv.append("--all")
        if label is not None:
            argv += ["--filter", f"label={label}"]
        return self._checked(argv).split()

    def execute(self, container: str, argv: Sequence[str], *, stdin: str = "", user: str = "") -> Output:
        """Run a command in a running container; secrets belong on stdin, never in argv."""
        identity = ["--user", user] if user else []
        return self._run(["exec", "--interactive", *identity, container, *argv], stdin=stdin)

    def run(self, image: str, argv: Sequence[str], *, options: Sequence[str] = (), stdin: str = "") -> Output:
        """Run a throw-away container without network and wait for its end."""
        return self._run(["run", "--rm", "--interactive", "--network", "none", *options, image, *argv], stdin=stdin)

    def launch(self, image: str, argv: Sequence[str], *, options: Sequence[str]) -> None:
        """Begin a container that stays."""
        self._checked(["run", "--detach", *options, image, *argv])

    def logs(self, container: str, lines: int = 200) -> str:
        """The end of what a container said, on both its outputs."""
        output = self._run(["logs", "--tail", str(lines), container])
        return output.stdout + output.stderr

    def stop(self, container: str) -> None:
        """Ask a container to end, and wait as long as it was configured to take."""
        self._checked(["stop", container])

    def start(self, container: str) -> None:
        self._checked(["start", container])

    def remove(self, kind: str, name: str) -> None:
        """Remove a stopped container with its anonymous volumes, a network or a volume."""
        self._checked([kind, "rm", *(["--volumes"] if kind == "container" else []), name])

    def _checked(self, argv: Sequence[str]) -> str:
        output = self._run(argv)
        if output.code != 0:
            raise DockerError(f"docker {argv[0]} failed: {output.stderr.strip()}")
        return output.stdout

    def _run(self, argv: Sequence[str], *, stdin: str = "") -> Output:
        client = shutil.which("docker")
        if client is None:
            raise DockerError("the docker client is not installed on the managed host: run the role nexanest.database.docker, which installs it")
        try:
            done = subprocess.run([client, *argv], input=stdin, capture_output=True, text=True, errors="replace", timeout=self.timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise DockerError(f"docker {argv[0]} gave no answer in {self.timeout:.0f} s: is the engine overloaded or stuck?") from error
        return Output(code=done.returncode, stdout=done.stdout, stderr=done.stderr)
