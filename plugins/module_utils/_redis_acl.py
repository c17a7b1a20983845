# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a Redis ACL file, read the way Redis reads them: two texts that mean the same user are equal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

_TOKEN = re.compile(r"\([^)]*\)|\S+")
_HASH = re.compile(r"[0-9a-f]{64}")


class AclError(Exception):
    """A line that cannot be understood; the text names the user and the rule, never a password."""


@dataclass(frozen=True)
class AclUser:
    """One user. commands keeps its order: later rules overrule earlier ones."""

    name: str
    enabled: bool = False
    nopass: bool = False
    sanitize: bool = True
    hashes: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    commands: tuple[str, ...] = ("-@all",)
    selectors: tuple[str, ...] = field(default=())

    def properties(self) -> dict[str, Any]:
        """What a diff may show: no hash."""
        return {
            "enabled": self.enabled,
            "password": "any" if self.nopass else f"{len(self.hashes)} (masked)",
            "keys": sorted(self.keys),
            "channels": sorted(self.channels),
            "commands": " ".join((*self.commands, *self.selectors)),
        }


_FLAGS: dict[str, dict[str, Any]] = {
    "on": {"enabled": True},
    "off": {"enabled": False},
    "nopass": {"nopass": True, "hashes": frozenset()},
    "resetpass": {"nopass": False, "hashes": frozenset()},
    "sanitize-payload": {"sanitize": True},
    "skip-sanitize-payload": {"sanitize": False},
    "allkeys": {"keys": frozenset({"~*"})},
    "resetkeys": {"keys": frozenset()},
    "allchannels": {"channels": frozenset({"&*"})},
    "resetchannels": {"channels": frozenset()},
    "allcommands": {"commands": ("+@all",)},
    "nocommands": {"commands": ("-@all",)},
    "clearselectors": {"selectors": ()},
}


def parse(lines: Iterable[str], *, selectors: bool = False) -> dict[str, AclUser]:
    """The users of an ACL file or of ACL LIST, by name.

    selectors: keep them (a running server may have some); otherwise they are refused.
    """
    users: dict[str, AclUser] = {}
    for line in lines:
        tokens = _TOKEN.findall(line)
        if not tokens:
            continue
        if len(tokens) < 2 or tokens[0] != "user":
            raise AclError("a line of the ACL does not begin with 'user <name>': each line describes one user")
        if tokens[1] in users:
            raise AclError(f"the ACL names the user {tokens[1]} twice: keep one line")
        users[tokens[1]] = _user(tokens[1], tokens[2:])
        if users[tokens[1]].selectors and not selectors:
            raise AclError(f"user {tokens[1]} of the ACL has a selector in brackets, which this collection does not use: make it a user of its own")
    return users


def _user(name: str, rules: Iterable[str]) -> AclUser:
    user = AclUser(name)
    for rule in rules:
        user = AclUser(name) if rule.lower() == "reset" else _apply(user, rule)
    return user


def _apply(user: AclUser, rule: str) -> AclUser:
    kind, rest = rule[0], rule[1:]
    if rule.lower() in _FLAGS:
        return replace(user, **_FLAGS[rule.lower()])
    if kind in "#>!<":
        return _password(user, kind, rest)
    if kind in "+-":
        return replace(user, commands=_command(user.commands, rule.lower()))
    if kind == "~" or kind == "%":
        return replace(user, keys=user.keys | {re.sub(r"^%(RW|WR)~", "~", rule, flags=re.IGNORECASE)})
    if kind == "&":
        return replace(user, channels=user.channels | {rule})
    if kind == "(":
        return replace(user, selectors=(*user.selectors, rule))
    raise AclError(f"user {user.name} of the ACL has a rule that does not begin with one of + - ~ % & # or a known word")


def _password(user: AclUser, kind: str, rest: str) -> AclUser:
    digest = hashlib.sha256(rest.encode()).hexdigest() if kind in "><" else rest
    if not _HASH.fullmatch(digest):
        raise AclError(f"user {user.name} of the ACL has a password hash that is not 64 lower-case hexadecimal digits")
    hashes = user.hashes | {digest} if kind in "#>" else user.hashes - {digest}
    return replace(user, hashes=hashes, nopass=False)


def _command(commands: tuple[str, ...], rule: str) -> tuple[str, ...]:
    """As Redis keeps its rules: a new one replaces the older ones on the same name or on its subcommands."""
    name = rule[1:]
    if name == "@all":
        return (rule,)
    kept = tuple(old for old in commands if old[1:] != name and not old[1:].startswith(f"{name}|"))
    return (*kept, rule)
