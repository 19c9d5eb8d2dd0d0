"""`simulated:` — an HSM in software, for development and tests. It protects nothing that a file would not."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from icehouse._core import SoftwareToken
from icehouse.errors import HsmRefusedError, HsmUnavailableError, RequestError
from icehouse.files.secret_file import check_private
from icehouse.hsm.fork import ForkSafeLock
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
)
from icehouse.hsm.simulated.profile import Fault, Profile, Throttle
from icehouse.hsm.simulated.token_file import TokenFile
from icehouse.hsm.uri import decoded, pairs, pin_file, single

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse._core import DataKey, Node

_LOG = logging.getLogger("icehouse.hsm")
_QUERY = frozenset({"pin-source", "latency", "rate-limit", "capacity"})


class _Keys(Protocol):
    """Where the token lives: in this process's memory, or in a file."""

    def token(self) -> SoftwareToken: ...
    def log_in(self) -> None: ...
    def change(self, apply: Callable[[SoftwareToken], None]) -> None: ...


class _Memory:
    """A token that lives and dies with the process; a fork's child goes on with a copy."""

    __slots__ = ("_lock", "_token")

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._token = SoftwareToken()

    def token(self) -> SoftwareToken:
        return self._token

    def log_in(self) -> None:
        """There is no PIN to read again."""

    def change(self, apply: Callable[[SoftwareToken], None]) -> None:
        with self._lock:
            apply(self._token)


class SimulatedHsm:
    """An `Hsm` that behaves like hardware and is none: in memory, or in a file under a PIN."""

    __slots__ = ("_keys", "_profile", "_throttle", "info", "operations")

    def __init__(
        self, file: TokenFile | None = None, profile: Profile | None = None, *, standing_by: bool = False
    ) -> None:
        self._keys: _Keys | None = file or _Memory()
        self._profile = profile or Profile()
        rate = self._profile.rate_limit
        self._throttle = None if rate is None else Throttle(rate)
        self.operations = OperationCounts()
        self.info = HsmInfo(
            provider="simulated",
            model="software token in memory" if file is None else "software token in a file",
            attested=False,
            capabilities=frozenset(KeyKind),
            capacity=self._profile.capacity,
            rate_limit=rate,
        )
        # Whoever has another HSM, and this one for when it is away, is warned when that happens.
        _LOG.log(
            logging.INFO if standing_by else logging.WARNING,
            "simulated HSM (%s): this is not an HSM; whoever reads this process or its PIN has every key",
            self.info.model,
        )

    @classmethod
    def open(cls, uri: str, *, create: bool = False, standing_by: bool = False) -> SimulatedHsm:
        """Open `simulated:` or `simulated:PATH?pin-source=file:PINFILE`, with a profile's attributes if wanted."""
        place, _, query = uri.removeprefix("simulated:").partition("?")
        found = pairs(query, "&")
        faults = [value for name, value in found if name == "fault"]
        values = single([pair for pair in found if pair[0] != "fault"], _QUERY)
        profile = Profile.parse(values, faults)
        path, source = decoded(place, "the path"), values.get("pin-source")
        if path:
            opener, pin = TokenFile.create if create else TokenFile, pin_file(source)
            check_private(pin, "PIN file")
            return cls(opener(Path(path), pin), profile, standing_by=standing_by)
        if source is not None:
            msg = "a simulated HSM in memory has no PIN; one in a file needs its path"
            raise RequestError(msg, hint="simulated:PATH?pin-source=file:PINFILE")
        return cls(None, profile, standing_by=standing_by)

    def create_key(self, label: str, kind: KeyKind) -> HsmKey:
        """Make a key; a label that exists is refused."""
        key = HsmKey(label, KeyKind(kind))
        capacity = self._profile.capacity

        def make(token: SoftwareToken) -> None:
            if capacity is not None and len(token) >= capacity:
                msg = f"the HSM is full: it holds {capacity} keys"
                raise HsmRefusedError(msg)
            token.create(key.label, key.kind)

        self._admitted(Operation.CREATE_KEY).change(make)
        return key

    def destroy_key(self, key: HsmKey) -> Destruction:
        """Destroy a key, at once."""
        self._admitted(Operation.DESTROY_KEY).change(lambda token: token.destroy(key.label, key.kind))
        return Destruction(done=True)

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys whose labels start with `prefix`, by label."""
        token = self._admitted(Operation.KEYS).token()
        return [HsmKey(label, KeyKind(kind)) for label, kind in token.labels(prefix)]

    def wrap(self, key: HsmKey, secret: DataKey, context: bytes) -> bytes:
        """Wrap a data key so that it opens only under this key in this context of 32 bytes."""
        check_context(context)
        return self._admitted(Operation.WRAP).token().wrap(key.label, secret, context)

    def unwrap(self, key: HsmKey, wrapped: bytes, context: bytes) -> DataKey:
        """Open what `wrap` made under this key in this context."""
        check_context(context)
        return self._admitted(Operation.UNWRAP).token().unwrap(key.label, wrapped, context)

    def mac(self, key: HsmKey, message: bytes) -> Node:
        """HMAC-SHA512 of the message: 64 secret bytes."""
        return self._admitted(Operation.MAC).token().mac(key.label, message)

    def sign(self, key: HsmKey, digest: bytes) -> bytes:
        """An ECDSA signature on a digest of 32 bytes, as the 64 bytes r || s."""
        check_digest(digest)
        return self._admitted(Operation.SIGN).token().sign(key.label, digest)

    def public_key(self, key: HsmKey) -> bytes:
        """The public key that `sign` signs under, as an uncompressed SEC1 point of 65 bytes."""
        return self._open_keys().token().public_key(key.label)

    def rights(self) -> list[Right]:
        """A module has one kind of user: whoever has the PIN."""
        return []

    def close(self) -> None:
        """Let go of the keys; those in memory are gone for good."""
        self._keys = None

    def _open_keys(self) -> _Keys:
        if self._keys is None:
            msg = "this HSM was closed"
            raise HsmRefusedError(msg)
        return self._keys

    def _admitted(self, operation: Operation) -> _Keys:
        """Count the operation and let it suffer what the profile has in store for it."""
        keys = self._open_keys()
        number = self.operations.add(operation)
        if self._throttle is not None:
            self._throttle.spend()
        if self._profile.latency:
            time.sleep(self._profile.latency)
        match self._profile.faults.get(number):
            case Fault.UNAVAILABLE:
                msg = f"simulated fault: operation {number} finds the HSM unavailable"
                raise HsmUnavailableError(msg)
            case Fault.REFUSED:
                msg = f"simulated fault: operation {number} is refused"
                raise HsmRefusedError(msg)
            case Fault.SESSION_LOSS:
                # The session is lost before anything was done, so every kind of operation may go on after a login.
                keys.log_in()
        return keys
