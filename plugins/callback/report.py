# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Output of a play that reports: the report on stdout, errors on stderr, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
name: report
type: stdout
short_description: Prints a play's report and nothing else
version_added: 0.1.0
author: The nexanest.database authors (@nexanest)
description:
  - For plays whose purpose is a report, such as the status of a stack. Messages of C(ansible.builtin.debug) are printed as they are, on stdout.
  - Failures and unreachable hosts are printed on stderr, one line each. Everything else is silent.
  - Nothing is written to Ansible's log file, because a report may be a secret.
"""

import sys
from typing import TYPE_CHECKING, Any

from ansible.plugins.callback import CallbackBase

if TYPE_CHECKING:
    from ansible.executor.task_result import CallbackTaskResult

DEBUG = ("debug", "ansible.builtin.debug", "ansible.legacy.debug")


class CallbackModule(CallbackBase):
    """Set it with ANSIBLE_STDOUT_CALLBACK=nexanest.database.report."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "nexanest.database.report"

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        if result.task.action in DEBUG:
            text = str(result.result.get("msg", ""))
            # A remark stays out of $(make db-credentials …).
            stream = sys.stderr if text.startswith("# ") else sys.stdout
            stream.write(f"{text}\n")
            stream.flush()

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._complain(result)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        # Where it is ignored, a later task says it with its remedy.
        if not result.task.ignore_unreachable:
            self._complain(result)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        sys.stderr.write("no host is in the inventory's group `database`: name one in hosts.yml\n")

    def _complain(self, result: CallbackTaskResult) -> None:
        answer: dict[str, Any] = result.result
        # A module that died says so on its own streams.
        text = answer.get("msg") or answer.get("module_stderr") or answer.get("module_stdout") or "failed without a message"
        sys.stderr.write(f"{result.host.get_name()}: {_cause(text)}\n")
        sys.stderr.flush()


def _cause(text: str) -> str:
    """Ansible puts one sentence for each layer before what a plugin said: "Task failed: Finalization … failed: The lookup … failed: …"."""
    if "waiting for become success" in text:
        why = text.strip().splitlines()[-1]
        return f"the user is not root and cannot run sudo without a password ({why}): log in as root, or allow this user sudo without a password"
    return text.rpartition(" failed: ")[2] if text.startswith("Task failed: ") else text
