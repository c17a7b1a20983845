# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0-or-later (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that log in to PostgreSQL."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_host:
    description: Host on which the server listens, seen from the managed host.
    type: str
    default: 127.0.0.1
  login_port:
    description: Port on which the server listens.
    type: int
    default: 5432
  login_user:
    description: Role to log in as. It must be a superuser.
    type: str
    required: true
  login_password:
    description: Password of O(login_user).
    type: str
    required: true
  login_db:
    description: Database to log in to first.
    type: str
    default: postgres
  connect_timeout:
    description: Seconds to wait for a connection.
    type: int
    default: 10
requirements:
  - psycopg2 on the managed host
"""
