"""What an attacker brings along: FORMATS read by hand, with nothing of icehouse's but its public bytes.

Everything here is written a second time, with pyca's primitives, so that it also holds the core to FORMATS.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from icehouse._core import DeviceState, Passphrase

if TYPE_CHECKING:
    from icehouse.model import Key, StandingOffer

CONTEXTS = {
    "ed25519": "FROST-ED25519-SHA512-v1",
    "secp256k1": "FROST-secp256k1-SHA256-v1",
    "p256": "FROST-P256-SHA256-v1",
}
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
WORD = "horse"


# Building blocks


def ctx(kind: str, *fields: str | bytes | int) -> bytes:
    """FORMATS "Building blocks"."""
    parts = [b"icehouse/v1/" + kind.encode()]
    for field in fields:
        match field:
            case int():
                parts.append(struct.pack(">Q", field))
            case str():
                parts.append(field.encode())
            case _:
                parts.append(field)
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# Messages


def header(key_id: bytes, epoch: int | str) -> bytes:
    """The exact bytes of a message's header."""
    return f'{{"alg":"HS256","kid":"{key_id.hex()}.{epoch}","typ":"icehouse"}}'.encode()


def signed(mac_key: bytes, head: bytes, payload: bytes) -> str:
    """A JWS in compact form."""
    text = f"{b64(head)}.{b64(payload)}"
    return f"{text}.{b64(hmac.digest(mac_key, text.encode(), 'sha256'))}"


def message(mac_key: bytes, key_id: bytes, epoch: int, payload: dict[str, Any] | list[Any] | bytes) -> str:
    """A message, or an answer, that is authenticated and says whatever it likes."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return signed(mac_key, header(key_id, epoch), raw)


def payload_of(compact: str) -> dict[str, Any]:
    """What a message or an answer says, authenticated or not."""
    text = compact if compact.startswith("{") else unb64(compact.split(".")[1])
    return json.loads(text)


def reason_of(answer: str) -> str:
    """`bare:REASON` or `REASON` for a refusal, else the answer's type."""
    said = payload_of(answer)
    if said["type"] != "refused":
        return str(said["type"])
    return f"bare:{said['reason']}" if answer.startswith("{") else str(said["reason"])


# Secrets


def open_age(file: bytes, passphrase: str) -> bytes:
    """An age v1 file under a passphrase: <https://age-encryption.org/v1>."""
    head, _, rest = file.partition(b"\n---")
    version, stanza, body = head.split(b"\n")
    assert version == b"age-encryption.org/v1"
    _, kind, salt, factor = stanza.split(b" ")
    assert kind == b"scrypt"
    salt, body = (base64.b64decode(part + b"=" * (-len(part) % 4)) for part in (salt, body))
    kdf = Scrypt(salt=b"age-encryption.org/v1/scrypt" + salt, length=32, n=1 << int(factor), r=8, p=1)
    file_key = ChaCha20Poly1305(kdf.derive(passphrase.encode())).decrypt(bytes(12), body, None)
    sealed = rest.partition(b"\n")[2]
    nonce, chunks = sealed[:16], sealed[16:]
    key = HKDF(hashes.SHA256(), 32, nonce, b"payload").derive(file_key)
    plain, size = b"", 65536 + 16
    count = max(1, -(-len(chunks) // size))
    for number in range(count):
        last = number == count - 1
        chunk = chunks[number * size : (number + 1) * size]
        plain += ChaCha20Poly1305(key).decrypt(number.to_bytes(11, "big") + bytes([last]), chunk, None)
    return plain


def inside(state: DeviceState) -> dict[str, Any]:
    """Everything a device holds, as its thief would read it."""
    plain: dict[str, Any] = json.loads(open_age(state.to_file(Passphrase(WORD), 1), WORD))
    return plain


def channel_of(state: DeviceState, epoch: str = "current") -> bytes:
    """The channel key of the current or the pending epoch."""
    held = inside(state)[epoch]
    return bytes.fromhex((held["epoch"] if epoch == "pending" else held)["channel_key"])


def enrolment_code(claim_key: bytes, key: Key) -> bytes:
    """FORMATS "Sealed records": the code of the salt in force."""
    assert key.salt is not None
    return HKDFExpand(hashes.SHA256(), 32, ctx("code", key.vault, key.key_id, key.salt)).derive(claim_key)


def channel_key(share: bytes, vault: bytes, key_id: bytes, epoch: int) -> bytes:
    """FORMATS "Messages": what the server's share and a device have in common."""
    info = ctx("channel", vault, key_id, 1, epoch)
    return HKDF(hashes.SHA256(), 32, ctx("channel"), info).derive(share)


def row_context(key: Key, role: str, data_key: int, participant: int, offer: StandingOffer | None = None) -> bytes:
    """The associated data of a sealed record."""
    size = len(key.commitments) // 2
    halves = [key.commitments[:size], key.commitments[size:]]
    facts = [key.vault, key.key_id, key.user, CONTEXTS[key.suite], key.generation, 2, 2, key.user, "server", key.epoch]
    standing = key.offer.offer_id if key.offer else b""
    rest = [key.next_epoch, str(key.state), key.origin, int(key.attested), *halves]
    codes = [key.salt or b"", key.offer_id or b"", standing]
    pending: list[str | bytes | int] = []
    if offer is not None:
        offered = [offer.commitments[:size], offer.commitments[size:]]
        digest = hashlib.sha256(offer.payload).digest()
        pending = [offer.epoch, *offered, offer.offer_id, offer.device_key, offer.expires, digest]
    return ctx("row", role, *facts, *rest, *codes, data_key, participant, *pending)


def open_record(data_key: bytes, record: bytes, context: bytes) -> bytes:
    """A sealed record's scalar."""
    assert record[0] == 1
    return AESGCMSIV(data_key).decrypt(record[1:13], record[13:], context)


# Offers


class Hpke:
    """RFC 9180 in PSK mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, one shot."""

    KEM = b"KEM" + struct.pack(">H", 0x20)
    SUITE = b"HPKE" + struct.pack(">HHH", 0x20, 1, 2)

    @staticmethod
    def extract(salt: bytes, suite: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")

    @staticmethod
    def expand(prk: bytes, suite: bytes, label: bytes, info: bytes, size: int) -> bytes:
        labelled = struct.pack(">H", size) + b"HPKE-v1" + suite + label + info
        return HKDFExpand(hashes.SHA256(), size, labelled).derive(prk)

    @classmethod
    def _key(cls, shared: bytes, both: bytes, psk: bytes, psk_id: bytes) -> tuple[AESGCM, bytes]:
        prk = cls.extract(b"", cls.KEM, b"eae_prk", shared)
        secret = cls.expand(prk, cls.KEM, b"shared_secret", both, 32)
        hashed = cls.extract(b"", cls.SUITE, b"psk_id_hash", psk_id)
        info = cls.extract(b"", cls.SUITE, b"info_hash", ctx("offer"))
        schedule = b"\x01" + hashed + info
        secret = cls.extract(secret, cls.SUITE, b"secret", psk)
        key = cls.expand(secret, cls.SUITE, b"key", schedule, 32)
        return AESGCM(key), cls.expand(secret, cls.SUITE, b"base_nonce", schedule, 12)

    @classmethod
    def seal(cls, to: bytes, psk: bytes, psk_id: bytes, aad: bytes, plain: bytes) -> tuple[bytes, bytes]:
        own = X25519PrivateKey.generate()
        enc = own.public_key().public_bytes_raw()
        key, nonce = cls._key(own.exchange(X25519PublicKey.from_public_bytes(to)), enc + to, psk, psk_id)
        return enc, key.encrypt(nonce, plain, aad)

    @classmethod
    def open(cls, own: X25519PrivateKey, enc: bytes, psk: bytes, psk_id: bytes, aad: bytes, sealed: bytes) -> bytes:
        to = own.public_key().public_bytes_raw()
        shared = own.exchange(X25519PublicKey.from_public_bytes(enc))
        key, nonce = cls._key(shared, enc + to, psk, psk_id)
        return key.decrypt(nonce, sealed, aad)


def canonical(group: dict[str, Any]) -> bytes:
    """`G` of FORMATS "Group"."""
    ids = [bytes.fromhex(group["vault"]), bytes.fromhex(group["key"])]
    shape = [group["user"], group["suite"], group["generation"], group["threshold"], len(group["participants"])]
    elements = [bytes.fromhex(group["public_key"]), *map(bytes.fromhex, group["commitments"])]
    return ctx("group", *ids, *shape, *group["participants"], group["epoch"], *elements)


def offer_context(offer: dict[str, Any], device_key: bytes, participant: int = 1) -> bytes:
    """The associated data of an offer's sealed half."""
    binding = [canonical(offer["group"]), offer["kind"], participant, device_key, bytes.fromhex(offer["offer_id"])]
    return ctx("offer", *binding)


def open_offer(offer: dict[str, Any], own: X25519PrivateKey, psk: bytes, kid: str) -> bytes:
    """The device's half, for whoever has the X25519 key and the PSK."""
    context = offer_context(offer, own.public_key().public_bytes_raw())
    enc, sealed = bytes.fromhex(offer["enc"]), bytes.fromhex(offer["sealed"])
    return Hpke.open(own, enc, psk, kid.encode(), context, sealed)


def seal_offer(offer: dict[str, Any], to: bytes, psk: bytes, kid: str, plain: bytes) -> dict[str, Any]:
    """An offer whose half is sealed to this device key, as good as the vault's own."""
    enc, sealed = Hpke.seal(to, psk, kid.encode(), offer_context(offer, to), plain)
    return {**offer, "enc": enc.hex(), "sealed": sealed.hex()}


def times_base(scalar: int) -> bytes:
    """`scalar · B` of Ed25519 by the textbook."""
    p, d = 2**255 - 19, -121665 * pow(121666, -1, 2**255 - 19)

    def add(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
        (x1, y1), (x2, y2) = one, two
        k = d * x1 * x2 * y1 * y2
        return (x1 * y2 + x2 * y1) * pow(1 + k, -1, p) % p, (y1 * y2 + x1 * x2) * pow(1 - k, -1, p) % p

    y = 4 * pow(5, -1, p) % p
    x = 15112221349535400772501151409588531511454012693041857206046113283949847762202
    total, power = (0, 1), (x, y)
    while scalar:
        if scalar & 1:
            total = add(total, power)
        power, scalar = add(power, power), scalar >> 1
    return (total[1] | (total[0] & 1) << 255).to_bytes(32, "little")
