# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate with which a server shows receivers on other hosts who it is, with its private key, in one PEM file on the controller.

It is signed by itself: the receivers get it as the only one that they trust. So it has no authority that could sign another, and no address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ansible_collections.nexanest.database.plugins.module_utils import _secrets

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    MISSING: str | None = None
except ImportError as missing:
    MISSING = str(missing)

LIFE = timedelta(days=3650)
# It is refused so long before its end: a receiver that meets an expired one stops.
RENEW = timedelta(days=30)


@dataclass(frozen=True)
class Certificate:
    """Both as PEM."""

    certificate: str
    private_key: str

    def __repr__(self) -> str:
        return "Certificate()"


def ensure(path: Path, name: str, now: datetime) -> Certificate:
    """The one in a file, made where it is missing."""
    if not path.exists():
        made = stand_in(name, now)
        _secrets.create(path, f"{made.certificate}{made.private_key}")
    found = read(path, name, now)
    if found is None:
        raise _secrets.SecretError(f"the certificate {path} disappeared while it was read: is another program tidying {path.parent}?")
    return found


def read(path: Path, name: str, now: datetime) -> Certificate | None:
    """The one in a file; None where there is no such file. Raises SecretError where receivers would refuse it."""
    if MISSING is not None:
        raise _secrets.SecretError(f"the Python package cryptography is missing beside Ansible ({MISSING}): pip install cryptography")
    content = _secrets.read(path)
    if content is None:
        return None
    remedy = f"delete {path}, and the next run makes another"
    try:
        certificate = x509.load_pem_x509_certificate(content.encode())
        key = serialization.load_pem_private_key(content[content.index("-----BEGIN PRIVATE KEY") :].encode(), None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise _secrets.SecretError(f"{path} holds no certificate with its private key: {remedy}") from error
    if name not in names or certificate.public_key() != key.public_key():
        raise _secrets.SecretError(f"the certificate {path} is not one of {name}: {remedy}")
    if now > certificate.not_valid_after_utc - RENEW:
        raise _secrets.SecretError(f"the certificate {path} ends on {certificate.not_valid_after_utc:%Y-%m-%d}: {remedy}, on all hosts at once")
    return _pem(certificate, key)  # type: ignore[arg-type]


def stand_in(name: str, now: datetime) -> Certificate:
    """A new one that is nowhere. P-256 and SHA-256: a signature without a hash of its own (Ed25519) leaves SCRAM nothing to bind itself to (RFC 5929)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    # An hour before: clocks differ.
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + LIFE)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return _pem(builder.sign(key, hashes.SHA256()), key)


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificate(certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode())


def today() -> datetime:
    """Now."""
    return datetime.now(tz=UTC)
