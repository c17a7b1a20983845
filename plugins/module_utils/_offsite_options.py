# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a bucket is reached: options of the modules that copy into one. The documentation fragment `offsite` explains them."""

from __future__ import annotations

from typing import Any

# Of a part, S3's own limit in MB.
LARGEST_PART = 5120
CONNECTION: dict[str, Any] = {
    "endpoint_url": {"type": "str"},
    "region": {"type": "str", "default": "us-east-1"},
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "access_key": {"type": "str", "required": True, "no_log": True},
    "secret_key": {"type": "str", "required": True, "no_log": True},
    "ca_bundle": {"type": "path"},
    "addressing": {"type": "str", "choices": ["auto", "path", "virtual"], "default": "auto"},
    "checksums": {"type": "bool", "default": True},
}
# The same for modules that have to do with a bucket only where one is named.
OPTIONAL: dict[str, Any] = {
    **CONNECTION,
    "bucket": {"type": "str", "default": ""},
    "access_key": {"type": "str", "default": "", "no_log": True},
    "secret_key": {"type": "str", "default": "", "no_log": True},
}
