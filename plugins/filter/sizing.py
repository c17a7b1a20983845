# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizing rules as filters; documented in postgres_sizing.yml and stack_sizing.yml."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.nexanest.database.plugins.module_utils import _sizing


def postgres_sizing(memory_mb: int, cpus: int, connections: int | None = None, timescaledb: bool = False) -> dict[str, str]:
    """Settings of a server that has `memory_mb`."""
    try:
        return _sizing.postgres_settings(int(memory_mb), cpus=int(cpus), connections=int(connections) if connections else None, timescaledb=timescaledb)
    except ValueError as error:
        raise AnsibleFilterError(f"postgres_sizing: {error}") from error


def stack_sizing(total_mb: int, services: Sequence[str], cpus: int, connections: Mapping[str, int] | None = None) -> dict[str, dict[str, int]]:
    """Limits of every container of a stack that has `total_mb`."""
    try:
        return _sizing.stack_limits(
            int(total_mb), list(services), cpus=int(cpus), connections={name: int(value) for name, value in (connections or {}).items()}
        )
    except ValueError as error:
        raise AnsibleFilterError(f"stack_sizing: {error}") from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"postgres_sizing": postgres_sizing, "stack_sizing": stack_sizing}
