#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name a moment, to recover to it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_restore_point
short_description: Name a moment before a risky change
version_added: 0.1.0
author:
  - The nexanest.database authors (@nexanest)
description:
  - Writes a restore point into the write-ahead log, and notes its name beside the archive, so that M(nexanest.database.pitr) finds the backup to begin with.
  - The segment is ended, so that the restore point leaves the server at once.
extends_documentation_fragment:
  - nexanest.database.attributes
  - nexanest.database.login
attributes:
  idempotent:
    description: A name that was used already is refused, because a recovery to it would stop at the first one.
    support: N/A
options:
  name:
    description: Name of the restore point, at most 63 bytes.
    type: str
    required: true
  archive_dir:
    description: Folder on the managed host that holds the repository of this server.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Before the big clean-up
  nexanest.database.postgres_restore_point:
    name: before-clean-up
    archive_dir: /srv/nexanest/archive/timescaledb
    login_host: 127.0.0.1
    login_port: 5433
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    login_db: postgres
    connect_timeout: 10
"""

RETURN = r"""
lsn:
  description: Where the restore point is; empty in check mode.
  returned: success
  type: str
  sample: 0/4034DE8
moment:
  description: When it was made.
  returned: success
  type: str
  sample: "2025-05-31T12:34:56.789012+00:00"
"""

import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._recovery_look import POINTS, noted
from ansible_collections.nexanest.database.plugins.module_utils._wal_archive import CURRENT

ARGUMENTS: dict[str, Any] = {**LOGIN_ARGUMENTS, "name": {"type": "str", "required": True}, "archive_dir": {"type": "path", "required": True}}
# MAXFNAMELEN of PostgreSQL.
LONGEST = 63


class Refused(Exception):
    """The name cannot be used; the text says why."""


def plan(params: dict[str, Any]) -> Change:
    """Refused where the name cannot be found again."""
    name, folder = params["name"], Path(params["archive_dir"]) / CURRENT
    if not name.strip() or len(name.encode()) > LONGEST:
        raise Refused(f"'{name}' is no name for a restore point: it has 1 to {LONGEST} bytes")
    if not folder.is_dir():
        raise Refused(f"{folder} is missing: this server is not archived, and nothing could be recovered to a restore point")
    before = [point for point in noted(folder) if point.name == name]
    if before:
        cut_off = "" if before[-1].lsn else " (or may be: the run that made it was cut off)"
        raise Refused(f"there is a restore point {name} already{cut_off}: choose another name")
    return Change("restore point", name, None, {"server": f"{params['login_host']}:{params['login_port']}"})


def apply(params: dict[str, Any]) -> tuple[str, str]:
    """Its position and its moment.

    A recovery ends at the first point of a name: one that came into the log before its run was cut off must not be made again. So a note without a position
    comes before it. The one with it comes last: what it says is in the log.
    """
    with contextlib.closing(connect(params)) as connection, connection.cursor() as cursor:
        _note(params, "", datetime.now(tz=UTC).isoformat())
        cursor.execute("SELECT pg_catalog.pg_create_restore_point(%s)::text, pg_catalog.clock_timestamp()", (params["name"],))
        lsn, moment = cursor.fetchone() or ("", datetime.now(tz=UTC))
        cursor.execute("SELECT pg_catalog.pg_switch_wal()")
    _note(params, lsn, moment.isoformat())
    return lsn, moment.isoformat()


def _note(params: dict[str, Any], lsn: str, moment: str) -> None:
    line = json.dumps({"name": params["name"], "lsn": lsn, "moment": moment})
    file = os.open(Path(params["archive_dir"]) / CURRENT / POINTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "a", encoding="utf-8") as notes:
        # A line that a crash cut off has no end: it must not spoil this one.
        notes.write(f"\n{line}\n")
        notes.flush()
        os.fsync(notes.fileno())


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        change = plan(module.params)
        lsn, moment = ("", "") if module.check_mode else apply(module.params)
    except (Refused, ServerUnreachable, OSError, STATEMENT_ERROR) as error:
        module.fail_json(msg=f"no restore point was made: {' '.join(str(error).split())}")
    module.exit_json(changed=True, diff=diff([change]), lsn=lsn, moment=moment)


if __name__ == "__main__":
    main()
