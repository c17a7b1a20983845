# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgAdmin's settings in this image: a few of its own, then every PGADMIN_CONFIG_<NAME> as a Python literal.

pgAdmin takes every public name of this file for a setting, hence the underscores.
"""

from __future__ import annotations as _annotations

import ast as _ast
import os as _os
import sys as _sys

_PREFIX = "PGADMIN_CONFIG_"
_WORDS = {"true": True, "false": False}

CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
# The log goes to the container's output.
LOG_FILE = "/dev/null"
HELP_PATH = "https://www.pgadmin.org/docs/pgadmin4/latest/"


def _literal(variable: str, text: str) -> object:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return _ast.literal_eval(text)
    except (SyntaxError, ValueError):
        _sys.exit(f"docker-entrypoint: {variable} must be a Python literal, a text in quotes for example")


globals().update({name.removeprefix(_PREFIX): _literal(name, text) for name, text in _os.environ.items() if name.startswith(_PREFIX)})
