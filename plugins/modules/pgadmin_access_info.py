#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask pgAdmin for what it must not show without a login."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgadmin_access_info
short_description: Try what pgAdmin shows without a login
version_added: 0.1.0
author: "The nexanest.database authors (@nexanest)"
description:
  - Asks for pages and data over HTTP without a login. The login page may be seen, everything else must lead to it or be refused.
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
options:
  host:
    description: Host on which pgAdmin listens, seen from the managed host.
    type: str
    default: 127.0.0.1
  port:
    description: Port on which it listens.
    type: int
    default: 5050
  timeout:
    description: Seconds to wait for an answer.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Try pgAdmin's doors
  nexanest.database.pgadmin_access_info:
    host: 127.0.0.1
    port: 5050
    timeout: 20
"""

RETURN = r"""
attempts:
  description: Every attempt. An attempt that could not be tried has C(tried) false, and C(ok) false.
  returned: success
  type: list
  elements: dict
  contains:
    group:
      description: What kind of door it is.
      type: str
      sample: pages
    role:
      description: Who tried.
      type: str
      sample: auth_app
    place:
      description: C(pgadmin).
      type: str
      sample: pgadmin
    what:
      description: What was tried.
      type: str
      sample: "GET /browser/"
    expected:
      description: refused, allowed, nothing (refused, or answered without a row) or holds.
      type: str
      sample: refused
    seen:
      description: What came back, in the server's words, without data.
      type: str
      sample: "refused: leads to /login"
    ok:
      description: Whether it ended as it should.
      type: bool
      sample: true
    tried:
      description: Whether there was an answer at all.
      type: bool
      sample: true
    proves:
      description: False where there was nothing to hide, so that the attempt proves nothing.
      type: bool
      sample: true
    remedy:
      description: What to do about it; only where it did not end as it should.
      type: str
      sample: a run of site.yml takes it away
summary:
  description: Counts, and how long it took.
  returned: success
  type: dict
  sample: {attempts: 1204, failed: 0, not_tried: 0, nothing_to_hide: 96, groups: {logins: 243}, seconds: 12.4}
"""

import http.client
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._access_model import (
    ALLOWED,
    DENIED,
    DONE,
    FAILED,
    LOST,
    REFUSED,
    Attempt,
    Outcome,
    Reply,
    judge,
    summary,
)

LOGIN = "/login"
# Pages, and the requests with which its page gets servers, their objects, settings, files, users and queries.
SHUT = (
    "/browser/", "/browser/nodes/", "/browser/server_group/nodes/", "/browser/server/nodes/1/", "/browser/server/obj/1/1", "/browser/database/nodes/1/1/",
    "/settings/get_tree_state/", "/preferences/get_all", "/file_manager/init", "/user_management/users", "/dashboard/dashboard_stats/1",
    "/sqleditor/status/1", "/bgprocess/", "/import_servers/load_servers",
)  # fmt: skip
REMEDY = "pgAdmin must run in server mode: a run of site.yml writes its configuration anew"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 5050},
    "timeout": {"type": "int", "default": 20},
}


def ask(params: dict[str, Any], path: str) -> Reply:
    """What an unknown client gets."""
    connection = http.client.HTTPConnection(params["host"], params["port"], timeout=params["timeout"])
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return Reply(LOST, words=str(error) or type(error).__name__)
    finally:
        connection.close()
    return reply(answer.status, answer.getheader("Location") or "")


def reply(status: int, location: str) -> Reply:
    """200 shows something; a way to the login page, 401, 403, 404 and 405 do not."""
    if status in (301, 302, 303, 307, 308) and LOGIN in location:
        return Reply(DENIED, words="leads to /login")
    if status in (401, 403, 404, 405):
        return Reply(DENIED, words=f"status {status}")
    return Reply(DONE) if status < 400 else Reply(FAILED, words=f"status {status}")


def prove(params: dict[str, Any]) -> list[Outcome]:
    """The login page, and all else."""
    attempts = [Attempt("pages", "nobody", "pgadmin", f"GET {path}", ALLOWED if path == LOGIN else REFUSED, REMEDY) for path in (LOGIN, *SHUT)]
    return [judge(attempt, ask(params, attempt.what.removeprefix("GET "))) for attempt in attempts]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    began = time.monotonic()
    outcomes = prove(module.params)
    module.exit_json(changed=False, attempts=[outcome.as_dict() for outcome in outcomes], summary=summary(outcomes, time.monotonic() - began))


if __name__ == "__main__":
    main()
