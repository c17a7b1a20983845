# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's secrets file (.env.db): its rules, and what is wrong with one. No message holds a value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

KEYS = ("POSTGRES_PASSWORD", "TIMESCALE_PASSWORD", "REDIS_PASSWORD", "PGADMIN_EMAIL", "PGADMIN_PASSWORD")
EMAIL_KEY = "PGADMIN_EMAIL"

# pgAdmin refuses shorter ones.
PGADMIN_PASSWORD_LENGTH = 6

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

HEADER = """\
# The five values that a person edits. Rules: KEY=value to the end of the line; nothing in it is special.
# One pair of ' or " around the whole value is taken off; it keeps blanks at its ends.
"""


@dataclass
class EnvFile:
    """What a secrets file says: the values by name, and what is wrong, each with its remedy."""

    values: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def parse(content: bytes) -> EnvFile:
    """Read and check the file's content."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return EnvFile(problems=[f"line {line} is not UTF-8 text: save the file as UTF-8"])
    if not text.strip():
        return EnvFile(problems=["it is empty: fill it in as .env.db.example shows, or delete it and the next run makes one with strong passwords"])
    return _check(_lines(text))


def render(values: Mapping[str, str]) -> str:
    """A file with these values; quoted where a bare value would be read differently."""
    return HEADER + "".join(f"{key}={_quoted(value)}\n" for key, value in values.items())


def check_email(email: str) -> str | None:
    """What is wrong with pgAdmin's login; None when nothing is."""
    return None if _EMAIL.fullmatch(email) else "is not an e-mail address: pgAdmin's login looks like admin@nexanest.local"


def _lines(text: str) -> EnvFile:
    found = EnvFile()
    seen: dict[str, int] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key, separator, value = line.partition("=")
        problem = _line_problem(key.rstrip(), separator, value, seen)
        if problem:
            found.problems.append(f"line {number} {problem}")
            continue
        seen[key.rstrip()] = number
        found.values[key.rstrip()] = _bare(value.strip())
    return found


def _line_problem(key: str, separator: str, value: str, seen: Mapping[str, int]) -> str | None:
    if not separator or not _NAME.fullmatch(key):
        return "is not of the form KEY=value: correct it, or begin it with # if it is a comment"
    if key not in KEYS:
        return f"has the unknown name {key}{_nearest(key)}: correct or remove it"
    if key in seen:
        return f"names {key} again, which line {seen[key]} has already: keep one of them"
    if _CONTROL.search(value):
        return f"has a control character in the value of {key}: remove it"
    return None


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key.upper(), KEYS, n=1, cutoff=0.7)
    return f" (did you mean {near[0]}?)" if near else ""


def _check(found: EnvFile) -> EnvFile:
    # A misspelt line explains a missing name: one problem, not two.
    if not found.problems:
        missing = [key for key in KEYS if key not in found.values]
        if missing:
            found.problems.append(f"{_names(missing)} missing: add a line {missing[0]}=… with a value" + (" for each" if len(missing) > 1 else ""))
    empty = [key for key, value in found.values.items() if not value]
    if empty:
        found.problems.append(f"{_names(empty)} empty: write a value behind each =, or delete the file and the next run makes one with strong passwords")
    return _check_values(found)


def _check_values(found: EnvFile) -> EnvFile:
    email = found.values.get(EMAIL_KEY)
    problem = check_email(email) if email else None
    if problem:
        found.problems.append(f"{EMAIL_KEY} {problem}")
    password = found.values.get("PGADMIN_PASSWORD")
    if password and len(password) < PGADMIN_PASSWORD_LENGTH:
        found.problems.append(f"PGADMIN_PASSWORD is too short: pgAdmin wants {PGADMIN_PASSWORD_LENGTH} characters or more")
    return found


def _names(keys: list[str]) -> str:
    return f"{', '.join(keys)} {'is' if len(keys) == 1 else 'are'}"


def _bare(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _quoted(value: str) -> str:
    return value if _bare(value.strip()) == value else f"'{value}'"
