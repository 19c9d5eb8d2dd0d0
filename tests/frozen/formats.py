"""docs/reference/formats.md once more, in Python and from its text alone: what a byte must be, said by someone else."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV

from vectors.edwards import ED448, ED25519, Edwards, encode_ristretto
from vectors.weierstrass import P256, SECP256K1, Weierstrass

CONTEXT_STRINGS = {
    "ed25519": "FROST-ED25519-SHA512-v1",
    "secp256k1-tr": "FROST-secp256k1-SHA256-TR-v1",
    "secp256k1": "FROST-secp256k1-SHA256-v1",
    "p256": "FROST-P256-SHA256-v1",
    "ristretto255": "FROST-RISTRETTO255-SHA512-v1",
    "ed448": "FROST-ED448-SHAKE256-v1",
}
SCALAR_BYTES = {suite: 57 if suite == "ed448" else 32 for suite in CONTEXT_STRINGS}
ELEMENT_BYTES = {"ed25519": 32, "ristretto255": 32, "ed448": 57, "p256": 33, "secp256k1": 33, "secp256k1-tr": 33}
_EDWARDS = {"ed25519": ED25519, "ristretto255": ED25519, "ed448": ED448}
_WEIERSTRASS = {"p256": P256, "secp256k1": SECP256K1, "secp256k1-tr": SECP256K1}

Field = int | str | bytes


def lp(field: bytes) -> bytes:
    """Four bytes of length, then the bytes."""
    return len(field).to_bytes(4, "big") + field


def ctx(kind: str, *fields: Field) -> bytes:
    """`lp("icehouse/v1/" + kind) ‖ lp(f1) ‖ … ‖ lp(fn)`."""
    return lp(b"icehouse/v1/" + kind.encode()) + b"".join(lp(_bytes(field)) for field in fields)


def _bytes(field: Field) -> bytes:
    if isinstance(field, int):
        return field.to_bytes(8, "big")
    return field.encode() if isinstance(field, str) else field


def hkdf_extract(salt: bytes, secret: bytes) -> bytes:
    """RFC 5869 with SHA-256."""
    return hmac.digest(salt, secret, "sha256")


def hkdf_expand(key: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256."""
    out = block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        out += block
    return out[:length]


def order_of(suite: str) -> int:
    """The order of the suite's group."""
    return (_EDWARDS.get(suite) or _WEIERSTRASS[suite]).order


def scalar_of(suite: str, encoded: bytes) -> int:
    """The integer of a scalar's encoding."""
    return int.from_bytes(encoded, "little" if suite in _EDWARDS else "big")


def times_base(suite: str, scalar: int) -> bytes:
    """scalar · G, as the suite encodes it."""
    curve: Edwards | Weierstrass
    if suite in _EDWARDS:
        curve = _EDWARDS[suite]
        point = curve.times(scalar, curve.generator)
        return encode_ristretto(point) if suite == "ristretto255" else curve.encode(point)
    curve = _WEIERSTRASS[suite]
    return curve.encode(curve.times(scalar, curve.base))


@dataclass(frozen=True)
class Facts:
    """A key at an epoch; `commitments` one after the other."""

    vault: bytes
    user: str
    suite: str
    generation: int
    threshold: int
    participants: tuple[str, ...]
    epoch: int
    commitments: bytes

    @property
    def context_string(self) -> str:
        """The suite as every byte names it."""
        return CONTEXT_STRINGS[self.suite]

    @property
    def key_id(self) -> bytes:
        """The first 16 bytes of a hash."""
        named = ctx("key", self.vault, self.user, self.context_string, self.generation)
        return hashlib.sha256(named).digest()[:16]

    @property
    def each_commitment(self) -> list[bytes]:
        """The commitments."""
        size = ELEMENT_BYTES[self.suite]
        return [self.commitments[at : at + size] for at in range(0, len(self.commitments), size)]

    @property
    def public_key(self) -> bytes:
        """What a verifier wants."""
        return self.each_commitment[0][self.suite == "secp256k1-tr" :]

    @property
    def canonical(self) -> bytes:
        """G."""
        counts = (self.generation, self.threshold, len(self.participants))
        who = (self.vault, self.key_id, self.user, self.context_string)
        return ctx("group", *who, *counts, *self.participants, self.epoch, self.public_key, *self.each_commitment)

    @property
    def as_json(self) -> dict[str, Any]:
        """The group's JSON."""
        return {
            "v": 1,
            "vault": self.vault.hex(),
            "key": self.key_id.hex(),
            "user": self.user,
            "suite": self.context_string,
            "generation": self.generation,
            "threshold": self.threshold,
            "participants": list(self.participants),
            "epoch": self.epoch,
            "public_key": self.public_key.hex(),
            "commitments": [commitment.hex() for commitment in self.each_commitment],
        }

    def proof_message(self, offer_id: bytes, device_key: bytes) -> bytes:
        """What commits an offer."""
        return ctx("proof", self.canonical, offer_id, device_key)

    def channel_key(self, share: bytes) -> bytes:
        """What a device and the server's share of this epoch have in common."""
        key = hkdf_extract(ctx("channel"), share)
        return hkdf_expand(key, ctx("channel", self.vault, self.key_id, 1, self.epoch), 32)


def enrolment_code(claim_key: bytes, vault: bytes, key_id: bytes, salt: bytes) -> bytes:
    """The code of a salt."""
    return hkdf_expand(claim_key, ctx("code", vault, key_id, salt), 32)


def b64(content: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def header(key_id: bytes, epoch: int) -> bytes:
    """The header of a message, as bytes."""
    return b'{"alg":"HS256","kid":"%s.%d","typ":"icehouse"}' % (key_id.hex().encode(), epoch)


def payload_of(message: str, key_id: bytes, epoch: int, key: bytes) -> dict[str, Any]:
    """The payload of a message that is, to the byte, what the formats say it is."""
    head, body, mac = message.split(".")
    assert head == b64(header(key_id, epoch))
    assert mac == b64(hmac.digest(key, f"{head}.{body}".encode(), "sha256"))
    payload: dict[str, Any] = json.loads(unb64(body))
    assert b64(unb64(body)) == body
    return payload


def unwrap(root_key: bytes, wrapped: bytes, context: bytes) -> bytes:
    """What the simulated module wrapped: `01 ‖ nonce ‖ AES-256-GCM`."""
    assert wrapped[0] == 1
    assert len(wrapped) == 1 + 12 + 32 + 16
    return AESGCM(root_key).decrypt(wrapped[1:13], wrapped[13:], hashlib.sha256(context).digest())


def unseal(data_key: bytes, record: bytes, aad: bytes) -> bytes:
    """A sealed record: `01 ‖ nonce ‖ AES-256-GCM-SIV`."""
    assert record[0] == 1
    return AESGCMSIV(data_key).decrypt(record[1:13], record[13:], aad)
