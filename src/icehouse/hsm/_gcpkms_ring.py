"""Keys in a key ring of Google Cloud KMS: one crypto key for each label (ADR 0020), looked at before it is trusted."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm._gcpkms_wire import RIGHTS, ExistsError, NotThereError, NotUsableError
from icehouse.hsm._hsm import HsmKey, KeyKind, is_label

# After the wire, which knows what to say when Google's client is not installed.
from google.cloud.kms_v1 import types  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from icehouse.hsm._deadline import Deadline
    from icehouse.hsm._gcpkms_wire import Wire

_Purpose = types.CryptoKey.CryptoKeyPurpose
_Algorithm = types.CryptoKeyVersion.CryptoKeyVersionAlgorithm
_State = types.CryptoKeyVersion.CryptoKeyVersionState
HSM = types.ProtectionLevel.HSM
_MARK = "icehouse-made"
_GENERATION_PAUSE = 0.2
_DEAD = frozenset({_State.DESTROY_SCHEDULED, _State.DESTROYED})
_ALIVE = frozenset(_State) - _DEAD - {_State.CRYPTO_KEY_VERSION_STATE_UNSPECIFIED}
_ENABLE = "enable it: 'gcloud kms keys versions enable'; that takes the permission cloudkms.cryptoKeyVersions.update"
_MAKE_ANEW = "let icehouse make its keys, and rewrap under a new one"


@dataclass(frozen=True, slots=True)
class _Shape:
    purpose: Any
    algorithm: Any


SHAPES = {
    KeyKind.AES: _Shape(_Purpose.ENCRYPT_DECRYPT, _Algorithm.GOOGLE_SYMMETRIC_ENCRYPTION),
    KeyKind.HMAC: _Shape(_Purpose.MAC, _Algorithm.HMAC_SHA512),
    KeyKind.ECDSA: _Shape(_Purpose.ASYMMETRIC_SIGN, _Algorithm.EC_SIGN_P256_SHA256),
}
_KINDS = {shape.purpose: kind for kind, shape in SHAPES.items()}


class Ring:
    """The keys of one ring, for the length of one operation."""

    __slots__ = ("_deadline", "_path", "_wire")

    def __init__(self, wire: Wire, path: str, deadline: Deadline) -> None:
        self._wire = wire
        self._path = path
        self._deadline = deadline

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys that are not on their way to destruction, disabled ones too; foreign ones are passed over."""
        request = types.ListCryptoKeysRequest(parent=self._path, page_size=1000)
        found = []
        for crypto_key in self._listed("list_crypto_keys", request, "crypto_keys"):
            label, kind = crypto_key.name.rpartition("/")[2], _KINDS.get(crypto_key.purpose)
            if label.startswith(prefix) and is_label(label) and kind and self._lives(crypto_key):
                found.append(HsmKey(label, kind))
        return sorted(found, key=lambda key: key.label)

    def usable(self, key: HsmKey) -> str:
        """The resource name of the version that serves; refused unless everything about it is as icehouse made it."""
        while True:
            version = self._serving(self._of_kind(key), key.label)
            if version.state != _State.PENDING_GENERATION:
                break
            if not self._deadline.pause(_GENERATION_PAUSE):
                msg = f"the key labelled {key.label!r} is still being generated"
                raise HsmUnavailableError(msg)
        _check(version, SHAPES[key.kind], key.label)
        return str(version.name)

    def create(self, key: HsmKey) -> None:
        """Make a crypto key; where one of this label was destroyed, a new version of it, since names stay for ever."""
        shape, mark = SHAPES[key.kind], secrets.token_hex(16)
        crypto_key = types.CryptoKey(
            purpose=shape.purpose,
            version_template=types.CryptoKeyVersionTemplate(algorithm=shape.algorithm, protection_level=HSM),
            labels={_MARK: mark},
        )
        request = types.CreateCryptoKeyRequest(parent=self._path, crypto_key_id=key.label, crypto_key=crypto_key)
        try:
            self._wire.call("create_crypto_key", request, self._deadline)
        except ExistsError:
            found = self._crypto_key(key.label)
            # The mark tells a key of another's from one whose answer got lost on the way here.
            if found.labels.get(_MARK) != mark:
                self._revive(found, key)
        self.usable(key)

    def destroy(self, key: HsmKey) -> datetime | None:
        """Schedule every version for destruction; until when the last of them can be restored."""
        self._of_kind(key)
        ends = []
        for version in self._live(key.label):
            request = types.DestroyCryptoKeyVersionRequest(name=version.name)
            try:
                told = self._wire.call("destroy_crypto_key_version", request, self._deadline)
            except NotUsableError:
                # The answer of an earlier try got lost, or another was faster.
                told = next(same for same in self._versions(key.label) if same.name == version.name)
                if told.state in _ALIVE:
                    raise
            ends.append(told.destroy_time)
        return max((end for end in ends if end is not None), default=None)

    def disabled(self, label: str) -> bool:
        """Whether a version of the key is disabled, so that what it wrapped opens once it is enabled again."""
        return any(version.state == _State.DISABLED for version in self._versions(label))

    def _of_kind(self, key: HsmKey) -> Any:  # noqa: ANN401
        try:
            crypto_key = self._crypto_key(key.label)
        except NotThereError:
            raise _missing(key.label) from None
        if not self._lives(crypto_key):
            raise _missing(key.label)
        found = _KINDS.get(crypto_key.purpose)
        if found is None:
            msg = f"the key labelled {key.label!r} must not be trusted: its purpose is {crypto_key.purpose.name}"
            raise HsmRefusedError(msg, hint=_MAKE_ANEW)
        if found is not key.kind:
            msg = f"the key labelled {key.label!r} is of kind {found}; this operation needs kind {key.kind}"
            raise HsmRefusedError(msg)
        return crypto_key

    def _serving(self, crypto_key: Any, label: str) -> Any:  # noqa: ANN401
        """The primary of an AES key, which the service itself may have rotated; of others the only version alive."""
        if crypto_key.purpose == _Purpose.ENCRYPT_DECRYPT:
            return crypto_key.primary
        live = self._live(label)
        if len(live) != 1:
            msg = f"{len(live)} versions of the key labelled {label!r} are alive; exactly one must be"
            raise HsmRefusedError(msg, hint="disable does not help: destroy those that icehouse did not make")
        return live[0]

    def _lives(self, crypto_key: Any) -> bool:  # noqa: ANN401
        if crypto_key.purpose == _Purpose.ENCRYPT_DECRYPT:
            # Without a living primary nothing can be wrapped; and no further call is needed to know.
            return crypto_key.primary.state in _ALIVE
        return bool(self._live(crypto_key.name.rpartition("/")[2]))

    def _revive(self, crypto_key: Any, key: HsmKey) -> None:  # noqa: ANN401
        if self._lives(crypto_key):
            raise _taken(key.label)
        _check_template(crypto_key, SHAPES[key.kind], key.label)
        # A version that is alive and not primary is what an interrupted revival left.
        names = [str(version.name) for version in self._live(key.label)]
        made = names[0] if names else self._new_version(crypto_key.name, key.label)
        if key.kind is KeyKind.AES:
            request = types.UpdateCryptoKeyPrimaryVersionRequest(
                name=crypto_key.name, crypto_key_version_id=made.rpartition("/")[2]
            )
            self._wire.call("update_crypto_key_primary_version", request, self._deadline)

    def _new_version(self, name: str, label: str) -> str:
        request = types.CreateCryptoKeyVersionRequest(parent=name)
        while True:
            try:
                made = self._wire.call("create_crypto_key_version", request, self._deadline, repeat=False)
            except HsmUnavailableError:
                # Repeated blindly, a lost answer would leave two versions.
                for version in self._live(label):
                    return str(version.name)
                if not self._deadline.pause(_GENERATION_PAUSE):
                    raise
            else:
                return str(made.name)

    def _crypto_key(self, label: str) -> Any:  # noqa: ANN401
        request = types.GetCryptoKeyRequest(name=f"{self._path}/cryptoKeys/{label}")
        found = self._wire.call("get_crypto_key", request, self._deadline)
        if found.name != request.name:
            msg = f"asked for {request.name}, Google Cloud KMS answered about {found.name}"
            raise HsmRefusedError(msg)
        return found

    def _versions(self, label: str) -> list[Any]:
        request = types.ListCryptoKeyVersionsRequest(parent=f"{self._path}/cryptoKeys/{label}", page_size=1000)
        found = list(self._listed("list_crypto_key_versions", request, "crypto_key_versions"))
        for version in found:
            if version.name.rpartition("/cryptoKeyVersions/")[0] != request.parent:
                msg = f"asked for the versions of {request.parent}, Google Cloud KMS answered about {version.name}"
                raise HsmRefusedError(msg)
        return found

    def _live(self, label: str) -> list[Any]:
        return [version for version in self._versions(label) if version.state in _ALIVE]

    def _listed(self, method: str, request: Any, field: str) -> Iterator[Any]:  # noqa: ANN401
        while True:
            page = self._wire.call(method, request, self._deadline)
            yield from getattr(page, field)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def check_answer(name: str | None, version: str, level: Any) -> None:  # noqa: ANN401
    """Refuse an answer that another key version gave, or one outside an HSM."""
    if name is not None and name != version:
        msg = f"{version} was asked, and {name} answered; the answer is not used"
        raise HsmRefusedError(msg, hint="is the endpoint Google's own?")
    if level != HSM:
        found = types.ProtectionLevel(level).name
        msg = f"the answer of {version} has the protection level {found}, not HSM; it is not used"
        raise HsmRefusedError(msg, hint=_MAKE_ANEW)


def _check(version: Any, shape: _Shape, label: str) -> None:  # noqa: ANN401
    if version.state != _State.ENABLED:
        msg = f"version {_number(version.name)} of the key labelled {label!r} is {version.state.name}, not ENABLED"
        raise HsmRefusedError(msg, hint=_ENABLE if version.state == _State.DISABLED else _MAKE_ANEW)
    _check_made(version, shape, label)
    if version.import_job:
        msg = f"the key labelled {label!r} must not be trusted: it was imported, so it was once outside the HSM"
        raise HsmRefusedError(msg, hint=_MAKE_ANEW)


def _check_template(crypto_key: Any, shape: _Shape, label: str) -> None:  # noqa: ANN401
    if crypto_key.purpose != shape.purpose:
        msg = f"a destroyed key of purpose {crypto_key.purpose.name} keeps the label {label!r} for ever"
        raise HsmRefusedError(msg, hint="take another label")
    _check_made(crypto_key.version_template, shape, label)


def _check_made(made: Any, shape: _Shape, label: str) -> None:  # noqa: ANN401
    if made.protection_level != HSM:
        msg = f"the key labelled {label!r} must not be trusted: its protection level is {made.protection_level.name}"
        raise HsmRefusedError(msg, hint=f"it must be HSM: {_MAKE_ANEW} ({RIGHTS['create_crypto_key'][1]})")
    if made.algorithm != shape.algorithm:
        msg = (
            f"the key labelled {label!r} must not be trusted: its algorithm is {made.algorithm.name}, "
            f"not {shape.algorithm.name}"
        )
        raise HsmRefusedError(msg, hint=_MAKE_ANEW)


def _number(name: str) -> int:
    return int(name.rpartition("/")[2])


def _missing(label: str) -> HsmRefusedError:
    return HsmRefusedError(f"the key ring has no key labelled {label!r}", hint="is this the vault's own key ring?")


def _taken(label: str) -> HsmRefusedError:
    return HsmRefusedError(f"the key ring already has a key labelled {label!r}")
