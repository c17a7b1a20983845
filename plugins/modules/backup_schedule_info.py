#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can start a backup by the clock on this machine, and how the last scheduled one ended."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_schedule_info
short_description: Tell how the scheduled backups went
version_added: 0.1.0
description:
  - Reads the notes that C(scripts/scheduled-backup) leaves in its folder, and looks for what can start it by the clock. Runs where the checkout is.
options:
  dir:
    description: Folder of the notes, that of the role C(backup_schedule).
    type: path
    required: true
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Look how the scheduled backups went
  nexanest.database.backup_schedule_info:
    dir: /srv/nexanest/.schedule/nexanest
  delegate_to: localhost
"""

RETURN = r"""
schedule:
  description:
    - When it was installed or last changed, when a run last succeeded, and how the last run failed.
    - Null where none is installed, where none succeeded, and where the last one did not fail.
    - C(drill) says the same of restore drills, C(offsite_drill) of those out of the bucket, C(archive) of copies of the continuous backup.
  returned: success
  type: dict
  sample:
    since: "2025-05-01T09:00:00+00:00"
    succeeded: "2025-05-30T03:15:40+00:00"
    failure: {at: "2025-05-31T03:15:02+00:00", code: "2", message: "localhost: 127.0.0.1:5432 does not answer"}
    drill: {since: "2025-05-01T09:00:00+00:00", succeeded: null, failure: null}
    offsite_drill: {since: null, succeeded: null, failure: null}
    archive: {since: null, succeeded: null, failure: null}
starters:
  description: Whether systemd runs this machine, where the program crontab is (empty without it), and whether a cron daemon runs.
  returned: success
  type: dict
  sample: {systemd: true, crontab: /usr/bin/crontab, cron_runs: false}
user:
  description: Name of the user that this ran as.
  returned: success
  type: str
  sample: operator
"""

import dataclasses
import os
import pwd
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _backup_schedule as schedules

KINDS = {"drill": schedules.DRILL, "offsite_drill": schedules.OFFSITE_DRILL, "archive": schedules.ARCHIVE}


def user() -> str:
    """The name; the number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def main() -> None:
    module = AnsibleModule(argument_spec={"dir": {"type": "path", "required": True}}, supports_check_mode=True)
    folder = Path(module.params["dir"])
    try:
        found = schedules.read(folder)
        others = {kind: dataclasses.asdict(schedules.read(folder, prefix)) for kind, prefix in KINDS.items()}
    except OSError as error:
        module.fail_json(
            msg=f"the notes of the scheduled backups in {folder} cannot be read ({error.strerror}): run this as the user who installed the schedule"
        )
    starters = {"systemd": schedules.systemd(), "crontab": schedules.crontab() or "", "cron_runs": schedules.cron_runs()}
    module.exit_json(
        changed=False,
        schedule={**dataclasses.asdict(found), **others},
        starters=starters,
        user=user(),
    )


if __name__ == "__main__":
    main()
