# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services with signed user tokens on a throw-away server: their arguments, keys and tokens."""

from __future__ import annotations

import time
from typing import Any

from modules import run_module
from product import LOGINS, password
from servers import Server

from ansible_collections.nexanest.database.plugins.module_utils._user_tokens_sql import mint

SERVICES = ("auth", "portfolio")
KEYS = {name: f"{name} key of thirty-two characters ☃" for name in SERVICES}
ANNA, BERT = "a0000000-0000-4000-8000-00000000000a", "b0000000-0000-4000-8000-00000000000b"


def databases(server: Server, **changes: Any) -> dict[str, Any]:
    """The arguments of postgres_databases."""
    return {
        **server.login,
        "databases": [{"name": name, "definer": True} for name in SERVICES],
        "passwords": {f"{name}_{kind}": password(f"{name}_{kind}") for name in SERVICES for kind in LOGINS},
        **changes,
    }


def tokens(server: Server, **changes: Any) -> dict[str, Any]:
    """The arguments of postgres_user_tokens."""
    return {
        **server.login,
        "databases": [{"name": name} for name in SERVICES],
        "keys": KEYS,
        **changes,
    }


def signed(args: dict[str, Any], **options: Any) -> dict[str, Any]:
    result = run_module("postgres_user_tokens", args, **options)
    assert not result["failed"], result
    return result


def token(user: object = ANNA, *, key: str = KEYS["auth"], life: int = 300) -> str:
    return mint(key, user, int(time.time()) + life)
