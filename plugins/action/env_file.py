# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, check and, where it is missing, make the operator's secrets file."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.nexanest.database.plugins.module_utils import _env_file as rules
from ansible_collections.nexanest.database.plugins.module_utils import _secrets
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff

ARGUMENTS: dict[str, dict[str, Any]] = {"path": {"type": "path", "required": True}, "email": {"type": "str", "required": True}}
MODE = 0o600


class EnvFileError(Exception):
    """The file cannot be used; the text says why and what to do, and holds no value."""


class ActionModule(ActionBase):
    """Works on the controller, where the file lies, as the user who runs Ansible."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        path = Path(arguments["path"])
        try:
            changes = _plan(path, arguments["email"])
            if not self._task.check_mode:
                _apply(path, changes, arguments["email"])
        except (EnvFileError, _secrets.SecretError) as error:
            return {**result, "failed": True, "msg": str(error)}
        return {**result, "changed": bool(changes), "diff": diff(changes), "path": str(path)}


def _plan(path: Path, email: str) -> list[Change]:
    """What is to be done to the file; a file that cannot be used is refused."""
    problem = rules.check_email(email)
    if problem:
        raise EnvFileError(f"stack_pgadmin_email_default {problem}")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except FileNotFoundError:
        return [Change("secrets file", str(path), None, {"mode": f"{MODE:04o}", "names": ", ".join(rules.KEYS)})]
    except OSError as error:
        raise EnvFileError(f"could not read the secrets file {path} ({error.strerror}): it must be a file that the user who runs Ansible can read") from error
    problems = rules.parse(content).problems
    if problems:
        raise EnvFileError(f"the secrets file {path} cannot be used: {'; '.join(problems)}.")
    if mode & 0o077:
        return [Change("secrets file", str(path), {"mode": f"{mode:04o}"}, {"mode": f"{MODE:04o}"})]
    return []


def _apply(path: Path, changes: list[Change], email: str) -> None:
    for change in changes:
        if change.before is None:
            values = {key: email if key == rules.EMAIL_KEY else _secrets.generate() for key in rules.KEYS}
            _secrets.create(path, rules.render(values))
        else:
            _close(path)


def _close(path: Path) -> None:
    try:
        path.chmod(MODE)
    except OSError as error:
        raise EnvFileError(f"the secrets file {path} can be read by other users, and its mode cannot be changed ({error.strerror}): chmod 0600 it") from error
