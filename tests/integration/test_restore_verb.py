# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook of a restore makes of an operator's words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stack import ROOT, ansible_playbook


@pytest.mark.parametrize("databases", ["", " , "])
def test_no_database_is_not_every_database(tmp_path: Path, databases: str) -> None:
    inventory = tmp_path / "inventory" / "verbtest" / "hosts.yml"
    inventory.parent.mkdir(parents=True)
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    values = {"stack_name": "verbtest", "stack_services": [], "backup_identities": []}
    inventory.write_text(json.dumps({"database": {"hosts": {"localhost": local}, "vars": values}}))
    asked = json.dumps({"backup": "20250531_123456", "databases": databases})
    run = ansible_playbook(ROOT / "playbooks" / "restore.yml", "--inventory", str(inventory), "--check", "--extra-vars", asked)
    assert run.rc != 0
    assert "databases is empty, which is no database" in run.stdout
