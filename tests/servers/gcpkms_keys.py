"""The keys behind the test server of Google Cloud KMS: crypto keys, versions, and their states."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from google.cloud.kms_v1 import types

Purpose = types.CryptoKey.CryptoKeyPurpose
Algorithm = types.CryptoKeyVersion.CryptoKeyVersionAlgorithm
State = types.CryptoKeyVersion.CryptoKeyVersionState
Level = types.ProtectionLevel
Code = grpc.StatusCode
DESTRUCTION = timedelta(days=30)
_PURPOSES = {
    Algorithm.GOOGLE_SYMMETRIC_ENCRYPTION: Purpose.ENCRYPT_DECRYPT,
    Algorithm.HMAC_SHA512: Purpose.MAC,
    Algorithm.HMAC_SHA256: Purpose.MAC,
    Algorithm.EC_SIGN_P256_SHA256: Purpose.ASYMMETRIC_SIGN,
    Algorithm.EC_SIGN_P384_SHA384: Purpose.ASYMMETRIC_SIGN,
    Algorithm.AES_256_GCM: Purpose.RAW_ENCRYPT_DECRYPT,
}


class StatusError(Exception):
    """The service says no, with a status code."""

    def __init__(self, code: grpc.StatusCode, message: str, *details: object) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


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
        self.number = "projects/415926535897"
        """The same project by its number."""
        self.disable_before_destroy = False
        """An organisation policy: a version must be disabled before it is destroyed."""
        self.primary_lag = 0
        """How many looks at a key still show the primary it had before."""
        self._stale: dict[str, list] = {}
        self._keys: dict[str, CryptoKey] = {}
        self._lock = threading.RLock()

    def by_id(self, request):
        """The request with the project's ID in place of its number, as answers have it."""
        for field_name in ("name", "parent"):
            asked = getattr(request, field_name, "")
            if asked.startswith(f"{self.number}/"):
                setattr(request, field_name, asked.replace(self.number, self.project, 1))
        return request

    def answer(self, work, request):
        """Do what was asked, alone; raises `StatusError`."""
        with self._lock:
            return work(request)

    # What an administrator does behind icehouse's back

    def plant(self, label, algorithm=Algorithm.GOOGLE_SYMMETRIC_ENCRYPTION, level=Level.HSM, import_job=""):
        """Make a key of any shape."""
        template = types.CryptoKeyVersionTemplate(algorithm=algorithm, protection_level=level)
        key = types.CryptoKey(purpose=_PURPOSES[algorithm], version_template=template)
        request = types.CreateCryptoKeyRequest(parent=self.ring, crypto_key_id=label, crypto_key=key)
        self.answer(self.create_crypto_key, request)
        version = self.version(label)
        version.told.import_job = import_job
        version.looks_until_ready = 0
        version.told.state = State.ENABLED

    def version(self, label: str, number: int = 1) -> Version:
        return self._keys[f"{self.ring}/cryptoKeys/{label}"].versions[number - 1]

    def add_version(self, label: str, *, primary: bool = False) -> None:
        """Rotate, as the service itself does on schedule."""
        name = f"{self.ring}/cryptoKeys/{label}"
        made = self.answer(self.create_crypto_key_version, types.CreateCryptoKeyVersionRequest(parent=name))
        if primary:
            number = made.name.rpartition("/")[2]
            request = types.UpdateCryptoKeyPrimaryVersionRequest(name=name, crypto_key_version_id=number)
            self.answer(self.update_crypto_key_primary_version, request)

    def finish_destruction(self, label: str) -> None:
        """Thirty days have passed."""
        for version in self._keys[f"{self.ring}/cryptoKeys/{label}"].versions:
            if version.told.state == State.DESTROY_SCHEDULED:
                version.told.state, version.key = State.DESTROYED, None

    # The service

    def get_key_ring(self, request):
        self._check_ring(request.name)
        return types.KeyRing(name=request.name)

    def list_crypto_keys(self, request):
        self._check_ring(request.parent)
        page, token = self._page(request, [key for _, key in sorted(self._keys.items())])
        return types.ListCryptoKeysResponse(crypto_keys=[self._shown(key) for key in page], next_page_token=token)

    def get_crypto_key(self, request):
        return self._shown(self.key(request.name))

    def create_crypto_key(self, request):
        self._check_ring(request.parent)
        name, template = f"{request.parent}/cryptoKeys/{request.crypto_key_id}", request.crypto_key.version_template
        if name in self._keys:
            raise StatusError(Code.ALREADY_EXISTS, f"CryptoKey {name} already exists.")
        if _PURPOSES[template.algorithm] != request.crypto_key.purpose:
            raise StatusError(Code.INVALID_ARGUMENT, "The algorithm does not fit the purpose.")
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

    def update_crypto_key_primary_version(self, request):
        key = self.key(request.name)
        if key.told.purpose != Purpose.ENCRYPT_DECRYPT:
            raise StatusError(Code.INVALID_ARGUMENT, "Only a symmetric key has a primary version.")
        name = f"{request.name}/cryptoKeyVersions/{request.crypto_key_version_id}"
        self.enabled(name)
        if self.primary_lag and key.told.primary.name:
            self._stale[request.name] = [self.primary_lag, key.told.primary.name]
        key.told.primary = types.CryptoKeyVersion(name=name)
        return self._shown(key)

    def list_crypto_key_versions(self, request):
        page, token = self._page(request, [_look(version) for version in self.key(request.parent).versions])
        return types.ListCryptoKeyVersionsResponse(crypto_key_versions=page, next_page_token=token)

    def create_crypto_key_version(self, request):
        key = self.key(request.parent)
        key.versions.append(self._new_version(key, len(key.versions) + 1))
        return key.versions[-1].told

    def update_crypto_key_version(self, request):
        assert list(request.update_mask.paths) == ["state"]
        version, wanted = self._version(request.crypto_key_version.name), request.crypto_key_version.state
        if {version.told.state, wanted} - {State.ENABLED, State.DISABLED}:
            raise StatusError(Code.FAILED_PRECONDITION, f"{version.told.name} is in state {version.told.state.name}.")
        version.told.state = wanted
        return version.told

    def destroy_crypto_key_version(self, request):
        version = self._version(request.name)
        if self.disable_before_destroy and version.told.state == State.ENABLED:
            words = "violates the organization policy constraints/cloudkms.disableBeforeDestroy."
            raise StatusError(Code.FAILED_PRECONDITION, f"{request.name} is enabled, and destroying it {words}")
        if version.told.state not in {State.ENABLED, State.DISABLED}:
            raise StatusError(Code.FAILED_PRECONDITION, f"{request.name} is in state {version.told.state.name}.")
        version.told.state = State.DESTROY_SCHEDULED
        version.told.destroy_time = datetime.now(UTC) + DESTRUCTION
        return version.told

    def _check_ring(self, name: str) -> None:
        if not name.startswith(f"{self.project}/"):
            # The real service does not tell strangers which projects exist.
            raise StatusError(Code.PERMISSION_DENIED, f"Permission denied on resource '{name}' (or it may not exist).")
        if name != self.ring:
            raise StatusError(Code.NOT_FOUND, f"KeyRing {name} not found.")

    def key(self, name: str) -> CryptoKey:
        self._check_ring(name.partition("/cryptoKeys/")[0])
        if name not in self._keys:
            raise StatusError(Code.NOT_FOUND, f"CryptoKey {name} not found.")
        return self._keys[name]

    def _version(self, name: str) -> Version:
        key, _, number = name.partition("/cryptoKeyVersions/")
        versions = self.key(key).versions
        if not 0 < int(number) <= len(versions):
            raise StatusError(Code.NOT_FOUND, f"CryptoKeyVersion {name} not found.")
        return versions[int(number) - 1]

    def enabled(self, name: str, purpose=None) -> Version:
        version, key = self._version(name), self.key(name.partition("/cryptoKeyVersions/")[0])
        if purpose not in {None, key.told.purpose}:
            raise StatusError(Code.INVALID_ARGUMENT, f"{name} has the purpose {key.told.purpose.name}.")
        if version.told.state != State.ENABLED:
            state = version.told.state.name
            raise StatusError(Code.FAILED_PRECONDITION, f"{name} is not enabled, current state is: {state}.")
        return version

    def _shown(self, key: CryptoKey):
        told = types.CryptoKey(key.told)
        left = self._stale.get(told.name)
        if left and left[0] > 0:
            left[0] -= 1
            told.primary = _look(self._version(left[1]))
        elif told.primary.name:
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
