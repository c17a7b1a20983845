# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which migration files are pending, and why none may be applied."""

from __future__ import annotations

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._migration_plan import NOTHING, Applied, File, Ledger, adopted, gone, plan, replayed, without
from ansible_collections.nexanest.database.plugins.module_utils._migration_sql import scan
from ansible_collections.nexanest.database.plugins.module_utils._migration_text import UnfitText, concurrent_index, parse

USERS = File("0001_users.sql", "CREATE TABLE users (id int);\n")
TOKENS = File("0002_tokens.sql", "CREATE TABLE tokens (id int);\n")
THIRD = File("0003_more.sql", "SELECT 3;\n")


def applied(*files: File) -> Ledger:
    """The ledger after these files."""
    versioned = (file for file in files if not file.repeatable)
    return Ledger(tuple(Applied(file.number, file.name, file.sha256) for file in versioned), tuple(file for file in files if file.repeatable))


def pending(files: list[File], ledger: Ledger = NOTHING) -> list[str]:
    made = plan("auth", files, ledger)
    assert made.problems == ()
    return [item.file.name for item in made.pending]


def problems(files: list[File], ledger: Ledger = NOTHING) -> tuple[str, ...]:
    made = plan("auth", files, ledger)
    assert made.pending == ()
    return made.problems


def test_all_files_are_pending_in_order_on_an_empty_ledger() -> None:
    assert pending([TOKENS, USERS]) == ["0001_users.sql", "0002_tokens.sql"]


def test_only_new_files_are_pending() -> None:
    assert pending([USERS, TOKENS], applied(USERS)) == ["0002_tokens.sql"]
    assert pending([USERS, TOKENS], applied(USERS, TOKENS)) == []


def test_a_changed_file_is_refused_with_both_checksums() -> None:
    changed = File(USERS.name, "CREATE TABLE users (id bigint);\n")
    (problem,) = problems([changed, TOKENS], applied(USERS))
    assert "auth/0001_users.sql was changed" in problem
    assert USERS.sha256 in problem
    assert changed.sha256 in problem


@pytest.mark.parametrize(
    ("files", "ledger", "said"),
    [
        ([], [], "auth: its directory holds no migration"),
        ([USERS, THIRD], [], "auth: 0002 is missing before 0003_more.sql"),
        ([TOKENS], [], "auth: 0001 is missing before 0002_tokens.sql"),
        ([USERS, File("0001_other.sql", "SELECT 1")], [], "the number 0001 is used twice, by 0001_other.sql and 0001_users.sql"),
        ([USERS, File("0000_zero.sql", "SELECT 1")], [], "auth/0000_zero.sql: numbers start at 0001"),
        ([USERS, File("users.sql", "SELECT 1")], [], "auth/users.sql: a migration is named NNNN_what.sql"),
        ([USERS, File("0002-tokens.sql", "SELECT 1")], [], "auth/0002-tokens.sql: a migration is named"),
        ([USERS, File("0002_tokens.sql.orig", "SELECT 1")], [], "auth/0002_tokens.sql.orig: a migration is named"),
        ([USERS], [USERS, TOKENS], "auth/0002_tokens.sql was applied but is no longer in the directory"),
        ([File("0001_people.sql", USERS.text)], [USERS], "auth/0001_users.sql was applied, but the directory holds 0001_people.sql"),
        ([USERS, TOKENS, THIRD], [USERS, THIRD], "the ledger knows 0003 but 0002 is missing"),
        ([USERS, File("0002_bad.sql", "BEGIN; SELECT 1; COMMIT;")], [USERS], "auth/0002_bad.sql: line 1: `BEGIN` controls the transaction"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(files: list[File], ledger: list[File], said: str) -> None:
    assert said in " | ".join(problems(files, applied(*ledger)))


VIEWS = File("R_views.sql", "CREATE OR REPLACE VIEW v AS SELECT 1;\n")
FUNCTIONS = File("R_functions.sql", "CREATE OR REPLACE FUNCTION f() RETURNS int RETURN 1;\n")


def test_repeatable_files_come_last_in_the_order_of_their_names() -> None:
    assert pending([VIEWS, TOKENS, FUNCTIONS, USERS]) == [USERS.name, TOKENS.name, FUNCTIONS.name, VIEWS.name]


def test_a_repeatable_file_runs_again_only_when_its_text_changed() -> None:
    done = applied(USERS, VIEWS, FUNCTIONS)
    assert pending([USERS, VIEWS, FUNCTIONS], done) == []
    assert pending([USERS, File(VIEWS.name, "CREATE OR REPLACE VIEW v AS SELECT 2;"), FUNCTIONS], done) == [VIEWS.name]
    assert pending([USERS], done) == []


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (File("R_x.sql", "\\i other.sql"), "auth/R_x.sql: line 1: `\\i other.sql` is a command of psql"),
        (File("R_x.sql", "-- migration: no-transaction\nVACUUM"), "auth/R_x.sql: a repeatable file runs in a transaction"),
        (File("R-x.sql", "SELECT 1"), "auth/R-x.sql: a migration is named NNNN_what.sql, as 0001_users.sql, or R_what.sql"),
    ],
)
def test_a_repeatable_file_obeys_the_same_rules(file: File, said: str) -> None:
    assert said in " | ".join(problems([USERS, file]))


def test_a_replay_runs_the_applied_files_and_the_repeatable_texts_that_ran_last() -> None:
    newer = File(VIEWS.name, "CREATE OR REPLACE VIEW v AS SELECT 2;")
    again = replayed([TOKENS, USERS, newer], applied(USERS, VIEWS))
    assert [(one.file.name, one.file.text) for one in again] == [(USERS.name, USERS.text), (VIEWS.name, VIEWS.text)]


def test_repeatable_files_that_are_gone_are_known_by_name() -> None:
    ledger = applied(USERS, VIEWS, FUNCTIONS)
    assert gone([USERS, FUNCTIONS], ledger) == (VIEWS.name,)
    assert gone([USERS, VIEWS, FUNCTIONS], ledger) == ()
    assert without(ledger, [VIEWS.name]) == applied(USERS, FUNCTIONS)


def test_a_replay_names_the_file_that_later_rules_refuse() -> None:
    old = File("0001_old.sql", "BEGIN; SELECT 1; COMMIT;")
    with pytest.raises(UnfitText, match=r"0001_old\.sql: line 1: `BEGIN`"):
        replayed([old], applied(old))


def test_a_baseline_takes_the_files_up_to_its_number() -> None:
    assert [row.name for row in adopted([THIRD, USERS, TOKENS, VIEWS], 2).applied] == [USERS.name, TOKENS.name]
    with pytest.raises(UnfitText, match="baseline is 0007, but there is no such file; the last is 0002"):
        adopted([USERS, TOKENS, VIEWS], 7)


def test_an_applied_file_is_not_judged_again_by_later_rules() -> None:
    old = File("0001_old.sql", "BEGIN; SELECT 1; COMMIT;")
    assert pending([old, TOKENS], applied(old)) == ["0002_tokens.sql"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\ufeffSELECT 1;", "byte-order mark"),
        ("SELECT 1;\r\nSELECT 2;\r\n", "line 1: it has Windows line ends"),
        ("SELECT 1;\n\0", "line 2: it holds a NUL byte"),
        ("-- only a comment\n", "it holds no statement"),
        ("SELECT 1;\n\\connect other\n", "line 2: `\\connect other` is a command of psql"),
        ("SELECT 1;\nSTART TRANSACTION;", "line 2: `START TRANSACTION` controls the transaction"),
        ("COMMIT", "controls the transaction"),
        ("end;", "controls the transaction"),
        ("ROLLBACK;", "controls the transaction"),
        ("PREPARE TRANSACTION 'x'", "controls the transaction"),
        ("COPY t FROM PROGRAM 'cat /etc/passwd'", "runs a program on the server"),
        ("COPY t FROM stdin;\n1\t2\n\\.\n", "line 1: `COPY t FROM stdin` needs psql's data lines"),
        ("SELECT 1;\nSET LOCAL client_encoding TO 'LATIN1'", "line 2: `SET LOCAL client_encoding TO 'LATIN1'` would make other characters"),
        ("SET NAMES 'latin1'", "would make other characters"),
        ("-- migration: no-transactions\nSELECT 1", "line 1: `-- migration: no-transactions` is unknown"),
        ("-- migration: no-transaction\nSELECT 1;\nSELECT 2;", "line 3: a no-transaction migration holds one statement"),
        ("-- migration: no-transaction\nCREATE INDEX CONCURRENTLY i ON t (a)", "write IF NOT EXISTS"),
        ("-- migration: no-transaction\nDROP INDEX CONCURRENTLY i", "IF EXISTS"),
    ],
)
def test_a_text_that_is_no_migration_gets_a_clear_answer(text: str, said: str) -> None:
    with pytest.raises(UnfitText) as caught:
        parse(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "SAVEPOINT a; SELECT 1; ROLLBACK TO a;",
        "PREPARE p AS SELECT 1",
        "SET client_encoding = 'UTF8'",
        "DO $$ BEGIN PERFORM 1; END $$",
        "COPY t FROM '/tmp/x'",
        "-- migration: no-transaction\nVACUUM",
        "INSERT INTO t VALUES ('\\c is data')",
    ],
)
def test_what_is_allowed_is_not_refused(text: str) -> None:
    assert parse(text).statements


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS users_mail ON auth.users (mail)", "users_mail"),
        ('create index concurrently\nif not exists "Odd name" on t (a)', '"Odd name"'),
        ("CREATE INDEX CONCURRENTLY /* a /* b */ */ IF NOT EXISTS -- c\n users_mail\nON t (a)", "users_mail"),
        ('CREATE INDEX CONCURRENTLY IF NOT EXISTS "a  -- b" ON t (a)', '"a  -- b"'),
        ("CREATE INDEX i ON t (a)", None),
    ],
)
def test_the_index_of_a_concurrent_build_is_known_by_name(text: str, name: str | None) -> None:
    assert concurrent_index(scan(text).statements[0]) == name
