# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, 7677): the server never sees a password, and an equal one is never set again."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import stringprep
import unicodedata
from dataclasses import dataclass

ITERATIONS = 4096
SALT_BYTES = 16

_PROHIBITED = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


@dataclass(frozen=True)
class _Parts:
    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes


def verifier(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """The text for `PASSWORD '…'` and pg_authid.rolpassword; salt: a fresh random one unless given."""
    parts = _derive(password, salt=os.urandom(SALT_BYTES) if salt is None else salt, iterations=iterations)
    return f"SCRAM-SHA-256${parts.iterations}:{_encode(parts.salt)}${_encode(parts.stored_key)}:{_encode(parts.server_key)}"


def matches(stored: str | None, password: str) -> bool:
    """Whether `password` opens the stored verifier; False for none, an MD5 one or a broken one, so that it gets replaced."""
    parts = _parse(stored or "")
    if parts is None:
        return False
    derived = _derive(password, salt=parts.salt, iterations=parts.iterations)
    return hmac.compare_digest(derived.stored_key + derived.server_key, parts.stored_key + parts.server_key)


def prepared(password: str) -> bytes:
    """SASLprep with PostgreSQL's exceptions: ASCII as it is, and the raw text where the profile prohibits it (pg_saslprep)."""
    raw = password.encode("utf-8", "surrogatepass")
    if password.isascii():
        return raw
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in password if stringprep.in_table_c12(c) or not stringprep.in_table_b1(c))
    # PostgreSQL looks for prohibited characters before it normalises, not after.
    if not mapped or _is_prohibited(mapped):
        return raw
    return unicodedata.normalize("NFKC", mapped).encode()


def _is_prohibited(text: str) -> bool:
    if any(is_in(character) for character in text for is_in in _PROHIBITED):
        return True
    if not any(map(stringprep.in_table_d1, text)):
        return False
    right_to_left_ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return any(map(stringprep.in_table_d2, text)) or not right_to_left_ends


def _derive(password: str, *, salt: bytes, iterations: int) -> _Parts:
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return _Parts(iterations, salt, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))


def _parse(stored: str) -> _Parts | None:
    try:
        scheme, parameters, keys = stored.split("$")
        iterations, salt = parameters.split(":")
        stored_key, server_key = keys.split(":")
        if scheme != "SCRAM-SHA-256" or int(iterations) < 1:
            return None
        return _Parts(int(iterations), _decode(salt), _decode(stored_key), _decode(server_key))
    except (ValueError, binascii.Error):
        return None


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
