"""The one joint to hardware: what icehouse asks of an HSM, whoever made it."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from icehouse.errors import HsmUnavailableError, RequestError
from icehouse.hsm.fork import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from icehouse._core import DataKey, Node

_LABEL = re.compile(r"[a-z0-9-]{1,63}")
CONTEXT_BYTES = 32
DIGEST_BYTES = 32


class KeyKind(StrEnum):
    """What a key inside an HSM can do."""

    AES = "aes"
    """AES-256: wraps and unwraps data keys."""
    HMAC = "hmac"
    """HMAC-SHA512 with a key of 64 bytes."""
    ECDSA = "ecdsa"
    """ECDSA on P-256: signs digests of 32 bytes."""


@dataclass(frozen=True, slots=True)
class HsmKey:
    """A key inside an HSM, named by its label; never by a handle, which may come to name another key."""

    label: str
    kind: KeyKind

    def __post_init__(self) -> None:
        check_label(self.label)


@dataclass(frozen=True, slots=True)
class HsmInfo:
    """What an HSM says of itself.

    `attested` is true where the keys live in hardware as far as the service or the module's vendor says; software that
    claims to be hardware is not found out. `capacity` is in keys,
    `max_wrap_bytes` bounds secret and context together, `rate_limit` is in operations per second; `None`: none known.
    """

    provider: str
    model: str
    attested: bool
    capabilities: frozenset[KeyKind]
    capacity: int | None = None
    max_wrap_bytes: int | None = None
    rate_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Destruction:
    """What became of a key that was to be destroyed: some HSMs only schedule it, some keep backups."""

    done: bool
    recoverable_until: datetime | None = None


class Right(NamedTuple):
    """One thing that these credentials must permit."""

    action: str
    """As the provider calls it, such as `kms:Decrypt`."""
    granted: bool | None
    """None where only doing it would tell."""
    mend: str
    """The role, policy or setting that grants it, and where."""


class Operation(StrEnum):
    """The operations an HSM counts."""

    CREATE_KEY = "create_key"
    DESTROY_KEY = "destroy_key"
    KEYS = "keys"
    WRAP = "wrap"
    UNWRAP = "unwrap"
    MAC = "mac"
    SIGN = "sign"


class OperationCounts:
    """How many operations an HSM was asked for since it was opened in this process; safe for threads."""

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: Counter[Operation] = Counter()
        self._lock = ForkSafeLock()

    def add(self, operation: Operation) -> int:
        """Count one operation and return how many there were of all kinds."""
        with self._lock:
            self._counts[operation] += 1
            return self._counts.total()

    def by_kind(self) -> dict[str, int]:
        """The number of operations of each kind; kinds never asked for are there with 0."""
        with self._lock:
            return {operation.value: self._counts[operation] for operation in Operation}

    @property
    def total(self) -> int:
        """The number of operations of all kinds."""
        with self._lock:
            return self._counts.total()

    def __repr__(self) -> str:
        return f"OperationCounts({self.by_kind()})"


class Hsm(Protocol):
    """Keys that never leave their module.

    Raises `HsmUnavailableError` when the same call may succeed later, `HsmRefusedError` when it will not,
    `SealError` when wrapped bytes do not open in the context given, and `RequestError` when an argument is of the
    wrong form. Opening one raises `RequestError` also for a URI, a PIN file or a library that is not as it should be;
    once it is open, what goes missing is `HsmUnavailableError`. "Not found" never means "destroyed": only
    `destroy_key` destroys.
    """

    @property
    def info(self) -> HsmInfo:
        """What the HSM says of itself."""

    @property
    def operations(self) -> OperationCounts:
        """How many operations it was asked for."""

    def create_key(self, label: str, kind: KeyKind) -> HsmKey:
        """Make a key inside the module; a label that exists is refused."""

    def destroy_key(self, key: HsmKey) -> Destruction:
        """Destroy a key, as far and as fast as the module does."""

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys whose labels start with `prefix`, by label."""

    def wrap(self, key: HsmKey, secret: DataKey, context: bytes) -> bytes:
        """Wrap a data key so that it opens only under this key in this context of 32 bytes."""

    def unwrap(self, key: HsmKey, wrapped: bytes, context: bytes) -> DataKey:
        """Open what `wrap` made under this key in this context."""

    def mac(self, key: HsmKey, message: bytes) -> Node:
        """HMAC-SHA512 of the message: 64 secret bytes."""

    def sign(self, key: HsmKey, digest: bytes) -> bytes:
        """An ECDSA signature on a digest of 32 bytes, as the 64 bytes r || s."""

    def public_key(self, key: HsmKey) -> bytes:
        """The public key that `sign` signs under, as an uncompressed SEC1 point of 65 bytes."""

    def rights(self) -> list[Right]:
        """What these credentials must permit, and whether they do; empty where the module knows no such thing."""

    def close(self) -> None:
        """Let go of the module; a second call does nothing."""


@contextmanager
def reopening() -> Iterator[None]:
    """Raises `HsmUnavailableError` for what an open HSM comes to lack, such as its PIN's file.

    When it is opened, the same is the caller's to mend, and a `RequestError`.
    """
    try:
        yield
    except RequestError as exc:
        raise HsmUnavailableError(str(exc), hint=exc.hint) from exc


def time_of(date: str) -> datetime | None:
    """The moment in an HTTP `Date` header (RFC 9110 section 5.6.7)."""
    try:
        return parsedate_to_datetime(date)
    except ValueError:
        return None


def is_label(label: str) -> bool:
    """Whether icehouse could have given this label to a key."""
    return _LABEL.fullmatch(label) is not None


def check_label(label: str) -> str:
    """Return the label, or raise `RequestError`."""
    if not is_label(label):
        msg = f"a key label must be 1 to 63 characters out of a-z, 0-9 and '-', not {label!r}"
        raise RequestError(msg)
    return label


def check_context(context: bytes) -> bytes:
    """Return the context, or raise `RequestError`."""
    if len(context) != CONTEXT_BYTES:
        msg = f"a context must be {CONTEXT_BYTES} bytes, not {len(context)}"
        raise RequestError(msg)
    return context


def check_digest(digest: bytes) -> bytes:
    """Return the digest, or raise `RequestError`."""
    if len(digest) != DIGEST_BYTES:
        msg = f"a digest must be {DIGEST_BYTES} bytes, not {len(digest)}"
        raise RequestError(msg)
    return digest
