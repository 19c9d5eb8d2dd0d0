"""Making and destroying keys in a key ring, where names stay for ever and every write is counted (ADR 0045)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm.gcpkms.ring import HSM, PAUSE, SHAPES, Shape, check, check_made
from icehouse.hsm.gcpkms.states import DEAD, Purpose, State, has_key, named, not_enabled, number, number_of
from icehouse.hsm.gcpkms.wire import RIGHTS, DeniedError, ExistsError, NotThereError, NotUsableError, PolicyError
from icehouse.hsm.protocol import KeyKind

# After the wire, which knows what to say when Google's client is not installed.
from google.cloud.kms_v1 import types  # isort: skip

if TYPE_CHECKING:
    from datetime import datetime

    from icehouse.hsm.gcpkms.ring import Ring
    from icehouse.hsm.key_service.deadline import Deadline
    from icehouse.hsm.protocol import HsmKey

MARK = "icehouse-made"


def create(ring: Ring, key: HsmKey) -> str:
    """Make a crypto key; where one of this label was destroyed, a new version of it. The name of the version."""
    # Looked for first: reads are cheap, and writes so few in a minute that those for keys that exist would be all.
    found = _found(ring, key.label)
    if found is None:
        found = _made(ring, key)
    return ring.usable(key) if found is None else _revive(ring, found, key)


def _found(ring: Ring, label: str) -> Any:  # noqa: ANN401
    try:
        return ring.crypto_key(label)
    except NotThereError:
        return None


def _made(ring: Ring, key: HsmKey) -> Any:  # noqa: ANN401
    """Make a crypto key; where another did so meanwhile, that one."""
    shape, mark = SHAPES[key.kind], secrets.token_hex(16)
    crypto_key = types.CryptoKey(
        purpose=shape.purpose,
        version_template=types.CryptoKeyVersionTemplate(algorithm=shape.algorithm, protection_level=HSM),
        labels={MARK: mark},
    )
    request = types.CreateCryptoKeyRequest(parent=ring.path, crypto_key_id=key.label, crypto_key=crypto_key)
    try:
        ring.wire.call("create_crypto_key", request, ring.time())
    except ExistsError:
        found = ring.crypto_key(key.label)
        # The mark tells a key of another's from one whose answer got lost on the way here.
        return None if found.labels.get(MARK) == mark else found
    return None


def _revive(ring: Ring, crypto_key: Any, key: HsmKey) -> str:  # noqa: ANN401
    """Give a crypto key whose versions are all destroyed a new one."""
    purpose = number(crypto_key, "purpose")
    if purpose == SHAPES[key.kind].purpose and not ring.lives(crypto_key):
        _check_template(crypto_key, SHAPES[key.kind], key.label)
        # A version that is alive and not primary is what an interrupted revival left.
        names = [str(version.name) for version in ring.live(key.label)]
        made = names[0] if names else _new_version(ring, crypto_key.name, key.label)
        if key.kind is KeyKind.AES:
            _make_primary(ring, crypto_key.name, made, key.label)
        return _generated(ring, made, key)
    if ring.lives(crypto_key):
        raise _taken(key.label)
    msg = f"a destroyed key of purpose {named(Purpose, purpose)} keeps the label {key.label!r} for ever"
    raise HsmRefusedError(msg, hint="take another label")


def _new_version(ring: Ring, name: str, label: str) -> str:
    request = types.CreateCryptoKeyVersionRequest(parent=name)
    deadline = ring.time()
    while True:
        try:
            made = ring.wire.call("create_crypto_key_version", request, deadline, repeat=False)
        except HsmUnavailableError:
            # Repeated blindly, a lost answer would leave two versions.
            for version in ring.live(label):
                return str(version.name)
            if not deadline.pause(PAUSE):
                raise
        else:
            return str(made.name)


def _make_primary(ring: Ring, name: str, version: str, label: str) -> None:
    """Make a version the primary one, once it is generated."""
    request = types.UpdateCryptoKeyPrimaryVersionRequest(name=name, crypto_key_version_id=number_of(version))
    deadline = ring.time()
    while True:
        try:
            ring.wire.call("update_crypto_key_primary_version", request, deadline)
        except NotUsableError:
            told = _version(ring, version, label)
            if number(told, "state") != State.PENDING_GENERATION or not deadline.pause(PAUSE):
                raise
        else:
            break
    # Who uses the key knows the version; it is waited for so that others see it, and not for longer than the deadline.
    while ring.crypto_key(label).primary.name != version and deadline.pause(PAUSE):
        pass


def _generated(ring: Ring, version: str, key: HsmKey) -> str:
    """A version that this call made, once it serves."""
    deadline = ring.time()
    while True:
        told = _version(ring, version, key.label)
        if number(told, "state") == State.ENABLED:
            check(told, SHAPES[key.kind], key.label)
            return version
        why = not_enabled(told, key.label)
        if not isinstance(why, HsmUnavailableError) or not deadline.pause(PAUSE):
            raise why


def _version(ring: Ring, name: str, label: str) -> Any:  # noqa: ANN401
    return next((same for same in ring.versions(label) if same.name == name), types.CryptoKeyVersion(name=name))


def destroy(ring: Ring, key: HsmKey) -> datetime | None:
    """Schedule every version for destruction; until when the last of them can be restored."""
    ring.of_kind(key)
    deadline = ring.time()
    ends = [_destroyed(ring, version, key.label, deadline) for version in ring.versions(key.label) if has_key(version)]
    return max((end for end in ends if end is not None), default=None)


def _destroyed(ring: Ring, version: Any, label: str, deadline: Deadline) -> datetime | None:  # noqa: ANN401
    request = types.DestroyCryptoKeyVersionRequest(name=version.name)
    while True:
        try:
            told = ring.wire.call("destroy_crypto_key_version", request, deadline)
        except NotUsableError as exc:
            # The answer of an earlier try got lost, or another was faster.
            told = _version(ring, version.name, label)
            if number(told, "state") not in DEAD:
                _prepare(ring, told, exc, deadline)
                continue
        until: datetime | None = told.destroy_time
        return until


def _prepare(ring: Ring, version: Any, refusal: NotUsableError, deadline: Deadline) -> None:  # noqa: ANN401
    """What a version needs before it can be destroyed: to be generated, or to be disabled where a policy wants that."""
    if isinstance(refusal, PolicyError) and number(version, "state") == State.ENABLED:
        disabled = types.CryptoKeyVersion(name=version.name, state=State.DISABLED)
        request = types.UpdateCryptoKeyVersionRequest(crypto_key_version=disabled, update_mask={"paths": ["state"]})
        try:
            ring.wire.call("update_crypto_key_version", request, deadline)
        except DeniedError as exc:
            permission, role = RIGHTS["update_crypto_key_version"]
            hint = f"grant {role} (permission {permission}), with which icehouse disables it, or disable it yourself"
            raise PolicyError(str(refusal), hint=hint) from exc
        return
    waits = isinstance(refusal, PolicyError) or number(version, "state") == State.PENDING_GENERATION
    if not waits or not deadline.pause(PAUSE):
        raise refusal


def _check_template(crypto_key: Any, shape: Shape, label: str) -> None:  # noqa: ANN401
    check_made(crypto_key.version_template, shape, label)


def _taken(label: str) -> HsmRefusedError:
    return HsmRefusedError(f"the key ring already has a key labelled {label!r}")
