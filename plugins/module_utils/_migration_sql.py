# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL text cut into statements, by the rules of psql's own scanner.

A file is run statement by statement, because PostgreSQL names the position only of errors in the grammar: for all
others the line is known only when it is known which statement ran.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

# standard_conforming_strings is on in our sessions: a backslash escapes in E'' strings only, and in those that go on in the next line.
# In names and tags PostgreSQL takes every character beyond ASCII.
_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--[^\n]*)
  | (?P<block>/\*)
  | (?P<string>[eE]'(?:[^'\\]|\\.|'')*'(?:[ \t\f\v]*\n\s*'(?:[^'\\]|\\.|'')*')*|'(?:[^']|'')*')
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
  | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_MARK = re.compile(r"/\*|\*/")
_DIRECTIVE = re.compile(r"--\s*migration:\s*(?P<word>\S*)\s*$", re.IGNORECASE)
_OPENING = {"'": "quoted string", '"': "quoted name", "/*": "comment", "$": "dollar-quoted string"}
# CREATE [OR REPLACE] FUNCTION|PROCEDURE … BEGIN ATOMIC …; …; END is one statement.
_ROUTINE = re.compile(r"CREATE (OR REPLACE )?(FUNCTION|PROCEDURE)\b")


@dataclass(frozen=True)
class Fault:
    """What makes a text unfit, and on which line."""

    line: int
    text: str


@dataclass(frozen=True)
class Statement:
    """One statement without its semicolon; words: its bare words, upper case, outside quotes and comments."""

    text: str
    line: int
    words: tuple[str, ...]

    @property
    def head(self) -> str:
        """The first words, on one line, to name the statement in a message."""
        flat = " ".join(self.text.split())
        return flat if len(flat) <= 80 else f"{flat[:79]}…"

    def line_at(self, position: int) -> int:
        """The file's line of a character position, counted from 1 as PostgreSQL does."""
        return self.line + self.text[: position - 1].count("\n")


@dataclass
class Script:
    """A scanned file: its statements, its directives (text by line), and what the scanner could not read."""

    statements: list[Statement] = field(default_factory=list)
    directives: list[Fault] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


@dataclass
class _Open:
    """The statement that is being read."""

    start: int = -1
    end: int = -1
    words: list[str] = field(default_factory=list)
    parentheses: int = 0
    blocks: int = 0

    def add(self, token: _Token) -> None:
        if self.start < 0:
            self.start = token.start
        self.end = token.end
        if token.kind == "word":
            self._word(token.text.upper())
        elif token.text in ("(", ")"):
            self.parentheses = max(0, self.parentheses + (1 if token.text == "(" else -1))

    def _word(self, word: str) -> None:
        self.words.append(word)
        if word not in ("BEGIN", "CASE", "END") or self.parentheses or not _ROUTINE.match(" ".join(self.words[:4])):
            return
        if word == "BEGIN" or (word == "CASE" and self.blocks):
            self.blocks += 1
        elif word == "END" and self.blocks:
            self.blocks -= 1

    @property
    def closed_by_semicolon(self) -> bool:
        return not self.parentheses and not self.blocks


def scan(text: str) -> Script:
    """Cut a text into statements; what cannot be read is a fault, never an exception."""
    script, current = Script(), _Open()
    lines = _Lines(text)
    for token in _tokens(text, script):
        if token.kind == "comment":
            _directive(script, token, lines)
        elif token.kind == "backslash":
            script.faults.append(Fault(lines.of(token.start), f"`{token.text}` is a command of psql, not SQL"))
        elif token.text == ";" and token.kind == "other" and current.closed_by_semicolon:
            _close(script, text, current, lines)
            current = _Open()
        else:
            current.add(token)
    _close(script, text, current, lines)
    return script


def without_comments(text: str) -> str:
    """The text with one blank in place of each comment and each space outside quotes."""
    return "".join(" " if token.kind in ("space", "block", "comment") else token.text for token in _pieces(text, Script()))


def expression_fault(text: str) -> str | None:
    """Why a text cannot stand as one expression inside a statement; None where it can, as far as its signs tell."""
    script, depth = Script(), 0
    for token in _pieces(text, script):
        if token.kind in ("comment", "block"):
            return "it holds a comment"
        if token.kind not in ("other", "backslash"):
            continue
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
        if depth < 0 or token.kind == "backslash" or token.text == ";" or (token.text == "," and not depth):
            return f"its `{token.text}` would end it"
    if script.faults:
        return script.faults[0].text
    return "a parenthesis is not closed" if depth else None


@dataclass
class _Lines:
    """The lines of positions that are asked for in their order: each part of a long text is counted once."""

    text: str
    position: int = 0
    line: int = 1

    def of(self, position: int) -> int:
        start = self.position if position >= self.position else 0
        self.line = (self.line if start else 1) + self.text.count("\n", start, position)
        self.position = position
        return self.line


def _close(script: Script, text: str, current: _Open, lines: _Lines) -> None:
    if current.start >= 0:
        script.statements.append(Statement(text[current.start : current.end], lines.of(current.start), tuple(current.words)))


def _directive(script: Script, token: _Token, lines: _Lines) -> None:
    found = _DIRECTIVE.match(token.text)
    if found:
        script.directives.append(Fault(lines.of(token.start), found["word"]))


def _tokens(text: str, script: Script) -> Iterator[_Token]:
    return (token for token in _pieces(text, script) if token.kind not in ("space", "block"))


def _pieces(text: str, script: Script) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        kind = (found.lastgroup or "other") if found else "other"
        end = _end(text, kind, found.end() if found else position + 1)
        first = text[position]
        if end < 0 or (kind == "other" and first in "'\""):
            script.faults.append(Fault(_line(text, position), f"a {_OPENING.get(first) or _OPENING['/*']} starts here and does not end"))
            return
        if first == "\\":
            end = min(index for index in (text.find("\n", position), len(text)) if index >= 0)
            kind = "backslash"
        yield _Token(kind, text[position:end], position, end)
        position = end


def _end(text: str, kind: str, end: int) -> int:
    """Where a token ends that a regular expression cannot follow; -1 where it does not."""
    if kind == "block":
        return _block_end(text, end)
    if kind == "dollar":
        tag = text[text.rindex("$", 0, end - 1) : end]
        closing = text.find(tag, end)
        return closing + len(tag) if closing >= 0 else -1
    return end


def _block_end(text: str, position: int) -> int:
    """Block comments nest in PostgreSQL."""
    depth = 1
    while depth:
        found = _BLOCK_MARK.search(text, position)
        if not found:
            return -1
        depth += 1 if found.group() == "/*" else -1
        position = found.end()
    return position


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
