"""The root that a cluster is claimed with: a self-signed RSA certificate, its key encrypted in the run's directory."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from icehouse.errors import HsmRefusedError, RequestError
from icehouse.trial_cluster.certificate_files import KEY_FILE, ROOT_FILE

if TYPE_CHECKING:
    from icehouse.trial_cluster.record import Notebook

_BITS = 2048
_DAYS = 3652
_NAME = "icehouse CloudHSM trial"


def root_key(notebook: Notebook, passphrase: str) -> rsa.RSAPrivateKey:
    """The run's root key; it is made where there is none. Raises `RequestError` for another passphrase."""
    path = notebook.directory / KEY_FILE
    if path.exists():
        try:
            return cast("rsa.RSAPrivateKey", serialization.load_pem_private_key(path.read_bytes(), passphrase.encode()))
        except (ValueError, TypeError) as exc:
            msg = f"the passphrase does not open {path}"
            raise RequestError(msg) from exc
    key = rsa.generate_private_key(65537, _BITS)
    kept = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    notebook.keep(KEY_FILE, kept)
    return key


def claim(notebook: Notebook, key: rsa.RSAPrivateKey, csr: str, now: int) -> tuple[str, str]:
    """The signed certificate of a cluster and the root that signed it, both in PEM."""
    root = _root(notebook, key, now)
    try:
        request = x509.load_pem_x509_csr(csr.encode())
    except ValueError as exc:
        msg = "the certificate signing request that AWS sent is none"
        raise HsmRefusedError(msg) from exc
    if not request.is_signature_valid:
        msg = "the signature of the certificate signing request that AWS sent is wrong"
        raise HsmRefusedError(msg)
    # The serial number follows from the request: signing it again gives the same number to the same cluster.
    serial = int.from_bytes(hashlib.sha256(csr.encode()).digest()[:19], "big")
    start = datetime.fromtimestamp(now, UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(root.subject)
        .public_key(request.public_key())
        .serial_number(serial)
        .not_valid_before(start - timedelta(days=1))
        .not_valid_after(start + timedelta(days=_DAYS))
        .sign(key, hashes.SHA256())
    )
    return _pem(signed), _pem(root)


def _root(notebook: Notebook, key: rsa.RSAPrivateKey, now: int) -> x509.Certificate:
    """The certificate of a root key; it is made where there is none of this key."""
    path = notebook.directory / ROOT_FILE
    if path.exists():
        root = x509.load_pem_x509_certificate(path.read_bytes())
        if root.public_key() == key.public_key():
            return root
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _NAME)])
    start = datetime.fromtimestamp(now, UTC)
    root = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - timedelta(days=1))
        .not_valid_after(start + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    notebook.keep(ROOT_FILE, _pem(root).encode())
    return root


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
