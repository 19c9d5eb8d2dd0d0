"""How a cluster is claimed: the request that its first HSM makes, and what AWS checks of the answer."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from servers.aws_clock import ApiError

_HSM_KEY = rsa.generate_private_key(65537, 2048)
"""Every first HSM of a test run has the same key: making one takes longer than all the rest."""
_INVALID = "CloudHsmInvalidRequestException"


def signing_request(name: str) -> str:
    """A certificate signing request such as an HSM makes."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"HSM:0011223344:{name}, for FIPS mode")])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(_HSM_KEY, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def check_claim(csr: str, signed: str, root: str) -> None:
    """What AWS checks of a claim: the request's key, under a self-signed RSA root that signed it."""
    try:
        certificate = x509.load_pem_x509_certificate(signed.encode())
        anchor = x509.load_pem_x509_certificate(root.encode())
        anchor.verify_directly_issued_by(anchor)
        certificate.verify_directly_issued_by(anchor)
    except Exception as exc:  # whatever pyca says, AWS says this
        message = "the certificate is not one signed by the trust anchor"
        raise ApiError(_INVALID, message) from exc
    if not isinstance(anchor.public_key(), rsa.RSAPublicKey):
        raise ApiError(_INVALID, "the trust anchor has no RSA key")
    if certificate.public_key() != x509.load_pem_x509_csr(csr.encode()).public_key():
        raise ApiError(_INVALID, "the certificate is of another key")
