# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM verifiers: the standard's example, PostgreSQL's preparation of odd passwords, and what counts as equal."""

from __future__ import annotations

import base64

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _scram


def test_verifier_has_the_keys_of_the_standards_example() -> None:
    # RFC 7677, section 3: "pencil" with this salt gives the server signature that the RFC prints.
    stored = _scram.verifier("pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert stored == "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="


@pytest.mark.parametrize("password", ["a", " ", "'\"\\ %s $x", "ünï ☃", "\x07bell", "a\u00adb", "א1", "\ud800", "x" * 5000])
def test_verifier_opens_to_its_password_alone(password: str) -> None:
    stored = _scram.verifier(password)
    assert _scram.matches(stored, password)
    assert not _scram.matches(stored, password + "x")


def test_each_verifier_has_a_salt_of_its_own() -> None:
    assert _scram.verifier("a") != _scram.verifier("a")


def test_stored_iterations_are_respected() -> None:
    assert _scram.matches(_scram.verifier("a", iterations=1), "a")


@pytest.mark.parametrize("stored", [None, "", "plain", "md5" + "0" * 32, "SCRAM-SHA-256$x:y$z:w", "SCRAM-SHA-256$0:AA==$AA==:AA=="])
def test_anything_but_a_verifier_matches_nothing(stored: str | None) -> None:
    assert not _scram.matches(stored, "plain")


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("x\u00adx", "xx"),  # soft hyphen goes
        ("a\u00a0b", "a b"),  # a space that is not ASCII becomes one
        ("\u200bä", " ä"),
        ("\u2168", "IX"),  # compatibility form
        ("\x7f", "\x7f"),  # ASCII stays, even what the profile prohibits
        ("\x7fä", "\x7fä"),  # prohibited: raw
        ("\u0221", "\u0221"),  # unassigned in Unicode 3.2: raw
        ("א1", "א1"),  # mixed directions: raw
        ("\u00ad", "\u00ad"),  # nothing left: raw
    ],
)
def test_passwords_are_prepared_as_postgresql_does(password: str, prepared: str) -> None:
    assert _scram.prepared(password) == prepared.encode()
