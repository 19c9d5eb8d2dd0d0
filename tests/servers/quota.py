"""Quotas of a service: so many calls of a group in a minute, which ends when a test says so."""

from __future__ import annotations

import threading
from collections import Counter


class Quotas:
    """`limits` are calls a minute by group, `groups` which calls are of which. Other calls are free."""

    def __init__(self, limits: dict[str, int], groups: dict[str, frozenset[str]]) -> None:
        self.limits = limits
        self.groups = groups
        self.refused = 0
        """How many calls were over a quota."""
        self._spent: Counter[str] = Counter()
        self._lock = threading.Lock()

    def exceeded(self, call: str) -> bool:
        """Whether this call is over the quota of its group; otherwise it is counted."""
        with self._lock:
            for group, limit in self.limits.items():
                if call in self.groups[group]:
                    if self._spent[group] >= limit:
                        self.refused += 1
                        return True
                    self._spent[group] += 1
            return False

    def next_minute(self) -> None:
        """A minute has passed."""
        with self._lock:
            self._spent.clear()
