# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of what a role must not do in its own database: change it, reach files and the server, become somebody else. Pure.

Every statement is harmless where it succeeds: it is rolled back, names what is not there, or is only explained (EXPLAIN asks for rights, and does nothing).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.nexanest.database.plugins.module_utils._access_facts import TABLE_KINDS, Facts, Inside
from ansible_collections.nexanest.database.plugins.module_utils._access_model import ALLOWED, NOTHING, REFUSED, Attempt
from ansible_collections.nexanest.database.plugins.module_utils._access_probe import ALONE, NAME, READ, WRITE, Probe
from ansible_collections.nexanest.database.plugins.module_utils._access_wanted import APP, BACKUP, DEFINER, LOGINS, MIGRATOR, OWNER, ServiceDatabase, Wanted
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Statement, name, statement, value

PREDEFINED = (
    "pg_read_all_data", "pg_write_all_data", "pg_read_all_settings", "pg_read_all_stats", "pg_monitor", "pg_signal_backend", "pg_checkpoint", "pg_maintain",
    "pg_read_server_files", "pg_write_server_files", "pg_execute_server_program", "pg_create_subscription",
)  # fmt: skip
ATTRIBUTES = ("SUPERUSER", "BYPASSRLS", "CREATEROLE", "CREATEDB", "REPLICATION")
OUTREACH = ("dblink", "postgres_fdw", "file_fdw", "adminpack", "plpython3u", "plperlu")

REVOKE = "a run of site.yml takes from the role what it should not have; what a migration gave, a migration takes"
MEMBERSHIP = "REVOKE the membership or the attribute from the role; a run of site.yml does it"

FILES = {
    "COPY … TO PROGRAM": "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null'",
    "COPY … TO a file of the server": "COPY (SELECT 1) TO '/dev/null'",
    "pg_read_file": "SELECT pg_read_file('PG_VERSION')",
    "pg_read_binary_file": "SELECT pg_read_binary_file('PG_VERSION')",
    "pg_ls_dir": "SELECT pg_ls_dir('.')",
    "pg_stat_file": "SELECT pg_stat_file('PG_VERSION')",
    "lo_import": "SELECT lo_import('/dev/null')",
    "lo_export": "EXPLAIN SELECT lo_export(0, '/dev/null')",
}
SERVER = {
    "pg_reload_conf": "EXPLAIN SELECT pg_reload_conf()",
    "pg_rotate_logfile": "EXPLAIN SELECT pg_rotate_logfile()",
    "pg_switch_wal": "EXPLAIN SELECT pg_switch_wal()",
    "pg_promote": "EXPLAIN SELECT pg_promote()",
    "pg_create_restore_point": "EXPLAIN SELECT pg_create_restore_point('probe')",
    "pg_backup_start": "EXPLAIN SELECT pg_backup_start('probe')",
    "pg_stat_reset": "EXPLAIN SELECT pg_stat_reset()",
    "CREATE EVENT TRIGGER": f"CREATE EVENT TRIGGER {NAME} ON ddl_command_start EXECUTE FUNCTION pg_catalog.now()",
    "CREATE PUBLICATION FOR ALL TABLES": f"CREATE PUBLICATION {NAME} FOR ALL TABLES",
    "CREATE SUBSCRIPTION": f"CREATE SUBSCRIPTION {NAME} CONNECTION 'host=probe' PUBLICATION p WITH (connect = false)",
    "SET session_replication_role, which turns triggers off": "SET LOCAL session_replication_role = replica",
    "SET log_statement": "SET LOCAL log_statement = 'none'",
    "SET lo_compat_privileges": "SET LOCAL lo_compat_privileges = on",
    "LOAD a library": "LOAD 'auto_explain'",
}
ALONE_DOORS = {
    "ALTER SYSTEM": f'ALTER SYSTEM RESET "nexanest.{NAME}"',
    "CREATE DATABASE": f"CREATE DATABASE {NAME} TEMPLATE template0 TABLESPACE {NAME}_is_not_there",
}
SECRETS = {
    "pg_authid, the verifiers of passwords": "SELECT count(rolpassword) FROM pg_catalog.pg_authid",
    "pg_shadow, the verifiers of passwords": "SELECT count(passwd) FROM pg_catalog.pg_shadow",
    "pg_hba_file_rules": "SELECT count(*) FROM pg_catalog.pg_hba_file_rules",
    "pg_file_settings": "SELECT count(*) FROM pg_catalog.pg_file_settings",
    "pg_largeobject": "SELECT count(data) FROM pg_catalog.pg_largeobject",
    "pg_statistic, samples of values": "SELECT count(*) FROM pg_catalog.pg_statistic",
    "pg_subscription, connection strings": "SELECT count(subconninfo) FROM pg_catalog.pg_subscription",
    "pg_current_logfile": "EXPLAIN SELECT pg_current_logfile()",
    "pg_ls_logdir": "EXPLAIN SELECT pg_ls_logdir()",
}
ACTIVITY = (
    "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename NOT IN (session_user, current_user)"
    " AND coalesce(query, '') NOT IN ('', '<insufficient privilege>')"
)
STATEMENTS = (
    "SELECT count(*) FROM {} WHERE userid NOT IN (SELECT oid FROM pg_catalog.pg_roles WHERE rolname IN (session_user, current_user))"
    " AND query <> '<insufficient privilege>'"
)


class Rights:
    """The plan for one role in one database. kind: one of LOGINS, or BACKUP, which may read everything and do nothing else."""

    def __init__(self, wanted: Wanted, facts: Facts, database: ServiceDatabase, kind: str) -> None:
        self.wanted, self.facts, self.database, self.kind = wanted, facts, database, kind
        self.role = str(wanted.backup) if kind == BACKUP else database.role(kind)
        self.inside: Inside = facts.inside[database.name]

    def probes(self) -> Iterator[Probe]:
        yield from self._fixed()
        yield from self._changes()
        yield from self._extensions()
        yield from self._roles()
        yield from self._others()

    def _probe(self, group: str, what: str, *steps: Statement, expected: str = REFUSED, remedy: str = REVOKE, mode: str = WRITE) -> Probe:
        return Probe(Attempt(group, self.role, self.database.name, what, expected, remedy), self.role, self.database.name, steps, mode)

    def _fixed(self) -> Iterator[Probe]:
        doors = [("files", FILES, WRITE), ("server", SERVER, WRITE), ("server", ALONE_DOORS, ALONE)]
        doors += [("secrets", SECRETS, READ)] if self.kind != BACKUP else []
        for group, statements, mode in doors:
            for what, text in statements.items():
                yield self._probe(group, what, statement(text), mode=mode)
        target = next((r for r in self.inside.relations if r.kind in TABLE_KINDS and "INSERT" in r.powers.get(self.role, ())), None)
        if target is not None:
            yield self._probe("files", "COPY … FROM a file of the server", statement("COPY {} FROM '/dev/null'", name(*target.key)))

    def _changes(self) -> Iterator[Probe]:
        """DDL: the migrator makes what its owner then owns; the others make nothing."""
        group, owner = "changes", self.database.role(OWNER)
        for schema in self.inside.schemas:
            table = name(schema.name, NAME)
            create = statement("CREATE TABLE {} ()", table)
            own, foreign = schema.owner == owner, schema.owner not in (owner, "pg_database_owner")
            if self.kind == MIGRATOR and own:
                # Divides by zero where the table belongs to anybody else.
                belongs = "SELECT 1 / count(*) FROM pg_catalog.pg_class WHERE relname = {} AND relnamespace = {}::regnamespace AND relowner = {}::regrole"
                check = statement(belongs, value(NAME), value(_quoted(schema.name)), value(_quoted(owner)))
                yield self._probe(group, f"create a table in {schema.name}, which is its owner's then", create, check, expected=ALLOWED)
                yield self._probe(group, f"create a table in {schema.name} as itself", statement("SET LOCAL ROLE NONE"), create)
            elif self.kind != MIGRATOR or foreign:
                yield self._probe(group, f"create a table in {schema.name}", create)
            if self.kind != MIGRATOR and own:
                function = "CREATE FUNCTION {}() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"
                yield self._probe(group, f"create a function in {schema.name}", statement(function, table))
            if own:
                yield self._probe(
                    group, f"create a function in C in {schema.name}", statement("CREATE FUNCTION {}() RETURNS int LANGUAGE c AS 'x', 'y'", table)
                )
        if self.kind != MIGRATOR:
            yield self._probe(group, "create a schema", statement(f"CREATE SCHEMA {NAME}"))
            yield self._probe(group, "create a temporary table, which can hide a real one", statement(f"CREATE TEMPORARY TABLE {NAME} ()"))
            change = statement("ALTER DATABASE {} SET application_name = 'probe'", name(self.database.name))
            yield self._probe(group, "change its database's settings", change)
            yield from self._alterations()

    def _alterations(self) -> Iterator[Probe]:
        own = {schema.name for schema in self.inside.schemas if schema.owner == self.database.role(OWNER)}
        tables = [relation for relation in self.inside.relations if relation.kind in TABLE_KINDS and relation.schema in own]
        for relation in tables:
            if relation.user_type and not relation.partition:
                text = "ALTER TABLE {} DISABLE ROW LEVEL SECURITY"
                yield self._probe("changes", f"turn row security of {relation.title} off", statement(text, name(*relation.key)))
        if tables:
            first = next((relation for relation in tables if relation.user_type), tables[0])
            doors = {
                "drop": "DROP TABLE {}",
                "add a column to": f"ALTER TABLE {{}} ADD COLUMN {NAME} int",
                "add a policy to": f"CREATE POLICY {NAME} ON {{}} USING (true)",
                "add a trigger to": f"CREATE TRIGGER {NAME} BEFORE UPDATE ON {{}} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
                "add a rule to": f"CREATE RULE {NAME} AS ON INSERT TO {{}} DO ALSO NOTHING",
            }
            for what, text in doors.items():
                # 0A000: a hypertable takes no rule from anybody.
                yield replace(self._probe("changes", f"{what} {first.title}", statement(text, name(*first.key))), denials=frozenset({"0A000"}))
            if self.kind == BACKUP:
                yield self._probe("changes", f"delete rows of {first.title}", statement("DELETE FROM {} WHERE false", name(*first.key)))
            yield self._probe("changes", f"take {first.title} over", statement("ALTER TABLE {} OWNER TO {}", name(*first.key), name(self.role)))

    def _extensions(self) -> Iterator[Probe]:
        for extension in (*OUTREACH, *(("pg_trgm",) if self.kind != MIGRATOR else ())):
            if extension not in self.inside.extensions:
                found = self._probe("server", f"create the extension {extension}", statement("CREATE EXTENSION {}", name(extension)))
                yield replace(found, denials=frozenset({"0A000", "58P01"}))

    def _roles(self) -> Iterator[Probe]:
        """Becoming somebody else."""
        group, me = "roles", name(self.role)
        services = {database.service: database for database in self.wanted.databases}.values()
        others = [other.role(kind) for other in services for kind in (OWNER, DEFINER) if other.role(kind) in self.facts.roles]
        backup = [self.wanted.backup] if self.kind != BACKUP and self.wanted.backup in self.facts.roles else []
        targets = [self.facts.administrator, *others, *backup]
        for target in [*targets, *(role for role in PREDEFINED if role in self.facts.roles)]:
            expected = ALLOWED if self._may_become(target) else REFUSED
            yield self._probe(group, f"SET ROLE {target}", statement("SET LOCAL ROLE {}", name(str(target))), expected=expected, remedy=MEMBERSHIP)
        for target in (self.facts.administrator, self.database.role(OWNER), "pg_read_all_data"):
            grant = statement("GRANT {} TO {}", name(target), me)
            yield self._probe(group, f"GRANT {target} to itself", statement("SET LOCAL ROLE NONE"), grant, remedy=MEMBERSHIP)
        for attribute in ATTRIBUTES:
            yield self._probe(group, f"ALTER ROLE itself {attribute}", statement(f"ALTER ROLE {{}} {attribute}", me), remedy=MEMBERSHIP)
        administrator = name(self.facts.administrator)
        doors = {
            "SET SESSION AUTHORIZATION to the administrator": statement("SET LOCAL SESSION AUTHORIZATION {}", administrator),
            "CREATE ROLE": statement(f"CREATE ROLE {NAME}"),
            "take the administrator's password away": statement("ALTER ROLE {} PASSWORD NULL", administrator),
        }
        for what, door in doors.items():
            yield self._probe(group, what, door, remedy=MEMBERSHIP)

    def _may_become(self, target: str | None) -> bool:
        """A migrator becomes its owner, and through it the definer: so it gives functions to it."""
        if self.kind == BACKUP:
            return target == "pg_read_all_data"
        return self.kind == MIGRATOR and target in (self.database.role(OWNER), self.database.role(DEFINER))

    def _others(self) -> Iterator[Probe]:
        """What others do now."""
        other = self.wanted.stranger(self.database)
        found = self._probe("server", "end a session of another service", statement("SELECT pg_terminate_backend({})"))
        yield replace(found, victim=other.role(APP) if other else self.facts.administrator)
        yield self._probe("secrets", "texts of others' queries in pg_stat_activity", statement(ACTIVITY), expected=NOTHING, mode=READ)
        view = next((schema for schema in self.inside.schemas if schema.name == "public"), None)
        if "pg_stat_statements" in self.inside.extensions and view is not None:
            query = statement(STATEMENTS, name("public", "pg_stat_statements"))
            found = self._probe("secrets", "texts of others' queries in pg_stat_statements", query, expected=NOTHING, mode=READ)
            # 55000: the library is not loaded, so there is nothing to read.
            yield replace(found, denials=frozenset({"55000"}))


def rights(wanted: Wanted, facts: Facts) -> Iterator[Probe]:
    """All of them, for every service role in its databases."""
    for database in wanted.databases:
        if database.name in facts.inside:
            for kind in (*LOGINS, *((BACKUP,) if wanted.backup in facts.roles else ())):
                yield from Rights(wanted, facts, database, kind).probes()


def _quoted(identifier: str) -> str:
    return '"{}"'.format(identifier.replace('"', '""'))
