#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the services of a stack are, and what to do about what is wrong."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_info
short_description: Report how the services of a stack are
version_added: 0.1.0
description:
  - Asks the engine about the containers and the servers about themselves, and judges the answers. Every problem comes with its remedy.
  - A service that cannot be asked is reported as such; it is no failure of the module.
options:
  stack:
    description: Name of the stack, for the commands in remedies.
    type: str
    default: nexanest
  services:
    description: The services to look at.
    type: list
    elements: dict
    required: true
    suboptions:
      service:
        description: Name to report it under.
        type: str
        required: true
      kind:
        description: What it is, and so what it is asked.
        type: str
        choices: [postgresql, timescaledb, redis, pgadmin]
        required: true
      container:
        description: Name of its container.
        type: str
        required: true
      host:
        description: Address of its published port.
        type: str
        default: 127.0.0.1
      port:
        description: Its published port.
        type: int
        required: true
      login_user:
        description: Administrator to log in as.
        type: str
        default: ""
      login_password:
        description: Password of O(services[].login_user).
        type: str
        default: ""
      login_db:
        description: Database to log in to; for V(timescaledb) the one that has the extension.
        type: str
        default: postgres
      sessions:
        description: Whether this Redis holds sessions, so that evictions are a problem.
        type: bool
        default: false
  backups:
    description: Where the stack's backups are. Without it nothing is said about them.
    type: dict
    suboptions:
      dir:
        description: Folder of the sets.
        type: path
        required: true
      max_age:
        description:
          - How old the newest set may be, such as V(26h) (s, m, h, d). An older one is a problem, an urgent one where a schedule is installed.
        type: str
        default: 26h
      state_dir:
        description: Folder where a restore keeps its journal. A journal that is there is an urgent problem.
        type: path
      schedule:
        description: What M(nexanest.database.backup_schedule_info) returns as RV(nexanest.database.backup_schedule_info#module:schedule).
        type: dict
      drill_overdue_after:
        description:
          - How old the last restore drill that passed may be, such as V(8d) (s, m, h, d). An older one is a problem, an urgent one where drills are scheduled;
            so is a drill that failed.
          - Without it nothing is said about drills.
        type: str
      offsite_drill_overdue_after:
        description:
          - The same of the last drill out of the bucket that O(backups.offsite) and O(archives[].offsite) name. An older one is a problem where such drills are
            scheduled alone; one that failed is an urgent one. Without it nothing is said about them.
        type: str
      offsite:
        description:
          - The bucket that M(nexanest.database.backup_copy) copies the sets to. It is not asked; the last copy noted beside the sets what it has.
        type: dict
        suboptions:
          endpoint_url:
            description: Address of the service.
            type: str
            default: ""
          bucket:
            description: Name of the bucket.
            type: str
            required: true
          prefix:
            description: What the keys begin with.
            type: str
            default: ""
  archives:
    description: The servers among O(services) with a continuous backup, and where that is.
    type: list
    elements: dict
    default: []
    suboptions:
      service:
        description: Name of the server in O(services).
        type: str
        required: true
      archive_dir:
        description: Folder that holds the archives of this server.
        type: path
        required: true
      config_dir:
        description: Folder with pgBackRest's configuration of this server.
        type: path
        required: true
      max_age:
        description: How old the newest base backup may be (s, m, h, d).
        type: str
        default: 8d
      receivers:
        description: Replication slots of receivers on other hosts, each C(receiver_…).
        type: list
        elements: str
        default: []
      receivers_keep_hours:
        description: Hours of the log that they keep.
        type: int
        default: 72
      offsite:
        description:
          - The bucket that M(nexanest.database.wal_archive_copy) copies the archive to. It is not asked; the last copy noted beside the archive what it has.
        type: dict
        suboptions:
          endpoint_url:
            description: Address of the service.
            type: str
            default: ""
          bucket:
            description: Name of the bucket.
            type: str
            required: true
          prefix:
            description: What the keys begin with.
            type: str
            default: ""
      offsite_max_age:
        description: How long ago the last copy may be (s, m, h, d).
        type: str
        default: 30m
requirements:
  - psycopg2 and redis on the managed host; without them, less is reported
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Look at the services
  nexanest.database.stack_info:
    stack: nexanest
    services:
      - service: postgres
        kind: postgresql
        container: nexanest-postgres
        host: 127.0.0.1
        port: 5432
        login_user: nexanest
        login_password: "{{ postgres_password }}"
        login_db: postgres
      - service: redis
        kind: redis
        container: nexanest-redis
        port: 6379
        login_user: nexanest
        login_password: "{{ redis_password }}"
        sessions: true
      - service: pgadmin
        kind: pgadmin
        container: nexanest-pgadmin
        port: 5050
    backups:
      dir: /srv/nexanest/backups
      max_age: 26h
      state_dir: /srv/nexanest/state
      schedule: {since: "2025-05-01T09:00:00+00:00", succeeded: "2025-05-31T03:15:40+00:00", failure: null}
      offsite: {endpoint_url: "https://s3.example.org", bucket: nexanest-backups, prefix: production}
    archives:
      - service: postgres
        archive_dir: /srv/nexanest/archive/postgres
        config_dir: /etc/nexanest-database/nexanest/postgres/archive
        max_age: 8d
        receivers: [receiver_archive_example_com]
        receivers_keep_hours: 72
        offsite: {endpoint_url: "https://s3.example.org", bucket: nexanest-backups, prefix: production}
        offsite_max_age: 30m
"""

RETURN = r"""
status:
  description: How the stack is. Sizes and memory are in bytes, uptime is in seconds; what is not known is null or empty.
  returned: success
  type: dict
  sample:
    overall: yellow
    services:
      - service: redis
        kind: redis
        container: nexanest-redis
        health: healthy
        version: 8.0.2
        host: 127.0.0.1
        port: 6379
        uptime: 3600
        restarts: 0
        memory_used: 6291456
        memory_limit: 268435456
        size: 1048576
        problems:
          - what: "12 keys were evicted from the instance that holds sessions: users were logged out"
            remedy: "set redis_sessions_separate: true in the inventory and run make db-start"
            level: yellow
    backups:
      sets: 9
      newest: "20250531_031500"
      age: 33000
      size: 52428800
      scheduled: true
      copied: "20250531_031500"
      drills:
        scheduled: true
        last: {age: 90000, result: passed, set: "20250530_031500", content: true, rto: 41.2, rpo: 9000, checks: 2140}
      offsite_drills:
        scheduled: true
        last: {age: 900000, result: passed, set: "20250521_031500", content: true, rto: 97.5, rpo: 14400, checks: 2140}
      problems: []
    archives:
      - name: timescaledb
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
        drill: {result: passed, rto: 21.4, rpo: 1, passed_age: 86400}
        offsite: {where: s3://nexanest-backups/production at https://s3.example.org, age: 140.2, until_age: 190.5}
        offsite_drills:
          scheduled: true
          last: {age: 900000, result: passed, set: 20250520-020000F, content: true, rto: 61.3, rpo: 170, checks: 512}
        recovery: {phase: "", target: ""}
        problems: []
    host:
      problems: []
report:
  description: The same as a text.
  returned: success
  type: str
  sample: "SERVICE  HEALTH   VERSION  PORT            UPTIME  SIZE    MEMORY"
"""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _archive_status as archive_status
from ansible_collections.nexanest.database.plugins.module_utils._archive_look import look as look_at_archive
from ansible_collections.nexanest.database.plugins.module_utils._backup_look import look
from ansible_collections.nexanest.database.plugins.module_utils._backup_plan import PlanError, age_limit
from ansible_collections.nexanest.database.plugins.module_utils._backup_status import described, problems
from ansible_collections.nexanest.database.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.nexanest.database.plugins.module_utils._stack_info import Judge, Problem, status
from ansible_collections.nexanest.database.plugins.module_utils._stack_probe import Probe
from ansible_collections.nexanest.database.plugins.module_utils._status_report import report

SERVICE: dict[str, dict[str, Any]] = {
    "service": {"type": "str", "required": True},
    "kind": {"type": "str", "choices": ["postgresql", "timescaledb", "redis", "pgadmin"], "required": True},
    "container": {"type": "str", "required": True},
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "required": True},
    "login_user": {"type": "str", "default": ""},
    "login_password": {"type": "str", "default": "", "no_log": True},
    "login_db": {"type": "str", "default": "postgres"},
    "sessions": {"type": "bool", "default": False},
}


OFFSITE: dict[str, Any] = {
    "type": "dict",
    "options": {
        "endpoint_url": {"type": "str", "default": ""},
        "bucket": {"type": "str", "required": True},
        "prefix": {"type": "str", "default": ""},
    },
}


BACKUPS: dict[str, dict[str, Any]] = {
    "dir": {"type": "path", "required": True},
    "max_age": {"type": "str", "default": "26h"},
    "state_dir": {"type": "path"},
    "schedule": {"type": "dict"},
    "drill_overdue_after": {"type": "str"},
    "offsite_drill_overdue_after": {"type": "str"},
    "offsite": OFFSITE,
}


ARCHIVES: dict[str, dict[str, Any]] = {
    "service": {"type": "str", "required": True},
    "archive_dir": {"type": "path", "required": True},
    "config_dir": {"type": "path", "required": True},
    "max_age": {"type": "str", "default": "8d"},
    "receivers": {"type": "list", "elements": "str", "default": []},
    "receivers_keep_hours": {"type": "int", "default": 72},
    "offsite": OFFSITE,
    "offsite_max_age": {"type": "str", "default": "30m"},
}


def read(engine: Engine, params: dict[str, Any], judge: Judge) -> dict[str, Any]:
    """The status of all services, asked side by side, and of the backups."""
    services = params["services"]
    probe = Probe(engine)
    with ThreadPoolExecutor(max_workers=len(services) or 1) as pool:
        facts = list(pool.map(probe.service, services))
    judged = [judge.service(service, found) for service, found in zip(services, facts, strict=True)]
    found = backups(params["backups"], params["stack"], judge) if params["backups"] else None
    return status(judged, disk(engine, judge), found, [archive(options, params, judge) for options in params["archives"]])


def archive(options: dict[str, Any], params: dict[str, Any], judge: Judge) -> dict[str, Any]:
    """The continuous backup of one of the services, judged; its drills are noted beside those of the backups."""
    service = next((one for one in params["services"] if one["service"] == options["service"]), None)
    if service is None:
        raise EngineError(f"archives names the service {options['service']}, which services does not have")
    login = {"login_host": service["host"], "login_port": service["port"], "login_user": service["login_user"], "login_password": service["login_password"]}
    names = {"name": service["service"], "container": service["container"], "login_db": "postgres", "connect_timeout": 5, "stack": params["stack"]}
    kept = params["backups"] or {}
    clock = (kept.get("schedule") or {}).get("archive") or {}
    failure = (clock.get("failure") or {}).get("message", "")
    facts = look_at_archive({**options, **login, **names, "history_dir": kept.get("dir"), "offsite_failure": failure, "backups": kept})
    max_age, offsite_max_age = (int(age_limit(options[name]).total_seconds()) for name in ("max_age", "offsite_max_age"))
    overdue = _seconds(kept, "drill_overdue_after") if kept.get("drill_overdue_after") else None
    return archive_status.described(facts, archive_status.problems(facts, max_age, judge.verb, overdue, offsite_max_age))


def backups(options: dict[str, Any], stack: str, judge: Judge) -> dict[str, Any]:
    """The backups, judged."""
    limit = _seconds(options, "max_age")
    for name in ("drill_overdue_after", "offsite_drill_overdue_after"):
        if options[name]:
            _seconds(options, name)
    facts = look(options, stack, judge.now)
    return described(facts, problems(facts, limit, judge.verb))


def _seconds(options: dict[str, Any], key: str) -> int:
    try:
        return int(age_limit(options[key]).total_seconds())
    except PlanError as error:
        raise PlanError(f"backups.{key} is {options[key]!r}: write a number with s, m, h or d, such as 26h") from error


def disk(engine: Engine, judge: Judge) -> list[Problem]:
    """The file system that holds the volumes; not visible where the engine is not on this host."""
    folder = str(engine.get("/info")["DockerRootDir"])
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return []
    return judge.disk(folder, usage.total - usage.free, usage.total)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "default": "nexanest"},
            "services": {"type": "list", "elements": "dict", "required": True, "options": SERVICE},
            "backups": {"type": "dict", "options": BACKUPS},
            "archives": {"type": "list", "elements": "dict", "default": [], "options": ARCHIVES},
        },
        supports_check_mode=True,
    )
    judge = Judge(module.params["stack"], datetime.now(tz=UTC))
    try:
        found = read(Engine(), module.params, judge)
    except PlanError as error:
        module.fail_json(msg=str(error))
    except EngineError as error:
        module.fail_json(msg=f"could not look at the stack {module.params['stack']}: {error}; {judge.verb('db-start')} installs and starts what is missing")
    module.exit_json(changed=False, status=found, report=report(found))


if __name__ == "__main__":
    main()
