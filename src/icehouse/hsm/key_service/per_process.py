"""A client that belongs to the process that made it: a fork's child leaves the parent's alone and makes its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from icehouse.errors import HsmRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable


class _Closable(Protocol):
    def close(self) -> None: ...


Client = TypeVar("Client", bound=_Closable)


@dataclass(frozen=True, slots=True)
class _Live(Generic[Client]):
    """The client of one process, or `None` when it was closed."""

    pid: int
    client: Client | None


class PerProcess(Generic[Client]):
    """The client of whichever process asks."""

    __slots__ = ("_inherited", "_live")

    def __init__(self, client: Client) -> None:
        # Replaced as a whole: threads see the parent's or the child's, never half of each.
        self._live: _Live[Client] = _Live(os.getpid(), client)
        # The parent's client is kept untouched: its connections are the parent's to close.
        self._inherited: list[_Live[Client]] = []

    def get(self, make: Callable[[], Client]) -> Client:
        """The client of the process that asks, a new one in a fork's child; `HsmRefusedError` when it was closed."""
        live = self._live
        if live.client is None:
            raise closed()
        if live.pid == os.getpid():
            return live.client
        # Two threads may both get here: then one more client is made than needed, which harms nobody.
        self._inherited.append(live)
        client = make()
        self._live = _Live(os.getpid(), client)
        return client

    def close(self) -> None:
        """Close the client of this process; a second call does nothing."""
        live = self._live
        if live.client is not None and live.pid == os.getpid():
            live.client.close()
        self._live = _Live(os.getpid(), None)


def closed() -> HsmRefusedError:
    """What every call on a closed HSM is answered with."""
    msg = "this HSM was closed"
    return HsmRefusedError(msg)
