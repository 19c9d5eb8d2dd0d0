"""Watching what an HSM's operations cost their callers, without changing any of them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING

from icehouse.errors import HsmUnavailableError
from icehouse.hsm import _PROVIDERS
from icehouse.hsm.protocol import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest


class Watch:
    """What was seen of one provider: how many operations failed in passing, and how long the longest one took."""

    def __init__(self) -> None:
        self.failed = 0
        self.longest = 0.0
        self._lock = Lock()

    @contextmanager
    def operation(self) -> Iterator[None]:
        begun, failed = time.monotonic(), False
        try:
            yield
        except HsmUnavailableError:
            failed = True
            raise
        finally:
            with self._lock:
                self.failed += failed
                self.longest = max(self.longest, time.monotonic() - begun)


def watch(monkeypatch: pytest.MonkeyPatch, scheme: str) -> Watch:
    """Watch every operation of a provider from now on."""
    module, _, name = _PROVIDERS[scheme].partition(":")
    hsm, seen = getattr(import_module(module), name), Watch()
    for operation in Operation:
        monkeypatch.setattr(hsm, operation, _watched(getattr(hsm, operation), seen))
    return seen


def _watched(method: Callable, seen: Watch) -> Callable:
    def watched(*arguments):
        with seen.operation():
            return method(*arguments)

    return watched
