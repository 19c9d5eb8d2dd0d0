"""Keys of a transit mount: one transit key for each label (ADR 0023), looked at before it is trusted."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import TYPE_CHECKING, Any, NoReturn

from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm.key_service import p256
from icehouse.hsm.key_service.deadline import FIRST_PAUSE, Deadline
from icehouse.hsm.listing import PartlyListedError
from icehouse.hsm.openbao.wire import CorruptedError, InvalidError, NotThereError
from icehouse.hsm.protocol import HsmKey, KeyKind, is_label

if TYPE_CHECKING:
    from icehouse.hsm.openbao.wire import Wire

_HMAC_BYTES = 64
_MARK = "auto_rotate_period"
"""The one attribute that only a key's own maker sets, and that does no harm (ADR 0023)."""
TYPES = {KeyKind.AES: "aes256-gcm96", KeyKind.HMAC: "hmac", KeyKind.ECDSA: "ecdsa-p256"}
_KINDS = {name: kind for kind, name in TYPES.items()}
_SURE_FALSE = ("exportable", "allow_plaintext_backup", "derived")
_FALSE = (*_SURE_FALSE, "convergent_encryption", "imported_key")
_FIRST = ("min_available_version", "min_decryption_version", "min_encryption_version")
_STRANGE = "find out who made or changed it; what is under the vault's own key opens under no other"


class Keys:
    """The keys of one mount, for the length of one operation."""

    __slots__ = ("_deadline", "_mount", "_wire")

    def __init__(self, wire: Wire, mount: str, deadline: Deadline) -> None:
        self._wire = wire
        self._mount = mount
        self._deadline = deadline

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys that are there, soft-deleted ones too; foreign ones are passed over. Raises `PartlyListedError`."""
        names = sorted(self._names(), key=lambda name: name.strip("_"))
        labels = [label for name in names if name_of(label := name.strip("_")) == name and is_label(label)]
        found: list[HsmKey] = []
        try:
            for label in labels:
                if not label.startswith(prefix):
                    continue
                # The list tells only names. Each further call is a step of its own, with the time of one.
                key = self.find(label, Deadline(self._deadline.seconds))
                found += [key] if key else []
        except HsmUnavailableError as exc:
            raise PartlyListedError(found, exc) from exc
        return found

    def find(self, label: str, deadline: Deadline | None = None) -> HsmKey | None:
        """The key of this label, one that is soft-deleted, too."""
        try:
            kind = _KINDS.get(self._attributes(label, deadline)["type"])
        except NotThereError:
            return None
        return HsmKey(label, kind) if kind else None

    def usable(self, key: HsmKey) -> dict[str, Any]:
        """The attributes; refused unless everything about the key is as icehouse made it."""
        told = self._of_kind(key)
        _check(told, key)
        return told

    def point(self, key: HsmKey) -> bytes:
        """The public half of version 1."""
        return _point(self.usable(key))

    def create(self, key: HsmKey) -> None:
        """Make a transit key. OpenBao answers about the key that is there, whoever made it; the mark tells whose."""
        # In seconds, more than 136 years.
        mark = (1 << 32) + secrets.randbits(32)
        body = {
            "type": TYPES[key.kind],
            "exportable": False,
            "allow_plaintext_backup": False,
            "derived": False,
            _MARK: mark,
        }
        if key.kind is KeyKind.HMAC:
            body["key_size"] = _HMAC_BYTES
        told = self._wire.call("post", self._path(key.label), self._deadline, _told, body)
        # Older servers answer nothing.
        attributes = _attributes(told, key.label) if told else self._attributes(key.label)
        if attributes.get(_MARK) != mark:
            msg = f"the mount already has a key labelled {key.label!r}"
            raise HsmRefusedError(msg)
        _check(attributes, key)

    def destroy(self, key: HsmKey) -> None:
        """Allow the deletion, and delete. After a lost answer only what is still the same key is deleted again."""
        mark = self._of_kind(key).get(_MARK)
        path = self._path(key.label)
        while True:
            try:
                self._wire.call(
                    "post", f"{path}/config", self._deadline, _told, {"deletion_allowed": True}, repeat=False
                )
                self._wire.call("delete", path, self._deadline, _told, repeat=False)
            except (InvalidError, HsmUnavailableError) as exc:
                # The answer of an earlier try got lost, or another was faster, who may have made the label anew by now.
                if self._is_another(key.label, mark):
                    return
                if isinstance(exc, InvalidError) or not self._deadline.pause(FIRST_PAUSE):
                    raise
            else:
                return

    def _is_another(self, label: str, mark: object) -> bool:
        """Whether a label's key is not the one of this mark any more; keys that icehouse did not make have none."""
        try:
            return self._attributes(label).get(_MARK) != mark
        except NotThereError:
            return True

    def _of_kind(self, key: HsmKey) -> dict[str, Any]:
        try:
            told = self._attributes(key.label)
        except NotThereError:
            msg = f"the mount has no key labelled {key.label!r}"
            raise HsmRefusedError(msg, hint="is this the vault's own mount?") from None
        found = _KINDS.get(told["type"])
        if found is None:
            raise _untrusted(key.label, f"its type is {told['type']}")
        if found is not key.kind:
            msg = f"the key labelled {key.label!r} is of kind {found}; this operation needs kind {key.kind}"
            raise HsmRefusedError(msg)
        return told

    def _attributes(self, label: str, deadline: Deadline | None = None) -> dict[str, Any]:
        def read(answer: dict[str, Any]) -> dict[str, Any]:
            return _attributes(_told(answer), label)

        return self._wire.call("get", self._path(label), deadline or self._deadline, read)

    def _names(self) -> list[str]:
        def read(answer: dict[str, Any]) -> list[str]:
            names = _told(answer).get("keys")
            if not isinstance(names, list):
                _refuse("list of keys")
            return [str(name) for name in names]

        try:
            return self._wire.call("list", f"{self._mount}/keys", self._deadline, read)
        except NotThereError:
            # How it says that the list is empty; of a mount that is not there it says that.
            return []

    def _path(self, label: str) -> str:
        return f"{self._mount}/keys/{name_of(label)}"


def name_of(label: str) -> str:
    """The name of a label's transit key. OpenBao takes none that starts or ends with a hyphen."""
    return f"{'_' * label.startswith('-')}{label}{'_' * label.endswith('-')}"


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    data = answer.get("data")
    if data is not None and not isinstance(data, dict):
        _refuse("answer")
    return data or {}


def _attributes(told: dict[str, Any], label: str) -> dict[str, Any]:
    if not isinstance(told.get("type"), str) or not isinstance(told.get("name"), str):
        _refuse("description of a key")
    if told["name"] != name_of(label):
        msg = f"asked for the key {label!r}, OpenBao answered about {told['name']!r}"
        raise HsmRefusedError(msg)
    if told["type"] == TYPES[KeyKind.ECDSA]:
        _point(told)
    return told


def _check(told: dict[str, Any], key: HsmKey) -> None:
    label = key.label
    if told.get("soft_deleted"):
        msg = f"the key labelled {label!r} is soft-deleted"
        raise HsmRefusedError(msg, hint="restore it: bao write -f MOUNT/keys/NAME/soft-delete-restore")
    if told["type"] != TYPES[key.kind]:
        raise _untrusted(label, f"its type is {told['type']}")
    for name in _FALSE:
        if told.get(name) or (name in _SURE_FALSE and told.get(name) is not False):
            raise _untrusted(label, f"its {name} is {str(told.get(name)).lower()}")
    if key.kind is KeyKind.HMAC and told.get("key_size") != _HMAC_BYTES:
        raise _untrusted(label, f"it has {told.get('key_size')} bytes, not {_HMAC_BYTES}")
    for name in _FIRST:
        if told.get(name, 1) not in {0, 1}:
            msg = f"version 1 of the key labelled {label!r} does not serve: its {name} is {told.get(name)}"
            raise HsmRefusedError(msg, hint="set it back: bao write MOUNT/keys/NAME/config")


def _point(told: dict[str, Any]) -> bytes:
    try:
        lines = told["keys"]["1"]["public_key"].strip().splitlines()
        return p256.point_of(base64.b64decode("".join(lines[1:-1]), validate=True))
    except (KeyError, TypeError, AttributeError, binascii.Error, HsmRefusedError):
        _refuse("public key")


def _refuse(what: str) -> NoReturn:
    msg = f"OpenBao's {what} is not of the form it should have; it is not used"
    raise CorruptedError(msg)


def _untrusted(label: str, why: str) -> HsmRefusedError:
    return HsmRefusedError(f"the key labelled {label!r} must not be trusted: {why}", hint=_STRANGE)
