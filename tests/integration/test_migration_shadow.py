# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode tells the truth; drift, baseline and repeatable files: all by comparing catalogs with a throw-away server's."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from migrating import AUTH, catalog, database_auth, differences, in_ledger, migrate, shadow_of, shadows, warnings
from modules import start_module
from servers import Server, postgres_server

USERS = (
    "0001_users.sql",
    """CREATE TYPE auth.state AS ENUM ('active', 'closed');
CREATE TABLE auth.users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail text NOT NULL, state auth.state NOT NULL DEFAULT 'active');
COMMENT ON TABLE auth.users IS 'People';
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON auth.users FOR SELECT TO auth_app USING (mail = current_user);
""",
)
INDEX = ("0002_index.sql", "-- migration: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS users_mail ON auth.users (mail)")
LATER = (
    "0003_later.sql",
    """ALTER TABLE auth.users ADD COLUMN nick text, ALTER COLUMN mail DROP NOT NULL;
CREATE FUNCTION auth.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp RETURN (SELECT count(*) FROM auth.users);
GRANT SELECT (id) ON auth.users TO auth_app WITH GRANT OPTION;
DROP POLICY own ON auth.users;
""",
)
VIEW = ("R_view.sql", "CREATE OR REPLACE VIEW auth.names WITH (security_invoker = true) AS SELECT id, mail FROM auth.users;\n")
VIEW_2 = (VIEW[0], VIEW[1].replace("id, mail", "id, mail, state"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server(prefix="ra") as started:
        yield started


@pytest.fixture
def auth(server: Server) -> Iterator[Server]:
    with database_auth(server):
        yield server


@pytest.mark.parametrize(
    "applied",
    [pytest.param((), id="nothing", marks=pytest.mark.long), pytest.param((USERS,), id="one"), pytest.param((USERS, INDEX), id="two", marks=pytest.mark.long)],
)
def test_check_mode_predicts_the_very_difference_that_the_run_makes(auth: Server, applied: tuple[tuple[str, str], ...]) -> None:
    if applied:
        migrate(auth, *applied)
    before = catalog(auth)
    planned = migrate(auth, USERS, INDEX, LATER, VIEW, check=True)
    assert planned["prediction"] == {"by": "shadow", "reason": ""}
    assert catalog(auth) == before
    done = migrate(auth, USERS, INDEX, LATER, VIEW)
    assert done["diff"] == planned["diff"]
    assert done["objects"] == planned["objects"]
    assert "function auth: auth.peek():" in planned["diff"]["after"]
    assert migrate(auth, USERS, INDEX, LATER, VIEW, check=True)["changed"] is False
    assert differences(auth, USERS, INDEX, LATER, VIEW) == []
    assert shadows() == []


def test_check_mode_plans_a_server_that_is_not_there_yet_with_all_its_objects(server: Server) -> None:
    planned = migrate(server, USERS, check=True, assume_empty=True, login_port=1)
    assert planned["prediction"]["by"] == "shadow"
    assert "table auth: auth.users:\n  owner: auth_owner" in planned["diff"]["after"]
    assert server.query("SELECT FROM pg_roles WHERE rolname LIKE 'auth%%'") == []


def test_check_mode_fails_with_the_words_that_the_run_would_have(auth: Server) -> None:
    bad = ("0002_bad.sql", "CREATE TABLE auth.half (id int);\n\nINSERT INTO auth.half\n  VALUES ('x');\n")
    migrate(auth, USERS)
    planned, done = migrate(auth, USERS, bad, check=True), migrate(auth, USERS, bad)
    words = "migration auth/0002_bad.sql failed at line 4, `INSERT INTO auth.half VALUES ('x')`: invalid input syntax for type integer"
    assert planned["failed"]
    assert planned["msg"].startswith(words)
    assert done["msg"].startswith(words)
    assert "nothing was changed" in planned["msg"]
    assert shadows() == []


@pytest.mark.long
def test_a_role_that_a_migration_makes_stays_out_of_the_real_cluster(auth: Server) -> None:
    item = {"name": "auth", "directory": "/unused", "files": [{"name": "0001_role.sql", "text": "CREATE ROLE stray; CREATE TABLE auth.t (id int)"}]}
    planned = migrate(auth, check=True, databases=[item])
    assert not planned["failed"], planned
    assert "table auth: auth.t" in planned["diff"]["after"]
    assert auth.query("SELECT FROM pg_roles WHERE rolname = 'stray'") == []


@pytest.mark.parametrize(
    ("option", "reason"),
    [({"image": "nexanest-database/postgres:none"}, "is not on this host yet"), (None, "the option shadow is not given")],
)
def test_without_an_image_the_files_are_listed_and_the_reason_is_told(auth: Server, option: dict[str, str] | None, reason: str) -> None:
    planned = migrate(auth, USERS, check=True, shadow=option and shadow_of(AUTH, **option))
    assert planned["applied"] == {"auth": [USERS[0]]}
    assert planned["prediction"]["by"] == "files"
    assert reason in planned["prediction"]["reason"]


def test_a_shadow_that_does_not_start_is_told_and_the_files_are_listed(auth: Server) -> None:
    planned = migrate(auth, USERS, check=True, shadow=shadow_of(AUTH, preload_libraries=["nothing"]))
    assert planned["applied"] == {"auth": [USERS[0]]}
    assert 'could not access file "nothing"' in planned["prediction"]["reason"]
    assert shadows() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_check_leaves_no_container(auth: Server, number: signal.Signals) -> None:
    item = {"name": "auth", "directory": "/unused", "files": [{"name": "0001_slow.sql", "text": "SELECT pg_sleep(30)"}]}
    run = start_module("postgres_migrations", {**auth.login, "databases": [item], "shadow": shadow_of(AUTH)}, check=True)
    _until(lambda: shadows() != [])
    os.kill(run.pid, number)
    _until(lambda: shadows() == [])
    run.communicate(timeout=60)


def test_the_shadow_has_no_network_no_rights_and_a_private_door(auth: Server) -> None:
    item = {"name": "auth", "directory": "/unused", "files": [{"name": "0001_slow.sql", "text": "SELECT pg_sleep(3)"}]}
    run = start_module("postgres_migrations", {**auth.login, "databases": [item], "shadow": shadow_of(AUTH)}, check=True)
    _until(lambda: shadows() != [])
    form = "{{.HostConfig.NetworkMode}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.Config.User}} {{range .Mounts}}{{.Type}}:{{.Source}} {{end}}"
    found = subprocess.run(["docker", "inspect", *shadows(), "--format", form], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert found[:4] == ["none", "true", "[ALL]", "999:999"]
    (folder,) = [Path(mount.partition(":")[2]) for mount in found[4:] if mount.startswith("bind:")]
    assert (folder.parent.stat().st_mode & 0o777, folder.parent.stat().st_uid) == (0o700, 0)
    run.communicate(timeout=120)
    assert not folder.parent.exists()
    # Those of killed runs are gone too; another run's may be there.
    left = [path.name.split("-")[2] for path in folder.parent.parent.glob("nexanest-shadow-*")]
    assert [pid for pid in left if not Path("/proc", pid).exists()] == []


CHANGES_BY_HAND = [
    ("ALTER TABLE auth.users ADD COLUMN sneaky int", "column auth.users.sneaky is there, but no migration makes it"),
    ("ALTER TABLE auth.users DISABLE ROW LEVEL SECURITY", "row security is `off`, the migrations make `on`"),
    ("ALTER VIEW auth.names OWNER TO nexanest", "owner is `nexanest`, the migrations make `auth_owner`"),
    ("GRANT TRUNCATE ON auth.users TO auth_app", "access of auth_app is `DELETE, INSERT, SELECT, TRUNCATE, UPDATE`"),
    ("GRANT UPDATE (mail) ON auth.users TO PUBLIC", "column auth.users.mail: access of PUBLIC is `UPDATE`, the migrations make none"),
    ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'auth.users_mail'::regclass", "index auth.users_mail: valid is `no`, the migrations make none"),
    ("ALTER POLICY own ON auth.users USING (true)", "policy auth.users.own: using is `true`, the migrations make `(mail = CURRENT_USER)`"),
    ("ALTER VIEW auth.names RESET (security_invoker)", "options is none, the migrations make `security_invoker=true`"),
    ("CREATE OR REPLACE FUNCTION auth.evil() RETURNS int RETURN 1", "function auth.evil() is there, but no migration makes it"),
    ("ALTER TYPE auth.state ADD VALUE 'lost'", "type auth.state: labels is `'active', 'closed', 'lost'`"),
    ("COMMENT ON TABLE auth.users IS NULL", "comment is none, the migrations make `People`"),
    ("ALTER TABLE auth.users ADD CONSTRAINT c CHECK (id > 0) NOT VALID", "constraint auth.users.c is there, but no migration makes it"),
    ("ALTER TABLE auth.users DROP CONSTRAINT users_pkey", "constraint auth.users.users_pkey is missing"),
    ("CREATE EXTENSION pg_stat_statements", "extension pg_stat_statements is there, but no migration makes it"),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner GRANT SELECT ON TABLES TO PUBLIC", "default privileges tables of auth_owner in all schemas"),
    ("GRANT CREATE ON SCHEMA auth TO auth_app", "schema auth: access of auth_app is `ALL`, the migrations make `USAGE`"),
    ("CREATE PUBLICATION p FOR TABLE auth.users", "publication p is there, but no migration makes it"),
    ("ALTER TABLE auth.users ALTER mail SET DEFAULT 'x'", "default is `'x'::text`, the migrations make none"),
    ("ALTER TABLE auth.users ALTER mail SET (n_distinct = 5), ALTER mail SET STATISTICS 50", "statistics is `50`, the migrations make none"),
    ("ALTER TABLE auth.users SET (toast.autovacuum_enabled = off)", "options of long values is `autovacuum_enabled=off`"),
    ("ALTER TABLE auth.notes DISABLE TRIGGER ALL", "constraint auth.notes.notes_answers_fkey: enforced is `not by every trigger`"),
    ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'auth.notes_pkey'::regclass", "constraint auth.notes.notes_pkey: valid is `no`"),
    ("ALTER TEXT SEARCH CONFIGURATION auth.words ALTER MAPPING FOR word WITH english_stem", "text search configuration auth.words: mapping is"),
    (
        "DROP CAST (auth.state AS int); CREATE CAST (auth.state AS int) WITH FUNCTION auth.number(auth.state) AS IMPLICIT",
        "cast (auth.state AS integer): kind is",
    ),
]


MORE = (
    "0003_more.sql",
    """CREATE TABLE auth.notes (id int PRIMARY KEY, answers int REFERENCES auth.notes);
CREATE TEXT SEARCH CONFIGURATION auth.words (COPY = pg_catalog.simple);
CREATE FUNCTION auth.number(auth.state) RETURNS int LANGUAGE sql IMMUTABLE RETURN 1;
CREATE CAST (auth.state AS int) WITH FUNCTION auth.number(auth.state);
""",
)


def test_every_change_by_hand_is_a_difference_in_words(auth: Server) -> None:
    files = (USERS, INDEX, MORE, VIEW)
    assert migrate(auth, *files)["failed"] is False
    assert differences(auth, *files) == []
    for statement, _words in CHANGES_BY_HAND:
        auth.query(statement, database="auth")
    found = " | ".join(differences(auth, *files))
    assert [words for _statement, words in CHANGES_BY_HAND if words not in found] == [], found


@pytest.mark.long
def test_rows_and_partitions_made_ahead_are_no_difference_but_their_rights_are(auth: Server) -> None:
    parent = (
        "0001_log.sql",
        "CREATE TABLE auth.log (at date NOT NULL, what text) PARTITION BY RANGE (at);\n"
        "CREATE TABLE auth.log_1 PARTITION OF auth.log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');",
    )
    migrate(auth, parent)
    auth.query("CREATE TABLE auth.log_2 PARTITION OF auth.log FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')", database="auth")
    auth.query("ALTER TABLE auth.log_2 OWNER TO auth_owner; GRANT SELECT ON auth.log_2 TO auth_readonly", database="auth")
    auth.query("GRANT SELECT, INSERT, UPDATE, DELETE ON auth.log_2 TO auth_app; INSERT INTO auth.log VALUES ('2026-02-02', 'x')", database="auth")
    assert differences(auth, parent) == []
    auth.query("GRANT TRUNCATE ON auth.log_2 TO auth_app", database="auth")
    (found,) = differences(auth, parent)
    assert "table auth.log: some of the partitions: access of auth_app is `DELETE, INSERT, SELECT, TRUNCATE, UPDATE`, the migrations make none" in found
    auth.query("ALTER TABLE auth.log_2 ALTER what SET DEFAULT 'x', ALTER what SET NOT NULL", database="auth")
    assert "columns of what of default is `'x'::text`" in " ".join(differences(auth, parent))


def test_a_catalog_changed_by_hand_is_never_taken_for_the_right_one(auth: Server) -> None:
    assert warnings(migrate(auth, USERS)) == []
    auth.query("ALTER TABLE auth.users ADD COLUMN sneaky int", database="auth")
    done = migrate(auth, USERS, INDEX)
    assert "the schema of auth differs from what its migrations make, in 1 places; the first: column auth.users.sneaky is there" in warnings(done)[0]
    assert "sneaky" in warnings(migrate(auth, USERS, INDEX))[0]
    auth.query("ALTER TABLE auth.users DROP COLUMN sneaky", database="auth")
    assert warnings(migrate(auth, USERS, INDEX)) == []
    assert auth.query("SELECT sha256 <> '' FROM _ledger.catalog", database="auth") == [(True,)]


@pytest.mark.long
def test_an_existing_schema_is_adopted_only_when_it_is_what_the_files_make(auth: Server) -> None:
    for _name, text in (USERS, INDEX):
        auth.query(f"SET ROLE auth_owner; {text}" if "CONCURRENTLY" not in text else text.replace("CONCURRENTLY", ""), database="auth")
    auth.query("ALTER TABLE auth.users ADD COLUMN extra int", database="auth")
    for check in (True, False):
        refused = migrate(auth, USERS, INDEX, LATER, baseline=2, check=check)
        assert refused["failed"]
        assert "auth is not what the files up to 0002 make, so they cannot be its baseline: column auth.users.extra is there" in refused["msg"]
    assert in_ledger(auth) == []
    auth.query("ALTER TABLE auth.users DROP COLUMN extra", database="auth")
    planned = migrate(auth, USERS, INDEX, LATER, baseline=2, check=True)
    assert in_ledger(auth) == []
    done = migrate(auth, USERS, INDEX, LATER, baseline=2)
    assert done["adopted"] == planned["adopted"] == {"auth": [USERS[0], INDEX[0]]}
    assert done["applied"] == planned["applied"] == {"auth": [LATER[0]]}
    assert done["diff"] == planned["diff"]
    rows = auth.query("SELECT id, baseline, applied_by FROM _ledger.migrations ORDER BY id", database="auth")
    assert rows == [(1, True, "nexanest"), (2, True, "nexanest"), (3, False, "nexanest")]
    assert migrate(auth, USERS, INDEX, LATER, baseline=2)["changed"] is False
    assert differences(auth, USERS, INDEX, LATER) == []


def test_a_baseline_of_an_empty_database_is_built_and_one_that_is_no_file_is_refused(auth: Server) -> None:
    done = migrate(auth, USERS, INDEX, baseline=2)
    assert (done["adopted"], done["applied"]) == ({"auth": []}, {"auth": [USERS[0], INDEX[0]]})
    auth.query("DROP SCHEMA _ledger CASCADE", database="auth")
    assert "baseline is 0005, but there is no such file; the last is 0002" in migrate(auth, USERS, INDEX, baseline=5)["msg"]
    assert "needs the throw-away server" in migrate(auth, USERS, INDEX, baseline=2, shadow=None)["msg"]


@pytest.mark.long
def test_a_repeatable_file_runs_after_the_others_and_again_when_it_changed(auth: Server) -> None:
    first = migrate(auth, VIEW, USERS)
    assert first["applied"] == {"auth": [USERS[0], VIEW[0]]}
    assert migrate(auth, VIEW, USERS)["changed"] is False
    planned = migrate(auth, VIEW_2, USERS, INDEX, check=True)
    again = migrate(auth, VIEW_2, USERS, INDEX)
    assert again["applied"] == {"auth": [INDEX[0], VIEW[0]]}
    assert again["diff"] == planned["diff"]
    assert "view auth: auth.names:\n  definition:" in planned["diff"]["before"]
    assert auth.query("SELECT file, sha256 = encode(sha256(convert_to(text, 'UTF8')), 'hex') FROM _ledger.repeatable", database="auth") == [(VIEW[0], True)]
    assert differences(auth, VIEW_2, USERS, INDEX) == []
    bad = (VIEW[0], "CREATE OR REPLACE VIEW auth.names AS SELECT 1 AS one")
    assert "failed at line 1, `CREATE OR REPLACE VIEW auth.names AS SELECT 1 AS one`: cannot drop columns from view" in migrate(auth, bad, USERS, INDEX)["msg"]
    assert auth.query("SELECT text = %s FROM _ledger.repeatable", VIEW_2[1], database="auth") == [(True,)]


@pytest.mark.long
def test_a_repeatable_file_that_is_gone_is_not_part_of_what_the_files_make(auth: Server) -> None:
    migrate(auth, USERS, VIEW)
    assert differences(auth, USERS) == ["view auth.names is there, but no migration makes it"]
    dropped = ("0002_dropped.sql", "DROP VIEW IF EXISTS auth.names; ALTER TABLE auth.users DROP COLUMN mail CASCADE")
    planned = migrate(auth, USERS, dropped, check=True)
    done = migrate(auth, USERS, dropped)
    assert done["diff"] == planned["diff"]
    assert "view auth: auth.names:" in done["diff"]["before"]
    assert warnings(done) == []
    assert differences(auth, USERS, dropped) == []
    assert auth.query("SELECT FROM _ledger.repeatable", database="auth") == []


def test_a_view_whose_repeatable_file_is_gone_is_warned_of_by_the_next_run(auth: Server) -> None:
    migrate(auth, USERS, VIEW)
    assert "the first: view auth.names is there, but no migration makes it" in warnings(migrate(auth, USERS, INDEX))[0]


def test_a_shadow_with_too_little_room_says_so_and_fails_no_check(auth: Server) -> None:
    many = ("0001_many.sql", "CREATE TABLE auth.many AS SELECT repeat(md5(n::text), 30) AS what FROM generate_series(1, 200000) n")
    planned = migrate(auth, many, check=True, shadow=shadow_of(AUTH, memory_mb=200))
    assert not planned["failed"], planned
    assert planned["applied"] == {"auth": [many[0]]}
    assert "is its memory limit too small?" in planned["prediction"]["reason"]


@pytest.mark.long
def test_files_that_do_not_run_on_an_empty_database_any_more_leave_check_mode_with_their_names(auth: Server) -> None:
    auth.query("CREATE TABLE auth.made_by_hand (id int); ALTER TABLE auth.made_by_hand OWNER TO auth_owner", database="auth")
    onto = ("0001_onto.sql", "ALTER TABLE auth.made_by_hand ADD COLUMN name text")
    migrate(auth, onto)
    planned = migrate(auth, onto, ("0002_more.sql", "SELECT 1"), check=True)
    assert planned["applied"] == {"auth": ["0002_more.sql"]}
    assert "do not run on an empty database any more: migration auth/0001_onto.sql failed at line 1" in warnings(planned)[0]


def test_a_view_in_an_extension_s_name_that_the_owner_made_is_never_run(auth: Server) -> None:
    auth.query(
        """SET ROLE auth_owner;
        CREATE SCHEMA timescaledb_information;
        CREATE FUNCTION timescaledb_information.trap() RETURNS name LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$;
        CREATE VIEW timescaledb_information.dimensions AS SELECT trap AS hypertable_schema, trap AS hypertable_name, trap AS column_name,
          NULL::interval AS time_interval, 1 AS integer_interval, 1 AS num_partitions, 1 AS dimension_number FROM timescaledb_information.trap()""",
        database="auth",
    )
    assert ("view", "timescaledb_information.dimensions") in catalog(auth)


@pytest.mark.long
def test_a_hypertable_is_predicted_and_its_chunks_are_no_difference() -> None:
    argv = ["docker", "image", "ls", "nexanest-database/timescaledb", "--format", "{{.Repository}}:{{.Tag}}"]
    image = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.split()[0]
    entry = {**AUTH, "extensions": ["timescaledb"]}
    ticks = (
        "0001_ticks.sql",
        "CREATE TABLE auth.ticks (at timestamptz NOT NULL, price numeric);\nSELECT create_hypertable('auth.ticks', by_range('at', INTERVAL '1 day'));",
    )
    with postgres_server(prefix="ra", image=image, settings=["shared_preload_libraries=timescaledb"]) as server, database_auth(server, entry):
        shadow = shadow_of(entry, image=image)
        planned = migrate(server, ticks, check=True, shadow=shadow)
        assert migrate(server, ticks, shadow=shadow)["diff"] == planned["diff"]
        assert "hypertable auth: auth.ticks:\n  dimensions: at 1 day" in planned["diff"]["after"]
        server.query("INSERT INTO auth.ticks SELECT now() - n * INTERVAL '1 day', n FROM generate_series(1, 5) n", database="auth")
        assert differences(server, ticks, shadow=shadow) == []
        server.query("SELECT set_chunk_time_interval('auth.ticks', INTERVAL '2 days')", database="auth")
        assert differences(server, ticks, shadow=shadow) == ["hypertable auth.ticks: dimensions is `at 2 days`, the migrations make `at 1 day`"]


def _until(happened: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
