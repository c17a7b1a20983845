"""Five service databases by one module, against the same by looped tasks of community.postgresql: first run, and run without a change.

Usage: databases.py [ROUNDS]     (throw-away servers; no stack is needed)
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "integration"), str(HERE.parents[1] / ".ansible_dev")]

from servers import Server, postgres_server  # noqa: E402  (the path above is what makes it importable)

NAMES = ("nexanest", "auth", "portfolio", "analytics", "notifications")
SIDES = ("ours", "theirs")
FIRST, AGAIN = "five databases, first run", "five databases, no change"
AGAINST = "the same by looped community.postgresql tasks"

# What both must have made: roles, memberships, and rights on databases, on schemas and by default.
CLUSTER = """
SELECT 'role', rolname, rolcanlogin::text, rolbypassrls::text FROM pg_roles WHERE rolname !~ '^pg_' AND NOT rolsuper
UNION ALL SELECT 'member', roleid::regrole::text, member::regrole::text, '' FROM pg_auth_members WHERE roleid >= 16384
UNION ALL SELECT 'database', datname, coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC'), a.privilege_type
  FROM pg_database d CROSS JOIN LATERAL aclexplode(coalesce(datacl, acldefault('d', datdba))) a WHERE a.grantee <> datdba AND datname <> 'template0'
ORDER BY 1, 2, 3, 4
"""
INSIDE = """
SELECT 'schema', nspname, coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC'), a.privilege_type
  FROM pg_namespace CROSS JOIN LATERAL aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a WHERE nspname !~ '^(pg_|information)' AND a.grantee <> nspowner
UNION ALL SELECT 'default ' || defaclobjtype::text, defaclnamespace::text, coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC'), a.privilege_type
  FROM pg_default_acl CROSS JOIN LATERAL aclexplode(defaclacl) a WHERE a.grantee <> defaclrole
UNION ALL SELECT 'extension', extname, '', '' FROM pg_extension
ORDER BY 1, 2, 3, 4
"""


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of ansible-playbook by row and side, each round on new servers."""
    found = {row: {side: [] for side in SIDES} for row in (FIRST, AGAIN)}
    for _round in range(rounds):
        made = {}
        for side in SIDES:
            with postgres_server(settings=["shared_preload_libraries=pg_stat_statements"], prefix="bench") as server:
                found[FIRST][side].append(play(side, server))
                found[AGAIN][side].append(play(side, server, changed=False))
                made[side] = state(server)
        if made["ours"] != made["theirs"]:
            raise SystemExit(f"both sides must make the same; only one of them has {sorted(set(made['ours']) ^ set(made['theirs']))}")
    return found


def play(side: str, server: Server, *, changed: bool = True) -> float:
    """Seconds of one run, which must change something, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        values = Path(folder) / "values.json"
        values.write_text(json.dumps(variables(server)), encoding="utf-8")
        playbook = str(HERE / f"databases_{side}.yml")
        begin = time.monotonic()
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", playbook, "-e", f"@{values}"],
            env={**os.environ, "ANSIBLE_CONFIG": str(HERE.parents[1] / "ansible.cfg")},
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.monotonic() - begin
    if done.returncode != 0 or ("changed=0" not in done.stdout) is not changed:
        raise SystemExit(f"{playbook} did not do what it should (changed: {changed}):\n{done.stdout[-3000:]}\n{done.stderr[-1000:]}")
    return took


def variables(server: Server) -> dict[str, Any]:
    return {
        "login": {"port": server.port, "user": server.user, "password": server.password},
        "databases": [{"name": name, "comment": f"Service {name}", "extensions": ["pg_stat_statements"]} for name in NAMES],
        "passwords": {f"{name}_{kind}": f"{name} {kind} secret" for name in NAMES for kind in ("migrator", "app", "readonly")},
    }


def state(server: Server) -> list[tuple[Any, ...]]:
    """Rights and roles, without what tells two servers apart."""
    rows = server.query(CLUSTER)
    for name in NAMES:
        rows += [(name, row[0], row[2], row[3]) for row in server.query(INSIDE, database=name)]
    return sorted(rows)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for row, sides in measure(rounds).items():
        ours, theirs = (statistics.median(sides[side]) for side in SIDES)
        spread = " against ".join(f"{min(sides[side]):.1f}-{max(sides[side]):.1f} s" for side in SIDES)
        print(f"{row}: {theirs / ours:.1f} times faster ({spread})")


if __name__ == "__main__":
    main()
