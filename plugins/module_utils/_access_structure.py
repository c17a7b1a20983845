# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Protections that the catalog shows, whether or not a table has rows: what attempts at an empty table cannot prove. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ansible_collections.nexanest.database.plugins.module_utils._access_facts import PUBLIC, Facts, Function, Inside, Policy, Relation, Role
from ansible_collections.nexanest.database.plugins.module_utils._access_model import HOLDS, Attempt, Outcome, holds
from ansible_collections.nexanest.database.plugins.module_utils._access_wanted import (
    APP,
    DEFINER,
    MIGRATOR,
    OWNER,
    READONLY,
    SYSTEM_DATABASES,
    ServiceDatabase,
    Wanted,
)

GROUP = "catalog"
POLICY = "in a migration: ENABLE and FORCE ROW LEVEL SECURITY, and a policy with user_id = (SELECT session.user_id()) as its condition, to read and to write"
PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
PARTITION = "in the migration that makes partitions: REVOKE ALL from the service's roles, or ENABLE and FORCE ROW LEVEL SECURITY on it as well"
VIEW = "ALTER VIEW … SET (security_invoker = true), or REVOKE SELECT from the service's roles; a materialised view can only be revoked"
DEFINER_FUNCTION = "give it SET search_path = pg_catalog, pg_temp and an owner that cannot log in, and REVOKE EXECUTE FROM PUBLIC"
EXECUTE = "REVOKE EXECUTE ON FUNCTION … FROM PUBLIC"
KEY = "make the user column part of the foreign key and of the key that it refers to"
RIGHTS = "REVOKE it in a migration; app needs SELECT, INSERT, UPDATE, DELETE at most, readonly SELECT"
SITE = "a run of site.yml takes it away"
SYSTEM = "REVOKE it: only the administrator gave it"
SETTING = "ALTER ROLE … RESET it, or ALTER DATABASE … RESET it"
TRIGGERS = "ALTER TABLE … ENABLE TRIGGER ALL, after a look at the rows that came in meanwhile"
LEAKS = "ALTER FUNCTION … NOT LEAKPROOF"
# Set for a role, these turn protections off: triggers and foreign keys, rights on large objects, what a text means, what is loaded.
WEAKENING = frozenset({
    "session_replication_role", "lo_compat_privileges", "row_security", "standard_conforming_strings", "backslash_quote", "transform_null_equals",
    "session_preload_libraries", "local_preload_libraries", "allow_system_table_mods", "session.user",
})  # fmt: skip


def structure(wanted: Wanted, facts: Facts) -> Iterator[Outcome]:
    """All of a server."""
    yield from _roles(wanted, facts)
    for name in (*facts.inside, *SYSTEM_DATABASES):
        if name in facts.public:
            yield _database(wanted, facts, name)
    for database in wanted.databases:
        if database.name in facts.inside:
            yield from Structure(facts, database, wanted.column).outcomes()


def _roles(wanted: Wanted, facts: Facts) -> Iterator[Outcome]:
    services = {database.service: database for database in wanted.databases}.values()
    for database in services:
        for kind in (OWNER, MIGRATOR, APP, READONLY, DEFINER):
            role = facts.roles.get(database.role(kind))
            if role is not None:
                yield _role(role, database, kind)
        for kind in (OWNER, DEFINER):
            members = [role.name for role in facts.roles.values() if database.role(kind) in role.member_of]
            known = [database.role(MIGRATOR if kind == OWNER else OWNER)]
            lacking = [f"{member} is a member" for member in members if member not in known]
            if database.role(kind) in facts.roles:
                yield holds(Attempt(GROUP, database.role(kind), "server", "nobody but its own is a member of the role", HOLDS, SITE), lacking)
    backup = facts.roles.get(wanted.backup or "")
    if backup is not None:
        lacking = _beyond(backup, {"BYPASSRLS"}, {"pg_read_all_data"})
        yield holds(Attempt(GROUP, backup.name, "server", "the backup role reads everything, and no more", HOLDS, SITE), lacking)
    receiver = facts.roles.get(wanted.replication or "")
    if receiver is not None:
        lacking = _beyond(receiver, {"REPLICATION"}, set())
        yield holds(Attempt(GROUP, receiver.name, "server", "the replication role receives the log, and no more", HOLDS, SITE), lacking)
    lacking = sorted(facts.parameters - {facts.administrator})
    attempt = Attempt(GROUP, "all", "server", "no role may set the administrator's settings", HOLDS, "REVOKE ALL ON PARAMETER … FROM the role")
    yield holds(attempt, [f"{role} may" for role in lacking])
    # Reading large objects without a right to each is what the backup role is for.
    meant = {(wanted.backup, "lo_compat_privileges")}
    lacking = [f"{name} is set for {role}" for role, name in sorted(facts.settings) if name in WEAKENING and (role, name) not in meant]
    yield holds(Attempt(GROUP, "all", "server", "no setting of a role or a database takes a protection away", HOLDS, SETTING), lacking)


def _beyond(role: Role, powers: set[str], groups: set[str]) -> list[str]:
    """What a role has beyond these."""
    return [*(f"has {power}" for power in role.powers if power not in powers), *(f"is a member of {group}" for group in role.member_of if group not in groups)]


def _role(role: Role, database: ServiceDatabase, kind: str) -> Outcome:
    allowed = {"BYPASSRLS"} if kind == DEFINER else set()
    groups = {MIGRATOR: {database.role(OWNER)}, OWNER: {database.role(DEFINER)}}.get(kind, set())
    lacking = _beyond(role, allowed, groups)
    if kind == DEFINER and role.login:
        lacking.append("can log in")
    return holds(Attempt(GROUP, role.name, "server", "the role has no power and no membership that it should not have", HOLDS, SITE), lacking)


def _database(wanted: Wanted, facts: Facts, name: str) -> Outcome:
    lacking = [f"PUBLIC has {privilege}" for privilege in sorted(facts.public[name])]
    own = {role for database in wanted.databases if database.name == name for role in (*database.logins, database.role(OWNER), database.role(DEFINER))}
    strangers = sorted(facts.connectors.get(name, frozenset()) - own - {facts.administrator, wanted.backup})
    lacking += [f"{role} may connect" for role in strangers if not _superuser(facts, role)]
    return holds(Attempt(GROUP, "all", name, "only its own roles may connect to the database", HOLDS, SITE), lacking)


def _superuser(facts: Facts, role: str) -> bool:
    return role in facts.roles and "SUPERUSER" in facts.roles[role].powers


class Structure:
    """One database."""

    def __init__(self, facts: Facts, database: ServiceDatabase, column: str) -> None:
        self.facts, self.database, self.column = facts, database, column
        self.inside: Inside = facts.inside[database.name]
        self.owned = {relation.key for relation in self.inside.owned}
        self.service_roles = {*database.logins, PUBLIC}

    def outcomes(self) -> Iterator[Outcome]:
        for relation in self.inside.relations:
            if relation.user_type and relation.kind in ("r", "p"):
                yield self._table(relation)
            if relation.kind in ("v", "m") and relation.bases & self.owned:
                yield self._view(relation)
        yield from self._rights()
        for function in self.inside.functions:
            if function.definer:
                yield self._definer(function)
        strangers = [function.title for function in self.inside.functions if PUBLIC in function.executors]
        yield self._holds("PUBLIC may call no function", EXECUTE, [f"it may call {title}" for title in strangers])
        creators = [(schema.name, role) for schema in self.inside.schemas for role in sorted(schema.creators & self.service_roles)]
        yield self._holds("nobody but the owner creates in a schema", SITE, [f"{role} may in {schema}" for schema, role in creators])
        surplus = [f"{role} has {right}" for role, right in self.inside.system_rights]
        yield self._holds("no right on the system's functions and tables beyond a fresh server's", SYSTEM, surplus)
        yield self._holds("every trigger fires", TRIGGERS, self.inside.silent_triggers)
        yield self._holds("no function of its own is leakproof: it would see rows before the policy", LEAKS, self.inside.leakproof)
        loose = [key for key in self.inside.foreign_keys if not key.tied]
        lacking = [f"{key.name} of {key.table} lets a row refer to another user's in {key.target}" for key in loose]
        yield self._holds("foreign keys between users' tables stay with one user", KEY, lacking)

    def _holds(self, what: str, remedy: str, lacking: Iterable[str], role: str = "all") -> Outcome:
        return holds(Attempt(GROUP, role, self.database.name, what, HOLDS, remedy), list(lacking))

    def _table(self, table: Relation) -> Outcome:
        readers = sorted(table.readers & self.service_roles)
        if table.partition and not readers:
            return self._holds(f"{table.title}, a partition, cannot be asked around its parent", PARTITION, [])
        lacking = [] if table.row_security else ["row security is off"]
        lacking += [] if table.forced else ["it is not FORCEd: the owner sees every row"]
        lacking += [] if table.policies or table.partition else ["it has no policy"]
        lacking += [f"the policy {policy} lets pass more than the rows of the user who is set" for policy in self._wide_policies(table)]
        if table.partition:
            readers_text = f" and {', '.join(readers)} may read it" if lacking else ""
            what = f"{table.title}, a partition, cannot be asked around its parent"
            return self._holds(what, PARTITION, [f"{reason}{readers_text}" for reason in lacking])
        return self._holds(f"row security guards {table.title}", POLICY, lacking)

    def _wide_policies(self, table: Relation) -> list[str]:
        """Permissive policies for the service's roles that let rows pass whoever's they are."""
        judged = {*self.service_roles, self.database.role(OWNER)}
        return [policy.name for policy in table.policies if policy.permissive and policy.roles & judged and not self._own_rows(policy)]

    def _own_rows(self, policy: Policy) -> bool:
        """Where users are set by tokens, a condition compares the column with that user, alone or before an AND: any other may be true for everybody."""
        if self.database.key is None:
            return policy.own_rows
        column = self.column if PLAIN.fullmatch(self.column) else '"{}"'.format(self.column.replace('"', '""'))
        users = ("( SELECT session.user_id() AS user_id)", "session.user_id()")
        own = [f"({left} = {right})" for user in users for left, right in ((column, user), (user, column))]
        return policy.own_rows and all(condition in own or condition.startswith(tuple(f"({one} AND " for one in own)) for condition in policy.conditions)

    def _view(self, view: Relation) -> Outcome:
        """Its owner reads for everybody who may read it, unless it is the caller who reads."""
        readers = sorted(role for role in self.service_roles if self._reaches(role, view))
        lacking = []
        if readers and view.kind == "m":
            lacking = [f"it keeps copies of users' rows, and {', '.join(readers)} may read them"]
        elif readers and not view.invoker and self._exempt(view):
            lacking = [f"it reads as {view.owner}, whom no policy stops, and {', '.join(readers)} may read it"]
        return self._holds(f"the {view.word} {view.title} shows nobody else's rows", VIEW, lacking)

    def _reaches(self, role: str, view: Relation) -> bool:
        """By itself, or through another view."""
        return role in view.readers or any(role in other.readers and view.key in other.bases for other in self.inside.relations if other.kind in ("v", "m"))

    def _exempt(self, view: Relation) -> bool:
        """Whether its owner reads past the policies: by its powers, or as the owner of a table that is not FORCEd."""
        powerful = view.owner in self.facts.roles and self.facts.roles[view.owner].sees_everything
        bases = [relation for relation in self.inside.owned if relation.key in view.bases and relation.kind in ("r", "p")]
        return powerful or any(base.owner == view.owner and not (base.row_security and base.forced) for base in bases)

    def _rights(self) -> Iterator[Outcome]:
        surplus = {APP: ("TRUNCATE", "TRIGGER", "REFERENCES"), READONLY: ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES")}
        judged = {self.database.role(kind): (kind, words) for kind, words in surplus.items()}
        judged[self.database.role(MIGRATOR)] = (MIGRATOR, surplus[READONLY])
        judged[PUBLIC] = (PUBLIC, surplus[READONLY])
        for role, (_kind, words) in judged.items():
            lacking = [f"{word} on {relation.title}" for relation in self.inside.relations for word in words if word in relation.powers.get(role, ())]
            yield self._holds("no right on a table beyond the role's own kind", RIGHTS, lacking, role)

    def _definer(self, function: Function) -> Outcome:
        """A definer function runs with its owner's rights: nobody may lead it astray, or be its owner."""
        owner = self.facts.roles.get(function.owner)
        lacking = []
        if function.search_path is None or "$user" in function.search_path:
            lacking.append("its search_path is not pinned")
        elif open_schemas := self._open_schemas(function.search_path):
            lacking.append(f"its search_path has {', '.join(open_schemas)}, where a service may create")
        if owner is None or owner.login:
            lacking.append(f"its owner {function.owner} can log in")
        if PUBLIC in function.executors:
            lacking.append("PUBLIC may call it")
        return self._holds(f"the definer function {function.title} is pinned, and nobody's", DEFINER_FUNCTION, lacking)

    def _open_schemas(self, search_path: str) -> list[str]:
        names = [part.strip().strip('"') for part in search_path.split(",")]
        return [schema.name for schema in self.inside.schemas if schema.name in names and schema.creators & self.service_roles]
