# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What declared ACL rules mean: which commands and keys a user has. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from ansible_collections.nexanest.database.plugins.module_utils._redis_acl import AclUser

Categories = Mapping[str, Collection[str]]
_PATTERN = re.compile(r"(?:~|%(?:R|W|RW|WR)~)(.*)", re.IGNORECASE | re.DOTALL)
_GLOB = re.compile(r"[*?\[\]\\^]")


def allowed(rules: Sequence[str], command: str, categories: Categories) -> bool:
    """Whether the rules give a command (`config|set`). Later rules overrule earlier ones."""
    found = False
    for rule in rules:
        if _means(rule[1:], command, categories):
            found = rule[0] == "+"
    return found


def named(rules: Sequence[str], command: str) -> bool:
    """Whether somebody meant this very command: it stands there itself, not by its category."""
    return allowed([rule for rule in rules if not rule[1:].startswith("@")], command, {})


def _means(name: str, command: str, categories: Categories) -> bool:
    if name.startswith("@"):
        return name == "@all" or command in categories.get(name[1:], ())
    return command == name or command.startswith(f"{name}|")


def prefixes(user: AclUser) -> list[str]:
    """The prefixes below which a user reads and writes whatever it likes: `auth:` of `~auth:*`."""
    texts = [pattern[1:] for pattern in sorted(user.keys) if pattern.startswith("~") and pattern.endswith("*")]
    return [text[:-1] for text in texts if not _GLOB.search(text[:-1])]


def covers(patterns: Iterable[str], key: str) -> bool:
    """Whether one of the patterns (of keys, or of channels as `&auth:*`) takes in a name."""
    return any(_glob(_text(pattern)).fullmatch(key) for pattern in patterns)


def _text(pattern: str) -> str:
    found = _PATTERN.fullmatch(pattern)
    return found[1] if found else pattern[1:]


def _glob(text: str) -> re.Pattern[str]:
    """Redis' glob: * ? [classes] and a backslash before what is meant literally."""
    out, rest = "", text
    while rest:
        special = re.match(r"\\(.)|(\*)|(\?)|\[(\^?)([^\]]*)\]|(.)", rest, re.DOTALL)
        if special is None:
            break
        literal, star, question, negated, members, plain = special.groups()
        if star or question:
            out += ".*" if star else "."
        elif members is not None:
            out += f"[{'^' if negated else ''}{members}]"
        else:
            out += re.escape(literal or plain)
        rest = rest[special.end() :]
    return re.compile(out, re.DOTALL)
