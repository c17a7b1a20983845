# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option `shadow` of the modules about migrations."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  shadow:
    description:
      - The throw-away server in which SQL is tried. It runs on the managed host in a container of the real server's image, without network,
        without rights, on memory alone, and is removed at the end, also when the module is killed.
      - It is started only where there is something to try. The module needs root's rights for it.
    type: dict
    suboptions:
      image:
        description: Image of the real server. This or O(shadow.container) is required.
        type: str
      container:
        description: Container of the real server, whose image and user are taken where O(shadow.image) is not given.
        type: str
      uid:
        description: Number of the image's user that runs the server.
        type: int
        default: 999
      gid:
        description: Number of that user's group.
        type: int
        default: 999
      preload_libraries:
        description: The real server's C(shared_preload_libraries). By default the server is asked, where it is there.
        type: list
        elements: str
      databases:
        description:
          - The desired set of the server, as for M(nexanest.database.postgres_databases), which makes roles, databases, schemas and extensions there too.
            Passwords are not needed. With C(user_tokens) a database also gets what M(nexanest.database.postgres_user_tokens) makes.
          - What of the module's own databases is missing in it is made without any special rights.
        type: list
        elements: dict
        default: []
      user_id_type:
        description: As for M(nexanest.database.postgres_user_tokens).
        type: str
        choices: [uuid, bigint, text]
        default: uuid
      label:
        description: Label of the container, as C(key=value).
        type: str
        default: ""
      memory_mb:
        description: Most memory that it may take, in MB.
        type: int
        default: 1024
"""
