#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install Debian packages where they are missing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: debian_packages
short_description: Install Debian packages where they are missing
version_added: 0.1.0
description:
  - Installs packages without their recommendations. A package that is installed is left as it is, of whatever version.
  - Needs nothing but Python's standard library and can plan on an empty host, where M(ansible.builtin.apt) fails in check mode without python3-apt
    and without an index.
  - The index is refreshed only where apt does not know a package or can no longer fetch it.
  - An installation that was interrupted earlier is completed.
options:
  name:
    description: Names of the packages.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - nexanest.database.attributes
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Install an engine
  nexanest.database.debian_packages:
    name:
      - docker.io
      - iptables
"""

RETURN = r"""
objects:
  description: The plan as data.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: package
      name: docker.io
      action: create
"""

from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._apt import Apt, AptError
from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects


def plan(wanted: Sequence[str], installed: set[str]) -> list[Change]:
    missing = [name for name in dict.fromkeys(wanted) if name not in installed]
    return [Change(kind="package", name=name, before=None, after={"state": "installed"}) for name in missing]


def main() -> None:
    module = AnsibleModule(argument_spec={"name": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True)
    wanted = module.params["name"]
    apt = Apt()
    try:
        changes = plan(wanted, apt.installed(wanted))
        if changes and not module.check_mode:
            apt.install([change.name for change in changes])
    except AptError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(changes), diff=diff(changes), objects=objects(changes))


if __name__ == "__main__":
    main()
