# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration's text may hold: read once, before anything is applied anywhere."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from ansible_collections.nexanest.database.plugins.module_utils._migration_sql import Fault, Statement, scan, without_comments

NO_TRANSACTION = "no-transaction"
_BYTE_ORDER_MARK = "\ufeff"
_TRANSACTION_CONTROL = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "PREPARE"}
_OTHER_ENCODING = re.compile(r"SET\s+((SESSION|LOCAL)\s+)?(CLIENT_ENCODING|NAMES)\b(?!.*\b(UTF-?8|UNICODE|DEFAULT)\b)", re.IGNORECASE | re.DOTALL)
_CONCURRENT_INDEX = re.compile(
    r'CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\s+(?P<name>"(?:[^"]|"")+"|[^\s"(]+)\s+ON\b',
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Migration:
    """A file that can be run: its statements, and whether they run in one transaction with the ledger's row."""

    statements: tuple[Statement, ...]
    transaction: bool


class UnfitText(Exception):
    """The text cannot be a migration; str() says where and why."""


@functools.cache
def parse(text: str) -> Migration:
    """The migration in a text; UnfitText names the first thing that must not be in it."""
    fault = _bytes_fault(text)
    if fault is not None:
        raise UnfitText(fault)
    script = scan(text)
    transaction = not any(directive.text == NO_TRANSACTION for directive in script.directives)
    faults = [
        *script.faults,
        *[_unknown_directive(directive) for directive in script.directives if directive.text != NO_TRANSACTION],
        *[found for statement in script.statements if (found := _statement_fault(statement, transaction))],
    ]
    if faults:
        first = min(faults, key=lambda found: found.line)
        raise UnfitText(f"line {first.line}: {first.text}")
    if not script.statements:
        raise UnfitText("it holds no statement; remove the file, or write the SQL into it")
    if not transaction and len(script.statements) > 1:
        raise UnfitText(f"line {script.statements[1].line}: a {NO_TRANSACTION} migration holds one statement; move this one to a file of its own")
    return Migration(tuple(script.statements), transaction)


def concurrent_index(statement: Statement) -> str | None:
    """The (quoted or bare) name of the index that a CREATE INDEX CONCURRENTLY IF NOT EXISTS makes."""
    found = _CONCURRENT_INDEX.match(without_comments(statement.text))
    return found["name"] if found else None


def _bytes_fault(text: str) -> str | None:
    if text.startswith(_BYTE_ORDER_MARK):
        return "it starts with a byte-order mark (BOM); save it as UTF-8 without one"
    if "\0" in text:
        return f"line {text.count(chr(10), 0, text.index(chr(0))) + 1}: it holds a NUL byte, which PostgreSQL refuses; is it a text file?"
    if "\r" in text:
        return f"line {text.count(chr(10), 0, text.index(chr(13))) + 1}: it has Windows line ends (CR LF); convert it with `sed -i 's/\\r$//'`"
    return None


def _unknown_directive(directive: Fault) -> Fault:
    return Fault(directive.line, f"`-- migration: {directive.text}` is unknown; the only directive is `-- migration: {NO_TRANSACTION}`")


def _statement_fault(statement: Statement, transaction: bool) -> Fault | None:
    words = statement.words
    first = words[0] if words else ""
    text: str | None = None
    if first in _TRANSACTION_CONTROL and _controls_transaction(words):
        text = f"`{statement.head}` controls the transaction, but the migration runs in one already, together with its row in the ledger; remove it"
    elif first == "COPY":
        text = _copy_fault(statement)
    elif first == "SET" and _OTHER_ENCODING.match(without_comments(statement.text)):
        text = f"`{statement.head}` would make other characters of this file's; it is read as UTF-8, remove the statement"
    elif not transaction and "CONCURRENTLY" in words and words[0] in ("CREATE", "DROP") and "EXISTS" not in words:
        text = f"`{statement.head}` must be repeatable after a crash; write IF NOT EXISTS (or DROP … IF EXISTS); an invalid index of this name is dropped first"
    return Fault(statement.line, text) if text else None


def _controls_transaction(words: tuple[str, ...]) -> bool:
    if words[0] == "ROLLBACK":
        return "TO" not in words  # ROLLBACK TO a savepoint stays inside
    if words[0] == "PREPARE":
        return words[1:2] == ("TRANSACTION",)
    return words[0] != "START" or words[1:2] == ("TRANSACTION",)


def _copy_fault(statement: Statement) -> str | None:
    if "PROGRAM" in statement.words:
        return f"`{statement.head}` runs a program on the server; migrations hold SQL alone"
    if "STDIN" in statement.words or "STDOUT" in statement.words:
        return f"`{statement.head}` needs psql's data lines; write INSERT … VALUES"
    return None
