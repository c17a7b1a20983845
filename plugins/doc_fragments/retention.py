# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option `retention` of the modules that remove backup sets; each says itself what is kept."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  retention:
    type: dict
    default: {}
    suboptions:
      hourly:
        description: Hours.
        type: int
        default: 0
      daily:
        description: Days.
        type: int
        default: 0
      weekly:
        description: Weeks.
        type: int
        default: 0
      monthly:
        description: Months.
        type: int
        default: 0
      minimum:
        description: At least so many sets are kept, whatever their age.
        type: int
        default: 3
"""
