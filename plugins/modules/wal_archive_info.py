#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the continuous backup of a server is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wal_archive_info
short_description: Report what could be recovered of a server that is archived continuously
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - Asks the server, its companion and its repository, and says what is wrong with its remedy.
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
  - nexanest.database.wal_archive
  - nexanest.database.login
options:
  max_age:
    description: How old the newest base backup may be (s, m, h, d).
    type: str
    default: 8d
  wait_streaming:
    description: Seconds to wait until the companion receives; the module fails where it does not. V(0) only looks.
    type: int
    default: 0
  receivers:
    description: Replication slots of receivers on other hosts, each C(receiver_…).
    type: list
    elements: str
    default: []
  receivers_keep_hours:
    description: Hours of the log that they keep.
    type: int
    default: 72
  standbys:
    description: How many of the companion and O(receivers) must receive before O(wait_streaming) has its end; with V(1) it is the companion.
    type: int
    default: 1
"""

EXAMPLES = r"""
- name: Wait until the companion receives
  nexanest.database.wal_archive_info:
    name: timescaledb
    container: nexanest-timescaledb
    archive_dir: /srv/nexanest/archive/timescaledb
    config_dir: /etc/nexanest-database/nexanest/timescaledb/archive
    login_host: 127.0.0.1
    login_port: 5433
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    login_db: postgres
    connect_timeout: 10
    max_age: 8d
    wait_streaming: 60
    receivers: [receiver_archive_example_com]
    receivers_keep_hours: 72
    standbys: 2
"""

RETURN = r"""
archive:
  description: What could be recovered, and how it is kept. Ages are in seconds; what is not known is null.
  returned: success
  type: dict
  sample:
    name: timescaledb
    backups: 3
    last_backup: 20250531-020000F
    last_backup_age: 36000
    last_full_age: 36000
    oldest_age: 640000
    newest_age: 0.2
    archived_wal: 0000000100000000000000A3
    archived_age: 41.5
    streaming: true
    lag_bytes: 0
    lag_seconds: 0.2
    synchronous: false
    receivers:
      - {name: receiver_archive_example_com, streaming: true, lag_bytes: 0, lag_seconds: 0.2, slot: reserved}
    survives: disk
    aside: []
    disk_free: 84000000000
    disk_total: 250000000000
    drill: null
    offsite: null
    recovery: {phase: "", target: ""}
    problems: []
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._archive_look import look
from ansible_collections.nexanest.database.plugins.module_utils._archive_status import Facts, described, problems
from ansible_collections.nexanest.database.plugins.module_utils._backup_plan import PlanError, age_limit
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import ARGUMENTS as CLUSTER_ARGUMENTS

ARGUMENTS: dict[str, Any] = {
    **CLUSTER_ARGUMENTS,
    **LOGIN_ARGUMENTS,
    "max_age": {"type": "str", "default": "8d"},
    "wait_streaming": {"type": "int", "default": 0},
    "receivers": {"type": "list", "elements": "str", "default": []},
    "receivers_keep_hours": {"type": "int", "default": 72},
    "standbys": {"type": "int", "default": 1},
}


def wait(params: dict[str, Any]) -> Facts:
    """The facts, as soon as those receive who must."""
    deadline = time.monotonic() + params["wait_streaming"]
    facts = look(params)
    while not received(facts, params["standbys"]) and time.monotonic() < deadline:
        time.sleep(1)
        facts = look(params)
    return facts


def received(facts: Facts, standbys: int) -> bool:
    """Whether those receive for whom somebody waits."""
    return facts.streaming if standbys == 1 else facts.receiving >= standbys


def missing(facts: Facts, params: dict[str, Any]) -> str:
    """Why that wait came to nothing."""
    after = f"after {params['wait_streaming']} s"
    if params["standbys"] == 1:
        why = facts.silent or facts.trouble or f"see the log of {params['container']}-receiver"
        return f"the companion of {facts.name} does not receive {after}: {why}"
    names = [*(() if facts.streaming else ("the companion",)), *(one.name for one in facts.receivers if not one.streaming)]
    count = f"{facts.receiving} of the companion and {len(facts.receivers)} receivers of {facts.name} receive {after}, and {params['standbys']} must"
    return f"{count}: {facts.silent or facts.trouble or 'see to ' + ' and '.join(names)}"


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        max_age = int(age_limit(module.params["max_age"]).total_seconds())
    except PlanError:
        module.fail_json(msg=f"max_age is {module.params['max_age']!r}: write a number with s, m, h or d, such as 8d")
    facts = wait(module.params)
    archive = described(facts, problems(facts, max_age, lambda verb: f"make {verb}"))
    if module.params["wait_streaming"] and not received(facts, module.params["standbys"]):
        module.fail_json(msg=missing(facts, module.params), archive=archive)
    module.exit_json(changed=False, archive=archive)


if __name__ == "__main__":
    main()
