"""Makes ansible_collections.nexanest.database importable from the checkout, as Ansible itself finds it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ansible_dev"))
