# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the off-site copies are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """Where the copies are. endpoint: "" is AWS itself; prefix: without slashes at its ends."""

    endpoint: str
    bucket: str
    prefix: str

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Place:
        return cls((params["endpoint_url"] or "").rstrip("/"), params["bucket"], (params["prefix"] or "").strip("/"))

    @property
    def server(self) -> str:
        return self.endpoint or "AWS"

    @property
    def text(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/") + f" at {self.server}"

    @property
    def root(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""
