# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other names for the databases and roles of a set: what they change, and when they are refused."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _restore_archive as archive
from ansible_collections.nexanest.database.plugins.module_utils import _restore_archive_roles as archive_roles
from ansible_collections.nexanest.database.plugins.module_utils import _restore_jobs as jobs
from ansible_collections.nexanest.database.plugins.module_utils import _restore_mapping as mappings
from ansible_collections.nexanest.database.plugins.module_utils._backup_manifest import Database, Grant
from ansible_collections.nexanest.database.plugins.module_utils._restore_archive import ArchiveError, Contents, Entry
from ansible_collections.nexanest.database.plugins.module_utils._restore_mapping import Present, Source
from ansible_collections.nexanest.database.plugins.module_utils._restore_names import Names, used

SOURCE = Source("s", roles=frozenset({"owner", "app", "root", "idle"}), superusers=frozenset({"root"}), needed=frozenset({"owner", "app"}))
PRESENT = Present(roles=frozenset({"p_owner", "p_app", "p_root", "root"}), superusers=frozenset({"p_root", "root"}))
ENTRY = Entry(1, 0, b"0", b"0", b"t", b"TABLE", 2, b"CREATE TABLE t ();\n", b"", b"", b"app", b"", b"heap", ord("r"), b"app", b"false", (b"2", b"3"), None)


def contents(*entries: Entry, minor: int = 16) -> Contents:
    """As pg_dump begins them: numbers of four bytes, offsets of eight, the format of a tar, and where it comes from."""
    method = b"\1" if minor >= 15 else b"\0" + bytes(4)
    header = b"PGDMP" + bytes([1, minor, 0, 4, 8, 3]) + method + (b"\0" + bytes(4)) * 7 + (b"\0\1\0\0\0x") * 3
    return Contents(header, 4, minor, entries)


def statement(kind: bytes, text: bytes, minor: int = 16) -> tuple[bytes, set[bytes]]:
    """With `app` called `A "b"`; and the roles that were named."""
    found = contents(dataclasses.replace(ENTRY, kind=kind, statement=text, owner=b""), minor=minor)
    changed = archive_roles.renamed(found, lambda name: b'A "b"' if name == b"app" else name)
    return changed.entries[0].statement or b"", archive_roles.roles(found)


@pytest.mark.parametrize("minor", [14, 15, 16])
def test_a_table_of_contents_is_written_back_as_it_was(minor: int) -> None:
    entry = ENTRY if minor == 16 else dataclasses.replace(ENTRY, relkind=None)
    found = contents(entry, dataclasses.replace(entry, number=2, section=-7, tag=None, dependencies=(), file=b"3.dat"), minor=minor)
    content = archive.write(found)
    assert archive.read(content) == found
    for broken in (content[:-1], content + b"\0", b"x" + content[1:]):
        with pytest.raises(ArchiveError):
            archive.read(broken)


@pytest.mark.parametrize("minor", [13, 17])
def test_a_form_of_another_version_is_refused(minor: int) -> None:
    with pytest.raises(ArchiveError, match="are known"):
        archive.read(archive.write(contents(ENTRY, minor=minor)))


@pytest.mark.parametrize(
    ("kind", "before", "after", "named"),
    [
        (b"TABLE", b"CREATE TABLE app ();\n", None, set()),
        (b"ACL", b"GRANT ALL ON TABLE app.app TO app;\n", b'GRANT ALL ON TABLE app.app TO "A ""b""";\n', {b"app"}),
        (b"ACL", b'GRANT SELECT("TO",app) ON TABLE x."; TO app" TO app WITH GRANT OPTION;\n', None, {b"app"}),
        (b"ACL", b"REVOKE ALL ON FUNCTION a.f(app text, OUT x) FROM PUBLIC;\nGRANT ALL ON FUNCTION a.f(app text) TO other;\n", None, {b"other"}),
        (b"ACL", b'SET SESSION AUTHORIZATION app;\nGRANT SELECT ON TABLE a TO "o;""x";\nRESET SESSION AUTHORIZATION;\n', None, {b"app", b'o;"x'}),
        (b"ACL", b"REVOKE GRANT OPTION FOR ALL ON SCHEMA app FROM app;\n", None, {b"app"}),
        (b"ACL", b"GRANT SELECT ON LARGE OBJECT 41 TO app;\n", b'GRANT SELECT ON LARGE OBJECT 41 TO "A ""b""";\n', {b"app"}),
        (b"DEFAULT ACL", b"ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA app GRANT SELECT ON TABLES TO app;\n", None, {b"app"}),
        (b"DEFAULT ACL", b"ALTER DEFAULT PRIVILEGES FOR ROLE app REVOKE ALL ON FUNCTIONS FROM PUBLIC;\n", None, {b"app"}),
        (b"POLICY", b"CREATE POLICY app ON app.app TO app, other USING ((app = 'app'::text)) WITH CHECK (true);\n", None, {b"app", b"other"}),
        (b"POLICY", b"CREATE POLICY app ON app.app AS RESTRICTIVE FOR SELECT USING ((x <> 'TO app;'::text));\n", None, set()),
        (b"USER MAPPING", b"CREATE USER MAPPING FOR app SERVER app OPTIONS (\n    a 'FOR app'\n);\n", None, {b"app"}),
        (b"USER MAPPING", b"CREATE USER MAPPING FOR public SERVER app;\n", None, set()),
    ],
)
def test_roles_are_renamed_where_a_statement_names_one(kind: bytes, before: bytes, after: bytes | None, named: set[bytes]) -> None:
    text, found = statement(kind, before)
    assert found == named
    if after is not None:
        assert text == after
    again = contents(dataclasses.replace(ENTRY, kind=kind, statement=text, owner=b""))
    assert archive_roles.roles(again) == {b'A "b"' if name == b"app" else name for name in named}
    assert text.count(b"app") == before.count(b"app") - text.count(b'"A ""b"""')
    assert statement(kind, before.replace(b" app;", b" app ;"))[1] == named


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (b"ACL", b"GRANT ALL ON TABLE x TO app CASCADE;\n"),
        (b"ACL", b"GRANT ALL ON TABLE x TO app"),
        (b"ACL", b"DROP ROLE app;\n"),
        (b"ACL", b"GRANT ALL ON TABLE x TO GROUP app;\n"),
        (b"ACL", b"GRANT ALL ON TABLE x TO App;\n"),
        (b"DEFAULT ACL", b"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app;\n"),
        (b"POLICY", b"ALTER POLICY x ON y TO app;\n"),
        (b"POLICY", b"CREATE POLICY x ON y TO a b;\n"),
        (b"USER MAPPING", b"DROP USER MAPPING FOR app SERVER x;\n"),
    ],
)
def test_a_statement_of_an_unknown_form_is_never_guessed(kind: bytes, text: bytes) -> None:
    with pytest.raises(ArchiveError, match="is not known"):
        statement(kind, text)


def test_names_that_change_places_are_changed_at_once() -> None:
    names = Names(("a", "b", "a, b"), {"a": "b", "b": "a"})
    catalog = [
        ("table", "t", {"owner": "a", "access": {"a": "ALL", "b": "SELECT", "PUBLIC": "SELECT"}, "comment": "a"}),
        ("column", "t.owner", {"type": "a", "access": {"b": "SELECT"}}),
        ("policy", "t.p", {"roles": "b, a, b, PUBLIC", "using": "(a = b)"}),
        ("default privileges", "tables of a in owner", {"access": {"b": "SELECT"}}),
        ("table", "p", {"partitions": [{"owner": "b", "policies": {"owner": {"roles": "a"}}, "access to columns": {"owner": {"a": "UPDATE"}}, "columns": {}}]}),
    ]
    assert names.catalog(catalog) == [
        ("table", "t", {"owner": "b", "access": {"b": "ALL", "a": "SELECT", "PUBLIC": "SELECT"}, "comment": "a"}),
        ("column", "t.owner", {"type": "a", "access": {"a": "SELECT"}}),
        ("policy", "t.p", {"roles": "PUBLIC, a, a, b", "using": "(a = b)"}),
        ("default privileges", 'tables of "b" in owner', {"access": {"a": "SELECT"}}),
        ("table", "p", {"partitions": [{"owner": "a", "policies": {"owner": {"roles": "b"}}, "access to columns": {"owner": {"b": "UPDATE"}}, "columns": {}}]}),
    ]


def test_a_name_with_commas_is_found_in_a_list() -> None:
    names = Names(("a, b", "c"), {"a, b": "x"})
    assert names.catalog([("policy", "p", {"roles": "a, b, c"})]) == [("policy", "p", {"roles": "c, x"})]


def test_a_setting_whose_value_is_a_role_follows() -> None:
    names = Names((), {"app": "p_app", "owner": "p_owner"})
    assert names.settings([("app", ["role=owner", "application_name=owner"]), ("", ["work_mem=1MB"])]) == [
        ("", ["work_mem=1MB"]),
        ("p_app", ["role=p_owner", "application_name=owner"]),
    ]


def test_a_database_follows_and_its_roles_are_needed() -> None:
    grants = [Grant("app", "owner", "CONNECT", grantable=False), Grant("", "owner", "TEMPORARY", grantable=False)]
    one = Database("x", "s/x", "s/x.catalog.json", "owner", "UTF8", "builtin", "C.UTF-8", "C", "C", -1, None, grants, 1, [], {})
    mapped = Names((), {"app": "p_app", "owner": "p_owner"}).database(one)
    assert (mapped.name, mapped.owner) == ("x", "p_owner")
    assert [(grant.grantee, grant.grantor) for grant in mapped.acl or ()] == [("p_app", "p_owner"), ("", "p_owner")]
    assert used(one, [("other", ["role=third", "work_mem=1"]), ("", ["x=y"])]) == {"owner", "app", "other", "third"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"owner": "p_owner", "app": "p_app"}, []),
        ({"s/owner": "p_owner", "app": "p_app", "s/app": "p_app"}, []),
        ({"owner": "p_owner", "app": "p_app", "root": "p_root"}, []),
        ({"owner": "p_owner"}, ["s has no app, and the set gives them something"]),
        ({}, ["s has no app, owner, and"]),
        ({"owner": "p_owner", "app": "nobody"}, ["s has no role nobody, to which role_map gives what app has"]),
        ({"owner": "p_app", "app": "p_app"}, ["app and owner would both be p_app"]),
        ({"owner": "p_owner", "app": "p_root"}, ["app is no superuser in the set, and p_root is one on the server"]),
        (
            {"owner": "p_owner", "app": "p_app", "root": "p_owner"},
            ["owner and root would both be p_owner", "root is a superuser in the set"],
        ),
        ({"owner": "p_owner", "app": "ä" * 32}, ["is 64 bytes long and would be cut"]),
        ({"owner": "p_owner", "app": "pg_monitor"}, ["pg_monitor, which is the server's own"]),
        ({"owner": "", "app": "nobody"}, ["'', which is no name", "no role nobody"]),
    ],
)
def test_what_a_mapping_of_roles_must_be(given: dict[str, str], words: list[str]) -> None:
    texts = mappings.problems(SOURCE, given, PRESENT)
    assert len(texts) == len(words), texts
    for word, text in zip(words, texts, strict=True):
        assert word in text


def test_what_becomes_of_every_role_is_said() -> None:
    found = {row["name"]: row["what"] for row in mappings.rows(SOURCE, {"owner": "p_owner"}, PRESENT)}
    assert found == {
        "s/owner": "becomes p_owner",
        "s/app": "is not mapped and not there",
        "s/root": "is there under the same name",
        "s/idle": "is not needed and not made",
    }


def test_a_name_that_no_server_has_is_said() -> None:
    texts = mappings.unknown({"a": "x", "s/b": "x", "s/c": "x"}, {"s": ["a", "b"]}, "role_map", "role")
    assert texts == ["role_map names s/c, and the set has no role of that name"]


def test_a_mapping_is_known_by_the_roles_that_change() -> None:
    assert mappings.names(SOURCE, {"owner": "owner", "stranger": "x"}).text == ""
    assert mappings.names(SOURCE, {"app": "p_app", "owner": "ö"}).text == '{"app": "p_app", "owner": "ö"}'


def test_texts_that_hold_a_name_are_found() -> None:
    catalog = [
        ("function", "f()", {"definition": "EXECUTE 'GRANT SELECT ON t TO app'"}),
        ("view", "v", {"definition": "SELECT app.x, app(1), happy, app_2 FROM app.t"}),
        ("policy", "p", {"using": "(CURRENT_USER = 'owner'::name)", "roles": "app"}),
        ("column", "c", {"type": "regrole"}),
    ]
    assert mappings.in_texts(catalog, ["app", "owner"]) == ["function f() (app)", "policy p (owner)"]
    assert len(mappings.in_rows("s/x", catalog)) == 1


SCRIPT = """SET a = b;
COPY _timescaledb_config.bgw_job (id, application_name, owner, "config") FROM stdin;
1000\tx\\ty\tapp\t{"owner": "app"}
1001\tz\t"o\\\\""x"\t\\N
\\.

SELECT 1;
"""


def test_owners_of_jobs_are_renamed_in_their_column_alone() -> None:
    assert jobs.owners(SCRIPT) == {"app", 'o\\"x'}
    (rows,) = jobs.renamed(SCRIPT, Names((), {"app": 'n\\"\tew'}))
    assert rows.statement == 'COPY _timescaledb_config.bgw_job (id, application_name, owner, "config") FROM stdin;'
    assert rows.text == '1000\tx\\ty\t"n\\\\""\\tew"\t{"owner": "app"}\n1001\tz\t"o\\\\""x"\t\\N\n'
    assert jobs.owners(f"{rows.statement}\n{rows.text}\\.\n") == {'n\\"\tew', 'o\\"x'}


def test_a_table_of_jobs_without_owners_is_refused() -> None:
    with pytest.raises(jobs.JobsError, match="is not known"):
        jobs.owners("COPY a (id) FROM stdin;\n1\n\\.\n")
