# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's certificate: made once, kept, and refused where receivers would refuse it."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.nexanest.database.plugins.module_utils._secrets import SecretError
from ansible_collections.nexanest.database.plugins.plugin_utils import certificate

NOW = datetime(2026, 5, 31, 12, 0, tzinfo=UTC)
NAME = "shop-timescaledb"


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "tls"
    made = certificate.ensure(file, NAME, NOW)
    assert certificate.ensure(file, NAME, NOW + timedelta(days=1)) == made
    assert certificate.read(file, NAME, NOW) == made
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)


def test_both_halves_belong_together_and_openssl_takes_them(tmp_path: Path) -> None:
    made = certificate.stand_in(NAME, datetime.now(tz=UTC))
    (tmp_path / "crt").write_text(made.certificate, encoding="utf-8")
    (tmp_path / "key").write_text(made.private_key, encoding="utf-8")
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tmp_path / "crt", tmp_path / "key")
    found = x509.load_pem_x509_certificate(made.certificate.encode())
    assert found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == [NAME]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "PRIVATE" not in made.certificate
    assert "PRIVATE" not in repr(made)


def test_none_where_there_is_no_file(tmp_path: Path) -> None:
    assert certificate.read(tmp_path / "tls", NAME, NOW) is None


@pytest.mark.parametrize(
    ("name", "now", "words"),
    [
        ("other-timescaledb", NOW, "is not one of other-timescaledb: delete"),
        (NAME, NOW + certificate.LIFE - timedelta(days=29), "ends on 2036-05-28: delete"),
        (NAME, NOW + certificate.LIFE + timedelta(days=1), "ends on"),
    ],
)
def test_one_that_receivers_would_refuse_is_refused(tmp_path: Path, name: str, now: datetime, words: str) -> None:
    certificate.ensure(tmp_path / "tls", NAME, NOW)
    with pytest.raises(SecretError, match=words):
        certificate.read(tmp_path / "tls", name, now)


def test_halves_of_two_are_refused(tmp_path: Path) -> None:
    first, second = certificate.stand_in(NAME, NOW), certificate.stand_in(NAME, NOW)
    file = tmp_path / "tls"
    file.write_text(first.certificate + second.private_key, encoding="utf-8")
    file.chmod(0o600)
    with pytest.raises(SecretError, match="is not one of"):
        certificate.read(file, NAME, NOW)


@pytest.mark.parametrize("text", ["", "nonsense\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_none_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tls"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    with pytest.raises(SecretError, match="delete"):
        certificate.read(file, NAME, NOW)
