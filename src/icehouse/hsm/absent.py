"""An HSM that could not be opened, and is looked for again now and then."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NoReturn

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError, MissingExtraError, RequestError
from icehouse.hsm.fork import ForkSafeLock
from icehouse.hsm.key_service.per_process import closed
from icehouse.hsm.listing import sought
from icehouse.hsm.protocol import HsmInfo, KeyKind, OperationCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse._core import DataKey, Node
    from icehouse.hsm.protocol import Destruction, Hsm, HsmKey, Right


class AbsentHsm:
    """Stands for an `Hsm` that is away: every operation raises `HsmUnavailableError` until it can be opened.

    It is tried again at most every `pause` seconds, for each try may take as long as the HSM's deadline. One that came
    back and refuses, a PIN or a permission, is refused from then on: that it was away is no excuse for what is wrong.
    """

    def __init__(self, uri: str, reach: Callable[[], Hsm], cause: HsmError, pause: float) -> None:
        scheme = uri.partition(":")[0]
        self._info = HsmInfo(scheme, "away since it was to be opened", attested=False, capabilities=frozenset(KeyKind))
        self._operations = OperationCounts()
        self._reach = reach
        self._cause = cause
        self._pause = pause
        self._due = monotonic() + pause
        self._lock = ForkSafeLock()
        self._hsm: Hsm | None = None
        self._closed = False

    @property
    def absent(self) -> bool:
        """Whether it is still away, as far as is known."""
        return self._hsm is None

    def look(self) -> bool:
        """Whether it is there; it is tried again when that is due. Raises `HsmRefusedError` where it refuses."""
        try:
            self._there()
        except HsmUnavailableError:
            return False
        return True

    @property
    def cause(self) -> HsmError:
        """Why it was not there when it was last tried."""
        return self._cause

    @property
    def info(self) -> HsmInfo:
        """What the HSM says of itself; while it is away, only what its URI says of it."""
        return self._hsm.info if self._hsm else self._info

    @property
    def operations(self) -> OperationCounts:
        """How many operations it was asked for."""
        return self._hsm.operations if self._hsm else self._operations

    def create_key(self, label: str, kind: KeyKind) -> HsmKey:
        """Make a key inside the module."""
        return self._there().create_key(label, kind)

    def destroy_key(self, key: HsmKey) -> Destruction:
        """Destroy a key."""
        return self._there().destroy_key(key)

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys whose labels start with `prefix`."""
        return self._there().keys(prefix)

    def find(self, label: str) -> HsmKey | None:
        """The key of exactly this label."""
        return sought(self._there(), label)

    def wrap(self, key: HsmKey, secret: DataKey, context: bytes) -> bytes:
        """Wrap a data key."""
        return self._there().wrap(key, secret, context)

    def unwrap(self, key: HsmKey, wrapped: bytes, context: bytes) -> DataKey:
        """Open what `wrap` made."""
        return self._there().unwrap(key, wrapped, context)

    def mac(self, key: HsmKey, message: bytes) -> Node:
        """HMAC-SHA512 of the message."""
        return self._there().mac(key, message)

    def sign(self, key: HsmKey, digest: bytes) -> bytes:
        """An ECDSA signature."""
        return self._there().sign(key, digest)

    def public_key(self, key: HsmKey) -> bytes:
        """The public key that `sign` signs under."""
        return self._there().public_key(key)

    def rights(self) -> list[Right]:
        """What these credentials must permit."""
        return self._there().rights()

    def close(self) -> None:
        """Let go of the module, where it came back, and look for it no more."""
        self._closed = True
        if self._hsm is not None:
            self._hsm.close()

    def _there(self) -> Hsm:
        if self._closed:
            raise closed()
        if self._hsm is None:
            self._try()
        return self._hsm or self._raise()

    def _try(self) -> None:
        with self._lock:
            if monotonic() < self._due:
                return
            # One thread tries; to the others the HSM is as it was.
            self._due = float("inf")
        try:
            self._hsm = self._reach()
            if self._closed:
                self._hsm.close()
        except HsmError as exc:
            self._cause = exc
        except (RequestError, MissingExtraError) as exc:
            # When it was opened first, this was the caller's to mend; to a device it is an HSM that refuses.
            self._cause = HsmRefusedError(str(exc), hint=exc.hint)
        finally:
            self._due = monotonic() + self._pause

    def _raise(self) -> NoReturn:
        kind = HsmUnavailableError if isinstance(self._cause, HsmUnavailableError) else HsmRefusedError
        raise kind(str(self._cause), hint=self._cause.hint) from self._cause
