# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.nexanest.database.plugins.module_utils._apt import complaint, installed_names
from ansible_collections.nexanest.database.plugins.modules.debian_packages import plan


def test_only_whole_installations_count() -> None:
    assert installed_names("docker.io ii \niptables rc \npython3 iU \n") == {"docker.io"}


def test_only_missing_packages_are_planned_each_once() -> None:
    changes = plan(["docker.io", "iptables", "iptables"], {"docker.io"})
    assert [change.title for change in changes] == ["package iptables"]


def test_the_complaint_holds_apts_errors_only_once() -> None:
    text = complaint("Reading...\nE: Unable to locate package x\n", "E: Unable to locate package x\nE: No network\n")
    assert text.startswith("Unable to locate package x; No network.")
