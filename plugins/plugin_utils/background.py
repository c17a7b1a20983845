# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work of a module: looked at first, and only then done in the background, with its progress on the terminal."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

POLL_SECONDS = 2
# After so many looks without an end, it is asked whether the work is still there.
LOOKS = 10
# The work is bounded by the module's own time limits; this is the last resort.
LIMIT_SECONDS = 24 * 3600
KILLED = "{} was killed on the managed host (by somebody, or for want of memory), and said no result: run this again, it goes on or begins anew"
_OF_THE_JOB = {"ansible_job_id", "started", "finished", "results_file", "stdout", "stderr"}

display = Display()


class BackgroundAction(ActionBase):
    """Where there is nothing to do, that costs one module call, unless looking first would be half of the work (looks_first).

    The module has the option `progress_file`, into which it writes lines while it works.

    A result is kept in a file that others may read: a module that is run so returns no secret.
    """

    TRANSFERS_FILES = True
    looks_first = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        self._host = str(variables.get("inventory_hostname", ""))
        arguments = self.arguments(variables)
        plan = self._plan(arguments, variables) if self.looks_first or self._task.check_mode else {"changed": True}
        if self._task.check_mode or self.hopeless(plan) or not plan.get("changed"):
            return {**result, **plan}
        self._say(self.announcement(plan))
        return {**result, **self._work(arguments, variables)}

    def arguments(self, variables: dict[str, Any]) -> dict[str, Any]:
        """The module's arguments, with what only the controller knows."""
        return dict(self._task.args)

    def hopeless(self, plan: dict[str, Any]) -> bool:
        """Does the plan say that nothing can be done?"""
        return bool(plan.get("failed"))

    def announcement(self, plan: dict[str, Any]) -> str:
        """What is said before the work begins."""
        return ", ".join(f"{item['kind']} {item['name']}" for item in plan["objects"]) + ": this takes a few minutes"

    def _plan(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        asked = self._task.check_mode
        self._task.check_mode = True
        try:
            return dict(self._execute_module(module_args=arguments, task_vars=variables))
        finally:
            self._task.check_mode = asked

    def _work(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Start the module in the background and follow it to its end."""
        folder = self._make_tmp_path()
        file = self._connection._shell.join_path(folder, "progress")
        limit = self._task.async_val
        self._task.async_val = LIMIT_SECONDS
        try:
            job = self._execute_module(module_args={**arguments, "progress_file": file}, task_vars=variables, wrap_async=True)
            if job.get("failed") or "ansible_job_id" not in job:
                return dict(job)
            return self._follow(job["ansible_job_id"], file, variables)
        finally:
            self._task.async_val = limit
            self._remove_tmp_path(folder, force=True)

    def _follow(self, job: str, file: str, variables: dict[str, Any]) -> dict[str, Any]:
        shown = 0
        looks = 0
        while True:
            time.sleep(POLL_SECONDS)
            looks += 1
            shown = self._show(file, shown)
            gone = looks % LOOKS == 0 and not self._runs(job)
            status = self._status(job, "status", variables)
            if gone and not status.get("finished"):
                status = {"failed": True, "msg": KILLED.format(self._task.action)}
            if status.get("finished") or status.get("failed"):
                self._show(file, shown)
                self._status(job, "cleanup", variables)
                return {key: value for key, value in status.items() if key not in _OF_THE_JOB}

    def _runs(self, job: str) -> bool:
        """Is a process of the job there? Its number stands in what it was called with; what asks so must not find itself."""
        name = job.partition(".")[0]
        pattern = self._connection._shell.quote(f"[{name[0]}]{name[1:]}")
        answer = self._low_level_execute_command(f"if [ -r /proc/self/cmdline ]; then grep -las {pattern} /proc/[0-9]*/cmdline; else echo unknown; fi; true")
        return bool(str(answer.get("stdout", "")).strip()) or answer.get("rc") != 0

    def _status(self, job: str, mode: str, variables: dict[str, Any]) -> dict[str, Any]:
        arguments = {"jid": job, "mode": mode, "_async_dir": self.get_shell_option("async_dir", default="~/.ansible_async")}
        return dict(self._execute_module(module_name="ansible.legacy.async_status", module_args=arguments, task_vars=variables, wrap_async=False))

    def _show(self, file: str, shown: int) -> int:
        """Print the lines that are new; returns how many lines are shown by now."""
        answer = self._low_level_execute_command(f"tail -n +{shown + 1} {self._connection._shell.quote(file)} 2>/dev/null || true")
        lines = [line for line in str(answer.get("stdout", "")).splitlines() if line.strip()]
        for line in lines:
            self._say(line)
        return shown + len(lines)

    def _say(self, text: str) -> None:
        display.display(f"  [{self._host}] {text}")
