"""Every HSM behind a meter: counts what a thread asks for, keeps to the rate that all workers share, and asks again."""

from __future__ import annotations

import random
import time
from threading import local
from typing import TYPE_CHECKING, TypeVar

from icehouse.campaigns.pace import Pace
from icehouse.errors import HsmUnavailableError
from icehouse.hsm import sought

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse._core import DataKey, Node
    from icehouse.custody import RootKeys
    from icehouse.hsm import Destruction, Hsm, HsmInfo, HsmKey, KeyKind, OperationCounts, Right
    from icehouse.store.engine import Database

T = TypeVar("T")
_ATTEMPTS = 5
_FIRST_PAUSE = 0.05
"""Seconds; doubled with every attempt, and drawn at random below that, so that workers do not come back together."""


class Meter:
    """What this process's threads ask of a vault's HSMs."""

    def __init__(self, database: Database) -> None:
        self._pace = Pace(database)
        self._known: dict[int, Metered] = {}
        self._own = local()

    @classmethod
    def over(cls, roots: RootKeys, database: Database) -> Meter:
        """Let everything that uses these root keys be metered; the meter, of which a vault has one."""
        if isinstance(roots.main, Metered):
            return roots.main.meter
        meter = cls(database)
        roots.through(meter._behind)
        return meter

    def _behind(self, hsm: Hsm) -> Hsm:
        if isinstance(hsm, Metered):
            return hsm
        return self._known.setdefault(id(hsm), Metered(hsm, self))

    @property
    def spent(self) -> int:
        """Operations that this thread asked for."""
        return int(getattr(self._own, "spent", 0))

    def admit(self, hsm: Hsm) -> None:
        """Wait until the HSM may be asked once more, and count it."""
        self._pace.wait(pace_name(hsm.info))
        self._own.spent = self.spent + 1


def pace_name(info: HsmInfo) -> str:
    """What workers on all machines call the same HSM."""
    return f"{info.provider}: {info.model}"


class Metered:
    """An `Hsm` behind a meter."""

    def __init__(self, hsm: Hsm, meter: Meter) -> None:
        self._hsm = hsm
        self.meter = meter

    @property
    def info(self) -> HsmInfo:
        """What the HSM says of itself."""
        return self._hsm.info

    @property
    def operations(self) -> OperationCounts:
        """How many operations it was asked for."""
        return self._hsm.operations

    def create_key(self, label: str, kind: KeyKind) -> HsmKey:
        """Asked once: where the answer is lost, the key may be there."""
        self.meter.admit(self._hsm)
        return self._hsm.create_key(label, kind)

    def destroy_key(self, key: HsmKey) -> Destruction:
        """Asked once, too."""
        self.meter.admit(self._hsm)
        return self._hsm.destroy_key(key)

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys whose labels start with `prefix`, by label."""
        return self._asked(lambda: self._hsm.keys(prefix))

    def find(self, label: str) -> HsmKey | None:
        """The key of exactly this label."""
        return self._asked(lambda: sought(self._hsm, label))

    def wrap(self, key: HsmKey, secret: DataKey, context: bytes) -> bytes:
        """Wrap a data key so that it opens only under this key in this context."""
        return self._asked(lambda: self._hsm.wrap(key, secret, context))

    def unwrap(self, key: HsmKey, wrapped: bytes, context: bytes) -> DataKey:
        """Open what `wrap` made under this key in this context."""
        return self._asked(lambda: self._hsm.unwrap(key, wrapped, context))

    def mac(self, key: HsmKey, message: bytes) -> Node:
        """HMAC-SHA512 of the message."""
        return self._asked(lambda: self._hsm.mac(key, message))

    def sign(self, key: HsmKey, digest: bytes) -> bytes:
        """An ECDSA signature on a digest."""
        return self._asked(lambda: self._hsm.sign(key, digest))

    def public_key(self, key: HsmKey) -> bytes:
        """The public key that `sign` signs under."""
        return self._asked(lambda: self._hsm.public_key(key))

    def rights(self) -> list[Right]:
        """What these credentials must permit."""
        return self._hsm.rights()

    def close(self) -> None:
        """Let go of the module."""
        self._hsm.close()

    def _asked(self, operation: Callable[[], T]) -> T:
        """Ask again where the HSM was away: none of these changes anything in it."""
        for attempt in range(_ATTEMPTS - 1):
            self.meter.admit(self._hsm)
            try:
                return operation()
            except HsmUnavailableError:
                time.sleep(random.uniform(0, _FIRST_PAUSE * 2**attempt))  # noqa: S311  when to ask again is no secret
        self.meter.admit(self._hsm)
        return operation()
