# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gunicorn serves: pgAdmin in server mode."""

from __future__ import annotations

import builtins

builtins.SERVER_MODE = True  # type: ignore[attr-defined]

from pgAdmin4 import app  # noqa: E402  it reads SERVER_MODE while it is imported

__all__ = ["app"]
