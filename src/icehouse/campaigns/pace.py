"""How fast an HSM is asked: one bucket of tokens in the database, shared by every worker on every machine."""

from __future__ import annotations

import time
from threading import local
from typing import TYPE_CHECKING

from icehouse.store import rates

if TYPE_CHECKING:
    from icehouse.store.engine import Database

_LOT_SECONDS = 0.25
"""A worker takes what a quarter of a second allows at once, so that the bucket is not written for every operation."""
_LIFE_SECONDS = 5.0
"""A worker that waits so long shows that it lives, so that its page is not taken over before its turn comes."""
_LOOK_SECONDS = 1.0
"""For how long a worker believes that an HSM has no limit."""


class Pace:
    """A process's share of the buckets; each thread keeps its own tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._own = local()

    def wait(self, name: str) -> None:
        """Return when the HSM of this name may be asked once more."""
        tokens: dict[str, float] = self._own.__dict__.setdefault("tokens", {})
        unlimited: dict[str, float] = self._own.__dict__.setdefault("unlimited", {})
        waited = 0.0
        while True:
            if time.monotonic() < unlimited.get(name, 0.0):
                return
            if tokens.get(name, 0.0) >= 1:
                tokens[name] -= 1
                return
            lot = rates.take(self._database, name, _LOT_SECONDS)
            if lot is None:
                unlimited[name] = time.monotonic() + _LOOK_SECONDS
                tokens[name] = 0.0
            elif lot.tokens:
                tokens[name] = tokens.get(name, 0.0) + lot.tokens
            else:
                time.sleep(lot.seconds)
                waited += lot.seconds
                if waited > _LIFE_SECONDS:
                    waited = 0.0
                    self._database.change(lambda _: None)  # the thread's fence gives the sign of life
