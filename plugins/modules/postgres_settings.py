#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a running server's settings equal its configuration file."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgres_settings
short_description: Make a running PostgreSQL server use its configuration files
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - Compares what C(postgresql.conf) shall hold with what the running server uses, with PostgreSQL's own rules for units, booleans, lists and computed defaults.
  - Reloads the server where a configuration file (also C(pg_hba.conf), C(pg_ident.conf) and included ones) is newer than the last load, or where a setting that
    a reload can apply differs, and waits until the new values hold.
  - Never restarts. Settings that need a restart are returned in RV(restart_required), and the caller restarts the container.
  - A value that C(ALTER SYSTEM) set by hand and that contradicts O(settings) is taken back (C(ALTER SYSTEM RESET)), and the diff says so.
  - It writes no configuration file. Write the files first, in check mode too. Errors in them are reported before anything is reloaded.
extends_documentation_fragment:
  - nexanest.database.login
attributes:
  check_mode:
    description: Predicts from the wanted settings, also where the file on the host is still the old one.
    support: full
  diff_mode:
    description: The running and the wanted value of each setting that differs.
    support: full
  idempotent:
    description: Nothing is reloaded when the server already uses its files.
    support: full
options:
  settings:
    description: What C(postgresql.conf) holds. Names and values as in that file; YAML booleans, numbers and lists are allowed.
    type: dict
    required: true
  complete:
    description:
      - V(true) says that O(settings) is all that the file will hold. A setting that the server has from the file and that is not among them
        is then planned to go back to its default.
    type: bool
    default: false
  assume_empty:
    description: Plan as for a server that does not exist yet, without a connection. For check mode; outside check mode it is refused.
    type: bool
    default: false
  restarts:
    description:
      - A server that will have begun anew when this module runs, with the files as they shall be. In check mode only what wins over the files is planned then;
        outside check mode it is refused.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Apply the settings
  nexanest.database.postgres_settings:
    login_host: 127.0.0.1
    login_port: 5432
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    login_db: postgres
    connect_timeout: 10
    settings:
      shared_buffers: 512MB
      work_mem: 4MB
      jit: false
      shared_preload_libraries: [pg_stat_statements]
    complete: false
  register: postgres_settings_result

- name: Show what a server that does not exist yet would get
  nexanest.database.postgres_settings:
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    settings:
      work_mem: 4MB
    assume_empty: true
  check_mode: true

- name: Show what is left to do when the container is made anew
  nexanest.database.postgres_settings:
    login_user: nexanest
    login_password: "{{ postgres_password }}"
    settings:
      work_mem: 4MB
    restarts: true
  check_mode: true
"""

RETURN = r"""
restart_required:
  description: Settings that are in force only after a restart.
  returned: always
  type: list
  elements: str
  sample: [shared_buffers]
reloaded:
  description: Whether the server read its files again, or in check mode would.
  returned: always
  type: bool
  sample: true
reset:
  description: Settings whose C(ALTER SYSTEM) value was taken back.
  returned: always
  type: list
  elements: str
  sample: [work_mem]
newer_files:
  description: Configuration files that were newer than the last load.
  returned: always
  type: list
  elements: str
  sample: [/etc/nexanest/pg_hba.conf]
objects:
  description: The changes as a list of objects.
  returned: always
  type: list
  elements: dict
  sample:
    - kind: setting
      name: work_mem
      action: update
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _settings_server as server
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._settings import Difference, compare, text

ARGUMENTS: dict[str, Any] = {
    **LOGIN_ARGUMENTS,
    "settings": {"type": "dict", "required": True},
    "complete": {"type": "bool", "default": False},
    "assume_empty": {"type": "bool", "default": False},
    "restarts": {"type": "bool", "default": False},
}


class Refused(Exception):
    """What no reload can make right, in one sentence each."""


@dataclass(frozen=True)
class Plan:
    """What differs, and which files the server has not read yet."""

    differences: tuple[Difference, ...]
    newer: tuple[str, ...]
    pending_restart: tuple[str, ...]

    @property
    def reset(self) -> list[str]:
        return [one.name for one in self.differences if one.altered]

    @property
    def reload(self) -> bool:
        return bool(self.newer or self.differences)

    @property
    def restart_required(self) -> list[str]:
        return sorted({*self.pending_restart, *[one.name for one in self.differences if one.restart]})


def read(params: Mapping[str, Any]) -> server.State:
    with contextlib.closing(connect(params)) as connection:
        return server.read(connection, list(params["settings"]))


def plan(params: Mapping[str, Any], state: server.State) -> Plan:
    """Compare; Refused where the files are wrong or cannot win."""
    if state.errors:
        raise Refused(f"the configuration files are wrong and the server keeps its old settings: {'; '.join(state.errors)}")
    found = compare(params["settings"], state.settings, complete=params["complete"])
    if found.problems:
        raise Refused("; ".join(found.problems))
    pending = tuple(setting.name for setting in state.settings.values() if setting.waits_for_restart)
    return Plan(found.differences, state.newer, pending)


def after_restart(planned: Plan) -> Plan:
    """What is left when the server has read its files at its start."""
    return Plan(tuple(one for one in planned.differences if one.altered), (), ())


def apply(params: Mapping[str, Any], planned: Plan) -> Plan:
    """Reload, prove that the values hold, and give back the plan with what still needs a restart."""
    with contextlib.closing(connect(params)) as connection:
        server.reset(connection, planned.reset)
        if planned.reload:
            server.reload(connection)
        after = plan(params, server.read(connection, list(params["settings"])))
    stuck = [f"{one.name} is {one.before} and not {one.after}" for one in after.differences if not one.restart]
    unwritten = [one.name for one in after.differences if one.restart and one.name not in after.pending_restart]
    if stuck or unwritten:
        raise Refused(
            f"after a reload {'; '.join(stuck) or ', '.join(unwritten)} is not what the configuration file says: write the file before this task runs"
        )
    return Plan(planned.differences, planned.newer, tuple(after.restart_required))


def assumed(params: Mapping[str, Any]) -> dict[str, Any]:
    """The result for a server that is not there yet: every setting is new, nothing needs a restart."""
    changes = [Change("setting", name, None, {"value": text(value)}) for name, value in sorted(params["settings"].items())]
    return _answer(changes, restart_required=[], reloaded=False, reset=[], newer_files=[])


def result(planned: Plan) -> dict[str, Any]:
    changes = [_change(one) for one in planned.differences]
    named = {one.name for one in planned.differences}
    changes += [Change("setting", name, {"restart": "pending"}, {"restart": "done"}) for name in planned.restart_required if name not in named]
    # A new pg_hba.conf, say; with settings among the changes it is clear what the reload is for.
    changes = changes or [Change("file", name, {"loaded": "an older version"}, {"loaded": "this version"}) for name in planned.newer]
    return _answer(changes, restart_required=planned.restart_required, reloaded=planned.reload, reset=planned.reset, newer_files=list(planned.newer))


def _change(one: Difference) -> Change:
    before, after = {"value": one.before}, {"value": one.after}
    if one.altered:
        before["set_by"] = "ALTER SYSTEM"
        after["set_by"] = "postgresql.conf"
    if one.restart:
        after["applied_by"] = "restart"
    return Change("setting", one.name, before, after)


def _answer(changes: list[Change], **values: Any) -> dict[str, Any]:
    return {"changed": bool(changes), "diff": diff(changes), "objects": objects(changes), **values}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if module.params["assume_empty"]:
        _finish_assumed(module)
    if module.params["restarts"] and not module.check_mode:
        module.fail_json(msg="postgres_settings: restarts is for check mode alone")
    try:
        planned = plan(module.params, read(module.params))
        if module.params["restarts"]:
            planned = after_restart(planned)
        if not module.check_mode:
            planned = apply(module.params, planned) if planned.reload else planned
    except (Refused, ServerUnreachable, server.ReloadNotSeen) as error:
        module.fail_json(msg=f"postgres_settings: {error}")
    except STATEMENT_ERROR as error:
        module.fail_json(msg=f"postgres_settings: the server refused: {' '.join(str(error).split())}")
    module.exit_json(**result(planned))


def _finish_assumed(module: AnsibleModule) -> None:
    if not module.check_mode:
        module.fail_json(msg="postgres_settings: assume_empty is for check mode alone")
    module.exit_json(**assumed(module.params))


if __name__ == "__main__":
    main()
