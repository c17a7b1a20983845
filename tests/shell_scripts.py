"""shellcheck over every shell script of the project: also those without an ending, which ansible-test passes over."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import hygiene

SHELL = re.compile(rb"#!\s*(?:/usr/bin/env\s+)?(?:/bin/)?(?:ba)?sh\b")


def main() -> int:
    """shellcheck's exit code."""
    scripts = [str(path) for path in hygiene.files() if SHELL.match(path.read_bytes()[:64])]
    if shutil.which("shellcheck") is None:
        print("shellcheck is missing. On Debian: apt-get install shellcheck")
        return 1
    print(f"shellcheck: {len(scripts)} scripts")
    return subprocess.run(["shellcheck", *scripts], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
