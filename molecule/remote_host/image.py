# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of the machine: Debian 12 with systemd, sshd and sudo, without Python and Docker, from this machine's own mirror.

Usage: python molecule/remote_host/image.py     prints the image's name, and makes it where it is missing (a minute or two)
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ansible_dev"))
from ansible_collections.nexanest.database.plugins.module_utils._image_base import APT_SETTINGS
from ansible_collections.nexanest.database.plugins.module_utils._image_mirror import Mirror, read

SUITE = "bookworm"
PACKAGES = "ca-certificates,dbus,openssh-server,sudo,systemd,systemd-sysv"
# A machine has a tree of control groups that it may write to. Where version 1 is used, systemd has a hierarchy of its own besides.
INIT = """\
#!/bin/sh
set -e
groups=/sys/fs/cgroup
ssh-keygen -A
if [ "$(stat -f -c %T "$groups")" = cgroup2fs ]; then
    mount -o remount,rw "$groups"
else
    umount -R "$groups"
    mount -t tmpfs -o mode=755 tmpfs "$groups"
    for names in $(cut -d: -f2 /proc/self/cgroup | grep -v '=' | grep .); do
        mkdir "$groups/$names"
        mount -t cgroup -o "$names" cgroup "$groups/$names"
    done
    mkdir "$groups/systemd"
    mount -t cgroup -o none,name=systemd cgroup "$groups/systemd"
fi
exec /sbin/init
"""
# operator may run sudo without a password, guest may not run it. pam_loginuid needs a right that a container lacks.
FINISH = """\
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get dist-upgrade -qy
apt-get clean
for user in operator guest; do
    useradd --create-home --shell /bin/bash --gid users "$user"
    mkdir -m 700 "/home/$user/.ssh"
    chown "$user" "/home/$user/.ssh"
done
printf 'operator ALL=(ALL) NOPASSWD: ALL\\n' >/etc/sudoers.d/operator
chmod 440 /etc/sudoers.d/operator
sed -i 's/^session.*pam_loginuid/#&/' /etc/pam.d/sshd
systemctl set-default multi-user.target
systemctl mask apt-daily.timer apt-daily-upgrade.timer
systemd-machine-id-setup
rm -rf /etc/ssh/ssh_host_* /etc/resolv.conf /etc/hostname /var/lib/apt/lists/*
"""


def main() -> int:
    mirror = read()
    if mirror is None:
        sys.stderr.write("apt's sources name no mirror of Debian that speaks HTTP\n")
        return 1
    recipe = "\n".join([SUITE, PACKAGES, INIT, FINISH, APT_SETTINGS, mirror.sources(SUITE), mirror.apt_conf()])
    image = f"nexanest-database-test/{SUITE}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode != 0:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), mirror, image)
    sys.stdout.write(f"{image}\n")
    return 0


def make(root: Path, mirror: Mirror, image: str) -> None:
    """What the programs say goes to standard error."""
    proxies = {key.lower(): value for key, value in mirror.settings.items()}
    more = [f"{kind}_proxy={proxies[f'acquire::{kind}::proxy']}" for kind in ("http", "https") if f"acquire::{kind}::proxy" in proxies]
    run(["env", *more, "debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root), mirror.main])
    write(root / "etc/apt/sources.list.d/debian.sources", mirror.sources(SUITE))
    write(root / "etc/apt/apt.conf.d/50machine", APT_SETTINGS + mirror.apt_conf())
    write(root / "sbin/machine", INIT, mode=0o755)
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    run(["chroot", str(root), "/bin/sh", "-c", FINISH])
    with subprocess.Popen(["tar", "-C", str(root), "--numeric-owner", "-c", "."], stdout=subprocess.PIPE) as tar:
        change = ["--change", 'CMD ["/sbin/machine"]', "--change", "ENV container=docker"]
        subprocess.run(["docker", "import", *change, "-", image], stdin=tar.stdout, stdout=sys.stderr, check=True)
    if tar.returncode != 0:
        raise SystemExit(f"tar could not read {root}")


def write(file: Path, text: str, mode: int = 0o644) -> None:
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)


def run(argv: list[str]) -> None:
    subprocess.run(argv, stdout=sys.stderr, check=True)


if __name__ == "__main__":
    sys.exit(main())
