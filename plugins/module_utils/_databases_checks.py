# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of typed input: each answers with the value in its type, or raises InputError with one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

NAME_BYTES = 63  # PostgreSQL cuts longer names silently


class InputError(Exception):
    """The desired state cannot be: the text says where, what is wrong, and what to do."""


def keys(data: Any, allowed: Collection[str], where: str) -> dict[str, Any]:
    """A mapping without unknown keys."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where} must be a mapping, not {data!r}")
    for key in data:
        if key not in allowed:
            raise InputError(f"{where} has the unknown key {key!r}: {nearest(str(key), allowed)}")
    return dict(data)


def nearest(word: str, allowed: Collection[str]) -> str:
    """What to write instead of `word`."""
    close = difflib.get_close_matches(word, sorted(allowed), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(allowed)) or 'none'}"


def identifier(data: Any, where: str) -> str:
    """A name that PostgreSQL takes whole."""
    if not isinstance(data, str) or not data:
        raise InputError(f"{where} must be a name, not {data!r}")
    if "\0" in data:
        raise InputError(f"{where} {data!r} holds the character NUL, which no name can")
    try:
        size = len(data.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"{where} {data!r} is not valid Unicode") from error
    if size > NAME_BYTES:
        raise InputError(f"{where} {data!r} has {size} bytes, PostgreSQL takes {NAME_BYTES}: choose a shorter one")
    return data


def number(data: Any, where: str, *, least: int) -> int:
    """A whole number, also as text (templates make text)."""
    try:
        found = None if isinstance(data, bool | float) else int(data)
    except (TypeError, ValueError):
        found = None
    if found is None or found < least:
        raise InputError(f"{where} must be a whole number of at least {least}, not {data!r}")
    return found


def flag(data: Any, where: str) -> bool:
    """Null is false."""
    if data is None or isinstance(data, bool):
        return bool(data)
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if str(data).lower() not in words:
        raise InputError(f"{where} must be true or false, not {data!r}")
    return words[str(data).lower()]


def text(data: Any, where: str) -> str:
    if not isinstance(data, str) or "\0" in data:
        raise InputError(f"{where} must be text, not {data!r}")
    return data


def choice(data: Any, allowed: Collection[str], where: str) -> str:
    if data not in allowed:
        raise InputError(f"{where} is {data!r}: {nearest(str(data), allowed)}")
    return str(data)


def listing(data: Any, where: str) -> list[Any]:
    if not isinstance(data, list | tuple):
        raise InputError(f"{where} must be a list, not {data!r}")
    return list(data)
