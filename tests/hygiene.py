"""Fails where a file of the project names a package index, a mirror or a path of one machine, or a host that only some machines can reach.

Run from the checkout: python tests/hygiene.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

# Indexes come from pip's and apt's own configuration, so that the same checkout works behind any mirror.
HOST = re.compile(r"https?://[^\s/\"')]*(?:debian|ubuntu|pypi|pythonhosted|npmjs|docker|quay|ghcr)\.[^\s/\"')]*(?:/(?:simple|debian|v2)\b)?", re.IGNORECASE)
OPTION = re.compile(r"--(?:index-url|extra-index-url|trusted-host|registry-mirror)\b|\bindex-url\s*=")
MACHINE = re.compile(r"(?<![\w.{}$])/(?:home/[a-z]|work|farm|Users)/")
# Documentation of the thing itself may be linked to.
LINKS = ("https://docs.docker.com/", "https://www.debian.org/")
SELF = Path("tests/hygiene.py")


def files() -> list[Path]:
    """Every file that is or would be committed."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := Path(name)).is_file() and path != SELF]


def findings(path: Path) -> list[str]:
    """Lines of one file that should not be there."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []
    rows = []
    for number, line in enumerate(lines, 1):
        text = line
        for link in LINKS:
            text = text.replace(link, "")
        for what, pattern in (("package index or registry", HOST), ("package index option", OPTION), ("path of one machine", MACHINE)):
            if pattern.search(text):
                rows.append(f"{path}:{number}: {what}: {line.strip()[:120]}")
    return rows


def main() -> int:
    """Exit code 1 when anything was found."""
    rows = [row for path in files() for row in findings(path)]
    print("\n".join(rows) if rows else "hygiene: no index, mirror or machine path is named")
    return 1 if rows else 0


if __name__ == "__main__":
    sys.exit(main())
