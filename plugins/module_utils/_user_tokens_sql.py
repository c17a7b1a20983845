# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed user tokens: how one is minted, and the functions of the schema `session` that verify one. Text and arithmetic, no driver.

The functions name everything in pg_catalog or by its schema, and their search_path is pinned: nothing that a service makes is ever called.
HMAC-SHA256(key, text) = sha256(outer pad, sha256(inner pad, text)); the pads are stored, since SQL has no XOR of bytes.
"""

from __future__ import annotations

import hashlib
import hmac

LONGEST_LIFE = 900  # seconds that a token may be valid from now on
SCHEMA = "session"
SEARCH_PATH = "search_path=pg_catalog, pg_temp"
BLOCK = 64  # bytes, of SHA-256

# What the arguments and results are called, as format_type() does.
USER_ID_TYPES = {"uuid": "UUID", "bigint": "BIGINT", "text": "TEXT"}

# Compared are checksums of both sides: the time that a comparison takes then says nothing about the right answer.
_SAME = "sha256(convert_to(@given@, 'UTF8')) = sha256(convert_to(encode(sha256(k.outer_pad || sha256(k.inner_pad || @text@)), 'hex'), 'UTF8'))"
# Who the user is, bound to this transaction of this backend: a copy of it says nothing anywhere else.
_BOUND = "convert_to('tx.', 'UTF8') || timestamptz_send(transaction_timestamp()) || int4send(pg_backend_pid()) || convert_to(@who@, 'UTF8')"

_SET_USER = """
DECLARE
  payload text;
  who text;
  expires bigint;
  clock bigint := floor(extract(epoch FROM clock_timestamp()));
  signed_with session.keys;
  k session.keys;
BEGIN
  IF length(token) < 1000 THEN
    payload := substring(token FROM '^(v1[.].+[.][0-9]{1,12})[.][0-9a-f]{64}$');
  END IF;
  IF payload IS NOT NULL THEN
    FOR k IN SELECT * FROM session.keys LOOP
      IF @token_is_signed@ THEN
        signed_with := k;
      END IF;
    END LOOP;
  END IF;
  IF signed_with.key_id IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = '28000', MESSAGE = 'the user token is not valid';
  END IF;
  who := substring(payload FROM '^v1[.](.+)[.][0-9]+$');
  expires := substring(payload FROM '[0-9]+$');
  IF expires <= clock THEN
    RAISE EXCEPTION USING ERRCODE = '28000', MESSAGE = 'the user token has expired';
  END IF;
  IF expires > clock + @longest_life@ THEN
    RAISE EXCEPTION USING ERRCODE = '28000', MESSAGE = 'the user token expires more than @longest_life@ seconds ahead';
  END IF;
  IF NOT pg_input_is_valid(who, '@type@') THEN
    RAISE EXCEPTION USING ERRCODE = '28000', MESSAGE = 'the user token names a user who is no @type@';
  END IF;
  who := who::@type@::text;
  PERFORM set_config('session.user', encode(sha256(signed_with.outer_pad || sha256(signed_with.inner_pad || @bound@)), 'hex') || '.' || who, true);
  RETURN who::@type@;
END
"""

_USER_ID = """
DECLARE
  stored text := current_setting('session.user', true);
  k session.keys;
BEGIN
  IF stored <> '' THEN
    FOR k IN SELECT * FROM session.keys LOOP
      IF @is_bound@ THEN
        RETURN substr(stored, 66)::@type@;
      END IF;
    END LOOP;
  END IF;
  RETURN NULL;
END
"""


def mint(key: str, user_id: object, expires: int) -> str:
    """A token as a service mints it: `user_id` may act until `expires` (seconds since 1970), at most LONGEST_LIFE from now."""
    payload = f"v1.{user_id}.{expires}"
    return f"{payload}.{hmac.new(key.encode(), payload.encode(), hashlib.sha256).hexdigest()}"


def pads(key: str) -> tuple[bytes, bytes]:
    """The inner and the outer pad of HMAC-SHA256 with this key."""
    raw = key.encode()
    block = (hashlib.sha256(raw).digest() if len(raw) > BLOCK else raw).ljust(BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def set_user_source(user_id_type: str) -> str:
    """The body of session.set_user(text)."""
    signed = _SAME.replace("@given@", "right(token, 64)").replace("@text@", "convert_to(payload, 'UTF8')")
    source = _SET_USER.replace("@token_is_signed@", signed).replace("@bound@", _BOUND.replace("@who@", "who"))
    return source.replace("@longest_life@", str(LONGEST_LIFE)).replace("@type@", user_id_type)


def user_id_source(user_id_type: str) -> str:
    """The body of session.user_id()."""
    bound = _BOUND.replace("@who@", "substr(stored, 66)")
    return _USER_ID.replace("@is_bound@", _SAME.replace("@given@", "left(stored, 64)").replace("@text@", bound)).replace("@type@", user_id_type)
