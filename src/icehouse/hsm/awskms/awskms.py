"""`awskms://` — AWS KMS, keys made in its HSMs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

from icehouse.errors import RequestError, SealError
from icehouse.hsm.awskms import use
from icehouse.hsm.awskms.errors import CorruptedError, InvalidError, NotThereError, NotUsableError
from icehouse.hsm.awskms.keys import Keys
from icehouse.hsm.awskms.listing import Memory, keys_of, leftovers
from icehouse.hsm.awskms.making import Making
from icehouse.hsm.awskms.rights import rights
from icehouse.hsm.awskms.uri import AwsKmsUri
from icehouse.hsm.awskms.wire import Wire
from icehouse.hsm.key_service.deadline import FIRST_PAUSE, Deadline
from icehouse.hsm.key_service.per_process import PerProcess
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
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from icehouse._core import DataKey, Node
    from icehouse.hsm.listing import Leftover

T = TypeVar("T")
_FORMAT = b"\x01"
_MAX_WRAPPED = 1024
"""Far more than a ciphertext of 32 bytes has, far less than the service would take."""
_DEFAULT_QUOTA = 10_000.0
_LOOK_AGAIN = 300.0
"""Seconds after which a key is looked at anew."""
_AGREED = 600.0
"""Seconds after which AWS KMS knows a new key everywhere; it says that this takes seconds, sometimes minutes."""


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

    __slots__ = ("_client", "_known", "_made", "_memory", "_uri", "info", "operations")

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
        self._made: dict[HsmKey, tuple[str, float]] = {}
        """The keys that this process made lately: what AWS KMS may not know everywhere yet."""
        self._memory = Memory()
        self.operations = OperationCounts()
        self.info = HsmInfo(
            provider="awskms",
            model=f"AWS KMS in {wire.region}" if wire.vouched else f"unknown, a stand-in for AWS KMS, at {wire.url}",
            # A key whose origin is not AWS KMS is refused; that word is worth what its speaker is.
            attested=wire.vouched,
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
        arn = Making(begun.wire, self._uri, begun.deadline, self._memory, key).create()
        self._known[key] = arn, time.monotonic() + _LOOK_AGAIN
        self._remember(key, arn)
        return key

    def destroy_key(self, key: HsmKey) -> Destruction:
        """Schedule the deletion; until then whoever may cancel it can undo it."""
        begun = self._begun(Operation.DESTROY_KEY)
        # One whose creation did not get to its end, too: nobody else could find it.
        known = self._lately(key) or self._memory.unclaimed.get(key)
        until = begun.keys.destroy(key, known)
        self._memory.unclaimed.pop(key, None)
        self._known.pop(key, None)
        self._made.pop(key, None)
        return Destruction(done=False, recoverable_until=until)

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys whose labels start with `prefix`, by label; other software's keys are passed over."""
        # As many calls as there are keys: each has a deadline of its own.
        return keys_of(Keys(self._begun(Operation.KEYS).wire, self._uri, None), self._memory, prefix)

    def find(self, label: str) -> HsmKey | None:
        """The key of exactly this label, in one call, however many others there are."""
        found = self._begun(Operation.KEYS).keys.find(label)
        return found or next((key for key in list(self._made) if key.label == label and self._lately(key)), None)

    def leftovers(self) -> Iterator[Leftover]:
        """The keys that icehouse made and no alias names."""
        return leftovers(Keys(self._begun(None).wire, self._uri, None), self._memory)

    def wrap(self, key: HsmKey, secret: DataKey, context: bytes) -> bytes:
        """Wrap a data key so that it opens only under this key in this context of 32 bytes."""
        check_context(context)

        def encrypt(asked: use.Asked) -> bytes:
            while True:
                wrapped = use.wrapped(asked, secret, context)
                # AWS KMS sends no checksums: what was bent under way would show only when it is too late.
                if wrapped is not None:
                    return _FORMAT + wrapped
                if not asked.deadline.pause(FIRST_PAUSE):
                    msg = "what AWS KMS wrapped does not open again; it is not used"
                    raise CorruptedError(msg, hint="does something on the network change bytes?")

        return self._use(HsmKey(key.label, KeyKind.AES), self._begun(Operation.WRAP), encrypt)

    def unwrap(self, key: HsmKey, wrapped: bytes, context: bytes) -> DataKey:
        """Open what `wrap` made under this key in this context."""
        check_context(context)

        def decrypt(asked: use.Asked) -> DataKey:
            if not wrapped.startswith(_FORMAT) or not 1 < len(wrapped) <= _MAX_WRAPPED:
                raise _shut(key.label)
            return use.opened(asked, wrapped[1:], context)

        try:
            return self._use(HsmKey(key.label, KeyKind.AES), self._begun(Operation.UNWRAP), decrypt)
        except InvalidError as exc:
            raise _shut(key.label) from exc

    def mac(self, key: HsmKey, message: bytes) -> Node:
        """HMAC-SHA512 of the message, framed so that AWS KMS takes any: 64 secret bytes."""

        def generate_mac(asked: use.Asked) -> Node:
            return use.authenticated(asked, message)

        return self._use(HsmKey(key.label, KeyKind.HMAC), self._begun(Operation.MAC), generate_mac)

    def sign(self, key: HsmKey, digest: bytes) -> bytes:
        """An ECDSA signature on a digest of 32 bytes, as the 64 bytes r || s."""
        check_digest(digest)

        def sign(asked: use.Asked) -> bytes:
            return use.signed(asked, digest)

        return self._use(HsmKey(key.label, KeyKind.ECDSA), self._begun(Operation.SIGN), sign)

    def public_key(self, key: HsmKey) -> bytes:
        """The public key that `sign` signs under, as an uncompressed SEC1 point of 65 bytes."""

        def get_public_key(asked: use.Asked) -> bytes:
            return use.published(asked)

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

    def _use(self, key: HsmKey, begun: _Begun, work: Callable[[use.Asked], T]) -> T:
        """Use a key by its ARN; one that was known from earlier and does not serve any more is looked up again."""
        known, until = self._known.get(key, ("", 0.0))
        if known and time.monotonic() < until:
            try:
                return work(use.Asked(begun.wire, begun.deadline, known, young=False))
            except (NotThereError, NotUsableError):
                self._known[key] = known, 0.0
        if (made := self._lately(key)) is not None:
            arn = begun.keys.settled(key, made)
        else:
            arn = begun.keys.usable(key)
            if known and arn != known:
                begun.keys.replaced(key, known, arn)
        self._known[key] = arn, time.monotonic() + _LOOK_AGAIN
        # AWS KMS has just told of it that it serves: where it says otherwise now, that has not got everywhere yet.
        return work(use.Asked(begun.wire, begun.deadline, arn, young=True))

    def _remember(self, key: HsmKey, arn: str) -> None:
        """Remember a key as made just now, and forget those that were made long ago."""
        now = time.monotonic()
        for old in [old for old, (_, until) in list(self._made.items()) if until < now]:
            self._made.pop(old, None)
        self._made[key] = arn, now + _AGREED

    def _lately(self, key: HsmKey) -> str | None:
        """The ARN of a key that this process made lately."""
        arn, until = self._made.get(key, (None, 0.0))
        return arn if time.monotonic() < until else None

    def _wire(self, deadline: Deadline) -> Wire:
        return self._client.get(lambda: Wire(self._uri, deadline))


def _shut(label: str) -> SealError:
    return SealError(f"the wrapped key does not open under {label!r} in this context")
