"""Trying again, as whoever meets `HsmUnavailableError` should."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from icehouse.errors import HsmUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(call: Callable[[], T], seconds: float = 20) -> T:
    """The first answer of a call that is unavailable for a while; the last error, should it stay so."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except HsmUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
