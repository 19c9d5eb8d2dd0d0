"""age v1 files under a passphrase, by hand (https://age-encryption.org/v1)."""

from __future__ import annotations

import hmac
from base64 import b64decode
from hashlib import scrypt

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from frozen.formats import hkdf_expand, hkdf_extract

_CHUNK = (64 << 10) + 16


def _unb64(text: bytes) -> bytes:
    return b64decode(text + b"=" * (-len(text) % 4))


def open_age(file: bytes, passphrase: str) -> bytes:
    """The plaintext of a file with one scrypt recipient."""
    head, _, rest = file.partition(b"\n--- ")
    version, stanza, body = head.split(b"\n")
    mac, _, payload = rest.partition(b"\n")
    assert version == b"age-encryption.org/v1"
    arrow, kind, salt, factor = stanza.split(b" ")
    assert (arrow, kind) == (b"->", b"scrypt")
    salted = b"age-encryption.org/v1/scrypt" + _unb64(salt)
    work = 1 << int(factor)
    wrapping = scrypt(passphrase.encode(), salt=salted, n=work, r=8, p=1, maxmem=256 * work * 8, dklen=32)
    file_key = ChaCha20Poly1305(wrapping).decrypt(bytes(12), _unb64(body), None)
    mac_key = hkdf_expand(hkdf_extract(bytes(32), file_key), b"header", 32)
    assert _unb64(mac) == hmac.digest(mac_key, head + b"\n---", "sha256")
    return _stream(hkdf_expand(hkdf_extract(payload[:16], file_key), b"payload", 32), payload[16:])


def _stream(key: bytes, sealed: bytes) -> bytes:
    cipher, plain = ChaCha20Poly1305(key), b""
    chunks = [sealed[at : at + _CHUNK] for at in range(0, len(sealed), _CHUNK)]
    for number, chunk in enumerate(chunks):
        nonce = number.to_bytes(11, "big") + bytes([number == len(chunks) - 1])
        plain += cipher.decrypt(nonce, chunk, None)
    return plain
