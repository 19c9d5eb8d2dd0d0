"""Answers of OpenBao's transit engine: of which version they are, and what they hold."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from icehouse.errors import HsmRefusedError
from icehouse.hsm.openbao.wire import CorruptedError

VERSION = 1
"""Of each transit key only the first version is asked, whoever made others."""
PREFIX = f"vault:v{VERSION}:"
_TAGGED = re.compile(r"vault:v(?P<version>[0-9]{1,9}):(?P<content>[A-Za-z0-9+/=_-]+)")
SEALED_BYTES, PLAIN_BYTES, MAC_BYTES, SIGNATURE_BYTES = 12 + 32 + 16, 32, 64, 64


def encrypted(answer: dict[str, Any]) -> bytes:
    """Nonce, ciphertext and tag of a data key."""
    return _tagged(answer, "ciphertext", SEALED_BYTES)


def decrypted(answer: dict[str, Any]) -> bytes:
    """A data key."""
    return _whole(_field(answer, "plaintext"), "plaintext", PLAIN_BYTES)


def maced(answer: dict[str, Any]) -> bytes:
    """An HMAC-SHA512."""
    return _tagged(answer, "hmac", MAC_BYTES)


def signed(answer: dict[str, Any]) -> bytes:
    """The r || s of a signature that was asked for as a JSON Web Signature's (RFC 7518 section 3.4)."""
    return _tagged(answer, "signature", SIGNATURE_BYTES)


def encoded(content: bytes) -> str:
    """As the API takes bytes."""
    return base64.b64encode(content).decode()


def _tagged(answer: dict[str, Any], name: str, length: int) -> bytes:
    found = _TAGGED.fullmatch(_field(answer, name))
    if found is None:
        raise _strange(name)
    for told in (int(found["version"]), answer["data"].get("key_version", VERSION)):
        if told != VERSION:
            msg = f"version {VERSION} of the key was asked, and version {told} answered; the answer is not used"
            raise HsmRefusedError(msg, hint="does something between here and OpenBao change answers?")
    return _whole(found["content"], name, length)


def _field(answer: dict[str, Any], name: str) -> str:
    data = answer.get("data")
    content = data.get(name) if isinstance(data, dict) else None
    if not isinstance(content, str):
        raise _strange(name)
    return content


def _whole(text: str, name: str, length: int) -> bytes:
    try:
        # JSON Web Signatures are in the other alphabet, and unpadded.
        plain = text.replace("-", "+").replace("_", "/")
        content = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if len(content) != length:
        raise _strange(name)
    return content


def _strange(name: str) -> CorruptedError:
    return CorruptedError(f"OpenBao's {name} is not of the form it should have; it is not used")
