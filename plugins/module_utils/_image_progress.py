# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that make images: runs them, says how far they are, and keeps their last words for an error."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence

from ansible_collections.nexanest.database.plugins.module_utils._image_plan import ImageError
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress

# Only what takes time is told; settings such as ENV and LABEL take none.
DOCKER_STEP = re.compile(r"^Step (\d+)/(\d+) : (RUN|COPY) (.*)")
DOCKER_NOISE = "export DEBIAN_FRONTEND=noninteractive"


class Runner:
    """Runs programs with argv lists and bounded time; the last lines of their output stand in the error."""

    def __init__(self, progress: Progress, *, timeout: float) -> None:
        self.progress = progress
        self.timeout = timeout

    def run(self, argv: Sequence[str], *, label: str, task: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """Run to the end and return the last lines; ImageError says which task failed and how."""
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        )
        clock = threading.Timer(self.timeout, process.kill)
        clock.start()
        last: deque[str] = deque(maxlen=12)
        step = task
        try:
            for line in process.stdout or ():
                last.append(line.rstrip())
                found = DOCKER_STEP.match(line)
                if found:
                    step = docker_step(found)
                    self.progress.begin(label, step)
            code = process.wait()
        finally:
            alive = clock.is_alive()
            clock.cancel()
        if code != 0:
            why = "\n".join(last) if alive else f"it took longer than {self.timeout:.0f} s"
            raise ImageError(f"{task} failed at {step}: {why}" if step != task else f"{task} failed: {why}")
        return list(last)


def docker_step(found: re.Match[str]) -> str:
    """`Step 4/9 : RUN apt-get update ...` of the classic builder, short."""
    number, total, word, rest = found.groups()
    text = f"{word} {rest.removeprefix(DOCKER_NOISE).lstrip(' &')}"
    return f"step {number}/{total} {text if len(text) <= 40 else text[:37] + '...'}"
