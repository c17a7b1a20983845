# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base image: a small Debian from the host's own mirror, made by debootstrap."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils._image_mirror import Mirror
from ansible_collections.nexanest.database.plugins.module_utils._image_plan import BASE, ImageError
from ansible_collections.nexanest.database.plugins.module_utils._image_progress import Runner

SUITE = "trixie"
# What follows is the base's content: a change here gives a new name.
DPKG_EXCLUDES = """\
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
path-exclude=/usr/share/bug/*
"""
APT_SETTINGS = 'APT::Install-Recommends "false";\nAcquire::Languages "none";\nAcquire::Retries "3";\n'
NO_SERVICES = "#!/bin/sh\nexit 101\n"
FINISH = """\
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get dist-upgrade -qy
apt-get clean
find /usr/share/doc -type f ! -name copyright -delete
rm -rf /usr/share/man/* /usr/share/info/* /usr/share/locale/* /var/lib/apt/lists/* /var/log/* /var/cache/*
rm -f /etc/resolv.conf /etc/hostname /etc/machine-id /var/lib/dbus/machine-id
"""
RECIPE = "\n".join([DPKG_EXCLUDES, APT_SETTINGS, NO_SERVICES, FINISH])


class BaseImage:
    """Makes the base in a folder and imports it; the name is given last, so that half an image never has it."""

    def __init__(self, runner: Runner, *, folder: Path, mirror: Mirror, local_certificates: Path = Path("/usr/local/share/ca-certificates")) -> None:
        self.runner = runner
        self.root = folder / BASE
        self.mirror = mirror
        self.local_certificates = local_certificates

    def make(self, image: str) -> None:
        self._bootstrap()
        self._configure()
        self.runner.progress.begin(BASE, "installing security updates")
        self.runner.run(["chroot", str(self.root), "/bin/sh", "-c", FINISH], label=BASE, task=f"finishing {image} from {self.mirror.main}")
        self.runner.progress.begin(BASE, "importing")
        self._import(image)
        shutil.rmtree(self.root)

    def _bootstrap(self) -> None:
        self.runner.progress.begin(BASE, f"debootstrap of Debian {SUITE}")
        proxies = {key.lower(): value for key, value in self.mirror.settings.items()}
        environment = {f"{kind}_proxy": proxies[f"acquire::{kind}::proxy"] for kind in ("http", "https") if f"acquire::{kind}::proxy" in proxies}
        argv = ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(self.root), self.mirror.main]
        self.runner.run(argv, label=BASE, task=f"debootstrap of Debian {SUITE} from {self.mirror.main}", environment=environment)

    def _configure(self) -> None:
        (self.root / "etc/apt/sources.list").unlink(missing_ok=True)
        self._write("etc/apt/sources.list.d/debian.sources", self.mirror.sources(SUITE))
        self._write("etc/apt/apt.conf.d/50small-image", APT_SETTINGS)
        self._write("etc/dpkg/dpkg.cfg.d/small-image", DPKG_EXCLUDES)
        self._write("usr/sbin/policy-rc.d", NO_SERVICES)
        (self.root / "usr/sbin/policy-rc.d").chmod(0o755)
        if self.mirror.settings:
            self._write("etc/apt/apt.conf.d/60proxy", self.mirror.apt_conf())
        if self.mirror.main.startswith("https:"):
            self._trust_local_certificates()

    def _trust_local_certificates(self) -> None:
        """A mirror over TLS may be signed by an authority that only the host knows."""
        if self.local_certificates.is_dir():
            shutil.copytree(self.local_certificates, self.root / "usr/local/share/ca-certificates", dirs_exist_ok=True)
            self.runner.run(["chroot", str(self.root), "update-ca-certificates"], label=BASE, task="adding the host's certificate authorities")

    def _write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def _import(self, image: str) -> None:
        tar = subprocess.Popen(["tar", "-C", str(self.root), "--numeric-owner", "-c", "."], stdout=subprocess.PIPE)
        argv = ["docker", "import", "--change", 'CMD ["/bin/bash"]', "--change", "ENV LANG=C.UTF-8", "--change", "LABEL nexanest.database.build=base", "-"]
        done = subprocess.run(argv, stdin=tar.stdout, capture_output=True, text=True, check=False, timeout=self.runner.timeout)
        if tar.wait() != 0 or done.returncode != 0:
            raise ImageError(f"importing {image} failed: {done.stderr.strip() or 'tar could not read ' + str(self.root)}")
        self.runner.run(["docker", "tag", done.stdout.strip(), image], label=BASE, task=f"naming {image}")
