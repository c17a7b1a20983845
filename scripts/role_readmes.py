"""Writes the table of variables into each role's README, from its meta/argument_specs.yml: python scripts/role_readmes.py [--check]

The table stands between two comments; all else in a README is written by hand. --check changes nothing and fails where a table is old.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"
BEGIN, END = "<!-- variables: written by scripts/role_readmes.py -->", "<!-- end of variables -->"


def shown(value: object) -> str:
    """A default as YAML, in one line and safe in a table."""
    text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
    return "`" + " ".join(text.split()).replace("|", "\\|") + "`" if text else '`""`'


def described(option: dict[str, Any]) -> str:
    """The description's sentences, without Ansible's markup."""
    lines = option.get("description", "")
    text = " ".join(lines) if isinstance(lines, list) else str(lines)
    return " ".join(re.sub(r"\b[CVOMIER]\(([^)]*)\)", r"`\1`", text).split()).replace("|", "\\|")


def default_of(name: str, option: dict[str, Any], defaults: dict[str, Any]) -> str:
    """What stands in the table's column: the role's own default, else the documented one, else whether it is required."""
    if option.get("required"):
        return "required"
    if name in defaults:
        return shown(defaults[name])
    return shown(option["default"]) if "default" in option else ""


def table(role: Path) -> str:
    """The generated section of one role."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    file = role / "defaults" / "main.yml"
    defaults = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else {}
    lines = [BEGIN]
    for entry, spec in specs.items():
        options = spec.get("options") or {}
        if not options:
            continue
        lines += [
            "",
            "## Variables" if entry == "main" else f"## Variables of `tasks_from: {entry}`",
            "",
            "| variable | type | default | meaning |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{name}` | {option.get('type', 'str')} | {default_of(name, option, defaults)} | {described(option)} |" for name, option in options.items()
        ]
    return "\n".join([*lines, "", END])


def updated(role: Path) -> tuple[Path, str, str]:
    """A README's path, its text, and the text that it should have."""
    readme = role / "README.md"
    old = readme.read_text(encoding="utf-8") if readme.is_file() else f"# {role.name}\n"
    before, mark, rest = old.partition(BEGIN)
    after = rest.partition(END)[2] if mark else ""
    return readme, old, f"{before.rstrip()}\n\n{table(role)}\n{after.lstrip() and chr(10) + after.lstrip()}"


def main() -> int:
    """Exit code 1 with --check where a README is old."""
    old = []
    for role in sorted(path for path in ROLES.iterdir() if (path / "meta" / "argument_specs.yml").is_file()):
        readme, before, after = updated(role)
        if before == after:
            continue
        old.append(readme)
        if "--check" not in sys.argv[1:]:
            readme.write_text(after, encoding="utf-8")
    for readme in old:
        print(f"{readme.parent.name}/README.md: its table of variables {'is old: run scripts/role_readmes.py' if '--check' in sys.argv[1:] else 'was written'}")
    return 1 if old and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
