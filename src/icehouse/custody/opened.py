"""Secrets opened lately: a bounded number of them, for a bounded time."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic
from typing import Generic, TypeVar

from icehouse.hsm.fork import ForkSafeLock

Name = TypeVar("Name")
Value = TypeVar("Value")


class Opened(Generic[Name, Value]):
    """A cache of data keys or nodes. `count` or `seconds` of 0 turn it off."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count if seconds > 0 else 0
        self._seconds = seconds
        self._kept: OrderedDict[Name, tuple[float, Value]] = OrderedDict()
        self._asks: dict[Name, float] = {}
        """When each may be opened anew before its time is over."""
        self._lock = ForkSafeLock()

    def take(self, name: Name) -> Value | None:
        """What was opened under this name lately."""
        with self._lock:
            found = self._kept.get(name)
            if found is None:
                return None
            opened, value = found
            if monotonic() - opened > self._seconds:
                self._drop(name)
                return None
            self._kept.move_to_end(name)
            return value

    def ageing(self, name: Name) -> Value | None:
        """What was opened more than half its time ago: to one caller now, to another one after a while."""
        with self._lock:
            found, now = self._kept.get(name), monotonic()
            if found is None or now < self._asks[name]:
                return None
            self._asks[name] = now + self._seconds / 8
            return found[1]

    def _drop(self, name: Name) -> None:
        del self._kept[name], self._asks[name]

    def keep(self, name: Name, value: Value) -> None:
        """Keep what was opened; what was used longest ago goes."""
        if self._count <= 0:
            return
        with self._lock:
            now = monotonic()
            self._kept[name], self._asks[name] = (now, value), now + self._seconds / 2
            self._kept.move_to_end(name)
            while len(self._kept) > self._count:
                self._drop(next(iter(self._kept)))

    def forget(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._asks.clear()
