"""The vault's policy of rotation: when a key is due again."""

from __future__ import annotations

from dataclasses import dataclass

from icehouse.errors import RequestError

_MOST_DAYS = 3650

DAY = 86400
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The vault's policy: how many days after its last rotation a key is due again; 0 for never.

    A key is due up to `spread` days earlier, so that those made on one day do not all come on one day. One that has
    been due for longer than `grace` days is overdue, and suspended after `suspend` days; 0 for never.
    """

    every: int = 0
    spread: int = 0
    grace: int = 14
    suspend: int = 0

    def __post_init__(self) -> None:
        if self.every > _MOST_DAYS or self.suspend > _MOST_DAYS or self.grace > _MOST_DAYS:
            msg = f"the days of the policy of rotation must be at most {_MOST_DAYS}"
            raise RequestError(msg)
        if self.every and self.spread >= self.every:
            msg = f"rotation.spread_days must be less than rotation.every_days ({self.every}), not {self.spread}"
            raise RequestError(msg)

    def after(self, day: int, row: int) -> int:
        """The day from which a key that was rotated on a day is due again."""
        if not self.every:
            return 0
        return day + self.every - row % (self.spread + 1)
