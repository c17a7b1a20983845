#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log in as every user and try every door of a Redis server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_access_info
short_description: Try what the users of a Redis server can and cannot do
version_added: 0.1.0
author: "The nexanest.database authors (@nexanest)"
description:
  - Logs in as every user of a service, with its real password, and tries the keys and channels of the others, dangerous commands, scripts,
    and what a client without a login gets. Each attempt is compared with what it should end with; for commands the declared ACL says what that is.
  - A few commands belong to no service whatever a category gives, such as C(CONFIG), C(KEYS) or C(CLIENT TRACKING), unless a user's rules name them.
  - Keys that are written are the proof's own, below each prefix; they expire, and are taken away at the end.
    Commands that would do harm are not given - Redis is asked whether it would let the user (C(ACL DRYRUN)).
  - Redis keeps the last refusals in C(ACL LOG); a run fills it.
extends_documentation_fragment:
  - nexanest.database.attributes.info
  - nexanest.database.attributes
options:
  login_host:
    description: Host on which the server listens, seen from the managed host.
    type: str
    default: 127.0.0.1
  login_port:
    description: Port on which the server listens.
    type: int
    default: 6379
  login_user:
    description: The administrator, who may do everything.
    type: str
    required: true
  login_password:
    description: Its password.
    type: str
    required: true
  connect_timeout:
    description: Seconds to wait for a connection, and for an answer.
    type: int
    default: 10
  acl:
    description: The declared users, as the lines of an ACL file.
    type: list
    elements: str
    required: true
  passwords:
    description:
      - Passwords of the users that are tried, by name - the services', and the one of the backups. Each must be one of O(acl).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Try every door of Redis
  nexanest.database.redis_access_info:
    login_host: 127.0.0.1
    login_port: 6379
    login_user: nexanest
    login_password: "{{ redis_password }}"
    connect_timeout: 10
    acl:
      - "user default off resetpass resetchannels -@all"
      - "user nexanest on #{{ redis_password | hash('sha256') }} ~* &* +@all"
      - "user nexanest_backup on #{{ redis_backup_password | hash('sha256') }} resetchannels -@all +sync +replconf"
      - "user auth on #{{ auth_password | hash('sha256') }} ~auth:* resetchannels &auth:* -@all +@read +@write -@dangerous"
    passwords:
      auth: "{{ auth_password }}"
      nexanest_backup: "{{ redis_backup_password }}"
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
      sample: redis keys
    role:
      description: Who tried.
      type: str
      sample: auth_app
    place:
      description: C(redis).
      type: str
      sample: redis
    what:
      description: What was tried.
      type: str
      sample: "GET <other>, a key of portfolio:"
    expected:
      description: refused, allowed, nothing (refused, or answered without a row) or holds.
      type: str
      sample: refused
    seen:
      description: What came back, in the server's words, without data.
      type: str
      sample: "refused: NOPERM No permissions to access a key"
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

import secrets
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils._access_model import Outcome, summary
from ansible_collections.nexanest.database.plugins.module_utils._access_plan_redis import Declared, RedisPlan, structure
from ansible_collections.nexanest.database.plugins.module_utils._access_try_redis import Line, NoAnswer, RedisError, RedisTrial, administrator
from ansible_collections.nexanest.database.plugins.module_utils._redis import REDIS_LOGIN_ARGUMENTS
from ansible_collections.nexanest.database.plugins.module_utils._redis_acl import AclError, parse

ARGUMENTS: dict[str, dict[str, Any]] = {
    **REDIS_LOGIN_ARGUMENTS,
    "acl": {"type": "list", "elements": "str", "required": True, "no_log": True},
    "passwords": {"type": "dict", "required": True, "no_log": True},
}
MARK = "nexanest-access-probe:"
SETTINGS = ("enable-debug-command", "enable-module-command", "enable-protected-configs")


def declare(params: dict[str, Any], boss: Line) -> Declared:
    """What is declared, and the server's own categories of commands."""
    users = parse(params["acl"])
    strangers = sorted(set(params["passwords"]) - set(users))
    if strangers:
        raise AclError(f"passwords names {', '.join(strangers)}, whom acl does not declare: add the user's line, or take the password out")
    categories = {str(name): frozenset(map(str, boss.ask("ACL", "CAT", str(name)))) for name in boss.ask("ACL", "CAT")}
    return Declared(users, {name: str(secret) for name, secret in params["passwords"].items()}, categories, f"{MARK}{secrets.token_hex(8)}")


def prove(params: dict[str, Any]) -> list[Outcome]:
    """Read, plan, try."""
    boss = administrator(params)
    try:
        declared = declare(params, boss)
        running = parse(map(str, boss.ask("ACL", "LIST")), selectors=True)
        pairs = [boss.ask("CONFIG", "GET", setting) for setting in SETTINGS]
    finally:
        boss.close()
    settings = {str(pair[0]): str(pair[1]) for pair in pairs if pair}
    probes = list(RedisPlan(declared).probes())
    return [*RedisTrial(params, declared).run(probes), *structure(declared, running, settings)]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    began = time.monotonic()
    try:
        outcomes = prove(module.params)
    except (AclError, RedisError, NoAnswer) as error:
        module.fail_json(msg=f"trying the doors of Redis at {module.params['login_host']}:{module.params['login_port']} failed: {error}")
    module.exit_json(changed=False, attempts=[outcome.as_dict() for outcome in outcomes], summary=summary(outcomes, time.monotonic() - began))


if __name__ == "__main__":
    main()
