# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's packages: which are installed, and installing those that are not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

# Another apt may be at work, also one that an earlier, killed run left behind.
LOCK_TIMEOUT = 300


class AptError(Exception):
    """Packages cannot be read or installed; the text says why and what to do."""


class Apt:
    """dpkg-query and apt-get, one method per sub-command."""

    def installed(self, names: Sequence[str]) -> set[str]:
        """Those of `names` that are installed."""
        if not names:
            return set()
        done = self._run(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Abbrev}\\n", *names])
        return installed_names(done.stdout)

    def install(self, names: Sequence[str]) -> None:
        """Install packages. The index is refreshed only where apt does not know them or cannot fetch them any more."""
        done = self._install(names)
        if "dpkg --configure -a" in done.stderr:
            self._run(["dpkg", "--configure", "-a"])
            done = self._install(names)
        if done.returncode == 0:
            return
        refreshed = self._run(["apt-get", "update"])
        done = self._install(names)
        if done.returncode != 0:
            raise AptError(f"could not install {' '.join(names)}: {complaint(done.stderr, refreshed.stderr)}")

    def _install(self, names: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return self._run(["apt-get", "install", "--yes", "--no-install-recommends", "-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT}", *names])

    def _run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        try:
            return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment, stdin=subprocess.DEVNULL)
        except FileNotFoundError as error:
            raise AptError(f"{argv[0]} is not there: the managed host has to run Debian 12 or 13") from error


def installed_names(text: str) -> set[str]:
    """Names out of dpkg-query's lines `name ii `."""
    lines = [line.split() for line in text.splitlines()]
    return {line[0] for line in lines if len(line) > 1 and line[1] == "ii"}


def complaint(install: str, update: str) -> str:
    """apt's own errors, without its noise."""
    lines = [line.removeprefix("E: ").strip() for line in (install + "\n" + update).splitlines() if line.startswith("E: ")]
    reasons = "; ".join(dict.fromkeys(lines)) or "apt-get gave no reason"
    return f"{reasons}. Is the distribution's mirror reachable from the managed host, and is there space on /var?"
