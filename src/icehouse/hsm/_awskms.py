"""`awskms://` — AWS KMS, keys made in its HSMs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

from icehouse.errors import RequestError, SealError
from icehouse.hsm import _awskms_use as use
from icehouse.hsm._awskms_keys import Keys
from icehouse.hsm._awskms_making import Making
from icehouse.hsm._awskms_rights import rights
from icehouse.hsm._awskms_uri import AwsKmsUri
from icehouse.hsm._awskms_wire import (
    CorruptedError,
    InvalidError,
    NotThereError,
    NotUsableError,
    Wire,
    of_amazon,
)
from icehouse.hsm._deadline import FIRST_PAUSE, Deadline
from icehouse.hsm._hsm import (
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
from icehouse.hsm._per_process import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from icehouse._core import DataKey, Node

T = TypeVar("T")
_FORMAT = b"\x01"
_MAX_WRAPPED = 1024
"""Far more than a ciphertext of 32 bytes has, far less than the service would take."""
_DEFAULT_QUOTA = 10_000.0
_LOOK_AGAIN = 300.0
"""Seconds after which a key is looked at anew."""


class _Begun(NamedTuple):
    """One operation under way."""

    keys: Keys
    wire: Wire
    deadline: Deadline


class AwsKmsHsm:
    """An `Hsm` on AWS KMS, in one region of one account.

    Every operation has a deadline; within it, calls that fail in passing are repeated. A label is an alias; the key
    behind it is read back, and used by its ARN. An answer of another key is refused.

    Least policies, one to serve and one to make and destroy root keys, are in `docs/howto/aws-kms.md`.
    """

    __slots__ = ("_client", "_known", "_passed_over", "_uri", "info", "operations")

    def __init__(self, uri: AwsKmsUri) -> None:
        self._uri = uri
        deadline = Deadline(uri.deadline)
        wire = Wire(uri, deadline)
        try:
            wire.call("list_aliases", deadline, Limit=1)
        except BaseException:
            wire.close()
            raise
        self._client = PerProcess(wire)
        self._known: dict[HsmKey, tuple[str, float]] = {}
        self._passed_over: set[str] = set()
        self.operations = OperationCounts()
        vouched = of_amazon(wire.url, wire.region)
        self.info = HsmInfo(
            provider="awskms",
            model=f"AWS KMS in {wire.region}" if vouched else f"unknown, at {wire.url}",
            # A key whose origin is not AWS KMS is refused; that word is worth what its speaker is.
            attested=vouched,
            capabilities=frozenset(KeyKind),
            max_wrap_bytes=use.MAX_BYTES,
            rate_limit=_DEFAULT_QUOTA,
        )

    @classmethod
    def open(cls, uri: str, *, create: bool = False) -> AwsKmsHsm:
        """Open `awskms://REGION`."""
        parsed = AwsKmsUri.parse(uri)
        if create:
            msg = "AWS KMS is there in every account; there is nothing to be made"
            raise RequestError(msg, hint="open it without create")
        return cls(parsed)

    def create_key(self, label: str, kind: KeyKind) -> HsmKey:
        """Make a key and an alias for it; a label that exists is refused."""
        key = HsmKey(label, KeyKind(kind))
        begun = self._begun(Operation.CREATE_KEY)
        arn = Making(begun.wire, self._uri, begun.deadline, self._passed_over).create(key)
        self._known[key] = arn, time.monotonic() + _LOOK_AGAIN
        return key

    def destroy_key(self, key: HsmKey) -> Destruction:
        """Schedule the deletion; until then whoever may cancel it can undo it."""
        until = self._begun(Operation.DESTROY_KEY).keys.destroy(key)
        self._known.pop(key, None)
        return Destruction(done=False, recoverable_until=until)

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys whose labels start with `prefix`, by label; other software's keys are passed over."""
        return self._begun(Operation.KEYS).keys.keys(prefix)

    def wrap(self, key: HsmKey, secret: DataKey, context: bytes) -> bytes:
        """Wrap a data key so that it opens only under this key in this context of 32 bytes."""
        check_context(context)

        def encrypt(begun: _Begun, arn: str) -> bytes:
            while True:
                wrapped = use.wrapped(begun.wire, begun.deadline, arn, secret, context)
                # AWS KMS sends no checksums: what was bent under way would show only when it is too late.
                if wrapped is not None:
                    return _FORMAT + wrapped
                if not begun.deadline.pause(FIRST_PAUSE):
                    msg = "what AWS KMS wrapped does not open again; it is not used"
                    raise CorruptedError(msg, hint="does something on the network change bytes?")

        return self._use(HsmKey(key.label, KeyKind.AES), self._begun(Operation.WRAP), encrypt)

    def unwrap(self, key: HsmKey, wrapped: bytes, context: bytes) -> DataKey:
        """Open what `wrap` made under this key in this context."""
        check_context(context)

        def decrypt(begun: _Begun, arn: str) -> DataKey:
            if not wrapped.startswith(_FORMAT) or not 1 < len(wrapped) <= _MAX_WRAPPED:
                raise _shut(key.label)
            return use.opened(begun.wire, begun.deadline, arn, wrapped[1:], context)

        try:
            return self._use(HsmKey(key.label, KeyKind.AES), self._begun(Operation.UNWRAP), decrypt)
        except InvalidError as exc:
            raise _shut(key.label) from exc

    def mac(self, key: HsmKey, message: bytes) -> Node:
        """HMAC-SHA512 of the message, framed so that AWS KMS takes any: 64 secret bytes."""

        def generate_mac(begun: _Begun, arn: str) -> Node:
            return use.authenticated(begun.wire, begun.deadline, arn, message)

        return self._use(HsmKey(key.label, KeyKind.HMAC), self._begun(Operation.MAC), generate_mac)

    def sign(self, key: HsmKey, digest: bytes) -> bytes:
        """An ECDSA signature on a digest of 32 bytes, as the 64 bytes r || s."""
        check_digest(digest)

        def sign(begun: _Begun, arn: str) -> bytes:
            return use.signed(begun.wire, begun.deadline, arn, digest)

        return self._use(HsmKey(key.label, KeyKind.ECDSA), self._begun(Operation.SIGN), sign)

    def public_key(self, key: HsmKey) -> bytes:
        """The public key that `sign` signs under, as an uncompressed SEC1 point of 65 bytes."""

        def get_public_key(begun: _Begun, arn: str) -> bytes:
            return use.published(begun.wire, begun.deadline, arn)

        return self._use(HsmKey(key.label, KeyKind.ECDSA), self._begun(None), get_public_key)

    def rights(self) -> list[Right]:
        """What these credentials must permit, tried on the keys that are there, and nothing changed by it."""
        begun = self._begun(None)
        return rights(begun.wire, begun.keys, self._uri, begun.deadline)

    def clock(self) -> datetime | None:
        """The service's time, as its last answer told it; to the second."""
        return time_of(self._wire(Deadline(self._uri.deadline)).date)

    def close(self) -> None:
        """Close the connections of this process."""
        self._client.close()

    def __reduce__(self) -> NoReturn:
        """Refuse: a connection belongs to its process."""
        msg = "AwsKmsHsm cannot be pickled: open it anew by its URI"
        raise TypeError(msg)

    def _begun(self, operation: Operation | None) -> _Begun:
        deadline = Deadline(self._uri.deadline)
        wire = self._wire(deadline)
        if operation is not None:
            self.operations.add(operation)
        return _Begun(Keys(wire, self._uri, deadline), wire, deadline)

    def _use(self, key: HsmKey, begun: _Begun, work: Callable[[_Begun, str], T]) -> T:
        """Use a key by its ARN; one that was known from earlier and does not serve any more is looked up again."""
        known, until = self._known.get(key, ("", 0.0))
        if known and time.monotonic() < until:
            try:
                return work(begun, known)
            except (NotThereError, NotUsableError):
                self._known[key] = known, 0.0
        arn = begun.keys.usable(key)
        if known and arn != known:
            begun.keys.replaced(key, known, arn)
        self._known[key] = arn, time.monotonic() + _LOOK_AGAIN
        return work(begun, arn)

    def _wire(self, deadline: Deadline) -> Wire:
        return self._client.get(lambda: Wire(self._uri, deadline))


def _shut(label: str) -> SealError:
    return SealError(f"the wrapped key does not open under {label!r} in this context")
