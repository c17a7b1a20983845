# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL text cut into statements."""

from __future__ import annotations

import time

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._migration_sql import scan


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("-- a; b\nSELECT 1; -- c", ["SELECT 1"]),
        ("/* a; /* nested; */ b; */ SELECT 1;", ["SELECT 1"]),
        ("SELECT ';''; ' ; SELECT 2", ["SELECT ';''; '", "SELECT 2"]),
        (r"SELECT E'\'; ' ; SELECT '\'", [r"SELECT E'\'; '", r"SELECT '\'"]),
        ("SELECT E'a'\n'\\'; b'; SELECT 2", ["SELECT E'a'\n'\\'; b'", "SELECT 2"]),
        ("DO $😀$ BEGIN; END $😀$; SELECT 1", ["DO $😀$ BEGIN; END $😀$", "SELECT 1"]),
        ('SELECT 1 AS "a;""b"; SELECT 2', ['SELECT 1 AS "a;""b"', "SELECT 2"]),
        ("DO $$ BEGIN; END $$; SELECT 1", ["DO $$ BEGIN; END $$", "SELECT 1"]),
        ("SELECT $a$ $b$; $a$; SELECT 1", ["SELECT $a$ $b$; $a$", "SELECT 1"]),
        ("SELECT $1; SELECT a$b$c", ["SELECT $1", "SELECT a$b$c"]),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3", ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"]),
        (
            "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
            ["CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END", "SELECT 3"],
        ),
        (
            'CREATE TABLE t ("end" int, note text); SELECT CASE WHEN true THEN 1 END;',
            ['CREATE TABLE t ("end" int, note text)', "SELECT CASE WHEN true THEN 1 END"],
        ),
        (" ;; ", []),
        ("", []),
    ],
)
def test_a_semicolon_ends_a_statement_only_where_psql_says_so(text: str, statements: list[str]) -> None:
    script = scan(text)
    assert [statement.text for statement in script.statements] == statements
    assert script.faults == []


def test_statements_know_their_line_and_the_line_of_a_position_in_them() -> None:
    first, second = scan("-- head\nSELECT 1;\n\n\nSELECT\n  wrong\n;").statements
    assert (first.line, second.line) == (2, 5)
    assert second.line_at(second.text.index("wrong") + 1) == 6


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("SELECT 1;\n\\c other\nSELECT 2;", 2, "`\\c other` is a command of psql, not SQL"),
        ("SELECT 1;\nSELECT 'open;\n", 2, "a quoted string starts here and does not end"),
        ("\n\nSELECT $x$ open $y$;", 3, "a dollar-quoted string starts here and does not end"),
        ("/* /* */ open", 1, "a comment starts here and does not end"),
        ('SELECT 1 AS "open', 1, "a quoted name starts here and does not end"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text: str, line: int, fault: str) -> None:
    assert [(found.line, found.text) for found in scan(text).faults] == [(line, fault)]


def test_a_long_text_is_read_in_a_time_that_grows_as_it_does() -> None:
    rows = 20_000
    started = time.process_time()
    statements = scan("INSERT INTO t VALUES (1, 'a row of some length, as they are in files of data');\n" * rows).statements
    assert statements[-1].line == rows
    assert time.process_time() - started < 5  # a second; a scanner that counts the lines from the start each time needs more than ten


def test_a_directive_is_found_in_a_comment_but_not_in_a_string() -> None:
    script = scan("-- migration: no-transaction\nSELECT '\n-- migration: other\n';")
    assert [(found.line, found.text) for found in script.directives] == [(1, "no-transaction")]


def test_a_long_statement_is_named_by_its_head() -> None:
    assert len(scan("SELECT " + "x, " * 100 + "1").statements[0].head) == 80
