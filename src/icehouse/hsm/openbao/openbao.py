"""`openbao://` — the transit engine of OpenBao, or of Vault, which speaks the same protocol."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from icehouse._core import data_key_from_bytes, data_key_to_bytes, node_from_bytes
from icehouse.errors import HsmRefusedError, RequestError, SealError
from icehouse.hsm.key_service.deadline import Deadline
from icehouse.hsm.key_service.per_process import PerProcess
from icehouse.hsm.openbao import answers, rights
from icehouse.hsm.openbao.keys import Keys, name_of
from icehouse.hsm.openbao.token import Token
from icehouse.hsm.openbao.uri import OpenBaoUri
from icehouse.hsm.openbao.wire import DeniedError, InvalidError, NotThereError, Wire, mount_path
from icehouse.hsm.protocol import (
    Destruction,
    HsmInfo,
    HsmKey,
    KeyKind,
    Operation,
    OperationCounts,
    Right,
    check_context,
    check_digest,
    time_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from icehouse._core import DataKey, Node

T = TypeVar("T")
_FORMAT = b"\x01"
_LOOK_AGAIN = 300.0
"""Seconds after which a key is looked at anew."""


class _Begun(NamedTuple):
    """One operation under way."""

    keys: Keys
    wire: Wire
    deadline: Deadline


class OpenBaoHsm:
    """An `Hsm` on a transit mount. Its keys live in the server's storage, so it is no hardware.

    Every operation has a deadline; within it, calls that fail in passing are repeated. Of each key only version 1 is
    asked, and an answer of another is refused.

    Least policy, for a mount `transit`: to serve, `list` on `transit/keys`, `read` on `transit/keys/icehouse-*`,
    `update` on `transit/encrypt/icehouse-*` and `transit/decrypt/icehouse-*` and, for a hierarchical vault or the
    audit key, on `transit/hmac/icehouse-*` and `transit/sign/icehouse-*`. To make and destroy root keys also `update`
    and `delete` on `transit/keys/icehouse-*`.
    """

    __slots__ = ("_client", "_known", "_token", "_uri", "info", "operations")

    def __init__(self, uri: OpenBaoUri) -> None:
        self._uri = uri
        self._token = Token(uri)
        wire = Wire(uri, self._token)
        try:
            version = wire.call("get", mount_path(uri.mount), Deadline(uri.deadline), _transit)
        except BaseException:
            wire.close()
            raise
        self._client = PerProcess(wire)
        self._known: dict[HsmKey, float] = {}
        self.operations = OperationCounts()
        self.info = HsmInfo(
            provider="openbao",
            model=f"transit {version} at {uri.endpoint}; keys live in the server's storage",
            attested=False,
            capabilities=frozenset(KeyKind),
        )

    @classmethod
    def open(cls, uri: str, *, create: bool = False) -> OpenBaoHsm:
        """Open `openbao://HOST:PORT/MOUNT`."""
        parsed = OpenBaoUri.parse(uri)
        if create:
            msg = "a transit mount is made with OpenBao's tools, not by icehouse"
            raise RequestError(msg, hint=f"bao secrets enable -path={parsed.mount} transit")
        return cls(parsed)

    def create_key(self, label: str, kind: KeyKind) -> HsmKey:
        """Make a transit key of this name; one that exists is refused."""
        key = HsmKey(label, KeyKind(kind))
        self._begun(Operation.CREATE_KEY).keys.create(key)
        return key

    def destroy_key(self, key: HsmKey) -> Destruction:
        """Delete the key at once; backups of the server's storage are out of reach."""
        self._begun(Operation.DESTROY_KEY).keys.destroy(key)
        self._known.pop(key, None)
        return Destruction(done=True)

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys whose labels start with `prefix`, by label; other software's keys are passed over."""
        return self._begun(Operation.KEYS).keys.keys(prefix)

    def find(self, label: str) -> HsmKey | None:
        """The key of exactly this label, in one call, however many others there are."""
        return self._begun(Operation.KEYS).keys.find(label)

    def wrap(self, key: HsmKey, secret: DataKey, context: bytes) -> bytes:
        """Wrap a data key so that it opens only under this key in this context of 32 bytes."""
        check_context(context)
        begun = self._begun(Operation.WRAP)

        def encrypt() -> bytes:
            body = {
                "plaintext": answers.encoded(data_key_to_bytes(secret)),
                "associated_data": answers.encoded(context),
                # No such type: where there is no key, the server would make one of the type named here.
                "type": "none",
            }
            return _FORMAT + self._asked(begun, f"encrypt/{name_of(key.label)}", body, answers.encrypted)

        return self._use(HsmKey(key.label, KeyKind.AES), begun, encrypt)

    def unwrap(self, key: HsmKey, wrapped: bytes, context: bytes) -> DataKey:
        """Open what `wrap` made under this key in this context."""
        check_context(context)
        begun, aes = self._begun(Operation.UNWRAP), HsmKey(key.label, KeyKind.AES)
        self._look(aes, begun)
        if not wrapped.startswith(_FORMAT) or len(wrapped) != len(_FORMAT) + answers.SEALED_BYTES:
            raise _shut(key.label)
        body = {
            "ciphertext": answers.PREFIX + answers.encoded(wrapped[len(_FORMAT) :]),
            "associated_data": answers.encoded(context),
        }
        try:
            return data_key_from_bytes(self._asked(begun, f"decrypt/{name_of(key.label)}", body, answers.decrypted))
        except InvalidError as exc:
            # Only of a key that serves it means that the bytes do not open.
            self._look(aes, begun, anew=True)
            raise _shut(key.label) from exc

    def mac(self, key: HsmKey, message: bytes) -> Node:
        """HMAC-SHA512 of the message: 64 secret bytes."""
        begun = self._begun(Operation.MAC)

        def hmac() -> Node:
            body = {"input": answers.encoded(message)}
            return node_from_bytes(self._asked(begun, f"hmac/{name_of(key.label)}/sha2-512", body, answers.maced))

        return self._use(HsmKey(key.label, KeyKind.HMAC), begun, hmac)

    def sign(self, key: HsmKey, digest: bytes) -> bytes:
        """An ECDSA signature on a digest of 32 bytes, as the 64 bytes r || s."""
        check_digest(digest)
        begun = self._begun(Operation.SIGN)

        def sign() -> bytes:
            body = {"input": answers.encoded(digest), "prehashed": True, "marshaling_algorithm": "jws"}
            return self._asked(begun, f"sign/{name_of(key.label)}/sha2-256", body, answers.signed)

        return self._use(HsmKey(key.label, KeyKind.ECDSA), begun, sign)

    def public_key(self, key: HsmKey) -> bytes:
        """The public key that `sign` signs under, as an uncompressed SEC1 point of 65 bytes."""
        return self._begun(None).keys.point(HsmKey(key.label, KeyKind.ECDSA))

    def rights(self) -> list[Right]:
        """Each path that icehouse asks, and whether this token's policies permit it."""
        begun = self._begun(None)
        return rights.rights(begun.wire, self._uri.mount, begun.deadline)

    def clock(self) -> datetime | None:
        """The service's time, as its last answer told it; to the second."""
        return time_of(self._wire().date)

    def close(self) -> None:
        """Close the session of this process."""
        self._client.close()

    def __reduce__(self) -> NoReturn:
        """Refuse: a connection belongs to its process."""
        msg = "OpenBaoHsm cannot be pickled: open it anew by its URI"
        raise TypeError(msg)

    def _begun(self, operation: Operation | None) -> _Begun:
        wire, deadline = self._wire(), Deadline(self._uri.deadline)
        if operation is not None:
            self.operations.add(operation)
        return _Begun(Keys(wire, self._uri.mount, deadline), wire, deadline)

    def _asked(self, begun: _Begun, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], bytes]) -> bytes:
        body = body | {"key_version": answers.VERSION}
        return begun.wire.call("post", f"{self._uri.mount}/{path}", begun.deadline, read, body)

    def _use(self, key: HsmKey, begun: _Begun, work: Callable[[], T]) -> T:
        """Use a key; when one that was known from earlier does not serve, it is looked at again."""
        if not self._look(key, begun):
            return work()
        try:
            return work()
        except (NotThereError, InvalidError, DeniedError):
            # Of a key that is gone, a policy without `create` says that it permits nothing.
            self._look(key, begun, anew=True)
            return work()

    def _look(self, key: HsmKey, begun: _Begun, *, anew: bool = False) -> bool:
        """Whether the key was known to be as it should; otherwise it is now, or an error is raised."""
        if not anew and time.monotonic() < self._known.get(key, 0.0):
            return True
        self._known.pop(key, None)
        begun.keys.usable(key)
        self._known[key] = time.monotonic() + _LOOK_AGAIN
        return False

    def _wire(self) -> Wire:
        return self._client.get(lambda: Wire(self._uri, self._token))


def _transit(answer: dict[str, Any]) -> str:
    data = answer.get("data")
    if not isinstance(data, dict) or data.get("type") != "transit":
        msg = f"the mount is of type {data.get('type') if isinstance(data, dict) else None}, not transit"
        raise HsmRefusedError(msg, hint="name the transit mount in the HSM's URI: openbao://HOST/MOUNT")
    return str(data.get("running_plugin_version") or "of an unknown version")


def _shut(label: str) -> SealError:
    return SealError(f"the wrapped key does not open under {label!r} in this context")
