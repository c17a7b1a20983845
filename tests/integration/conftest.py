"""Fixtures of the integration tests: one deployed stack for the whole session."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2] / ".ansible_dev")]

import timescale_editions  # noqa: E402  (the path above is what makes it importable)
from stack import Stack, stack_named  # noqa: E402


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
        deployed.deploy().checked()
    yield deployed
    if not keep:
        deployed.destroy()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the shared stack last: the throw-away servers of the others do not compete with it for memory."""
    items.sort(key=lambda item: "stack" in getattr(item, "fixturenames", ()))
    timescale_editions.skip_others(items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in timescale_editions.summary(terminalreporter):
        terminalreporter.write_line(line)
