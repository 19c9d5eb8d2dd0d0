"""Lines of the log that strangers can cause: a few for each key and in all, and a count of the others."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from icehouse.hsm.fork import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Hashable

_MOST = 20
_SECONDS = 60.0
_FIRST_COUNT = 10


class Watch:
    """Lets one line about each thing through, and `most` in all, every so many seconds.

    What is held back is counted. The count comes with the next line that is let through, and with a line of its own
    whenever it reached ten times what was told last: whoever reads the log sees how large a flood is while it lasts.
    """

    def __init__(self, most: int = _MOST, seconds: float = _SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._since = monotonic()
        self._told: set[Hashable] = set()
        self._held = 0
        self._next_count = _FIRST_COUNT
        self._lock = ForkSafeLock()

    def admit(self, about: Hashable) -> str | None:
        """What to say behind a line about this: nothing, or how many others were held back. None: hold it back."""
        with self._lock:
            now = monotonic()
            if now - self._since >= self._seconds:
                self._since = now
                self._told.clear()
            if about not in self._told and len(self._told) < self._most:
                self._told.add(about)
                return self._counted()
            self._held += 1
            if self._held < self._next_count:
                return None
            self._next_count *= 10
            return f" ({self._held:,} such lines were held back so far)"

    def _counted(self) -> str:
        held, self._held, self._next_count = self._held, 0, _FIRST_COUNT
        return f" ({held:,} such lines were held back before this one)" if held else ""
