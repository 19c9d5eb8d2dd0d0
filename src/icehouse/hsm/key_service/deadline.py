"""The time that one operation on a service may take."""

from __future__ import annotations

import random
import time

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between a call that failed in passing and the next one, at first and at last."""
MARGIN = 0.8
"""An operation gives up after this part of its deadline, so that its error is out before the deadline is."""
_SHORTEST_TRY = 0.5


class Deadline:
    """What is left of the time that one operation may take, however many calls it makes."""

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds * MARGIN

    def left(self) -> float:
        """The seconds that are left, at least 0."""
        return max(0.0, self._end - time.monotonic())

    def one_try(self, share: float = 0.5) -> float:
        """The seconds for one call: half of what is left, so that a lost answer leaves time for another call."""
        left = self.left()
        return min(max(left, 0.001), max(_SHORTEST_TRY, left * share))

    def part(self, share: float) -> Deadline:
        """A deadline inside this one, for what must not take all the time that is left."""
        return Deadline(self.left() * share / MARGIN)

    def pause(self, longest: float) -> bool:
        """Wait for a random while; where there is no time for it, answer False at once."""
        # Jitter keeps many clients from coming back at the same moment; nothing secret hangs on it.
        seconds = longest * random.uniform(0.5, 1.0)  # noqa: S311
        if self.left() <= seconds:
            return False
        time.sleep(seconds)
        return True
