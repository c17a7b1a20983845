"""Fixtures of the integration tests: one deployed stack for the whole session."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2] / ".ansible_dev")]

import timescale_editions  # noqa: E402  (the path above is what makes it importable)
from stack import Stack, stack_named  # noqa: E402

SHARED = "the shared stack"
# These take longest, as measured. They are begun first: begun last, one of them would run alone at the end.
LONGEST = (
    SHARED,
    "test_migration_shadow.py",
    "test_backup_set_failures.py",
    "test_access_report_postgres.py",
    "test_restore_drill.py",
    "test_restore_redis.py",
    "test_backup_copy.py",
    "test_timescale_hypertables.py",
    "test_restore_swap.py",
    "test_backup_schedule.py",
    "test_wal_archive.py",
    "test_entry.py",
    "test_restore_crash.py",
    "test_pitr.py",
    "test_postgres_migrations.py",
    "test_timescale_disturbances.py",
    "test_backup_odd_databases.py",
)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """NexaNest deployed once as `nexatest`.

    REUSE_STACK=1 takes the one that is there when it is healthy (make test deploys it beforehand); KEEP_STACK=1 also leaves it there.
    """
    deployed = stack_named()
    keep = os.environ.get("KEEP_STACK", "") == "1"
    reuse = keep or os.environ.get("REUSE_STACK", "") == "1"
    if not (reuse and deployed.healthy()):
        deployed.destroy()
        deployed.write_inventory()
        deployed.deploy_as_planned().checked()
    yield deployed
    if not keep:
        deployed.destroy()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest queues first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(queue(item.nodeid), len(LONGEST)))
    timescale_editions.skip_others(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --numprocesses: what is in one queue runs in one process, in order."""
    # Only there: xdist is a part of these runs alone.
    from xdist.scheduler import LoadFileScheduling

    class Queues(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return queue(nodeid)

    return Queues(config, log)


def queue(nodeid: str) -> str:
    """A file's tests are one; those of all files that use the shared stack are one too."""
    name = Path(nodeid.partition("::")[0]).name
    return SHARED if uses_stack(name) else name


@functools.cache
def uses_stack(name: str) -> bool:
    path = Path(__file__).with_name(name)
    return path.is_file() and "stack: Stack" in path.read_text(encoding="utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in timescale_editions.summary(terminalreporter):
        terminalreporter.write_line(line)
