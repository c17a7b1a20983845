"""Deploy the stack of the integration tests and leave it there, write the inventory alone, or remove what the tests made.

Usage: python tests/integration/deploy.py [--deploy | --inventory | --destroy] [NAME]
"""

from __future__ import annotations

import shutil
import sys

from stack import Ports, stack_named

BENCH = Ports(postgres=25432, timescaledb=25433, redis=26379, sessions=26380, pgadmin=25050)


def main(action: str = "--deploy", name: str = "nexatest") -> int:
    """The run's own exit code; its text is printed."""
    if action == "--destroy":
        if shutil.which("docker"):
            stack_named("nexatest").destroy()
            stack_named("nexabench").destroy()
        return 0
    stack = stack_named(name, BENCH if name == "nexabench" else None)
    stack.destroy()
    stack.write_inventory()
    if action == "--inventory":
        return 0
    run = stack.deploy_as_planned()
    print(run.stdout[-8000:], run.stderr[-4000:], sep="\n")
    return run.rc


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
