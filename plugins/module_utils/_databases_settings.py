# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of settings: from inventory data, and compared with what pg_db_role_setting holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils._databases_checks import InputError
from ansible_collections.nexanest.database.plugins.module_utils._databases_model import Setting

# GUC_LIST_QUOTE: each element is a name of its own, stored quoted where it needs it.
NAME_LISTS = frozenset({"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"})

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_$]*(\.[a-zA-Z_][a-zA-Z0-9_$]*)*")
_ELEMENT = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]*?))\s*(,|$)')


def settings(data: Any, where: str, *, defaults: Mapping[str, str] | None = None) -> dict[str, Setting]:
    """Settings by lower-case name; one that is null is left to the server, also where it has a default here."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where} must be a mapping of settings to values, not {data!r}")
    found: dict[str, Setting] = dict(defaults or {})
    for key, raw in data.items():
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            raise InputError(f"{where} has {key!r}, which is not the name of a setting")
        found.pop(key.lower(), None)
        if raw is not None:
            found[key.lower()] = _setting(key.lower(), raw, f"{where}.{key}")
    return found


def same(name: str, stored: str | None, wanted: Setting) -> bool:
    """Whether the server's text is the wanted value."""
    if stored is None:
        return False
    return elements(stored) == wanted if isinstance(wanted, tuple) else stored == wanted


def elements(stored: str) -> tuple[str, ...]:
    """The names in a list such as `auth, "odd, name"`."""
    if not stored.strip():
        return ()
    found, position = [], 0
    while (part := _ELEMENT.match(stored, position)) is not None:
        quoted, plain, end = part.groups()
        found.append(plain.lower() if quoted is None else quoted.replace('""', '"'))
        position = part.end()
        if not end:
            return tuple(found)
    return (stored,)


def shown(wanted: Setting) -> str:
    """The value as one text."""
    return ", ".join(wanted) if isinstance(wanted, tuple) else wanted


def _setting(name: str, raw: Any, where: str) -> Setting:
    if isinstance(raw, list | tuple):
        if name not in NAME_LISTS:
            raise InputError(f"{where} must be one value, not a list: write it as PostgreSQL does")
        return tuple(_scalar(item, where) for item in raw) or ("",)
    scalar = _scalar(raw, where)
    return (elements(scalar) or ("",)) if name in NAME_LISTS else scalar


def _scalar(raw: Any, where: str) -> str:
    if isinstance(raw, bool):
        return "on" if raw else "off"
    if not isinstance(raw, str | int | float) or "\0" in str(raw):
        raise InputError(f"{where} must be text, a number or true/false, not {raw!r}")
    return str(raw)
