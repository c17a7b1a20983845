#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: env_file
short_description: Check or make the operator's secrets file
version_added: 0.1.0
description:
  - The file holds the five values that a person edits, POSTGRES_PASSWORD, TIMESCALE_PASSWORD, REDIS_PASSWORD, PGADMIN_EMAIL and PGADMIN_PASSWORD.
  - Where it is missing, it is made with strong passwords, whole or not at all.
  - Where it is there, it is checked. Everything that is wrong with it is said at once, by the number of the line or the name, never with a value.
  - A file that others can read gets mode 0600, because a copied example is usually 0644.
  - A line is C(KEY=value) up to its end, and nothing in a value is special. One pair of quotes around the whole value is taken off.
  - Works on the controller, as the user who runs Ansible.
options:
  path:
    description: The file, on the controller.
    type: path
    required: true
  email:
    description: pgAdmin's login in a file that is made.
    type: str
    required: true
extends_documentation_fragment:
  - nexanest.database.attributes
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Check the operator's secrets file, or make it
  nexanest.database.env_file:
    path: /srv/project/.env.db
    email: admin@nexanest.local
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /srv/project/.env.db
"""
