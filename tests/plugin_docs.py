"""Every plugin and role has a documentation that ansible-doc can read, and every default of a role is in its argument_specs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
COLLECTION = "nexanest.database"
KINDS = {"modules": "module", "lookup": "lookup", "filter": "filter", "callback": "callback"}


def ansible_doc(kind: str, names: list[str]) -> dict[str, object]:
    """What ansible-doc says of the plugins of one kind."""
    done = subprocess.run(
        [str(ROOT / ".venv/bin/ansible-doc"), "--type", kind, "--json", *(f"{COLLECTION}.{name}" for name in names)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return {}
    return dict(json.loads(done.stdout))


def plugin_problems() -> list[str]:
    """Plugins that ansible-doc cannot describe."""
    problems = []
    for folder, kind in KINDS.items():
        # filters have a file of documentation each; one Python file may hold several
        pattern = "*.yml" if kind == "filter" else "*.py"
        names = sorted(path.stem for path in (ROOT / "plugins" / folder).glob(pattern) if not path.stem.startswith("_"))
        found = ansible_doc(kind, names) if names else {}
        problems += [f"plugins/{folder}/{name}: ansible-doc cannot read it" for name in names if f"{COLLECTION}.{name}" not in found]
    return problems


def role_problems(role: Path) -> list[str]:
    """What a role lacks: a file, or a variable of its defaults in the specs."""
    problems = [f"{role.name}: {name} is missing" for name in ("README.md", "meta/main.yml", "meta/argument_specs.yml") if not (role / name).is_file()]
    if problems:
        return [f"roles/{problem}" for problem in problems]
    defaults = role / "defaults" / "main.yml"
    variables = yaml.safe_load(defaults.read_text(encoding="utf-8")) or {} if defaults.is_file() else {}
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    documented = {option for entry in specs.values() for option in entry.get("options", {})}
    return [f"roles/{role.name}: {name} is not in meta/argument_specs.yml" for name in variables if not name.startswith("__") and name not in documented]


def main() -> int:
    """Exit code 1 when something is not documented."""
    roles = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
    problems = plugin_problems() + [problem for role in roles for problem in role_problems(role)]
    print("\n".join(problems) if problems else f"documented: plugins and {len(roles)} roles")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
