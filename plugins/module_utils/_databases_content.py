# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for what lives in one database: schemas, extensions, default privileges."""

from __future__ import annotations

from collections.abc import Collection

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import (
    APP,
    DEFINER,
    OWNER,
    PUBLIC,
    READONLY,
    Desired,
    DesiredDatabase,
    DesiredExtension,
    Extension,
    Grant,
    Grants,
    Inside,
    Schema,
    State,
    new_inside,
)
from ansible_collections.nexanest.database.plugins.module_utils._databases_rights import Rights, Subject, converge, shown, shown_wanted
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Statement, name, statement, value
from ansible_collections.nexanest.database.plugins.module_utils._databases_steps import Phase, Step, Work, step

# What the roles get on objects that the owner makes in a service schema; only the application calls functions, since one may write.
DEFAULT_RIGHTS = {
    "TABLES": {APP: ("SELECT", "INSERT", "UPDATE", "DELETE"), READONLY: ("SELECT",)},
    "SEQUENCES": {APP: ("SELECT", "USAGE"), READONLY: ("SELECT",)},
    "FUNCTIONS": {APP: ("EXECUTE",), READONLY: ()},
}
# What PostgreSQL itself gives on new objects in any schema.
BUILT_IN_RIGHTS = {"TABLES": (), "SEQUENCES": (), "FUNCTIONS": ("EXECUTE",)}


def inside_steps(database: DesiredDatabase, desired: Desired, state: State) -> list[Step]:
    """Schemas, then the extensions in them, then default privileges."""
    inside = state.inside.get(database.name) or new_inside()
    # Roles that are not of this set cannot enter the database; what a migration gave to, say, a definer's role is its own matter.
    judged = {PUBLIC, *desired.roles}
    found: list[Step] = []
    for schema in dict.fromkeys([*database.schemas, "public"]):
        found += _schema_step(database, schema, inside, judged)
    for extension in database.extensions:
        found += _extension_step(database, extension, inside, state.extensions)
    for schema in ("", *database.schemas):
        found += _defaults_step(database, schema, inside, judged)
    return found


def _schema_step(database: DesiredDatabase, schema: str, inside: Inside, judged: Collection[str]) -> list[Step]:
    actual = inside.schemas.get(schema)
    owner = database.role(OWNER) if schema in database.schemas else (actual.owner if actual else "pg_database_owner")
    statements: list[Statement] = []
    if actual is None:
        statements.append(statement("CREATE SCHEMA {} AUTHORIZATION {}", name(schema), name(owner)))
    elif actual.owner != owner:
        statements.append(statement("ALTER SCHEMA {} OWNER TO {}", name(schema), name(owner)))
    grants = _without_owner(actual, owner)
    wanted: dict[str, tuple[str, ...]] = {database.role(kind): ("USAGE",) for kind in (APP, READONLY)}
    if database.definer:
        # A function's new owner must be able to create where the function lies.
        wanted[database.role(DEFINER)] = ("CREATE", "USAGE") if schema in database.schemas else ("USAGE",)
    judged = set(judged) - {owner}
    statements += converge(Subject("SCHEMA {}", (name(schema),)), grants, wanted, judged=judged, owner=owner)
    before = None if actual is None else {"owner": actual.owner, "access": shown(actual.grants, judged)}
    after = {"owner": owner, "access": shown_wanted(wanted)}
    return step("schema", f"{database.name}.{schema}", before=before, after=after, work=_inside(database, statements))


def _without_owner(actual: Schema | None, owner: str) -> Grants:
    """The schema's grants as they are once `owner` has it."""
    if actual is None:
        return frozenset()
    moved = (Grant(g.grantee, g.privilege, owner if g.grantor == actual.owner else g.grantor, g.grantable) for g in actual.grants)
    return frozenset(grant for grant in moved if grant.grantee != owner)


def _extension_step(database: DesiredDatabase, extension: DesiredExtension, inside: Inside, offered: Collection[str] | None) -> list[Step]:
    actual = inside.extensions.get(extension.name)
    title = f"{database.name}.{extension.name}"
    if actual is not None:
        _refuse_move(title, extension, actual)
        if extension.version in (None, actual.version):
            return []
        update = statement("ALTER EXTENSION {} UPDATE TO {}", name(extension.name), value(str(extension.version)))
        return step("extension", title, before={"version": actual.version}, after={"version": extension.version}, work=_inside(database, [update]))
    if offered is not None and extension.name not in offered:
        raise InputError(f"database {database.name!r} wants the extension {extension.name!r}, which the server does not have: install it there or leave it out")
    after = {key: found for key, found in (("schema", extension.schema), ("version", extension.version)) if found is not None}
    return step("extension", title, before=None, after=after, work=_inside(database, _create_extension(extension)))


def _create_extension(extension: DesiredExtension) -> list[Statement]:
    parts, arguments = ["CREATE EXTENSION IF NOT EXISTS {}"], [name(extension.name)]
    if extension.schema is not None:
        parts.append("SCHEMA {}")
        arguments.append(name(extension.schema))
    version = (value(extension.version),) if extension.version is not None else ()
    create = statement(" ".join([*parts, *(["VERSION {}"] if version else [])]), *arguments, *version)
    # Not SCHEMA public: some extensions have a schema of their own and refuse any other.
    return [create] if extension.schema is not None else [statement("SET LOCAL search_path = public"), create]


def _refuse_move(title: str, extension: DesiredExtension, actual: Extension) -> None:
    if extension.schema not in (None, actual.schema):
        raise InputError(
            f"extension {title} lives in the schema {actual.schema!r}, not in {extension.schema!r}, and moving it can break what uses it: "
            f"ask for {actual.schema!r}, or move it yourself with ALTER EXTENSION … SET SCHEMA"
        )


def _defaults_step(database: DesiredDatabase, schema: str, inside: Inside, judged: Collection[str]) -> list[Step]:
    """Default privileges of the owner: in one schema what the roles get, in all of them ("") nothing for PUBLIC."""
    owner = database.role(OWNER)
    statements: list[Statement] = []
    before: dict[str, object] = {}
    after: dict[str, object] = {}
    for kind, rights in DEFAULT_RIGHTS.items():
        # Without an entry for all schemas, PostgreSQL's own rights hold.
        built_in = frozenset(Grant(PUBLIC, privilege, owner) for privilege in BUILT_IN_RIGHTS[kind]) if not schema else frozenset()
        actual = inside.defaults.get((owner, schema, kind), built_in)
        wanted: Rights = {database.role(role): privileges for role, privileges in rights.items() if privileges} if schema else {}
        statements += converge(_defaults_subject(owner, schema, kind), actual, wanted, judged=set(judged) - {owner})
        before[kind.lower()], after[kind.lower()] = shown(actual, judged), shown_wanted(wanted)
    new = not any(key[:2] == (owner, schema) for key in inside.defaults)
    title = f"{database.name}.{schema}" if schema else database.name
    return step("default privileges", title, before=None if new else before, after=after, work=_inside(database, statements))


def _defaults_subject(owner: str, schema: str, kind: str) -> Subject:
    # EXECUTE can be taken from PUBLIC only for all schemas at once: IN SCHEMA merely adds.
    prefix = "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} " if schema else "ALTER DEFAULT PRIVILEGES FOR ROLE {} "
    return Subject(kind, prefix=prefix, prefix_names=(name(owner), name(schema)) if schema else (name(owner),))


def _inside(database: DesiredDatabase, statements: list[Statement]) -> list[Work]:
    return [Work(Phase.INSIDE, found, database.name) for found in statements]
