"""What a simulated HSM can be made to suffer, so that software meets it before hardware does it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from icehouse.errors import HsmUnavailableError, RequestError
from icehouse.hsm.fork import ForkSafeLock
from icehouse.hsm.uri import count

if TYPE_CHECKING:
    from collections.abc import Mapping


class Fault(StrEnum):
    """What can go wrong with one operation."""

    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    SESSION_LOSS = "session-loss"


@dataclass(frozen=True, slots=True)
class Profile:
    """How a simulated HSM behaves.

    `latency` is in seconds per operation, `rate_limit` in operations per second, `capacity` in keys;
    `faults` says what befalls the operation with a given number, counted from 1 over all kinds.
    """

    latency: float = 0.0
    rate_limit: float | None = None
    capacity: int | None = None
    faults: Mapping[int, Fault] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not 0 <= self.latency < math.inf:
            msg = f"latency must be a number of seconds, at least 0, not {self.latency}"
            raise RequestError(msg)
        if self.rate_limit is not None and not 0 < self.rate_limit < math.inf:
            msg = f"rate-limit must be a number of operations per second above 0, not {self.rate_limit}"
            raise RequestError(msg)
        if self.capacity is not None and self.capacity < 0:
            msg = f"capacity must be a number of keys, at least 0, not {self.capacity}"
            raise RequestError(msg)

    @classmethod
    def parse(cls, values: Mapping[str, str], faults: list[str]) -> Profile:
        """The profile that the attributes of a URI describe."""
        rate, capacity = values.get("rate-limit"), values.get("capacity")
        return cls(
            latency=_number("latency", values.get("latency", "0")),
            rate_limit=None if rate is None else _number("rate-limit", rate),
            capacity=None if capacity is None else count("capacity", capacity),
            faults=_faults(faults),
        )


class Throttle:
    """A token bucket that holds one second's worth of operations."""

    __slots__ = ("_at", "_left", "_lock", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = max(rate, 1.0)
        self._at = time.monotonic()
        self._lock = ForkSafeLock()

    def spend(self) -> None:
        """Take one operation out, or raise `HsmUnavailableError`."""
        with self._lock:
            now = time.monotonic()
            self._left = min(max(self._rate, 1.0), self._left + (now - self._at) * self._rate)
            self._at = now
            if self._left >= 1:
                self._left -= 1
                return
        msg = f"the HSM throttled this operation: it serves {self._rate:g} operations a second"
        raise HsmUnavailableError(msg)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"{name} must be a number, not {text!r}"
        raise RequestError(msg) from None


def _faults(texts: list[str]) -> Mapping[int, Fault]:
    faults: dict[int, Fault] = {}
    for text in texts:
        number, fault = _fault(text)
        if number in faults:
            msg = f"operation {number} can suffer one fault only"
            raise RequestError(msg)
        faults[number] = fault
    return MappingProxyType(faults)


def _fault(text: str) -> tuple[int, Fault]:
    number, _, fault = text.partition(":")
    if fault not in list(Fault):
        msg = f"a fault must read NUMBER:KIND with a kind out of {', '.join(Fault)}, not {text!r}"
        raise RequestError(msg)
    which = count("the number of a fault", number)
    if which < 1:
        msg = "the number of a fault must be at least 1: operations are counted from 1"
        raise RequestError(msg)
    return which, Fault(fault)
