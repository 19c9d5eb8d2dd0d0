"""A clock that moves when a test, or a request, moves it; and what AWS says when it refuses."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_795_600_800.0
"""25 November 2026, 10:00 UTC, and a few seconds."""


class ApiError(Exception):
    """A refusal with AWS's name for it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


class Clock:
    """Seconds since 1970, and what is to happen at which of them."""

    def __init__(self) -> None:
        self.now = START
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def after(self, seconds: float, happening: Callable[[], object]) -> None:
        """Let something happen later."""
        heapq.heappush(self._due, (self.now + seconds, next(self._order), happening))

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything that is due in it happen in its order."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, happening = heapq.heappop(self._due)
            happening()
        self.now = end
