"""What the keys of the test server compute: encryption, MACs and signatures by pyca/cryptography."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.cloud.kms_v1 import types

from servers.gcpkms_keys import Algorithm, Code, Purpose, StatusError

if TYPE_CHECKING:
    from servers.gcpkms_keys import Keys

_MAX_PLAINTEXT_AND_AAD = 8192
_MAX_DATA = 65_536


def encrypt(keys: Keys, request):
    name = request.name
    if "/cryptoKeyVersions/" not in name:
        name = keys.key(name).told.primary.name
    _check(request.plaintext, request.plaintext_crc32c, "plaintext")
    _check(request.additional_authenticated_data, request.additional_authenticated_data_crc32c, "AAD")
    if len(request.plaintext) + len(request.additional_authenticated_data) > _MAX_PLAINTEXT_AND_AAD:
        raise StatusError(Code.INVALID_ARGUMENT, "Plaintext and AAD are too long.")
    version, nonce = keys.enabled(name, Purpose.ENCRYPT_DECRYPT), os.urandom(12)
    number = int(name.rpartition("/")[2]).to_bytes(4, "big")
    sealed = AESGCM(version.key).encrypt(nonce, request.plaintext, request.additional_authenticated_data)
    ciphertext = b"\x0a\x24\x00" + number + nonce + sealed
    return types.EncryptResponse(
        name=name,
        ciphertext=ciphertext,
        ciphertext_crc32c=crc32c_of(ciphertext),
        verified_plaintext_crc32c=True,
        verified_additional_authenticated_data_crc32c=True,
        protection_level=version.told.protection_level,
    )


def decrypt(keys: Keys, request):
    key = keys.key(request.name)
    _check(request.ciphertext, request.ciphertext_crc32c, "ciphertext")
    _check(request.additional_authenticated_data, request.additional_authenticated_data_crc32c, "AAD")
    invalid = StatusError(Code.INVALID_ARGUMENT, "Decryption failed: the ciphertext is invalid.")
    head, number, rest = request.ciphertext[:3], request.ciphertext[3:7], request.ciphertext[7:]
    index = int.from_bytes(number, "big")
    if head != b"\x0a\x24\x00" or not 0 < index <= len(key.versions):
        raise invalid
    name = f"{request.name}/cryptoKeyVersions/{index}"
    version = keys.enabled(name, Purpose.ENCRYPT_DECRYPT)
    try:
        plaintext = AESGCM(version.key).decrypt(rest[:12], rest[12:], request.additional_authenticated_data)
    except (InvalidTag, ValueError):
        raise invalid from None
    return types.DecryptResponse(
        plaintext=plaintext,
        plaintext_crc32c=crc32c_of(plaintext),
        used_primary=key.told.primary.name == name,
        protection_level=version.told.protection_level,
    )


def mac_sign(keys: Keys, request):
    _check(request.data, request.data_crc32c, "data")
    if len(request.data) > _MAX_DATA:
        raise StatusError(Code.INVALID_ARGUMENT, "The data is too long.")
    version = keys.enabled(request.name, Purpose.MAC)
    digest = hashes.SHA512() if version.told.algorithm == Algorithm.HMAC_SHA512 else hashes.SHA256()
    signer = hmac.HMAC(version.key, digest)
    signer.update(request.data)
    mac = signer.finalize()
    return types.MacSignResponse(
        name=request.name,
        mac=mac,
        mac_crc32c=crc32c_of(mac),
        verified_data_crc32c=True,
        protection_level=version.told.protection_level,
    )


def asymmetric_sign(keys: Keys, request):
    _check(request.digest.sha256, request.digest_crc32c, "digest")
    version = keys.enabled(request.name, Purpose.ASYMMETRIC_SIGN)
    signature = version.key.sign(request.digest.sha256, ec.ECDSA(Prehashed(hashes.SHA256())))
    return types.AsymmetricSignResponse(
        name=request.name,
        signature=signature,
        signature_crc32c=crc32c_of(signature),
        verified_digest_crc32c=True,
        protection_level=version.told.protection_level,
    )


def get_public_key(keys: Keys, request):
    version = keys.enabled(request.name, Purpose.ASYMMETRIC_SIGN)
    pem = version.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return types.PublicKey(
        name=request.name,
        pem=pem.decode(),
        pem_crc32c=crc32c_of(pem),
        algorithm=version.told.algorithm,
        protection_level=version.told.protection_level,
    )


def _check(content: bytes, checksum: int | None, what: str) -> None:
    if checksum is None:
        raise StatusError(Code.INVALID_ARGUMENT, f"icehouse sends a checksum with its {what}, and this had none.")
    if checksum != crc32c_of(content):
        raise StatusError(Code.INVALID_ARGUMENT, f"The checksum in field {what}_crc32c did not match the data.")


def crc32c_of(content: bytes) -> int:
    """CRC-32C bit by bit: written apart from the code under test, so that the two check each other."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF
