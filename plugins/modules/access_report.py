#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_report
short_description: Put the results of the access proof together
version_added: 0.1.0
author: "The nexanest.database authors (@nexanest)"
description:
  - Makes one text, failures first, of what M(nexanest.database.postgres_access_info), M(nexanest.database.redis_access_info) and
    M(nexanest.database.pgadmin_access_info) found, and writes every attempt to a JSON file. It runs on the controller.
  - It does not fail where an attempt ended otherwise than it should; look at C(failed_attempts).
extends_documentation_fragment:
  - nexanest.database.attributes
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details: The file is not written.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: N/A
    details: The file is the run's output, not something that it brings to a state.
options:
  results:
    description: Results of these modules, registered in loops over the servers' names.
    type: list
    elements: dict
    required: true
  file:
    description: Where every attempt is written, on the controller, readable by its owner alone. Empty writes nothing.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Put it together
  nexanest.database.access_report:
    results: "{{ databases.results + redis.results }}"
    file: /root/access_report.json
  register: access

- name: Show it
  ansible.builtin.debug:
    msg: "{{ access.report }}"
"""

RETURN = r"""
report:
  description: The text.
  returned: success
  type: str
  sample: "2741 attempts in 12 s: all ended as they should"
attempts:
  description: How many attempts there were.
  returned: success
  type: int
  sample: 2741
failed_attempts:
  description: How many ended otherwise than they should, or could not be tried.
  returned: success
  type: int
  sample: 0
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={"results": {"type": "list", "elements": "dict", "required": True}, "file": {"type": "str", "default": ""}}, supports_check_mode=True
    )
    module.fail_json(msg="access_report runs on the controller: its action plugin was not found")


if __name__ == "__main__":
    main()
