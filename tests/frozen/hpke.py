"""HPKE (RFC 9180) by hand: PSK mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from frozen.formats import hkdf_expand, hkdf_extract

_KEM = b"KEM" + (0x0020).to_bytes(2, "big")
_HPKE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0002))
_MODE_PSK = b"\x01"


def _extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return hkdf_extract(salt or bytes(32), b"HPKE-v1" + suite + label + secret)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return hkdf_expand(key, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def public_key(secret: bytes) -> bytes:
    """The public half of an X25519 key."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def open_psk(secret: bytes, enc: bytes, sealed: bytes, *, psk: bytes, psk_id: bytes, info: bytes, aad: bytes) -> bytes:
    """Single-shot `OpenPSK` of RFC 9180 §6.1; raises where it does not open."""
    shared = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(enc))
    eae = _extract(_KEM, b"", b"eae_prk", shared)
    zz = _expand(_KEM, eae, b"shared_secret", enc + public_key(secret), 32)
    hashes = _extract(_HPKE, b"", b"psk_id_hash", psk_id) + _extract(_HPKE, b"", b"info_hash", info)
    schedule = _MODE_PSK + hashes
    key_secret = _extract(_HPKE, zz, b"secret", psk)
    key = _expand(_HPKE, key_secret, b"key", schedule, 32)
    nonce = _expand(_HPKE, key_secret, b"base_nonce", schedule, 12)
    return AESGCM(key).decrypt(nonce, sealed, aad)
