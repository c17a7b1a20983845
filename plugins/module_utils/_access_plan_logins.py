# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of logins: which role gets into which database, and with what. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.nexanest.database.plugins.module_utils._access_facts import Facts
from ansible_collections.nexanest.database.plugins.module_utils._access_model import ALLOWED, REFUSED, Attempt
from ansible_collections.nexanest.database.plugins.module_utils._access_probe import Login
from ansible_collections.nexanest.database.plugins.module_utils._access_wanted import DEFINER, OWNER, SYSTEM_DATABASES, Wanted

GROUP = "logins"
WRONG = "nexanest access probe: wrong"  # no password of anybody
CLOSE = "REVOKE CONNECT ON DATABASE … FROM PUBLIC and from the role; a run of site.yml does it"
PASSWORDS = "demand scram-sha-256 in pg_hba.conf for every line, and look for trust; a run of site.yml writes the file anew"
OPEN_LOG = "a run of site.yml gives the role its password and its line in pg_hba.conf"
OPEN = "a run of site.yml gives the role its password and its database back"


def logins(wanted: Wanted, facts: Facts) -> Iterator[Login]:
    """All of them."""
    databases = [*(database.name for database in wanted.databases), *SYSTEM_DATABASES]
    for role in wanted.logins:
        own = wanted.homes(role)
        for database in databases:
            opens = database in own or role == wanted.backup
            yield _login(role, database, wanted.passwords[role], f"log in to {database}", ALLOWED if opens else REFUSED, OPEN if opens else CLOSE)
        yield from _wrong_secrets(wanted, facts, role, own[0])
        yield from _replication(wanted, role, own[0])
    if wanted.replication in facts.roles:
        yield from _receiver(wanted, str(wanted.replication), databases)


def _wrong_secrets(wanted: Wanted, facts: Facts, role: str, database: str) -> Iterator[Login]:
    yield _login(role, database, WRONG, "log in with a wrong password", REFUSED, PASSWORDS)
    yield _login(role, database, "", "log in without a password", REFUSED, PASSWORDS)
    home = wanted.database(database)
    other = wanted.stranger(home)
    names = {
        "the administrator": facts.administrator,
        "its owner": home.role(OWNER),
        "its definer": home.role(DEFINER),
        "the backup role": wanted.backup,
        "another service's application": other.role("app") if other else None,
    }
    for who, name in names.items():
        if name in facts.roles and name != role:
            yield _login(role, database, wanted.passwords[role], f"log in as {who} {name} with its own password", REFUSED, PASSWORDS, user=name)


def _replication(wanted: Wanted, role: str, database: str) -> Iterator[Login]:
    for kind, words in (("true", "physical"), ("database", "logical")):
        remedy = f"ALTER ROLE {role} NOREPLICATION; no line for replication in pg_hba.conf"
        yield _login(role, database, wanted.passwords[role], f"open a {words} replication connection", REFUSED, remedy, replication=kind)


def _receiver(wanted: Wanted, role: str, databases: Sequence[str]) -> Iterator[Login]:
    """The role that receives the write-ahead log: by a physical replication connection, and by nothing else."""
    password = wanted.passwords[role]
    for database in databases:
        yield _login(role, database, password, f"log in to {database}", REFUSED, CLOSE)
    yield _login(role, databases[0], password, "open a logical replication connection", REFUSED, CLOSE, replication="database")
    yield _login(role, databases[0], password, "open a physical replication connection", ALLOWED, OPEN_LOG, replication="true")
    yield _login(role, databases[0], WRONG, "open a physical replication connection with a wrong password", REFUSED, PASSWORDS, replication="true")
    yield _login(role, databases[0], "", "open a physical replication connection without a password", REFUSED, PASSWORDS, replication="true")


def _login(role: str, database: str, password: str, what: str, *ends: str, user: str | None = None, replication: str | None = None) -> Login:
    expected, remedy = ends
    return Login(Attempt(GROUP, role, database, what, expected, remedy), user or role, database, password, replication)
