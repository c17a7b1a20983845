# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the operator's secrets file."""

from __future__ import annotations

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._env_file import KEYS, parse, render

GOOD = {"POSTGRES_PASSWORD": "one", "TIMESCALE_PASSWORD": "two", "REDIS_PASSWORD": "three", "PGADMIN_EMAIL": "a@b.local", "PGADMIN_PASSWORD": "four-5"}


def file_with(**changes: str | None) -> bytes:
    """A good file with some lines changed, or left out (None)."""
    lines = {**GOOD, **changes}
    return "".join(f"{key}={value}\n" for key, value in lines.items() if value is not None).encode()


def problem_of(content: bytes) -> str:
    problems = parse(content).problems
    assert len(problems) == 1
    return problems[0]


def test_a_complete_file_has_no_problems() -> None:
    found = parse(file_with())
    assert (found.values, found.problems) == (GOOD, [])


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("p'a\"ss#w$o%r{d}\\", "p'a\"ss#w$o%r{d}\\"),
        ("{{ lookup('pipe', 'id') }}", "{{ lookup('pipe', 'id') }}"),
        ("a=b==", "a=b=="),
        ("  bare blanks are cut \t", "bare blanks are cut"),
        ("'  kept  '", "  kept  "),
        ('"double"', "double"),
        ("'it''s'", "it''s"),
        ("\"'inner'\"", "'inner'"),
        ('"half', '"half'),
        ("pässwörd€", "pässwörd€"),
        ("# no comment", "# no comment"),
        ("export x", "export x"),
    ],
)
def test_a_value_is_taken_as_it_stands(line: str, value: str) -> None:
    found = parse(file_with(REDIS_PASSWORD=line))
    assert (found.values["REDIS_PASSWORD"], found.problems) == (value, [])


@pytest.mark.parametrize("value", ["plain", "p'a\"ss#w$o%r{d}\\", " blanks ", "'quoted'", '"', "' '", "a=b"])
def test_what_is_rendered_is_read_back(value: str) -> None:
    assert parse(render({**GOOD, "POSTGRES_PASSWORD": value}).encode()).values["POSTGRES_PASSWORD"] == value


def test_line_ends_and_a_mark_of_other_systems_are_accepted() -> None:
    found = parse(b"\xef\xbb\xbf" + file_with().replace(b"\n", b"\r\n"))
    assert (found.values, found.problems) == (GOOD, [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (file_with(REDIS_PASSWORD=None), "REDIS_PASSWORD is missing"),
        (file_with(REDIS_PASSWORD=""), "REDIS_PASSWORD is empty"),
        (file_with(REDIS_PASSWORD="''"), "REDIS_PASSWORD is empty"),
        (file_with() + b"hunter2 is my secret\n", "line 6 is not of the form KEY=value"),
        (file_with() + b"export POSTGRES_PASSWORD=hunter2\n", "line 6 is not of the form KEY=value"),
        (file_with(REDIS_PASSWORD=None, REDIS_PASWORD="hunter2"), "line 5 has the unknown name REDIS_PASWORD (did you mean REDIS_PASSWORD?)"),
        (file_with() + b"MYSQL_ROOT=hunter2\n", "line 6 has the unknown name MYSQL_ROOT:"),
        (file_with() + b"REDIS_PASSWORD=hunter2\n", "line 6 names REDIS_PASSWORD again, which line 3 has already"),
        (file_with(PGADMIN_EMAIL="admin"), "PGADMIN_EMAIL is not an e-mail address"),
        (file_with(PGADMIN_PASSWORD="short"), "PGADMIN_PASSWORD is too short"),
        (file_with() + b"\xff\xfe=hunter2\n", "line 6 is not UTF-8 text"),
    ],
)
def test_each_fault_is_one_sentence_with_its_remedy(content: bytes, words: str) -> None:
    problem = problem_of(content)
    assert words in problem
    assert ": " in problem


def test_no_fault_shows_a_value() -> None:
    broken = file_with(REDIS_PASSWORD="hunter2\x07") + b"hunter2\nREDIS_PASS=hunter2\nPOSTGRES_PASSWORD=hunter2\n"
    problems = parse(broken).problems
    assert len(problems) == 4
    assert "hunter2" not in " ".join(problems)


def test_an_unedited_example_is_refused_with_all_names() -> None:
    problem = problem_of("".join(f"{key}=\n" for key in KEYS).encode())
    assert all(key in problem for key in KEYS)
