"""FORMATS "Hierarchical derivation" done a second time, by someone who has the HSM's PIN and no part of icehouse.

The HMAC is asked of the token through OpenSC's `pkcs11-tool`; HKDF is `hmac` in a loop, the curves are plain integers.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tamper.attacker import CONTEXTS, ctx
from vectors.edwards import ED25519
from vectors.weierstrass import P256, SECP256K1, Weierstrass

if TYPE_CHECKING:
    from pathlib import Path

    from softhsm import SoftHsm, Token

CURVES = {"ed25519": ED25519, "secp256k1": SECP256K1, "p256": P256}
SERVER = 2


def expand(key: bytes, info: bytes, size: int, digest: str = "sha512") -> bytes:
    """RFC 5869, its second step."""
    block, made, number = b"", b"", 0
    while len(made) < size:
        number += 1
        block = hmac.digest(key, block + info + bytes([number]), digest)
        made += block
    return made[:size]


@dataclass(frozen=True)
class Path2of2:
    """What the public row of a user says."""

    user: str
    suite: str
    generation: int
    epoch: int
    offer_id: bytes

    @property
    def curve(self):
        return CURVES[self.suite]

    @property
    def order_of_bytes(self) -> str:
        return "little" if self.suite == "ed25519" else "big"


def message(vault: bytes, user: str, buckets: int) -> bytes:
    """What `master` authenticates."""
    if not buckets:
        return ctx("node/user", vault, user)
    number = int.from_bytes(hashlib.sha256(ctx("bucket", user)).digest()[:8], "big") % buckets
    return ctx("node/bucket", vault, buckets, number)


def ask_the_token(softhsm: SoftHsm, token: Token, label: str, text: bytes, place: Path) -> bytes:
    """HMAC-SHA512 under a key that never leaves the token, through a client that is not ours."""
    (place / "message").write_bytes(text)
    files = ("--input-file", str(place / "message"), "--output-file", str(place / "mac"))
    softhsm.tool(token, "--sign", "--mechanism", "SHA512-HMAC", "--label", label, *files)
    return (place / "mac").read_bytes()


def coefficients(node: bytes, path: Path2of2) -> tuple[int, int]:
    """The polynomial of an epoch."""
    whose = (path.user, CONTEXTS[path.suite], path.generation)
    infos = (
        ctx("coefficient", *whose, 0),
        ctx("coefficient", *whose, 1, path.epoch, 2, 2, path.offer_id),
    )
    first, second = (int.from_bytes(expand(node, info, 64), path.order_of_bytes) % path.curve.order for info in infos)
    return first, second


def share(node: bytes, path: Path2of2, participant: int) -> bytes:
    """A participant's share."""
    first, second = coefficients(node, path)
    return ((first + participant * second) % path.curve.order).to_bytes(32, path.order_of_bytes)


def commitments(node: bytes, path: Path2of2) -> list[bytes]:
    """The public key, and what the verifying shares follow from."""
    curve = path.curve
    base = curve.base if isinstance(curve, Weierstrass) else curve.generator
    return [curve.encode(curve.times(number, base)) for number in coefficients(node, path)]


def row_tag(node: bytes, user: str, row: bytes) -> bytes:
    """What the database keeps in the place of a sealed record."""
    return hmac.digest(expand(node, ctx("row-key", user), 32), row, "sha256")[:16]


def enrolment_code(node: bytes, vault: bytes, key_id: bytes, salt: bytes) -> bytes:
    """The code of the salt in force."""
    return expand(node, ctx("code", vault, key_id, salt), 32)


def sign_ed25519(secret: int, public_key: bytes, text: bytes) -> bytes:
    """RFC 8032's signature, with a nonce of this test's own."""
    nonce = int.from_bytes(hashlib.sha512(b"a nonce for one test" + text).digest(), "little") % ED25519.order
    commitment = ED25519.encode(ED25519.times(nonce, ED25519.generator))
    challenge = int.from_bytes(hashlib.sha512(commitment + public_key + text).digest(), "little")
    return commitment + ((nonce + challenge * secret) % ED25519.order).to_bytes(32, "little")
