# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of attempts at one Redis server. Pure.

Keys are the proof's own, with an expiry; a command that would do harm is asked about (ACL DRYRUN), never given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ansible_collections.nexanest.database.plugins.module_utils._access_model import ALLOWED, HOLDS, REFUSED, Attempt, Outcome, holds
from ansible_collections.nexanest.database.plugins.module_utils._access_redis_policy import Categories, allowed, covers, named, prefixes
from ansible_collections.nexanest.database.plugins.module_utils._redis_acl import AclUser

Command = tuple[str, ...]

USERS = "a run of site.yml loads the declared users anew (redis_users, redis_denied_commands)"
LOGIN = "the user default is off, and every user has a password: a run of site.yml loads the declared users anew"
WIDE = "redis_user_commands or a user's commands give it: deny it in redis_denied_commands"

# Nobody's but the administrator's, unless an inventory names one of them for a user.
NEVER: dict[str, Command] = {
    "acl|list": ("ACL", "LIST"), "acl|setuser": ("ACL", "SETUSER", "probe"), "acl|deluser": ("ACL", "DELUSER", "probe"), "acl|load": ("ACL", "LOAD"),
    "acl|save": ("ACL", "SAVE"), "acl|log": ("ACL", "LOG"), "acl|getuser": ("ACL", "GETUSER", "default"),
    "bgrewriteaof": ("BGREWRITEAOF",), "bgsave": ("BGSAVE",), "save": ("SAVE",), "lastsave": ("LASTSAVE",),
    "client|kill": ("CLIENT", "KILL", "ID", "0"), "client|list": ("CLIENT", "LIST"), "client|pause": ("CLIENT", "PAUSE", "0"),
    "client|unblock": ("CLIENT", "UNBLOCK", "0"), "client|no-evict": ("CLIENT", "NO-EVICT", "off"),
    "client|tracking": ("CLIENT", "TRACKING", "ON", "BCAST"),
    "cluster|info": ("CLUSTER", "INFO"), "failover": ("FAILOVER",), "replicaof": ("REPLICAOF", "NO", "ONE"), "slaveof": ("SLAVEOF", "NO", "ONE"),
    "psync": ("PSYNC", "?", "-1"), "sync": ("SYNC",), "replconf": ("REPLCONF",), "role": ("ROLE",),
    "config|get": ("CONFIG", "GET", "maxmemory"), "config|set": ("CONFIG", "SET", "maxmemory", "0"), "config|rewrite": ("CONFIG", "REWRITE"),
    "config|resetstat": ("CONFIG", "RESETSTAT"),
    "debug": ("DEBUG", "JMAP"), "info": ("INFO",), "monitor": ("MONITOR",), "shutdown": ("SHUTDOWN", "NOSAVE"),
    "flushall": ("FLUSHALL",), "flushdb": ("FLUSHDB",), "swapdb": ("SWAPDB", "0", "1"),
    "keys": ("KEYS", "*"), "scan": ("SCAN", "0"), "randomkey": ("RANDOMKEY",), "dbsize": ("DBSIZE",),
    "migrate": ("MIGRATE", "127.0.0.1", "1", "probe", "0", "1"), "restore": ("RESTORE", "probe", "0", "x"),
    "module|list": ("MODULE", "LIST"), "module|load": ("MODULE", "LOAD", "/x.so"),
    "function|load": ("FUNCTION", "LOAD", "x"), "function|flush": ("FUNCTION", "FLUSH"), "function|delete": ("FUNCTION", "DELETE", "x"),
    "function|list": ("FUNCTION", "LIST"), "function|dump": ("FUNCTION", "DUMP"), "function|kill": ("FUNCTION", "KILL"),
    "script|flush": ("SCRIPT", "FLUSH"), "script|kill": ("SCRIPT", "KILL"), "script|debug": ("SCRIPT", "DEBUG", "SYNC"),
    "latency|latest": ("LATENCY", "LATEST"), "slowlog|get": ("SLOWLOG", "GET"), "slowlog|reset": ("SLOWLOG", "RESET"),
    "pubsub|channels": ("PUBSUB", "CHANNELS"), "pubsub|numsub": ("PUBSUB", "NUMSUB"),
    "sort": ("SORT", "probe", "BY", "probe:*"), "sort_ro": ("SORT_RO", "probe"),
}  # fmt: skip
# Given as they are, besides: they only read, and what they answer is not looked at.
GIVEN = (
    "acl|list", "client|list", "client|tracking", "config|get", "info", "scan", "randomkey", "dbsize", "pubsub|channels", "function|list", "module|list",
    "slowlog|get", "latency|latest", "lastsave", "role",
)  # fmt: skip
# As the declared users have it.
DECLARED: dict[str, Command] = {
    "get": ("GET", "@own@"), "set": ("SET", "@own@", "x"), "del": ("DEL", "@own@"), "eval": ("EVAL", "return 1", "0"), "evalsha": ("EVALSHA", "0" * 40, "0"),
    "script|load": ("SCRIPT", "LOAD", "return 1"), "select": ("SELECT", "1"), "multi": ("MULTI",), "time": ("TIME",), "command": ("COMMAND",),
}  # fmt: skip
UNKNOWN_CLIENT: tuple[Command, ...] = (
    ("PING",), ("GET", "probe"), ("SET", "probe", "x", "EX", "1"), ("INFO",), ("SCAN", "0"), ("CONFIG", "GET", "maxmemory"), ("ACL", "WHOAMI"),
    ("SUBSCRIBE", "probe"), ("EVAL", "return 1", "0"), ("HELLO", "3"), ("CLIENT", "LIST"),
)  # fmt: skip
WITHOUT_PASSWORD = UNKNOWN_CLIENT[1:9]

# @own@ and @other@ are keys below the user's own and another's prefix; both are there.
ACROSS: tuple[Command, ...] = (
    ("GET", "@other@"), ("EXISTS", "@other@"), ("TYPE", "@other@"), ("TTL", "@other@"), ("DUMP", "@other@"), ("STRLEN", "@other@"),
    ("OBJECT", "ENCODING", "@other@"), ("MEMORY", "USAGE", "@other@"), ("MGET", "@own@", "@other@"), ("WATCH", "@other@"), ("GETEX", "@other@"),
    ("SET", "@other@", "x", "EX", "60"), ("APPEND", "@other@", "x"), ("EXPIRE", "@other@", "60"), ("DEL", "@other@"), ("UNLINK", "@other@"),
    ("MOVE", "@other@", "1"), ("GETDEL", "@other@"),
    ("COPY", "@other@", "@own@", "REPLACE"), ("COPY", "@own@", "@other@", "REPLACE"), ("RENAME", "@other@", "@own@"), ("RENAMENX", "@own@", "@other@"),
    ("SORT", "@own@", "BY", "nosort", "GET", "@other@*"), ("SORT", "@own@", "STORE", "@other@"), ("SUNIONSTORE", "@own@", "@other@"),
    ("SUNIONSTORE", "@other@", "@own@"), ("BITOP", "NOT", "@own@", "@other@"), ("LMOVE", "@other@", "@own@", "LEFT", "LEFT"),
    ("PFMERGE", "@own@", "@other@"), ("ZRANGESTORE", "@own@", "@other@", "0", "-1"),
    ("GEOSEARCHSTORE", "@own@", "@other@", "FROMLONLAT", "0", "0", "BYRADIUS", "1", "m"),
    ("XREAD", "STREAMS", "@other@", "0"), ("VCARD", "@other@"), ("JSON.GET", "@other@"),
    ("EVAL", "return redis.call('GET', KEYS[1])", "1", "@other@"), ("EVAL", "return redis.call('GET', ARGV[1])", "0", "@other@"),
    ("EVAL", "return redis.call('SET', ARGV[1], 'x', 'EX', '60')", "0", "@other@"),
)  # fmt: skip
CHANNELS: tuple[Command, ...] = (
    ("SUBSCRIBE", "@other@"), ("SSUBSCRIBE", "@other@"), ("PSUBSCRIBE", "@other@*"), ("SUBSCRIBE", "__keyspace@0__:@other@"),
)  # fmt: skip
EVERYBODYS_CHANNELS: tuple[Command, ...] = (
    ("PSUBSCRIBE", "*"), ("PSUBSCRIBE", "__key*__:*"), ("SUBSCRIBE", "__keyevent@0__:set"), ("SUBSCRIBE", "__keyevent@0__:expired"),
    ("PSUBSCRIBE", "__keyspace@0__:*"),
)  # fmt: skip
TELLING: tuple[Command, ...] = (("PUBLISH", "@other@", "x"), ("SPUBLISH", "@other@", "x"))


@dataclass(frozen=True)
class RedisProbe:
    """One attempt: log in as `user` (None: not at all), give the commands; the last one is the attempt. dry: ask the administrator's ACL DRYRUN instead.

    login: the attempt is the login itself, with these words.
    """

    attempt: Attempt
    user: str | None
    commands: tuple[Command, ...] = ()
    dry: bool = False
    login: Command | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Declared:
    """users: as they shall be; passwords: of the users that are tried; categories: the server's commands by category; mark: the end of the proof's own keys."""

    users: Mapping[str, AclUser]
    passwords: Mapping[str, str] = field(repr=False)
    categories: Categories
    mark: str

    def keys(self) -> dict[str, list[str]]:
        """The proof's keys, by user."""
        return {name: [f"{prefix}{self.mark}" for prefix in prefixes(self.users[name])] for name in self.passwords}


def structure(declared: Declared, running: Mapping[str, AclUser], settings: Mapping[str, str]) -> list[Outcome]:
    """What the server itself says of its users."""
    group, place = "redis users", "redis"
    differ = [name for name in sorted({*declared.users, *running}) if declared.users.get(name) != running.get(name)]
    words = [f"{name} {'differs' if name in declared.users and name in running else 'is there' if name in running else 'is missing'}" for name in differ]
    default = running.get("default")
    doors = ("enable-debug-command", "enable-module-command", "enable-protected-configs")
    open_doors = [f"{door} is {settings[door]}" for door in doors if settings.get(door, "no") != "no"]
    return [
        holds(Attempt(group, "all", place, "the users are the declared ones", HOLDS, USERS), words),
        holds(Attempt(group, "default", place, "the user default is off", HOLDS, LOGIN), [] if default and not default.enabled else ["it is on"]),
        holds(Attempt(group, "all", place, "modules, DEBUG and protected settings are shut", HOLDS, "a restart reads redis.conf anew"), open_doors),
    ]


class RedisPlan:
    """All attempts at one server."""

    def __init__(self, declared: Declared) -> None:
        self.declared = declared
        self.own = declared.keys()

    def probes(self) -> Iterator[RedisProbe]:
        for command in UNKNOWN_CLIENT:
            yield self._probe("redis logins", "nobody", f"{_words(command)} without a login", command, remedy=LOGIN)
        for name, user in self.declared.users.items():
            if user.nopass and user.enabled:
                for command in WITHOUT_PASSWORD:
                    login = ("AUTH", name, "x")
                    yield self._probe("redis logins", name, f"{_words(command)} as {name}, who has no password", login, command, remedy=LOGIN)
        for name in self.declared.passwords:
            yield from self._logins(name)
            yield from self._commands(name)
            yield from self._keys(name)

    def _probe(self, group: str, user: str, what: str, *commands: Command, expected: str = REFUSED, remedy: str = USERS, dry: bool = False) -> RedisProbe:
        known = user if user in self.declared.passwords else None
        return RedisProbe(Attempt(group, user, "redis", what, expected, remedy), known, commands, dry)

    def _login(self, user: str, what: str, *words: str, expected: str = REFUSED) -> RedisProbe:
        return RedisProbe(Attempt("redis logins", user, "redis", what, expected, LOGIN), None, login=("AUTH", *words))

    def _logins(self, name: str) -> Iterator[RedisProbe]:
        password = self.declared.passwords[name]
        yield self._login(name, "log in", name, password, expected=ALLOWED)
        yield self._login(name, "log in with a wrong password", name, f"{password} and more")
        yield self._login(name, "log in with an empty password", name, "")
        yield self._login(name, "log in without a name", password)
        others = [other for other, user in self.declared.users.items() if other != name and not user.nopass]
        for other in dict.fromkeys([*others, "default"]):
            yield self._login(name, f"log in as {other} with its own password", other, password)

    def _commands(self, name: str) -> Iterator[RedisProbe]:
        rules = self.declared.users[name].commands
        for command, words in NEVER.items():
            expected = ALLOWED if named(rules, command) else REFUSED
            remedy = WIDE if allowed(rules, command, self.declared.categories) else USERS
            yield self._probe("redis commands", name, f"may {_words(words)}", words, expected=expected, remedy=remedy, dry=True)
            if command in GIVEN and expected == REFUSED:
                yield self._probe("redis commands", name, _words(words), words, remedy=remedy)
        own = next(iter(self.own[name]), None)
        for command, words in DECLARED.items():
            if own is not None or "@own@" not in words:
                expected = ALLOWED if allowed(rules, command, self.declared.categories) else REFUSED
                mine = tuple(own if word == "@own@" else word for word in words)
                yield self._probe("redis commands", name, f"may {command}", mine, expected=expected, dry=True)  # type: ignore[arg-type]

    def _keys(self, name: str) -> Iterator[RedisProbe]:
        user, own = self.declared.users[name], self.own[name]
        if allowed(user.commands, "set", self.declared.categories) and allowed(user.commands, "get", self.declared.categories):
            for key in own:
                write = ("SET", key, "x", "EX", "60")
                yield self._probe("redis keys", name, f"write and read below {_prefix(key, self.declared.mark)}", write, ("GET", key), expected=ALLOWED)
        for command in EVERYBODYS_CHANNELS:
            if not covers(user.channels, command[1]):
                yield self._probe("redis channels", name, _words(command), command)
        strangers = [key for other, keys in self.own.items() if other != name for key in keys]
        # Below nobody's prefix is not the user's either.
        for key in [*dict.fromkeys(strangers), self.declared.mark]:
            if not covers(user.keys, key):
                # A user without keys, as the backups', has nothing of its own to mix with another's.
                yield from self._across(name, (own or [key])[0], key)
            if not covers(user.channels, key):
                yield from self._channels(name, key)

    def _across(self, name: str, own: str, other: str) -> Iterator[RedisProbe]:
        where = _prefix(other, self.declared.mark) or "no prefix"
        for command in ACROSS:
            yield self._probe("redis keys", name, f"{_shown(command)}, a key of {where}", _filled(command, own, other))
        if allowed(self.declared.users[name].commands, "select", self.declared.categories):
            yield self._probe("redis keys", name, f"SELECT 1, then GET a key of {where}", ("SELECT", "1"), ("GET", other))

    def _channels(self, name: str, other: str) -> Iterator[RedisProbe]:
        where = _prefix(other, self.declared.mark) or "no prefix"
        for command in CHANNELS:
            yield self._probe("redis channels", name, f"{_shown(command)}, a channel of {where}", _filled(command, "", other))
        for command in TELLING:
            yield self._probe("redis channels", name, f"may {_shown(command)}, a channel of {where}", _filled(command, "", other), dry=True)


def _filled(command: Command, own: str, other: str) -> Command:
    return tuple(word.replace("@own@", own).replace("@other@", other) for word in command)


def _shown(command: Command) -> str:
    return _words(tuple(word.replace("@own@", "<own>").replace("@other@", "<other>") for word in command))


def _words(command: Command) -> str:
    return " ".join(command)


def _prefix(key: str, mark: str) -> str:
    return key.removesuffix(mark)
