#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension timescaledb at the version of the server's image, in every database that has it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: timescaledb_extension
short_description: Update the extension timescaledb in every database of a server
version_added: 0.1.0
author: "The nexanest.database authors (@nexanest)"
description:
  - Brings the extension to the version that the server's image has, in every database that has it, C(template1) and C(postgres) included.
  - After an image with another version, a database cannot be used until this is done, unless the image also has the older library.
  - The update is the first statement of a session of its own, as TimescaleDB demands. Versions are read without loading the extension's library.
  - An extension that is newer than the image is refused; there is no way back but a restored backup.
extends_documentation_fragment:
  - nexanest.database.login
attributes:
  check_mode:
    description: Can run in check mode, also when the server does not exist yet (O(assume_empty)).
    support: full
  diff_mode:
    description: Returns the versions, by database.
    support: full
  idempotent:
    description: Where every database has the image's version, nothing is done.
    support: full
options:
  assume_empty:
    description: In check mode, plan for a server that does not exist yet. It has no effect outside check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Update TimescaleDB in every database
  nexanest.database.timescaledb_extension:
    login_host: 127.0.0.1
    login_port: 5433
    login_user: timescale
    login_password: "{{ timescaledb_password }}"
    login_db: postgres
    connect_timeout: 10
    assume_empty: false
"""

RETURN = r"""
objects:
  description: What was done (in check mode, would be done), by database.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: extension.
      type: str
      sample: extension
    name:
      description: The database's name and the extension's.
      type: str
      sample: timescale.timescaledb
    action:
      description: update.
      type: str
      sample: update
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._changes import Change, diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._connection import LOGIN_ARGUMENTS, STATEMENT_ERROR, ServerUnreachable, connect
from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._timescale_versions import update

ARGUMENTS = {**LOGIN_ARGUMENTS, "assume_empty": {"type": "bool", "default": False}}

DATABASES = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname"
VERSIONS = """
SELECT e.extversion, a.default_version FROM pg_extension AS e LEFT JOIN pg_available_extensions AS a ON a.name = e.extname WHERE e.extname = 'timescaledb'
"""
# Without it, the first statement would load the older library, which the image may not have.
UNLOADED = "-c timescaledb.disable_load=on"
# Not by a statement: the update must be the first.
PINNED = "-c search_path=pg_catalog"


def read(params: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    """The extension's version and the image's, by database that has it."""
    with contextlib.closing(connect(params)) as session, session.cursor() as cursor:
        cursor.execute(DATABASES)
        names = [row[0] for row in cursor.fetchall()]
    found: dict[str, tuple[str, str | None]] = {}
    for name in names:
        with contextlib.closing(connect(params, name, options=UNLOADED)) as session, session.cursor() as cursor:
            cursor.execute(VERSIONS)
            for installed, offered in cursor.fetchall():
                found[name] = (installed, offered)
    return found


def plan(versions: dict[str, tuple[str, str | None]]) -> list[tuple[str, Change]]:
    """The databases to update. Raises InputError."""
    return [
        (name, Change("extension", f"{name}.timescaledb", {"version": installed}, {"version": offered}))
        for name, (installed, offered) in versions.items()
        if update(name, installed, offered)
    ]


def apply(params: dict[str, Any], name: str) -> None:
    with contextlib.closing(connect(params, name, options=PINNED, pinned=False)) as session, session.cursor() as cursor:
        cursor.execute("ALTER EXTENSION timescaledb UPDATE")


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    try:
        work = plan({} if params["assume_empty"] and module.check_mode else read(params))
        for name, _change in work:
            if not module.check_mode:
                apply(params, name)
    except (InputError, ServerUnreachable, STATEMENT_ERROR) as error:
        module.fail_json(msg=f"updating TimescaleDB on {params['login_host']}:{params['login_port']} failed: {' '.join(str(error).split())}")
    changes = [change for _name, change in work]
    module.exit_json(changed=bool(changes), diff=diff(changes), objects=objects(changes))


if __name__ == "__main__":
    main()
