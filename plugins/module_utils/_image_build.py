# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry a plan of images out: what does not depend on each other side by side, one run at a time on a host."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils import _image_wheels
from ansible_collections.nexanest.database.plugins.module_utils._image_base import BaseImage
from ansible_collections.nexanest.database.plugins.module_utils._image_mirror import Mirror
from ansible_collections.nexanest.database.plugins.module_utils._image_plan import ImageError, Service, Step
from ansible_collections.nexanest.database.plugins.module_utils._image_progress import Runner
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress

WORK_FOLDER = Path("/var/cache/nexanest-database/images")
LOCK_FILE = Path("/run/lock/nexanest-database-images.lock")


@contextlib.contextmanager
def lock(progress: Progress, *, timeout: float) -> Iterator[None]:
    """One build at a time on a host. The lock dies with its holder; a run whose operator was cut off may still hold it and finish."""
    if not LOCK_FILE.parent.exists():
        # A machine without an init may lack the folder. Every user's locks lie there, those of the runs too.
        LOCK_FILE.parent.mkdir(parents=True, exist_ok=True)
        LOCK_FILE.parent.chmod(0o1777)
    with LOCK_FILE.open("w") as file:
        until = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise ImageError(
                        f"another run has been making images on this host for {timeout:.0f} s: wait until it has ended, then run this again"
                    ) from None
                progress.begin("images", "waiting for another run that makes images on this host")
                time.sleep(5)
        yield


class ImageBuilder:
    """Pulls, imports and builds. An image gets its name when it is complete, so nothing partial can be taken for one."""

    def __init__(self, services: Mapping[str, Service], mirror: Mirror | None, runner: Runner) -> None:
        self.services = services
        self.mirror = mirror
        self.runner = runner

    def make(self, steps: Sequence[Step]) -> dict[str, ImageError]:
        """Make all; returns the errors by image. What stands on a failed one is not tried."""
        shutil.rmtree(WORK_FOLDER, ignore_errors=True)
        WORK_FOLDER.mkdir(parents=True, mode=0o700)
        stop = threading.Event()
        heart = threading.Thread(target=self._beat, args=(stop,), daemon=True)
        heart.start()
        try:
            return self._side_by_side(steps)
        finally:
            stop.set()
            shutil.rmtree(WORK_FOLDER, ignore_errors=True)

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(5):
            self.runner.progress.heartbeat()

    def _side_by_side(self, steps: Sequence[Step]) -> dict[str, ImageError]:
        jobs: dict[str, Future[None]] = {}
        errors: dict[str, ImageError] = {}
        with ThreadPoolExecutor(max_workers=max(len(steps), 1)) as pool:
            for step in steps:
                jobs[step.image] = pool.submit(self._one, step, jobs.get(step.parent))
        for image, job in jobs.items():
            error = job.exception()
            if isinstance(error, ImageError):
                errors[image] = error
            elif error is not None:
                errors[image] = ImageError(f"making {image} failed: {error}")
        return errors

    def _one(self, step: Step, parent: Future[None] | None) -> None:
        if step.kind == "pull":
            self.runner.progress.begin(step.label, f"pulling {step.image}")
            self.runner.run(["docker", "pull", "--quiet", step.image], label=step.label, task=f"pulling {step.image}")
        elif step.kind == "base":
            self._base(step)
        else:
            self._build(step, parent)
        self.runner.progress.end(step.label, f"{step.image} is ready")

    def _base(self, step: Step) -> None:
        if self.mirror is None:
            raise ImageError(
                f"{step.image} cannot be built: apt's sources of this host name no Debian mirror that speaks HTTP. "
                "Set images_debian_mirror, or add one to /etc/apt/sources.list.d"
            )
        BaseImage(self.runner, folder=WORK_FOLDER, mirror=self.mirror).make(step.image)

    def _build(self, step: Step, parent: Future[None] | None) -> None:
        service = self.services[step.label]
        recipe = service.layer if step.kind == "layer" and service.layer else service.recipe
        folder = WORK_FOLDER / step.label
        folder.mkdir()
        for name, text in recipe.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        if recipe.wheels:
            _image_wheels.fetch(self.runner, label=step.label, folder=folder, files=recipe.files)
        if parent is not None and parent.exception() is not None:
            raise ImageError(f"{step.image} was not built, because {step.parent} could not be made")
        # The host's network: its mirror and its proxy are reachable from there. The classic builder: an engine without buildx has no other.
        argv = ["docker", "build", "--force-rm", "--network", "host", "--build-arg", f"BASE={step.parent}", "--tag", step.image]
        labels = {"service": step.label, "build": step.image.rpartition("-")[2], **({"flavour": "built"} if step.kind == "build" else {})}
        argv += [word for key, value in labels.items() for word in ("--label", f"nexanest.database.{key}={value}")]
        self.runner.run([*argv, str(folder)], label=step.label, task=f"building {step.image}", environment={"DOCKER_BUILDKIT": "0"})
        shutil.rmtree(folder)
