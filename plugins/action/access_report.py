# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the results of the access proof together on the controller: a text, and a file with every attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.nexanest.database.plugins.module_utils._access_table import failed, report
from ansible_collections.nexanest.database.plugins.module_utils._stream import replace


class ActionModule(ActionBase):
    """Reads nothing from the managed host; writes one file on the controller, outside check mode."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(
            argument_spec={"results": {"type": "list", "elements": "dict", "required": True}, "file": {"type": "str", "default": ""}}
        )
        servers = [_server(found) for found in arguments["results"] if not found.get("skipped")]
        if not servers:
            raise AnsibleActionFail("the access proof has no server to report on: are there databases or users in the inventory?")
        file = "" if self._task.check_mode else arguments["file"]
        if file:
            _write(Path(file).expanduser(), servers)
        attempts = sum(len(server["attempts"]) for server in servers)
        return {**result, "changed": False, "report": report(servers, file), "attempts": attempts, "failed_attempts": failed(servers)}


def _server(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a module returned in a loop over names."""
    if "attempts" not in found or "summary" not in found:
        raise AnsibleActionFail(f"the access proof of {found.get('item', 'a server')} has no attempts: {found.get('msg', 'it did not run')}")
    return {"server": str(found.get("item", "server")), "summary": found["summary"], "attempts": list(found["attempts"])}


def _write(path: Path, servers: Sequence[Mapping[str, Any]]) -> None:
    """Complete or not at all, and for its owner alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, f"{json.dumps({'failed': failed(servers), 'servers': list(servers)}, indent=1, ensure_ascii=False)}\n".encode())
    except OSError as error:
        raise AnsibleActionFail(f"the access report could not be written to {path}: {error}; name another file (stack_access_file)") from error
