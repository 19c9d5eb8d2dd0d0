"""The keys behind the test server of Google Cloud KMS: crypto keys, versions, their states, and what they compute."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import grpc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.cloud.kms_v1 import types

Purpose = types.CryptoKey.CryptoKeyPurpose
Algorithm = types.CryptoKeyVersion.CryptoKeyVersionAlgorithm
State = types.CryptoKeyVersion.CryptoKeyVersionState
Level = types.ProtectionLevel
Code = grpc.StatusCode
DESTRUCTION = timedelta(days=30)
_MAX_PLAINTEXT_AND_AAD = 8192
_MAX_DATA = 65_536
_PURPOSES = {
    Algorithm.GOOGLE_SYMMETRIC_ENCRYPTION: Purpose.ENCRYPT_DECRYPT,
    Algorithm.HMAC_SHA512: Purpose.MAC,
    Algorithm.HMAC_SHA256: Purpose.MAC,
    Algorithm.EC_SIGN_P256_SHA256: Purpose.ASYMMETRIC_SIGN,
    Algorithm.EC_SIGN_P384_SHA384: Purpose.ASYMMETRIC_SIGN,
    Algorithm.AES_256_GCM: Purpose.RAW_ENCRYPT_DECRYPT,
}


class Refused(Exception):
    """The service says no, with a status code."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Version:
    """One version: what the service tells of it, and its key, which it never tells."""

    told: types.CryptoKeyVersion
    key: object
    looks_until_ready: int = 0


@dataclass
class CryptoKey:
    told: types.CryptoKey
    versions: list[Version] = field(default_factory=list)


class Keys:
    """One key ring. Operations are under one lock, as a database would have them."""

    def __init__(self, project: str, location: str, ring: str) -> None:
        self.project = f"projects/{project}"
        self.ring = f"{self.project}/locations/{location}/keyRings/{ring}"
        self.generation_looks = 1
        """How often a new signing key says that it is still being generated."""
        self.page_size = 3
        """At most this many in one page, whatever is asked for."""
        self._keys: dict[str, CryptoKey] = {}
        self._lock = threading.RLock()

    def answer(self, method: str, request):
        """What the service answers; raises `Refused`."""
        with self._lock:
            return getattr(self, f"_{method}")(request)

    # What an administrator does behind icehouse's back

    def plant(self, label, algorithm=Algorithm.GOOGLE_SYMMETRIC_ENCRYPTION, level=Level.HSM, import_job=""):
        """Make a key of any shape."""
        template = types.CryptoKeyVersionTemplate(algorithm=algorithm, protection_level=level)
        key = types.CryptoKey(purpose=_PURPOSES[algorithm], version_template=template)
        request = types.CreateCryptoKeyRequest(parent=self.ring, crypto_key_id=label, crypto_key=key)
        self.answer("CreateCryptoKey", request)
        version = self.version(label)
        version.told.import_job = import_job
        version.looks_until_ready = 0
        version.told.state = State.ENABLED

    def version(self, label: str, number: int = 1) -> Version:
        return self._keys[f"{self.ring}/cryptoKeys/{label}"].versions[number - 1]

    def add_version(self, label: str, *, primary: bool = False) -> None:
        """Rotate, as the service itself does on schedule."""
        name = f"{self.ring}/cryptoKeys/{label}"
        made = self.answer("CreateCryptoKeyVersion", types.CreateCryptoKeyVersionRequest(parent=name))
        if primary:
            number = made.name.rpartition("/")[2]
            request = types.UpdateCryptoKeyPrimaryVersionRequest(name=name, crypto_key_version_id=number)
            self.answer("UpdateCryptoKeyPrimaryVersion", request)

    def finish_destruction(self, label: str) -> None:
        """Thirty days have passed."""
        for version in self._keys[f"{self.ring}/cryptoKeys/{label}"].versions:
            if version.told.state == State.DESTROY_SCHEDULED:
                version.told.state, version.key = State.DESTROYED, None

    # The service

    def _GetKeyRing(self, request):
        self._check_ring(request.name)
        return types.KeyRing(name=request.name)

    def _ListCryptoKeys(self, request):
        self._check_ring(request.parent)
        page, token = self._page(request, [self._shown(key) for _, key in sorted(self._keys.items())])
        return types.ListCryptoKeysResponse(crypto_keys=page, next_page_token=token)

    def _GetCryptoKey(self, request):
        return self._shown(self._key(request.name))

    def _CreateCryptoKey(self, request):
        self._check_ring(request.parent)
        name, template = f"{request.parent}/cryptoKeys/{request.crypto_key_id}", request.crypto_key.version_template
        if name in self._keys:
            raise Refused(Code.ALREADY_EXISTS, f"CryptoKey {name} already exists.")
        if _PURPOSES[template.algorithm] != request.crypto_key.purpose:
            raise Refused(Code.INVALID_ARGUMENT, "The algorithm does not fit the purpose.")
        told = types.CryptoKey(
            name=name,
            purpose=request.crypto_key.purpose,
            version_template=template,
            labels=dict(request.crypto_key.labels),
            destroy_scheduled_duration=DESTRUCTION,
        )
        key = self._keys[name] = CryptoKey(told)
        key.versions.append(self._new_version(key, 1))
        if told.purpose == Purpose.ENCRYPT_DECRYPT:
            told.primary = types.CryptoKeyVersion(name=f"{name}/cryptoKeyVersions/1")
        return self._shown(key)

    def _UpdateCryptoKeyPrimaryVersion(self, request):
        key = self._key(request.name)
        if key.told.purpose != Purpose.ENCRYPT_DECRYPT:
            raise Refused(Code.INVALID_ARGUMENT, "Only a symmetric key has a primary version.")
        name = f"{request.name}/cryptoKeyVersions/{request.crypto_key_version_id}"
        self._enabled(name)
        key.told.primary = types.CryptoKeyVersion(name=name)
        return self._shown(key)

    def _ListCryptoKeyVersions(self, request):
        page, token = self._page(request, [_look(version) for version in self._key(request.parent).versions])
        return types.ListCryptoKeyVersionsResponse(crypto_key_versions=page, next_page_token=token)

    def _CreateCryptoKeyVersion(self, request):
        key = self._key(request.parent)
        key.versions.append(self._new_version(key, len(key.versions) + 1))
        return key.versions[-1].told

    def _DestroyCryptoKeyVersion(self, request):
        version = self._version(request.name)
        if version.told.state not in {State.ENABLED, State.DISABLED}:
            raise Refused(Code.FAILED_PRECONDITION, f"{request.name} is in state {version.told.state.name}.")
        version.told.state = State.DESTROY_SCHEDULED
        version.told.destroy_time = datetime.now(UTC) + DESTRUCTION
        return version.told

    def _Encrypt(self, request):
        name = request.name
        if "/cryptoKeyVersions/" not in name:
            name = self._key(name).told.primary.name
        _check(request.plaintext, request.plaintext_crc32c, "plaintext")
        _check(request.additional_authenticated_data, request.additional_authenticated_data_crc32c, "AAD")
        if len(request.plaintext) + len(request.additional_authenticated_data) > _MAX_PLAINTEXT_AND_AAD:
            raise Refused(Code.INVALID_ARGUMENT, "Plaintext and AAD are too long.")
        version, nonce = self._enabled(name, Purpose.ENCRYPT_DECRYPT), os.urandom(12)
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

    def _Decrypt(self, request):
        key = self._key(request.name)
        _check(request.ciphertext, request.ciphertext_crc32c, "ciphertext")
        _check(request.additional_authenticated_data, request.additional_authenticated_data_crc32c, "AAD")
        invalid = Refused(Code.INVALID_ARGUMENT, "Decryption failed: the ciphertext is invalid.")
        head, number, rest = request.ciphertext[:3], request.ciphertext[3:7], request.ciphertext[7:]
        index = int.from_bytes(number, "big")
        if head != b"\x0a\x24\x00" or not 0 < index <= len(key.versions):
            raise invalid
        name = f"{request.name}/cryptoKeyVersions/{index}"
        version = self._enabled(name, Purpose.ENCRYPT_DECRYPT)
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

    def _MacSign(self, request):
        _check(request.data, request.data_crc32c, "data")
        if len(request.data) > _MAX_DATA:
            raise Refused(Code.INVALID_ARGUMENT, "The data is too long.")
        version = self._enabled(request.name, Purpose.MAC)
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

    def _AsymmetricSign(self, request):
        _check(request.digest.sha256, request.digest_crc32c, "digest")
        version = self._enabled(request.name, Purpose.ASYMMETRIC_SIGN)
        signature = version.key.sign(request.digest.sha256, ec.ECDSA(Prehashed(hashes.SHA256())))
        return types.AsymmetricSignResponse(
            name=request.name,
            signature=signature,
            signature_crc32c=crc32c_of(signature),
            verified_digest_crc32c=True,
            protection_level=version.told.protection_level,
        )

    def _GetPublicKey(self, request):
        version = self._enabled(request.name, Purpose.ASYMMETRIC_SIGN)
        pem = version.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return types.PublicKey(
            name=request.name,
            pem=pem.decode(),
            pem_crc32c=crc32c_of(pem),
            algorithm=version.told.algorithm,
            protection_level=version.told.protection_level,
        )

    def _check_ring(self, name: str) -> None:
        if not name.startswith(f"{self.project}/"):
            # The real service does not tell strangers which projects exist.
            raise Refused(Code.PERMISSION_DENIED, f"Permission denied on resource '{name}' (or it may not exist).")
        if name != self.ring:
            raise Refused(Code.NOT_FOUND, f"KeyRing {name} not found.")

    def _key(self, name: str) -> CryptoKey:
        self._check_ring(name.partition("/cryptoKeys/")[0])
        if name not in self._keys:
            raise Refused(Code.NOT_FOUND, f"CryptoKey {name} not found.")
        return self._keys[name]

    def _version(self, name: str) -> Version:
        key, _, number = name.partition("/cryptoKeyVersions/")
        versions = self._key(key).versions
        if not 0 < int(number) <= len(versions):
            raise Refused(Code.NOT_FOUND, f"CryptoKeyVersion {name} not found.")
        return versions[int(number) - 1]

    def _enabled(self, name: str, purpose=None) -> Version:
        version, key = self._version(name), self._key(name.partition("/cryptoKeyVersions/")[0])
        if purpose not in {None, key.told.purpose}:
            raise Refused(Code.INVALID_ARGUMENT, f"{name} has the purpose {key.told.purpose.name}.")
        if version.told.state != State.ENABLED:
            state = version.told.state.name
            raise Refused(Code.FAILED_PRECONDITION, f"{name} is not enabled, current state is: {state}.")
        return version

    def _shown(self, key: CryptoKey):
        told = types.CryptoKey(key.told)
        if told.primary.name:
            told.primary = _look(self._version(told.primary.name))
        return told

    def _new_version(self, key: CryptoKey, number: int) -> Version:
        template = key.told.version_template
        signs = key.told.purpose == Purpose.ASYMMETRIC_SIGN
        told = types.CryptoKeyVersion(
            name=f"{key.told.name}/cryptoKeyVersions/{number}",
            state=State.PENDING_GENERATION if signs and self.generation_looks else State.ENABLED,
            protection_level=template.protection_level,
            algorithm=template.algorithm,
        )
        curve = ec.SECP384R1() if template.algorithm == Algorithm.EC_SIGN_P384_SHA384 else ec.SECP256R1()
        secret = ec.generate_private_key(curve) if signs else os.urandom(64 if key.told.purpose == Purpose.MAC else 32)
        return Version(told, secret, self.generation_looks if signs else 0)

    def _page(self, request, items):
        start = int(request.page_token or 0)
        size = min(self.page_size, request.page_size or self.page_size)
        rest = start + size < len(items)
        return items[start : start + size], str(start + size) if rest else ""


def _look(version: Version):
    """A version as it is told; each look brings one that is being generated nearer to its end."""
    told = types.CryptoKeyVersion(version.told)
    if version.looks_until_ready:
        version.looks_until_ready -= 1
        if not version.looks_until_ready:
            version.told.state = State.ENABLED
    return told


def _check(content: bytes, checksum: int | None, what: str) -> None:
    if checksum is None:
        raise Refused(Code.INVALID_ARGUMENT, f"icehouse sends a checksum with its {what}, and this had none.")
    if checksum != crc32c_of(content):
        raise Refused(Code.INVALID_ARGUMENT, f"The checksum in field {what}_crc32c did not match the data.")


def crc32c_of(content: bytes) -> int:
    """CRC-32C bit by bit: written apart from the code under test, so that the two check each other."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF
