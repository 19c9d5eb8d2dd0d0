"""Verification of ECDSA on P-256 (FIPS 186-5, 6.4.2), to check what an HSM signed; nothing secret passes here."""

from __future__ import annotations

from icehouse._core import ecdsa_verifies


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether `signature`, r || s, is one on a digest of 32 bytes under an uncompressed SEC1 point."""
    return ecdsa_verifies(public_key, digest, signature)
