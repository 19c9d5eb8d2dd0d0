"""A budget for messages that prove nothing, so that nobody can spend the HSM's operations."""

from __future__ import annotations

from time import monotonic

from icehouse.hsm.fork import ForkSafeLock


class Limit:
    """A token bucket: `burst` failures at once, `per_second` in the long run.

    It is spent by what costs an HSM operation before it is authenticated, and by nothing else; whoever shows that he
    may ask gets it back. While it is empty, messages whose data key is open already cost the HSM nothing and go on.
    """

    def __init__(self, per_second: float = 20, burst: int = 200) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._then = monotonic()
        self._lock = ForkSafeLock()

    def _refill(self) -> None:
        now = monotonic()
        self._left = min(float(self._burst), self._left + (now - self._then) * self._per_second)
        self._then = now

    def spend(self) -> bool:
        """Take a token; False when there was none left."""
        with self._lock:
            self._refill()
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def give_back(self) -> None:
        """Put a token back: the operation was asked for by someone who may, or was not done."""
        with self._lock:
            self._refill()
            self._left = min(float(self._burst), self._left + 1)
