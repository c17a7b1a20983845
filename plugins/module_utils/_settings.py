# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wanted settings compared with what a PostgreSQL server has, by the server's own rules for units, booleans and lists."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# guc.c: memory_unit_conversion_table (bytes) and time_unit_conversion_table (microseconds); units are case-sensitive.
_MEMORY = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_TIME = {"us": 1, "ms": 1000, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
_NUMBER = re.compile(r"(?P<sign>[-+]?)(?P<digits>0x[0-9a-f]+|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(?P<unit>[A-Za-z]*)", re.IGNORECASE)
_BASE_UNIT = re.compile(r"(?P<factor>\d*)(?P<unit>[A-Za-z]+)")
_TRUE = ("on", "true", "yes", "1", "t", "y", "tr", "tru", "ye")
_FALSE = ("off", "false", "no", "0", "f", "n", "of", "fa", "fal", "fals")

# GUC_LIST_INPUT: white space around the commas means nothing.
_LISTS = {
    "createrole_self_grant",
    "datestyle",
    "debug_io_direct",
    "listen_addresses",
    "local_preload_libraries",
    "log_destination",
    "oauth_validator_libraries",
    "restrict_nonsystem_relation_kind",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "synchronized_standby_slots",
    "synchronous_standby_names",
    "temp_tablespaces",
    "unix_socket_directories",
    "wal_consistency_checking",
}
# The session that asks has these of its own: what the server gives to others stands in the file.
_OF_THE_SESSION = {"client", "session", "user", "database", "database user", "global"}
# The server shows the kernel's values of the asking connection, and no archive_command while archive_mode is off.
_OF_THE_CONNECTION = {"tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout"}
_NOT_SHOWN = "(disabled)"
_COMPUTED = {"override", "default"}
_OF_THE_START = {"command line", "environment variable"}


@dataclass(frozen=True)
class Setting:
    """One row of pg_settings, and the value that the configuration files give it (None: they do not)."""

    name: str
    value: str
    unit: str | None = None
    vartype: str = "string"
    context: str = "sighup"
    source: str = "default"
    source_file: str | None = None
    boot_value: str | None = None
    pending_restart: bool = False
    in_file: str | None = None

    @property
    def effective(self) -> str:
        """What the server gives to other sessions."""
        if self.source in _OF_THE_SESSION or self.name in _OF_THE_CONNECTION or self.value == _NOT_SHOWN:
            return self.in_file if self.in_file is not None else self.boot_value or ""
        return self.value

    @property
    def waits_for_restart(self) -> bool:
        """Whether a restart would change the value.

        The server's own mark says more: it also stands where the command line wins, and it stays when the line that caused it leaves the file.
        """
        if not self.pending_restart or self.source in _OF_THE_START:
            return False
        return self.source == "configuration file" if self.in_file is None else not same(self, self.in_file)

    @property
    def altered(self) -> bool:
        """Set by ALTER SYSTEM, which wins over postgresql.conf."""
        return (self.source_file or "").endswith("postgresql.auto.conf")


@dataclass(frozen=True)
class Difference:
    """A setting that is not as wanted."""

    name: str
    before: str
    after: str
    restart: bool
    altered: bool


@dataclass(frozen=True)
class Comparison:
    """What differs, and what no reload can make right."""

    differences: tuple[Difference, ...]
    problems: tuple[str, ...]


def text(value: object) -> str:
    """A YAML value as the configuration file writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(text(item) for item in value)
    return str(value).strip("\n")  # a log_line_prefix ends with a blank


def compare(wanted: Mapping[str, object], running: Mapping[str, Setting], *, complete: bool = False) -> Comparison:
    """Compare what postgresql.conf shall hold with what the server has.

    complete: `wanted` is all that the file will hold: what the server has from the file beside it goes back to its default.
    """
    differences: list[Difference] = []
    problems: list[str] = []
    for given, value in sorted(wanted.items()):
        setting = running.get(given.lower())
        if setting is None and value is not None and _comes_with_restart(given, wanted, running):
            differences.append(Difference(given, "not loaded", text(value), restart=True, altered=False))
        elif setting is None:
            problems.append(_unknown(given, running))
        elif value is None:
            problems.append(f"{given} has no value; write one, or remove it")
        elif not same(setting, text(value)):
            problem = _unchangeable(setting)
            problems += [problem] if problem else []
            differences += [] if problem else [_difference(setting, text(value))]
    differences += _leftovers(wanted, running.values()) if complete else []
    return Comparison(tuple(differences), tuple(problems))


def same(setting: Setting, wanted: str) -> bool:
    """Whether the server would store `wanted` as what it has."""
    has = setting.effective
    if wanted == has or (wanted == setting.boot_value and setting.source in _COMPUTED and _is_sentinel(wanted)):
        return True
    if setting.vartype == "bool":
        return boolean(wanted) is not None and boolean(wanted) == boolean(has)
    if setting.vartype in ("integer", "real"):
        return _same_number(setting, wanted, has)
    if setting.vartype == "enum":
        return wanted.lower() == has.lower() or _same_switch(wanted, has)
    if setting.name.lower() in _LISTS:
        return _items(wanted) == _items(has)
    return False


def boolean(value: str) -> bool | None:
    """PostgreSQL's booleans; None where it is none."""
    lowered = value.lower()
    return True if lowered in _TRUE else False if lowered in _FALSE else None


def number(value: str, unit: str | None) -> float | None:
    """A value with or without a unit, in the setting's own unit (as "8kB"); None where it is no number or no fitting unit."""
    found = _NUMBER.fullmatch(value.strip())
    if found is None:
        return None
    digits = found["digits"].lower()
    amount = float(int(digits, 16)) if digits.startswith("0x") else float(int(digits, 8) if _is_octal(digits) else digits)
    signed = -amount if found["sign"] == "-" else amount
    if not found["unit"]:
        return signed
    factor = _factor(found["unit"], unit)
    return None if factor is None else signed * factor


def _is_octal(digits: str) -> bool:
    return len(digits) > 1 and digits.isdigit() and digits[0] == "0" and not set(digits) & {"8", "9"}


def _factor(given: str, unit: str | None) -> float | None:
    base = _BASE_UNIT.fullmatch(unit or "")
    for table in (_MEMORY, _TIME):
        if base and base["unit"] in table and given in table:
            return table[given] / (table[base["unit"]] * int(base["factor"] or 1))
    return None


def _same_number(setting: Setting, wanted: str, has: str) -> bool:
    first, second = number(wanted, setting.unit), number(has, setting.unit)
    if first is None or second is None:
        return False
    if setting.vartype == "integer":
        return round(first) == round(second)
    return abs(first - second) <= 1e-9 * max(abs(first), abs(second), 1)


def _same_switch(wanted: str, has: str) -> bool:
    """Enumerations such as synchronous_commit take on and off in all their spellings, beside their own words."""
    return boolean(wanted) is not None and boolean(wanted) == boolean(has)


def _is_sentinel(wanted: str) -> bool:
    return wanted in ("-1", "0")


def _items(value: str) -> list[str]:
    return [item.strip().strip('"') for item in value.split(",") if item.strip()]


def _difference(setting: Setting, after: str) -> Difference:
    return Difference(setting.name, shown(setting), after, setting.context == "postmaster", setting.altered)


def shown(setting: Setting) -> str:
    """The running value with its unit, for people."""
    value = setting.effective
    base = _BASE_UNIT.fullmatch(setting.unit or "")
    if base is None or not re.fullmatch(r"\d+", value) or int(value) == 0:
        return value
    units = _MEMORY if base["unit"] in _MEMORY else _TIME
    amount = int(value) * int(base["factor"] or 1) * units[base["unit"]]
    fitting = [(name, size) for name, size in units.items() if amount % size == 0 and size >= units[base["unit"]]]
    name, size = max(fitting, key=lambda item: item[1])
    return f"{amount // size}{name}"


def _comes_with_restart(given: str, wanted: Mapping[str, object], running: Mapping[str, Setting]) -> bool:
    """Whether it belongs to a library that the server will load at its next start."""
    loaded = running.get("shared_preload_libraries")
    coming = set(_items(text(wanted.get("shared_preload_libraries", "")))) - set(_items(loaded.effective if loaded else ""))
    prefix = given.lower().partition(".")[0]
    return "." in given and not coming.isdisjoint({prefix, f"pg_{prefix}"})


def _unknown(given: str, running: Mapping[str, Setting]) -> str:
    near = difflib.get_close_matches(given.lower(), running, n=1)
    hint = f"; did you mean {near[0]}?" if near else "; a setting of an extension needs the extension in shared_preload_libraries"
    return f"the server knows no setting {given}{hint}"


def _unchangeable(setting: Setting) -> str | None:
    if setting.context == "internal":
        return f"{setting.name} is fixed when the server is built or its data folder is made ({setting.value}); remove it from the settings"
    if setting.source in _OF_THE_START:
        return f"{setting.name} is {setting.value} by the server's {setting.source}, which wins over postgresql.conf; remove it there or here"
    return None


def _leftovers(wanted: Mapping[str, object], running: Iterable[Setting]) -> Sequence[Difference]:
    names = {name.lower() for name in wanted}
    return [
        Difference(setting.name, shown(setting), "default", setting.context == "postmaster", altered=False)
        for setting in sorted(running, key=lambda item: item.name)
        if setting.name.lower() not in names and setting.source == "configuration file" and not setting.altered
    ]
