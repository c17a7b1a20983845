# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key pair of age that backups are encrypted with, in a file of the form that age-keygen writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils import _secrets

try:
    from pyrage import IdentityError, x25519

    PYRAGE_ERROR: str | None = None
except ImportError as missing:
    PYRAGE_ERROR = str(missing)

_PRIVATE = "AGE-SECRET-KEY-"


@dataclass(frozen=True)
class Pair:
    """public: what encrypts, safe to show; private: what decrypts."""

    public: str
    private: str

    def __repr__(self) -> str:
        return f"Pair({self.public})"


def read(path: Path) -> Pair | None:
    """The key in a file; None where there is no such file."""
    content = _secrets.read(path)
    if content is None:
        return None
    keys = [line.strip() for line in content.splitlines() if line.strip().startswith(_PRIVATE)]
    if len(keys) != 1:
        raise _secrets.SecretError(f"{path} holds {len(keys)} private keys of age, and one is needed: put the file back that db-start made")
    return _pair(keys[0], path)


def ensure(path: Path) -> Pair:
    """The key in a file, made where it is missing."""
    pair = stand_in()
    _secrets.create(path, f"# Opens the backups of this stack. Keep a copy elsewhere.\n# public key: {pair.public}\n{pair.private}\n")
    found = read(path)
    if found is None:
        raise _secrets.SecretError(f"the key {path} disappeared while it was read: is another program tidying {path.parent}?")
    return found


def stand_in() -> Pair:
    """A new pair that is nowhere."""
    _demand_library()
    identity = x25519.Identity.generate()
    return Pair(str(identity.to_public()), str(identity))


def _pair(private: str, path: Path) -> Pair:
    _demand_library()
    try:
        return Pair(str(x25519.Identity.from_str(private).to_public()), private)
    except IdentityError as error:
        raise _secrets.SecretError(f"the private key in {path} is damaged: put the file back that db-start made") from error


def _demand_library() -> None:
    if PYRAGE_ERROR is not None:
        raise _secrets.SecretError(f"Python's pyrage is missing on the controller ({PYRAGE_ERROR}): scripts/bootstrap installs it")
