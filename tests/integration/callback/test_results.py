"""Writes what a run changed and failed to the file in NEXANEST_TEST_RESULTS, as JSON: tests read it instead of the screen's text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: test_results
type: notification
short_description: Results of a run as JSON for the integration tests
description: Counts per host, names of the tasks that changed, and messages of the tasks that failed.
requirements:
  - environment variable NEXANEST_TEST_RESULTS
"""


class CallbackModule(CallbackBase):
    """One file per run, written at its end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "test_results"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.changed: list[dict[str, Any]] = []
        self.failed: list[dict[str, str]] = []

    def v2_runner_on_ok(self, result: Any) -> None:
        if result.result.get("changed"):
            self.changed.append({"task": result.task.get_name().strip(), "objects": _objects(result.result), "diff": result.result.get("diff")})

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._fail(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if not result.task.ignore_unreachable:
            self._fail(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        document = {"hosts": hosts, "changed": self.changed, "failed": self.failed}
        Path(os.environ["NEXANEST_TEST_RESULTS"]).write_text(json.dumps(document, default=str), encoding="utf-8")

    def _fail(self, result: Any) -> None:
        self.failed.append({"task": result.task.get_name().strip(), "message": str(result.result.get("msg", ""))})


def _objects(result: dict[str, Any]) -> list[Any]:
    """The objects of a task; those of a loop stand in its items' results."""
    items = [item for item in result.get("results", []) if isinstance(item, dict)]
    return [found for item in [result, *items] for found in item.get("objects", [])]
