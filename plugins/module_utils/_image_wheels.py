# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python wheels for an image, fetched on the host: its index, its proxy and its certificates are known there."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._image_progress import Runner

PACKAGE = "python3-pip"
DEBIAN_PIP = Path("/usr/lib/python3/dist-packages/pip/__init__.py")
# The image's Python: Debian 13's.
PYTHON = "3.13"
GLIBC = ("2_34", "2_28", "2_17")
REQUIREMENTS = "requirements.txt"
SOURCE_REQUIREMENTS = "requirements-source.txt"


def pip() -> list[str] | None:
    """How to call pip: this interpreter's, or Debian's; None where there is none."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    return ["/usr/bin/python3", "-m", "pip"] if DEBIAN_PIP.is_file() else None


def fetch(runner: Runner, *, label: str, folder: Path, files: Mapping[str, str]) -> None:
    """Put every wheel that the requirements name into `folder`/wheels."""
    command = pip() or ["/usr/bin/python3", "-m", "pip"]
    target = folder / "wheels"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    requirements = {name: str(folder / name) for name in (REQUIREMENTS, SOURCE_REQUIREMENTS)}
    if SOURCE_REQUIREMENTS in files:
        runner.progress.begin(label, "making wheels of the packages that have none")
        argv = [*command, "wheel", *quiet, "--wheel-dir", str(target), "--requirement", requirements[SOURCE_REQUIREMENTS]]
        runner.run(argv, label=label, task="fetching Python packages from the host's package index (pip wheel)")
    runner.progress.begin(label, f"fetching {count(files[REQUIREMENTS])} wheels")
    argv = [*command, "download", *quiet, "--dest", str(target), *image_options(platform.machine()), "--requirement", requirements[REQUIREMENTS]]
    runner.run(argv, label=label, task="fetching wheels from the host's package index (pip download)")


def image_options(machine: str) -> list[str]:
    """pip's options for wheels that fit the image's Python, whatever the host's own is."""
    abi = f"cp{PYTHON.replace('.', '')}"
    platforms = [f"manylinux_{version}_{machine}" for version in GLIBC] + [f"manylinux2014_{machine}", "any"]
    options = ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    options += [word for name in (abi, "abi3", "none") for word in ("--abi", name)]
    return options + [word for name in platforms for word in ("--platform", name)]


def count(requirements: str) -> int:
    return sum("==" in line for line in requirements.splitlines())
