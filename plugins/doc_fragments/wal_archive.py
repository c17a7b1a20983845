# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules of the continuous backup."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  name:
    description: Name of the server, and of pgBackRest's stanza.
    type: str
    required: true
  container:
    description: The server's container on the managed host.
    type: str
    required: true
  archive_dir:
    description: Folder on the managed host that holds the archives of this server, repository and received write-ahead log.
    type: path
    required: true
  config_dir:
    description: Folder on the managed host with the folders C(pgbackrest), C(tools), C(companion) and C(socket) of this server.
    type: path
    required: true
requirements:
  - docker client on the managed host
"""
