"""Data keys opened lately: a bounded number of them, for a bounded time."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icehouse._core import DataKey
    from icehouse.model import WrappedKey


class OpenedKeys:
    """A cache of data keys. `count` or `seconds` of 0 turn it off."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count if seconds > 0 else 0
        self._seconds = seconds
        self._keys: OrderedDict[int, tuple[float, WrappedKey, DataKey]] = OrderedDict()
        self._lock = Lock()

    def take(self, number: int) -> tuple[WrappedKey, DataKey] | None:
        """The data key of this number, if it was opened lately."""
        with self._lock:
            found = self._keys.get(number)
            if found is None:
                return None
            opened, wrapped, key = found
            if monotonic() - opened > self._seconds:
                del self._keys[number]
                return None
            self._keys.move_to_end(number)
            return wrapped, key

    def keep(self, wrapped: WrappedKey, key: DataKey) -> None:
        """Keep an opened data key; the one used longest ago goes."""
        if self._count <= 0:
            return
        with self._lock:
            self._keys[wrapped.number] = (monotonic(), wrapped, key)
            self._keys.move_to_end(wrapped.number)
            while len(self._keys) > self._count:
                self._keys.popitem(last=False)

    def forget(self) -> None:
        """Forget every key."""
        with self._lock:
            self._keys.clear()
