"""`make bench`: ratios of medians of alternating runs, on a stack of its own. Nothing here passes or fails by time.

Usage: bench.py INVENTORY STACK [ROUNDS]   (the stack is made, measured and removed; its images must be there)
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import backup_restore
import continuous_backup
import databases
import hypertables
import many_migrations
import raw_stack
import row_security

CONFIGURATION = Path("/etc/nexanest-database")


def seconds(work: Callable[[], None]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def playbook(inventory: str, *argv: str) -> None:
    done = subprocess.run(["ansible-playbook", "-i", inventory, *argv], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"ansible-playbook {' '.join(argv)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-1000:]}")


def row(name: str, ours: list[float], theirs: list[float], against: str) -> str:
    ours_median, theirs_median = statistics.median(ours), statistics.median(theirs)
    spread = f"{min(ours):.1f}-{max(ours):.1f} s against {min(theirs):.1f}-{max(theirs):.1f} s"
    return f"{name:<44} {ours_median / theirs_median:6.2f} x   {against:<52} {spread}"


def from_images_to_healthy(inventory: str, stack: str, rounds: int) -> str:
    """site.yml over existing images, against the same containers by docker run."""
    playbook(inventory, "site.yml")
    steps, containers = raw_stack.commands(stack), raw_stack.names("container", stack)
    ours: list[float] = []
    theirs: list[float] = []
    for _round in range(rounds):
        raw_stack.remove(stack)
        theirs.append(seconds(lambda: raw_stack.start(steps, containers)))
        raw_stack.remove(stack)
        shutil.rmtree(CONFIGURATION / stack)
        ours.append(seconds(lambda: playbook(inventory, "site.yml")))
    return row("from existing images to healthy: site.yml", ours, theirs, "shell script with the same docker run commands")


def no_change(inventory: str, rounds: int) -> str:
    """site.yml on a converged stack, against Ansible doing nothing: one ping of the same host with facts."""
    ours: list[float] = []
    theirs: list[float] = []
    for _round in range(rounds):
        ours.append(seconds(lambda: playbook(inventory, "site.yml")))
        theirs.append(seconds(lambda: playbook(inventory, str(Path(__file__).with_name("empty.yml")))))
    return row("no-change site.yml", ours, theirs, "a play that gathers facts and pings the same host")


def five_databases(rounds: int) -> list[str]:
    """Service databases by one module, against looped tasks; on throw-away servers."""
    return [row(name, sides["ours"], sides["theirs"], databases.AGAINST) for name, sides in databases.measure(rounds).items()]


def main() -> None:
    inventory, stack = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    rows = [from_images_to_healthy(inventory, stack, rounds), no_change(inventory, rounds), *five_databases(rounds)]
    rows += [*many_migrations.rows(rounds, row), *row_security.rows(rounds, row), *hypertables.rows(rounds, hypertables.line)]
    rows += backup_restore.rows(rounds, backup_restore.line)
    rows += continuous_backup.rows(rounds)
    playbook(inventory, "playbooks/destroy.yml", "-e", f"stack_destroy_confirm={stack}")
    print(f"medians of {rounds} alternating rounds; a ratio below 1 means faster than the comparison\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
