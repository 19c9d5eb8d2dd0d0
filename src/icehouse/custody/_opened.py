"""Secrets opened lately: a bounded number of them, for a bounded time."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic
from typing import Generic, TypeVar

from icehouse.hsm._fork import ForkSafeLock

Name = TypeVar("Name")
Value = TypeVar("Value")


class Opened(Generic[Name, Value]):
    """A cache of data keys or nodes. `count` or `seconds` of 0 turn it off."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count if seconds > 0 else 0
        self._seconds = seconds
        self._kept: OrderedDict[Name, tuple[float, Value]] = OrderedDict()
        self._lock = ForkSafeLock()

    def take(self, name: Name) -> Value | None:
        """What was opened under this name lately."""
        with self._lock:
            found = self._kept.get(name)
            if found is None:
                return None
            opened, value = found
            if monotonic() - opened > self._seconds:
                del self._kept[name]
                return None
            self._kept.move_to_end(name)
            return value

    def keep(self, name: Name, value: Value) -> None:
        """Keep what was opened; what was used longest ago goes."""
        if self._count <= 0:
            return
        with self._lock:
            self._kept[name] = (monotonic(), value)
            self._kept.move_to_end(name)
            while len(self._kept) > self._count:
                self._kept.popitem(last=False)

    def forget(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
