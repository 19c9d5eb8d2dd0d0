"""Verifiers that share no line with icehouse: unrelated libraries, and RFC 9591's formula in plain integers."""

from __future__ import annotations

from hashlib import sha256, sha512, shake_256
from typing import TYPE_CHECKING

from coincurve import PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vectors.edwards import ED448, ED25519, decode_ristretto, equal_ristretto
from vectors.weierstrass import P256, SECP256K1

if TYPE_CHECKING:
    from collections.abc import Callable

    from vectors.weierstrass import Weierstrass

    Verifier = Callable[[bytes, bytes, bytes], None]


class RejectedError(Exception):
    """The outsider does not accept the signature."""


def ed25519(key: bytes, message: bytes, signature: bytes) -> None:
    """By pyca/cryptography, that is OpenSSL."""
    Ed25519PublicKey.from_public_bytes(key).verify(signature, message)


def secp256k1_tr(key: bytes, message: bytes, signature: bytes) -> None:
    """By libsecp256k1, which takes messages of 32 bytes."""
    if not PublicKeyXOnly(key).verify(signature, message):
        raise RejectedError


def ed448(key: bytes, message: bytes, signature: bytes) -> None:
    """RFC 9591 §6.3: z·G = R + c·PK, with Ed448's challenge of RFC 8032 §5.2."""
    r, z = signature[:57], int.from_bytes(signature[57:], "little")
    challenge = shake_256(b"SigEd448\x00\x00" + r + key + message).digest(114)
    c = int.from_bytes(challenge, "little") % ED448.order
    right = ED448.add(ED448.decode(r), ED448.times(c, ED448.decode(key)))
    if len(signature) != 114 or z >= ED448.order or not ED448.equal(ED448.times(z, ED448.generator), right):
        raise RejectedError


def ristretto255(key: bytes, message: bytes, signature: bytes) -> None:
    """RFC 9591 §6.2."""
    r, z = signature[:32], int.from_bytes(signature[32:], "little")
    challenge = sha512(b"FROST-RISTRETTO255-SHA512-v1" + b"chal" + r + key + message).digest()
    c = int.from_bytes(challenge, "little") % ED25519.order
    right = ED25519.add(decode_ristretto(r), ED25519.times(c, decode_ristretto(key)))
    left = ED25519.times(z, ED25519.generator)
    if len(signature) != 64 or z >= ED25519.order or not equal_ristretto(left, right):
        raise RejectedError


def p256(key: bytes, message: bytes, signature: bytes) -> None:
    """RFC 9591 §6.4."""
    _weierstrass(P256, b"FROST-P256-SHA256-v1", key, message, signature)


def secp256k1(key: bytes, message: bytes, signature: bytes) -> None:
    """RFC 9591 §6.5."""
    _weierstrass(SECP256K1, b"FROST-secp256k1-SHA256-v1", key, message, signature)


def _weierstrass(curve: Weierstrass, context: bytes, key: bytes, message: bytes, signature: bytes) -> None:
    r, z = signature[:33], int.from_bytes(signature[33:], "big")
    c = int.from_bytes(expand_message(r + key + message, context + b"chal", 48), "big") % curve.order
    right = curve.add(curve.decode(r), curve.times(c, curve.decode(key)))
    if len(signature) != 65 or z >= curve.order or curve.times(z, curve.base) != right:
        raise RejectedError


def expand_message(message: bytes, tag: bytes, length: int) -> bytes:
    """`expand_message_xmd` of RFC 9380 §5.3.1 with SHA-256."""
    tag += bytes([len(tag)])
    seed = sha256(bytes(64) + message + length.to_bytes(2, "big") + b"\x00" + tag).digest()
    block, out = bytes(32), b""
    for number in range(1, -(-length // 32) + 1):
        mixed = bytes(one ^ two for one, two in zip(seed, block, strict=True))
        block = sha256(mixed + bytes([number]) + tag).digest()
        out += block
    return out[:length]


def taproot_key(internal: bytes, merkle_root: bytes) -> bytes:
    """The output key of BIP-341 for an x-only internal key, in plain integers."""
    tag = sha256(b"TapTweak").digest()
    tweak = int.from_bytes(sha256(tag + tag + internal + merkle_root).digest(), "big")
    point = SECP256K1.add(SECP256K1.decode(b"\x02" + internal), SECP256K1.times(tweak, SECP256K1.base))
    return SECP256K1.encode(point)[1:]


VERIFIERS: dict[str, Verifier] = {
    "ed25519": ed25519,
    "secp256k1-tr": secp256k1_tr,
    "secp256k1": secp256k1,
    "p256": p256,
    "ristretto255": ristretto255,
    "ed448": ed448,
}
